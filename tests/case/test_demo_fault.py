import os
import signal
import subprocess
import sys

import pytest

from sim.demo.fault import FaultError, FaultPlan, Striker, parse_fault

S = 1_000_000_000


def test_a_fault_is_a_name_and_seconds():
    assert parse_fault("link-cut@12.5") == FaultPlan("link-cut", 12.5)


@pytest.mark.parametrize("text", ["link-cut", "meteor@3", "link-cut@-1", "link-cut@x", ""])
def test_anything_else_is_refused_with_the_names(text):
    with pytest.raises(FaultError, match="link-cut"):
        parse_fault(text)


def test_it_waits_for_its_time_and_for_a_moving_arm():
    said = []
    striker = Striker(FaultPlan("link-cut", 2.0), said.append, lambda name: 0)
    assert not striker.look(10 * S, 0, 0.02)  # no lease yet: time has not begun
    assert not striker.look(11 * S, 1, 0.02)  # first lease
    assert not striker.look(12 * S, 1, 0.02)  # too early
    assert not striker.look(14 * S, 1, 0.0005)  # standing
    assert striker.look(15 * S, 1, 0.02)
    assert said == [{"t": "cut", "seconds": 2.0, "paths": [0, 1]}]
    assert not striker.look(16 * S, 1, 0.02)  # once


def test_a_kill_reaches_the_process_it_names():
    child = subprocess.Popen([sys.executable, "-c", "import signal; signal.pause()"])
    names = []

    def pid(name):
        names.append(name)
        return child.pid

    striker = Striker(FaultPlan("kill-governor", 0.0), lambda command: None, pid)
    striker.look(S, 1, 0.0)
    assert striker.look(2 * S, 1, 0.01)
    assert child.wait(10) == -signal.SIGKILL
    assert names == ["governor"]
    assert os.getpid() != child.pid
