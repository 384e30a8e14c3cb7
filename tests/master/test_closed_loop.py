"""The hand through the real governor and the real drive, in virtual time: it follows, it never jumps, and a cut line
ends it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from safety.states import State
from sim.hand_trial import HandTrial, Scheme
from sim.network.channel import Line
from sim.network.models import Normal, read_trace
from teleop.master.hand import HandState
from teleop.master.recorded import RecordedDevice, read_recording
from teleop.master.robot_view import MOTION_STATES
from teleop.master.scripted import Reach, ScriptedDevice, Tremor
from teleop.master.user_scale import UserScale

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared/data"
Q = (0.0, 0.0, 0.0, 1.0)
pytestmark = pytest.mark.slow


def hand(seconds=30.0):
    there, back = (0.02, 0.01, -0.01, *Q), (0.0, 0.0, 0.0, *Q)
    reaches = [Reach(0.5 + 2.0 * k, 2.5 + 2.0 * k, back if k % 2 else there) for k in range(int(seconds / 2))]
    return ScriptedDevice(reaches, back, Tremor(), rate_hz=250.0)


def test_over_a_quiet_line_the_arm_goes_where_the_hand_asks_and_engages_without_a_jump():
    trial = HandTrial(hand(), Line(Normal(20.0, 1.0)), Scheme("quiet")).run(5.0)
    out, t = trial.close(), trial.out.trace
    engaged = np.array(t.engaged)
    wish, arm = np.array(t.wish)[engaged], np.array(t.arm)[engaged]
    assert engaged.mean() > 0.8
    assert np.linalg.norm(wish - arm, axis=1).max() < 1.5e-3, (
        "40 ms of delay and 26 ms of shaping at 5 mm/s, and tremor"
    )
    assert out.jumps and max(out.jumps) < 1e-9
    assert out.rejected.get("jump", 0) == 0 and out.holds == 0 and out.stops == 0


def test_a_cut_line_stops_the_arm_and_the_held_deadman_does_not_move_it_again():
    trial = HandTrial(hand(), Line(Normal(20.0, 1.0)), Scheme("cut"), reaction=1e6).run(2.0)
    assert trial.rig.s.state is State.ACTIVE
    trial.up.cut(trial.rig.now + 300_000_000)
    trial.run(0.4)
    stood = trial.arm.report.setpoint
    assert trial.rig.s.state in (State.PAUSE, State.HOLD)
    trial.run(1.5)
    assert trial.loop.last.hand.state is HandState.WAITING_FOR_RELEASE
    assert trial.out.trace.presses[-100:] == [0] * 100
    assert np.abs(np.array(trial.arm.report.setpoint) - stood).max() < 1e-6


def test_a_soft_resume_goes_on_after_a_short_gap_from_where_the_arm_stands():
    trial = HandTrial(hand(), Line(Normal(20.0, 1.0)), Scheme("soft", soft_resume=True), reaction=1e6).run(2.0)
    trial.up.cut(trial.rig.now + 250_000_000)
    trial.run(1.5)
    out = trial.close()
    assert out.pauses == 1 and out.holds == 0
    assert trial.rig.s.state in MOTION_STATES and max(out.trace.presses) == 1
    assert max(out.jumps) < 1e-9


def test_the_scale_follows_the_loop_age_without_a_jump():
    trial = HandTrial(
        hand(), Line(Normal(90.0, 30.0), fifo=False), Scheme("slow", scale=UserScale(scale=1.0, full_until=0.15))
    )
    out = trial.run(5.0).close()
    assert trial.loop.last.scale < 1.0
    assert len(out.jumps) > 1 and max(out.jumps) < 1e-9


@pytest.mark.skipif(not DATA.exists(), reason="the surgeon recording and the 5G traces are not at ../shared/data")
def test_a_recorded_surgeon_over_a_measured_5g_line():
    rows = read_recording(DATA / "motion/uva_dvtrainer_itp_session7.csv.gz")
    line = Line(read_trace(DATA / "net/cicv5g_urban_n78_20kmh_18Hz.csv.gz")[0], fifo=False)
    trial = HandTrial(
        RecordedDevice(rows, orientation=False), line, Scheme("real", scale=UserScale(scale=1.0, least=1.0))
    )
    out = trial.run(8.0).close()
    engaged = np.array(out.trace.engaged)
    error = np.linalg.norm(np.array(out.trace.wish)[engaged] - np.array(out.trace.arm)[engaged], axis=1)
    assert engaged.mean() > 0.7 and np.percentile(error, 95) < 2e-3
    assert max(out.jumps) < 1e-9


@pytest.mark.parametrize("name", ["add_a_device.py", "add_an_arm.py"])
def test_the_example_runs(name):
    done = subprocess.run([sys.executable, f"examples/{name}"], cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(not DATA.exists(), reason="the UR5e description is not at ../shared/data")
def test_the_example_adds_a_ur5e_by_configuration():
    urdf = DATA / "urdf/ur5e/ur5e.urdf"
    command = [sys.executable, "examples/add_an_arm.py", "--urdf", str(urdf)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0 and "ur5e: 6 joints" in done.stdout, done.stdout + done.stderr


def test_an_arm_description_that_does_not_fit_is_an_error_with_its_file(tmp_path):
    (tmp_path / "bad.yaml").write_text("name: x\n")
    command = [sys.executable, "examples/add_an_arm.py", "--config", str(tmp_path / "bad.yaml")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110)
    assert done.returncode == 1 and "bad.yaml" in done.stderr
