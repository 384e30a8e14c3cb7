"""Processes are started, heard, told apart when they die, and never left behind."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from teleop.launch.document import At
from teleop.launch.plan import Process
from teleop.launch.runner import Ended, Escalated, Line, Runner

WAIT = "import signal, time; print('ready', flush=True); time.sleep(600)"
STUBBORN = ("import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); "
            "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)")


def process(name: str, code: str, **env: str) -> Process:
    return Process(name, (sys.executable, "-S", "-c", code), env, None, At(Path("x.launch.yaml"), 1))


def until(runner, wanted, events):
    """Poll until an event satisfies `wanted`; every event is kept in `events`."""
    while True:
        batch = runner.poll(30.0)
        assert batch or not runner.finished, f"ended without it: {events}"
        events.extend(batch)
        if any(wanted(e) for e in batch):
            return


def drain(runner, events):
    while not runner.finished:
        events.extend(runner.poll(30.0))


def gone(pid):
    """Wait until the process is dead (a TimeoutExpired fails the test)."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).wait(timeout=60)


def ends(events):
    return {e.name: e for e in events if isinstance(e, Ended)}


def test_output_arrives_whole_and_before_the_end_of_its_process():
    runner = Runner([process("p", "import sys; print('one'); sys.stderr.write('two'); print('three')")])
    events = [*runner.start()]
    drain(runner, events)
    lines = [(e.stream, e.text) for e in events if isinstance(e, Line)]
    assert sorted(lines) == [("stderr", "two"), ("stdout", "one"), ("stdout", "three")]
    assert isinstance(events[-1], (Ended, Line))
    assert ends(events)["p"].why == "ended by itself (exit code 0)"


def test_the_death_of_one_names_it_and_leaves_the_others():
    runner = Runner([process("a", WAIT), process("b", WAIT), process("c", "raise SystemExit(7)")])
    events = [*runner.start()]
    until(runner, lambda e: isinstance(e, Ended) and e.name == "c", events)
    runner.send_signal("b", signal.SIGKILL)
    until(runner, lambda e: isinstance(e, Ended) and e.name == "b", events)
    assert ends(events)["b"].why == "killed by SIGKILL" and not ends(events)["b"].clean
    assert ends(events)["c"].why == "failed with exit code 7"
    assert runner.alive() == ["a"]
    runner.stop()
    drain(runner, events)
    assert ends(events)["a"].expected and ends(events)["b"].expected is False


def test_who_ignores_interrupt_and_terminate_is_killed(monkeypatch):
    monkeypatch.setattr("teleop.launch.runner.INT_GRACE_S", 0.2)
    monkeypatch.setattr("teleop.launch.runner.TERM_GRACE_S", 0.2)
    runner = Runner([process("p", STUBBORN)])
    events = [*runner.start()]
    until(runner, lambda e: isinstance(e, Line), events)
    runner.stop()
    drain(runner, events)
    assert [e.signal for e in events if isinstance(e, Escalated)] == ["SIGTERM", "SIGKILL"]
    assert ends(events)["p"].signal == "SIGKILL"


def test_what_a_process_started_ends_with_it():
    code = (f"import subprocess, sys; c = subprocess.Popen([sys.executable, '-S', '-c', {WAIT!r}]); "
            "print(c.pid, flush=True); raise SystemExit(3)")
    runner = Runner([process("p", code)])
    events = [*runner.start()]
    drain(runner, events)
    grandchild = next(int(e.text) for e in events if isinstance(e, Line) and e.text.isdigit())
    gone(grandchild)


def test_a_program_that_is_not_there_is_named_and_the_others_are_ended():
    missing = Process("x", ("/no/such/program",), {}, None, At(Path("x.launch.yaml"), 9))
    runner = Runner([process("a", WAIT), missing])
    with pytest.raises(OSError, match=r"x.launch.yaml:9: cannot start x \(/no/such/program\): No such file"):
        runner.start()
    gone(runner.pid("a"))


def test_children_inherit_neither_the_bootstrap_mark_nor_the_wheels_libraries(monkeypatch):
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{sys.prefix}/lib:/elsewhere")
    runner = Runner([process("p", "import os; print(os.environ.get('LD_LIBRARY_PATH'), "
                                  "os.environ.get('_ROS_WHEELS_BOOTSTRAP_COMPLETE'), os.environ['E'])", E="set")])
    events = [*runner.start()]
    drain(runner, events)
    assert [e.text for e in events if isinstance(e, Line)] == ["/elsewhere None set"]


def test_children_die_with_a_killed_runner(tmp_path):
    file = tmp_path / "w.launch.yaml"
    file.write_text("launch:\n- executable: {cmd: sh -c 'echo ready; exec sleep 600', name: w}\n")
    up = subprocess.Popen([sys.executable, "-m", "teleop.cli._main", "up", "--json-events", str(file)],
                          stdout=subprocess.PIPE, text=True)
    pid = None
    for text in up.stdout:
        record = json.loads(text)
        if record["event"] == "started":
            pid = record["pid"]
        if record["event"] == "line" and record["text"] == "ready":
            break
    assert pid
    os.kill(up.pid, signal.SIGKILL)
    up.communicate()
    gone(pid)
