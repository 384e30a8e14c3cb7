"""How a demo's processes are ended: asked, listened to, killed only when they do not go."""

import io

import pytest

from sim.demo import processes
from teleop.launch.runner import Line


class Processes:
    """A runner whose processes end after so many looks; None: never."""

    def __init__(self, looks):
        self.looks, self.did = looks, []

    @property
    def finished(self):
        return self.looks == 0

    def stop(self):
        self.did.append("stop")

    def poll(self, wait):
        self.looks = self.looks - 1 if self.looks else self.looks
        return [Line("a/arm", "stdout", "goodbye")]

    def kill(self):
        self.did.append("kill")


class Log(io.StringIO):
    text = ""

    def close(self):
        self.text = self.getvalue()
        super().close()


@pytest.mark.parametrize(("looks", "did"), [(2, ["stop"]), (None, ["stop", "kill"])])
def test_processes_are_asked_and_heard_and_killed_only_when_they_stay(monkeypatch, looks, did):
    monkeypatch.setattr(processes, "PATIENCE_S", 0.01)
    runner, log = Processes(looks), Log()
    processes.end(runner, log)
    assert runner.did == did and log.closed and log.text.startswith("[a/arm] goodbye\n")
