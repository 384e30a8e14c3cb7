"""`longhand console` as a user starts it: it prints its addresses, serves, and ends cleanly when asked, whatever it is doing."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
import uuid
from pathlib import Path

import psutil
import pytest

pytest.importorskip("rclpy", reason="the simulated hospitals need ROS 2 (make setup installs it)")
pytestmark = [pytest.mark.slow, pytest.mark.ros, pytest.mark.timeout(400)]
MARK = "LONGHAND_TEST_RUN"


def marked(mark):
    found = []
    for process in psutil.process_iter(["pid"]):
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline())[:120])
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


class Console:
    def __init__(self, folder, *options):
        self.mark = uuid.uuid4().hex
        argv = [str(Path(sys.executable).parent / "longhand"), "console", "--json", "--no-open", "--port", "0", "--out", str(folder)]
        self.process = subprocess.Popen([*argv, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                        start_new_session=True, env=os.environ | {MARK: self.mark})  # fmt: skip

    def told(self):
        line = self.process.stdout.readline()
        assert line, self.process.stderr.read()[-3000:]
        return json.loads(line)

    def end(self, number):
        self.process.send_signal(number)
        try:
            _, said = self.process.communicate(timeout=200)
        finally:
            if self.process.poll() is None:
                os.killpg(self.process.pid, signal.SIGKILL)
        return self.process.returncode, said


def answers(url):
    with urllib.request.urlopen(url.split("#")[0], timeout=30) as reply:
        return reply.status


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_console_with_a_hospital_ends_when_asked_and_leaves_nothing_behind(tmp_path, number):
    console = Console(tmp_path / "out", "--sites", "1", "--driver", "kinematic")
    told = console.told()
    assert answers(told["console"]["surgeon"]) == 200 and answers(told["bedside"]["tianjin"]) == 200
    code, said = console.end(number)
    assert code == 0, said[-3000:]
    assert f"asked by {number.name}" in said and not marked(console.mark)
    assert "Traceback" not in said, said[-3000:]


def test_asked_to_end_while_hospitals_still_start_it_ends_all_the_same(tmp_path):
    console = Console(tmp_path / "out", "--sites", "1", "--driver", "kinematic")
    for line in console.process.stderr:
        if "laying out" in line:
            break
    code, said = console.end(signal.SIGINT)
    assert code in (0, 130), said[-3000:]
    assert not marked(console.mark)


def test_a_console_whose_reader_has_gone_still_ends_when_asked(tmp_path):
    console = Console(tmp_path / "out", "--sites", "0")
    console.told()
    console.process.stderr.close()
    console.process.stdout.close()
    console.process.send_signal(signal.SIGTERM)
    assert console.process.wait(timeout=100) == 0


def test_a_port_in_use_is_said_before_anything_starts(tmp_path):
    first = Console(tmp_path / "one", "--sites", "0")
    port = first.told()["console"]["surgeon"].split(":")[2].split("/")[0]
    second = Console(tmp_path / "two", "--sites", "0", "--port", port)
    _, said = second.process.communicate(timeout=100)
    assert second.process.returncode == 1 and port in said and "Traceback" not in said
    assert first.end(signal.SIGTERM)[0] == 0
