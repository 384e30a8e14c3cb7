"""The governor as a process on real sockets: partners that come, go, lie and die."""

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgpack
import pytest

from safety.governor import boot, step
from safety.inputs import BootIn, decode_input, encode_outputs
from safety.snapshot import decode_situation
from sim.campaign.rig import OTHER, STRANGER, SURGEON

ROOT = Path(__file__).resolve().parents[2]


def test_from_nothing_to_a_lease_and_to_rest_by_itself(bench: Any) -> None:
    bench.start().active()
    lease = next(m for m in bench.arm_got if m["t"] == "lease")
    assert lease["expiry"] - lease["t_k"] == 150_000_000
    assert 0.0 < lease["v_cap"] <= 0.05
    bench.state("HOLD")  # the hand fell silent: PAUSE, then HOLD
    assert any(m["t"] == "halt" for m in bench.arm_got)
    states = [m["state"] for m in bench.seen["recorder"] if m["t"] == "ev"]
    assert "PAUSE" in states


def test_every_step_reaches_the_recorder_and_replays_bit_for_bit(bench: Any) -> None:
    bench.start().active()
    bench.command(press=1, plan_hash=b"another!")
    bench.order("take_over")
    bench.state("LOCAL")
    events = [m for m in bench.seen["recorder"] if m["t"] == "ev"]
    first = decode_input(events[0]["input"])
    assert isinstance(first, BootIn)
    s, params = boot(first)
    compared = 0
    for event in events[1:]:
        assert "gap" not in event
        if event["kind"] == "snapshot":  # the recorder came after the boot
            s = decode_situation(event["input"])
            continue
        s, out = step(s, decode_input(event["input"]), params)
        assert s.n == event["n"]
        assert encode_outputs(out) == event["outputs"], (s.n, event["kind"])
        assert str(s.state) == event["state"]
        compared += 1
    assert compared > 100


@pytest.mark.parametrize("role", ["gateway", "recorder", "case"])
def test_the_death_of_a_partner_ends_the_motion_and_is_named(bench: Any, role: str) -> None:
    bench.start().active()
    bench.arm_got.clear()
    bench.peers.pop(role).sock.close()
    bench.state("HOLD")
    assert role in bench.status["reason"]
    assert any(m["t"] == "halt" for m in bench.arm_got)


def test_the_death_of_the_arm_is_a_fault_that_survives_the_restart(bench: Any) -> None:
    bench.start().active()
    bench.arm.sock.close()
    bench.arm = None
    bench.state("FAULT")
    old = bench.status["epoch"]
    bench.close()
    assert bench.process.returncode == 0
    bench.peers.clear()
    bench.replies.clear()
    bench.listener = bench.arm = None
    bench.status = {}
    bench.start()
    bench.open_arm()
    bench.join("recorder", "case", "gateway")
    bench.until(lambda: "acknowledge" in bench.status.get("reason", ""), "the fault is remembered")
    assert bench.status["state"] == "INIT"
    assert bench.order("rearm")["ok"]
    bench.state("READY")
    assert bench.order("grant", holder=SURGEON)["epoch"] > old


def test_kill_minus_nine_sends_no_more_leases_and_the_next_boot_has_new_epochs(bench: Any) -> None:
    bench.start().active()
    epoch = bench.status["epoch"]
    bench.process.kill()
    bench.process.wait(10)
    bench.until(lambda: bench.arm.closed and all(p.closed for p in bench.peers.values()), "everybody notices at once")
    bench.peers.clear()
    bench.arm = None
    bench.status = {}
    bench.start()  # the socket file of the dead one is in the way, and is replaced
    bench.join("recorder", "case", "gateway")
    bench.state("READY")
    assert bench.status["epoch"] >= epoch + 4000
    assert bench.status["holder"] == ""


def test_a_stopped_governor_that_wakes_holds(bench: Any) -> None:
    bench.start().active()
    bench.process.send_signal(signal.SIGSTOP)
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        bench.command(press=1)
        bench.beat()
        time.sleep(0.01)
    bench.process.send_signal(signal.SIGCONT)
    bench.state("HOLD")


def test_a_stop_from_anybody_reaches_the_arm(bench: Any) -> None:
    bench.start().active()
    bench.join("probe")
    bench.peers["probe"].send(t="stop", key=STRANGER)
    bench.state("STOP")
    assert bench.status["stop_by"] == STRANGER and bench.status["stop_echo"] == 1


def test_malformed_messages_cost_the_peer_its_connection_and_nothing_else(bench: Any) -> None:
    bench.start().everybody()
    lies = [
        b"", b"\xc1", b"\x91" * 500, msgpack.packb([1]), msgpack.packb({"t": "order"}), msgpack.packb({"t": "cmd", "key": 5}),
        msgpack.packb({"t": "lease"}), msgpack.packb({"x": 1}), msgpack.packb({"t": "order", "key": "bedside", "id": "1", "order": {}}),
        msgpack.packb({"t": "order", "key": "k" * 65, "id": 1, "order": {"op": "stop"}}), msgpack.packb({"t": "order", "key": "k", "id": 1, "order": 5}),
        msgpack.packb({"t": "order", "key": "bedside", "id": 1, "order": {"op": "take_over"}}), msgpack.packb({"t": "link", "paths": []}),
        msgpack.packb({"t": "cmd", "key": SURGEON, "path": 0, "data": b""}), os.urandom(200),
    ]  # fmt: skip
    for lie in lies:
        bench.join("probe")
        bench.peers["probe"].raw(lie)
        if lie:
            bench.until(lambda: bench.peers["probe"].closed, f"the liar {lie[:20]!r} is dropped")
        bench.peers.pop("probe").sock.close()
    assert bench.status["state"] == "READY" and bench.process.poll() is None
    assert "connection closed" in bench.said()


def test_a_peer_without_a_proper_hello_is_dropped(bench: Any) -> None:
    bench.start().everybody()
    for hello in ({"t": "hb"}, {"t": "hello", "role": "king", "v": 1}, {"t": "hello", "role": "case", "v": 2},
                  {"t": "hello", "role": "case", "v": 1}):  # fmt: skip
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        sock.connect(str(bench.run / "governor.sock"))
        sock.send(msgpack.packb(hello))
        sock.settimeout(10)
        assert sock.recv(1 << 16) == b"", hello  # also a second case desk
        sock.close()
    assert bench.order("note")["ok"]


def test_orders_are_answered_to_their_sender_and_names_are_bound_to_peers(bench: Any) -> None:
    bench.start().everybody()
    assert not bench.order("take_over", role="gateway", key="bedside")["ok"]
    assert not bench.order("grant", role="gateway", key=OTHER, holder=OTHER)["ok"]
    reply = bench.order("status", role="gateway", key=OTHER)
    assert reply["ok"] and reply["status"]["state"] == "READY"
    assert {a["id"] for a in bench.status["alarms"]} >= {"masquerade"}


def test_refusals_come_back_as_verdicts(bench: Any) -> None:
    bench.start().active()
    bench.command(press=1, plan_hash=b"another!")
    verdict = bench.until(lambda: next((m for m in bench.seen["gateway"] if m["t"] == "verdict" and m["reason"] == "plan_hash"), None), "a verdict")
    assert verdict["key"] == SURGEON and verdict["text"]


def test_a_large_path_is_stored(bench: Any) -> None:
    from safety.lease import path_digest

    bench.start().everybody()
    q = [[0.1 + i * 1e-5, 0.2] for i in range(2000)]
    s = [i * 1e-4 for i in range(2000)]
    m = [0.01] * 2000
    digest = path_digest("goal", q, s, m)
    assert bench.order("path", path_hash=digest, kind="goal", q=q, s=s, margin=m)["ok"]
    bench.until(lambda: digest in bench.status["paths"], "the arm took it")


def test_a_key_taken_out_of_the_table_is_out_within_seconds(bench: Any) -> None:
    bench.start().active()
    bench.roles.write_text("")

    def fenced() -> bool:
        bench.command(press=1)
        return bench.status["state"] == "HOLD" and bench.status["holder"] == ""

    bench.until(fenced, "the key is revoked")
    bench.roles.write_text("broken [")
    bench.until(lambda: bench.status["holder"] == "", "still nobody")


def test_a_deaf_peer_blocks_nobody(bench: Any) -> None:
    bench.start().active()
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    deaf.connect(str(bench.run / "governor.sock"))
    deaf.send(msgpack.packb({"t": "hello", "role": "probe", "v": 1}))
    before = bench.status["n"]

    def going_on() -> bool:
        bench.command(press=1)
        return bench.status["n"] > before + 600

    bench.until(going_on, "the governor goes on")
    deaf.close()


def test_socket_and_folder_are_private_and_a_second_governor_is_refused(bench: Any) -> None:
    bench.start().everybody()
    assert stat.S_IMODE((bench.run / "governor.sock").stat().st_mode) == 0o600
    second = subprocess.run(
        [sys.executable, "-m", "safety.process", "--site", "a", "--run-dir", str(bench.run), "--state-dir", str(bench.folder / "s2")],
        cwd=ROOT, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert second.returncode == 1 and "already listens" in second.stderr and second.stderr.startswith("governor of ")
    assert bench.order("note")["ok"]
    bench.close()
    assert not (bench.run / "governor.sock").exists()


@pytest.mark.parametrize(("words", "complaint"), [
    (["--param", "lease_ms=500"], "envelope"), (["--param", "speed=1"], "unknown parameter"), (["--param", "lease_enabled=0"], "campaign only"),
    (["--roles", "/nonexistent/roles.toml"], "roles.toml"), (["--state-dir", "/proc/none"], "/proc/none"),
])  # fmt: skip
def test_a_wrong_start_says_what_and_ends_with_one(tmp_path: Path, words: list[str], complaint: str) -> None:
    base = {"--site": "a", "--run-dir": str(tmp_path / "r"), "--state-dir": str(tmp_path / "s")}
    if words[0] in base:
        base.pop(words[0])
    args = [x for pair in base.items() for x in pair] + words
    done = subprocess.run([sys.executable, "-m", "safety.process", *args], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1 and complaint in done.stderr and "Traceback" not in done.stderr


def test_an_arm_that_talks_nonsense_is_a_lost_arm(bench: Any) -> None:
    bench.start().everybody()
    bench.silent.add("arm")
    bench.arm.send(t="report", stamp="now")
    bench.state("FAULT")


def test_no_ros_and_no_zmq_in_the_governor() -> None:
    code = "import sys, safety.process; print([m for m in ('rclpy','zmq','numba','scipy','teleop','sim') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert done.stdout.strip() == "[]"
