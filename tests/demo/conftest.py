"""Running `longhand demo` as a user does: a real process, real ROS nodes, real sockets, physics."""

import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

pytest.importorskip("rclpy", reason="the demo needs ROS 2 (make setup installs it)")

#: A variable of the environment that every process of one demo inherits.
MARK = "LONGHAND_TEST_RUN"


@dataclass
class Ran:
    """What one demo left behind."""

    code: int
    outcome: dict[str, Any]
    out: Path
    said: str


def marked(mark: str) -> list[str]:
    """Command lines of the processes that still run with this mark in their environment: those of one demo of ours."""
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.fixture
def demo(tmp_path):
    """Call with options; asserts that the demo leaves no process behind."""

    def run(*options: str, timeout_s: float = 420.0) -> Ran:
        mark = uuid.uuid4().hex
        out, result = tmp_path / "out", tmp_path / "out.json"
        argv = [str(Path(sys.executable).parent / "longhand"), "demo", "--sites", "1", "--out", str(out), "--json", str(result), *options]
        process = subprocess.Popen(argv, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
                                   start_new_session=True, env=os.environ | {MARK: mark})  # fmt: skip
        try:
            _, said = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            _, said = process.communicate()
            raise AssertionError(f"the demo did not end in {timeout_s} s:\n{said[-4000:]}") from None
        assert not marked(mark), "the demo left processes behind"
        outcome = json.loads(result.read_text()) if result.exists() else {}
        return Ran(process.returncode, outcome, out, said)

    return run
