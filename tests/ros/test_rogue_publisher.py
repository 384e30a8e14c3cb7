"""Whoever publishes on whatever topic: nothing moves except through the governor, and it decides who may."""

import importlib
import importlib.util
import math
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


def test_a_rogue_on_every_topic_moves_nothing(tmp_path):
    import rclpy
    from longhand_msgs.msg import GovernorStatus
    from rclpy.qos import QoSProfile, ReliabilityPolicy

    with UpSite(tmp_path, offset=2, local_control="false") as site:
        site.wait_ready()
        with CrtkClient(site.namespace, site.domain) as client:
            client.check_connections(30.0)
            before = client.measured_jp()
            true_before = true_tip(site)
            statuses = []
            client.node.create_subscription(GovernorStatus, f"{site.namespace}/governor/status", statuses.append, 10)
            topics = [(n, t[0]) for n, t in client.node.get_topic_names_and_types()
                      if n.startswith(site.namespace) or n in ("/tf", "/tf_static")]
            assert {f"{site.namespace}/{n}" for n in ("arm_state", "lease", "servo_cp", "move_jp", "governor/status")} <= {
                n for n, _ in topics}
            rogue = rclpy.create_node("rogue", context=client.context)
            qos = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
            fire = []
            for name, kind in topics:
                cls = message_class(kind)
                fire.append((rogue.create_publisher(cls, name, qos), loaded(cls)))
            end = time.monotonic() + 4.0
            while time.monotonic() < end:
                client.state_command("enable")
                goal = client.setpoint_cp()
                client.servo_cp([goal[0] + 0.005, *goal[1:]])
                client.servo_jp([x + 0.05 for x in before])
                client.move_jp([x + 0.2 for x in before])
                for publisher, message in fire:
                    publisher.publish(message)
                time.sleep(0.02)
            assert client.wait_for(lambda: len(statuses) > 5)
            last = statuses[-1]
            rogue.destroy_node()
        # The rogue speaks on measured_js too: only the physics can say what moved.
        assert math.dist(true_before, true_tip(site)) < 2e-4
        true = [s for s in statuses if s.wire]
        assert true and all(s.state == "READY" and s.lease_id == 0 for s in true), last
        assert any("local control is off" in w for w in client.warnings)
        assert site.deaths() == []


def true_tip(site):
    """Where the simulator has the tip, m."""
    world = WorldClient(site.sockets / "world.sock")
    try:
        return world.ask("truth")["world_T_tip"][:3]
    finally:
        world.close()


def message_class(kind):
    """Class of "package/msg/Name"."""
    package, _, name = kind.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def loaded(cls):
    """A message with every number 0.3, every text "ACTIVE" and short arrays: something a careless reader would act on."""
    message = cls()
    for name, kind in cls.get_fields_and_field_types().items():
        value = getattr(message, name)
        if isinstance(value, bool):
            setattr(message, name, True)
        elif isinstance(value, float):
            setattr(message, name, 0.3)
        elif isinstance(value, int):
            setattr(message, name, 3)
        elif isinstance(value, str):
            setattr(message, name, "ACTIVE")
        elif kind == "sequence<double>":
            setattr(message, name, [0.3] * 7)
    return message
