"""Kill a part of the site in the middle of a motion: the arm is at rest within the bound, and `longhand up` names the dead."""

import importlib.util
import math
import os
import signal
import sys
import time
from pathlib import Path

import pytest

from sim.world_client import WorldClient

pytest.importorskip("rclpy")
HERE = Path(__file__).resolve().parent


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


UpSite = load(HERE / "real_site.py").UpSite
CrtkClient = load(HERE.parent / "crtk" / "crtk_client.py").CrtkClient
pytestmark = [pytest.mark.slow, pytest.mark.ros, pytest.mark.timeout(300)]

#: What reading the physics from outside adds to a travel (m).
READING = 5e-4


class Tip:
    """Where the simulator has the tip, m."""

    def __init__(self, site):
        self._world = WorldClient(site.sockets / "world.sock")

    def __call__(self):
        return self._world.ask("truth")["world_T_tip"][:3]


def wait_still(tip):
    """The tip once it has moved less than 10 um in 0.2 s."""
    before = tip()
    for _ in range(300):
        time.sleep(0.2)
        now = tip()
        if math.dist(before, now) < 1e-5:
            return now
        before = now
    raise AssertionError("the arm does not come to rest")


@pytest.mark.parametrize(("part", "offset"), [("governor", 3), ("adapter", 4)])
def test_the_arm_is_at_rest_within_the_bound_when_a_part_is_killed(tmp_path, part, offset):
    from longhand_msgs.msg import GovernorStatus

    with UpSite(tmp_path, offset=offset, local_control="true") as site:
        site.wait_ready()
        with CrtkClient(site.namespace, site.domain) as client:
            bounds = []
            client.node.create_subscription(GovernorStatus, f"{site.namespace}/governor/status",
                                            lambda m: bounds.append(m.travel_bound), 10)
            client.check_connections(30.0)
            assert client.enable(), client.warnings
            tip = Tip(site)
            start = tip()
            goal = client.setpoint_cp()
            client.move_cp([goal[0], goal[1], goal[2] + 0.15, *goal[3:]])
            assert client.wait_for(lambda: client.setpoint_cp()[2] > goal[2] + 0.02), client.warnings
            os.kill(site.pid(part), signal.SIGKILL)
            at_kill = tip()
            rest = wait_still(tip)
            assert math.dist(at_kill, rest) <= max(bounds) + READING
            assert math.dist(start, rest) < 0.14  # it was in the middle of the motion
            end = site.wait_for(lambda e: e["event"] == "ended" and e["name"] == part)
            assert end["why"] == "killed by SIGKILL" and not end["expected"]
            if part == "governor":
                assert client.wait_for_state("FAULT")
        assert site.stop() == 1


def test_a_killed_arm_process_shows_as_a_fault_and_is_named(tmp_path):
    """The arm process stands for the robot's own controller: nobody can stop what is gone, everybody must see it."""
    with UpSite(tmp_path, offset=5, local_control="true") as site:
        site.wait_ready()
        with CrtkClient(site.namespace, site.domain) as client:
            client.check_connections(30.0)
            assert client.enable(), client.warnings
            os.kill(site.pid("arm"), signal.SIGKILL)
            assert client.wait_for_state("FAULT")
            end = site.wait_for(lambda e: e["event"] == "ended" and e["name"] == "arm")
            assert end["why"] == "killed by SIGKILL" and not end["expected"]
            client.move_cp(client.setpoint_cp())
            assert client.wait_for(lambda: any("move_cp ignored" in w for w in client.warnings)), client.warnings
        assert site.stop() == 1
