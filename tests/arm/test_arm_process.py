"""The real arm process with a governor that is killed in the middle of a motion: at rest inside the bound, and it
says so."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import msgpack
import pytest

from teleop.arm import stopping

pytest.importorskip("rclpy", reason="ROS 2 is not installed in this environment")
pytest.importorskip("longhand_msgs", reason="the interfaces are not built (make)")

ROOT = Path(__file__).parents[2]
V_CAP = 0.02
L_S = 0.150
T_D = 0.004

GOVERNOR = textwrap.dedent(
    """
    import msgpack, socket, sys, time
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.connect(sys.argv[1])
    s.send(msgpack.packb({"t": "hello", "role": "governor", "v": 1}))
    while (m := msgpack.unpackb(s.recv(1 << 20)))["t"] != "report":
        pass
    target, n = [m["pose"][0] + 0.2, *m["pose"][1:]], 0
    while True:
        n, now = n + 1, time.monotonic_ns()
        s.send(msgpack.packb({"t": "lease", "lease_id": n, "epoch": 1, "seq": n, "t_k": now, "expiry": now + 150_000_000,
            "mode": "servo", "kind": "pose", "target": target, "q_target": None, "path_hash": b"", "s_limit": None,
            "v_cap": float(sys.argv[2]), "w_cap": 0.2}))
        print(now, flush=True)
        time.sleep(0.01)
    """
)


def environment():
    env = {k: v for k, v in os.environ.items() if k not in ("LD_LIBRARY_PATH", "_ROS_WHEELS_BOOTSTRAP_COMPLETE")}
    env |= {
        "ROS_DOMAIN_ID": "97",
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "AMENT_PREFIX_PATH": sys.prefix,
    }
    return env


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        got = condition()
        if got:
            return got
        time.sleep(0.01)
    raise AssertionError(f"{what} did not happen in {seconds} s")


def world(run, request):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
        s.settimeout(5.0)
        s.connect(str(run / "world.sock"))
        s.send(msgpack.packb(request))
        return msgpack.unpackb(s.recv(1 << 20))


@pytest.mark.slow
@pytest.mark.ros
@pytest.mark.parametrize("driver", ["kinematic", "pybullet"])
def test_a_killed_governor_leaves_an_arm_that_comes_to_rest_inside_the_bound(tmp_path, driver):
    run = tmp_path / "run"
    arm = subprocess.Popen(
        [sys.executable, "-m", "longhand_ros.arm", "--run-dir", str(run), "--driver", driver, "--seed", "5"],
        cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    governor = None
    try:
        wait_for(lambda: (run / "world.sock").exists() and (run / "arm.sock").exists(), 60, "the arm's start")
        governor = subprocess.Popen(
            [sys.executable, "-c", GOVERNOR, str(run / "arm.sock"), str(V_CAP)],
            stdout=subprocess.PIPE,
            env=environment(),
        )
        start = world(run, {"t": "truth"})["world_T_tip"]
        wait_for(lambda: world(run, {"t": "truth"})["world_T_tip"][0] - start[0] > 0.008, 20, "motion")
        governor.send_signal(signal.SIGKILL)
        out, _ = governor.communicate(timeout=10)
        last_lease = int(out.split()[-1])

        # another governor may come at once, and sees the arm stop without having said a word
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.settimeout(5.0)
        wait_for(lambda: s.connect_ex(str(run / "arm.sock")) == 0, 5, "the door")
        reports = []
        while not reports or reports[-1]["drive"] not in ("standstill", "parked"):
            message = msgpack.unpackb(s.recv(1 << 20))
            if message["t"] == "report":
                reports.append(message)
        s.close()
        rest = reports[-1]
        assert rest["fault"] == ""
        t_stop = stopping.t_stop(V_CAP, 0.2, 2.0)
        took = (rest["stamp"] - last_lease) * 1e-9
        # a busy machine may tick late: time is late by as much, travel never
        late = max(r["late_ns"] for r in reports) * 1e-9 * len(reports)
        assert took <= L_S + T_D + t_stop + 0.02 + late
        moved = rest["travel"] - reports[0]["travel"]
        before = max(0, reports[0]["stamp"] - last_lease) * 1e-9 * V_CAP
        bound = V_CAP * (L_S + T_D) + stopping.d_stop(V_CAP, 0.2, 2.0) + 0.0002
        assert moved + before <= bound
        still = world(run, {"t": "truth"})["world_T_tip"]
        assert world(run, {"t": "truth"})["world_T_tip"] == pytest.approx(still, abs=2e-6)

        arm.send_signal(signal.SIGTERM)
        text, _ = arm.communicate(timeout=20)
        assert arm.returncode == 0, text
        assert "real-time priority" in text
        assert not (run / "arm.sock").exists() and not (run / "world.sock").exists()
    finally:
        for process in (governor, arm):
            if process is not None and process.poll() is None:
                process.kill()
                process.wait()


@pytest.mark.ros
@pytest.mark.parametrize(
    ("arguments", "word"),
    [([], "--run-dir"), (["--run-dir", "{run}", "--driver", "kinematic", "--model", "nosuch"], "iiwa7")],
)
def test_a_start_that_cannot_work_says_why(tmp_path, arguments, word):
    command = [a.format(run=tmp_path / "run") for a in arguments]
    done = subprocess.run(
        [sys.executable, "-m", "longhand_ros.arm", *command], cwd=ROOT, env=environment(), capture_output=True,
        text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert word in done.stderr
