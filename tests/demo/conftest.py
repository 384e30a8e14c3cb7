"""Running `longhand demo` as a user does: a real process, real ROS nodes, real sockets, physics."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("rclpy", reason="the demo needs ROS 2 (make setup installs it)")


@dataclass
class Ran:
    """What one demo left behind."""

    code: int
    outcome: dict[str, Any]
    out: Path
    said: str


def ours() -> set[int]:
    """Process ids of anything of Longhand's that runs now."""
    found = set()
    for process in psutil.process_iter(["pid", "cmdline"]):
        words = " ".join(process.info["cmdline"] or [])
        if any(w in words for w in ("longhand_ros", "safety.process", "sim.network.relay", "sim.doctor", "/longhand_")):
            found.add(process.info["pid"])
    return found


@pytest.fixture
def demo(tmp_path):
    """Call with options; asserts that the demo leaves no process behind."""

    def run(*options: str, timeout_s: float = 420.0) -> Ran:
        before = ours()
        out, result = tmp_path / "out", tmp_path / "out.json"
        argv = [str(Path(sys.executable).parent / "longhand"), "demo", "--sites", "1", "--out", str(out), "--json", str(result), *options]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, start_new_session=True)
        try:
            _, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _, said = process.communicate()
            raise AssertionError(f"the demo did not end in {timeout_s} s:\n{said[-4000:]}") from None
        assert not ours() - before, "the demo left processes behind"
        outcome = json.loads(result.read_text()) if result.exists() else {}
        return Ran(process.returncode, outcome, out, said)

    return run
