"""An external CRTK arm behind our drive: it follows, and whatever it does wrong ends the motion."""

from pathlib import Path

import numpy as np
import pytest

from sim.fake_crtk_arm import FakeCrtkArm
from teleop.arm.arm_loop import ArmLoop
from teleop.arm.crtk_arm import CrtkArmDriver
from teleop.arm.drive import drive_params
from teleop.arm.driver import ArmDriver, DriverError
from teleop.arm.kinematics import warm
from teleop.arm.model import load_model
from teleop.geometry import norm, pose_error

MS = 1_000_000


class Cable:
    """Driver and fake arm, joined in virtual time."""

    def __init__(self, model=None, **fake):
        self.model = model or load_model()
        self.arm = FakeCrtkArm(self.model.joint_names, self.model.home, **fake)
        self.now = 1_000_000_000
        m = self.model
        self.driver = CrtkArmDriver(self, m.joint_names, m.lower, m.upper, m.v_max)

    def servo_jp(self, q):
        self.arm.hear(self.now, "servo_jp", list(q))

    def state_command(self, command):
        self.arm.hear(self.now, "state_command", command)

    def hold(self):
        self.arm.hear(self.now, "hold", None)

    def pass_time(self, ns):
        end = self.now + ns
        while self.now < end:
            self.now += MS
            self.arm.step(self.now)
            for topic, value in self.arm.published(self.now):
                if topic == "measured_js":
                    d = self.driver
                    d.on_measured_js(
                        value["names"], value["position"], value["velocity"], value["effort"], value["stamp"], self.now
                    )
                else:
                    self.driver.on_operating_state(*value)

    def ready(self):
        said = []
        for _ in range(50):
            self.pass_time(20 * MS)
            said.append(self.driver.wake())
            if not said[-1]:
                return said
        raise AssertionError(said)

    def moving(self):
        """Awake, brakes off, a first reference written."""
        self.ready()
        self.driver.brakes(False)
        self.driver.read(self.now)
        self.driver.write(self.model.home, np.zeros(self.model.n))
        return self


def test_it_is_an_arm_driver():
    assert isinstance(Cable().driver, ArmDriver)


def test_a_disabled_arm_is_enabled_homed_and_then_ready():
    said = Cable().ready()
    assert {"enabling", "homing", ""} <= set(said) and said[-1] == ""


def test_a_paused_arm_is_resumed_and_a_faulty_one_is_left_to_people():
    paused = Cable(state="PAUSED", homed=True)
    assert "resuming" in paused.ready()
    faulty = Cable(state="FAULT")
    faulty.pass_time(50 * MS)
    assert "by hand" in faulty.driver.wake()


def test_nothing_is_sent_with_the_brakes_on():
    c = Cable()
    c.ready()
    c.driver.write(c.model.home + 0.1, np.zeros(7))
    c.pass_time(50 * MS)
    assert np.allclose(c.arm.q, c.model.home) and c.arm.refused == 0


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        ({"names": ("a",) * 7}, "its joints are"),
        ({"position": [0.0]}, "1 values of position"),
        ({"velocity": [0.0, 0.0]}, "2 values of velocity"),
        ({"position": [float("nan")] * 7}, "not finite"),
    ],
)
def test_joint_states_that_cannot_be_used_are_a_driver_error(spoil, says):
    c = Cable(spoil=spoil)
    c.pass_time(50 * MS)
    with pytest.raises(DriverError, match=says):
        c.driver.read(c.now)


def test_joints_in_another_order_are_sorted_by_name():
    c = Cable()
    order = list(range(6, -1, -1))
    names = c.model.joint_names
    c.driver.on_measured_js([names[i] for i in order], [float(i) for i in order], [], [], 1, c.now)
    assert c.driver.read(c.now).q.tolist() == [0, 1, 2, 3, 4, 5, 6]


def test_invalid_stamps_and_silence_are_a_driver_error():
    c = Cable(invalid=True)
    c.pass_time(100 * MS)
    with pytest.raises(DriverError, match="nothing measured"):
        c.driver.read(c.now)
    c = Cable().moving()
    c.arm.silent = True
    c.pass_time(150 * MS)
    with pytest.raises(DriverError, match="silent for"):
        c.driver.read(c.now)


def test_an_arm_that_repeats_an_old_stamp_is_silent():
    c = Cable().moving()
    c.arm.spoil = {"stamp": c.now}
    c.pass_time(200 * MS)
    with pytest.raises(DriverError, match="silent"):
        c.driver.read(c.now)


@pytest.mark.parametrize("event", ["fault", "disable", "pause"])
def test_an_arm_that_leaves_enabled_ends_the_motion(event):
    c = Cable().moving()
    if event == "fault":
        c.arm.fault()
    else:
        c.state_command(event)
    c.pass_time(100 * MS)
    with pytest.raises(DriverError, match="it is (FAULT|DISABLED|PAUSED)"):
        c.driver.write(c.model.home, np.zeros(7))


def test_an_arm_that_refuses_set_points_is_noticed_by_its_lag():
    c = Cable(max_step=0.0).moving()
    q = c.model.home.copy()
    with pytest.raises(DriverError, match="behind its reference"):
        for _ in range(1000):
            q[0] += 0.001
            c.pass_time(4 * MS)
            c.driver.read(c.now)
            c.driver.write(q, np.zeros(7))
    assert c.arm.refused > 0


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda q: q * np.nan, "not finite"),
        (lambda q: q + 10.0, "outside"),
        (lambda q: q + np.eye(7)[2] * 0.3, "jumps"),
    ],
)
def test_a_reference_that_is_not_safe_is_refused_before_the_arm_sees_it(wrong, says):
    c = Cable().moving()
    with pytest.raises(DriverError, match=says):
        c.driver.write(wrong(c.model.home.copy()), np.zeros(7))


class Door:
    def __init__(self):
        self.waiting = []

    def poll(self, *, accept=True):
        got, self.waiting = self.waiting, []
        return got

    def send(self, packet):
        return True


def drive_along(c, seconds, target, first_id=1, v=0.02):
    """Run our drive on this arm with a lease towards `target` every 10 ms; returns the loop."""
    door = Door()
    loop = ArmLoop(c.driver, drive_params(warm(c.model), period_ns=c.driver.period_ns), door, c.now)
    n = first_id
    for k in range(int(seconds * 250)):
        c.pass_time(4 * MS)
        if k % 3 == 0:
            lease = {"t": "lease", "lease_id": n, "epoch": 1, "seq": n, "t_k": c.now, "expiry": c.now + 150 * MS}
            lease |= {"mode": "servo", "kind": "pose", "target": list(target), "q_target": None, "path_hash": b""}
            door.waiting.append(lease | {"s_limit": None, "v_cap": v, "w_cap": v / 0.1})
            n += 1
        loop.tick(c.now)
    return loop, door


@pytest.mark.parametrize("delay_ms", [1, 3])
def test_our_drive_takes_a_late_arm_where_it_was_asked_and_stops_it_when_leases_end(delay_ms):
    c = Cable(delay_ns=delay_ms * MS)
    c.ready()
    start = warm(c.model).fk(c.arm.q)
    target = (start[0] + 0.004, start[1], start[2] - 0.003, *start[3:])
    loop, _ = drive_along(c, 1.5, target)
    reached = warm(c.model).fk(c.arm.q)
    assert norm(pose_error(reached, target)[0]) < 1e-4
    for _ in range(100):
        c.pass_time(4 * MS)
        loop.tick(c.now)
    before = c.arm.q.copy()
    for _ in range(100):
        c.pass_time(4 * MS)
        loop.tick(c.now)
    assert np.abs(c.arm.q - before).max() < 1e-6 and c.arm.refused == 0


def test_an_arm_that_is_too_late_for_the_promised_tracking_is_a_fault_and_stands():
    """20 mm/s and 30 ms of round trip are 0.6 mm; e_track is 0.2 mm."""
    c = Cable(delay_ns=15 * MS)
    c.ready()
    start = warm(c.model).fk(c.arm.q)
    loop, _ = drive_along(c, 1.5, (start[0] + 0.004, start[1], start[2] - 0.003, *start[3:]))
    assert loop.report.drive == "fault" and "tracking error" in loop.report.fault
    before = c.arm.q.copy()
    c.pass_time(200 * MS)
    assert np.array_equal(c.arm.q, before)


@pytest.mark.parametrize("trouble", ["silent", "fault", "disable"])
def test_an_arm_that_fails_in_mid_motion_is_a_fault_of_our_drive_and_not_a_crash(trouble):
    c = Cable()
    c.ready()
    start = warm(c.model).fk(c.arm.q)
    target = (start[0] + 0.02, *start[1:])
    loop, _ = drive_along(c, 0.5, target)
    assert loop.report.drive == "moving"
    if trouble == "silent":
        c.arm.silent = True
    elif trouble == "fault":
        c.arm.fault()
    else:
        c.state_command("disable")
    for _ in range(60):
        c.pass_time(4 * MS)
        loop.tick(c.now)
    assert loop.report.drive == "fault"
    assert "CRTK arm" in loop.report.fault or "tracking error" in loop.report.fault, "whichever comes first"
    before = c.arm.q.copy()
    c.pass_time(200 * MS)
    assert np.array_equal(c.arm.q, before)


UR5E = Path(__file__).parents[3] / "shared/data/urdf/ur5e/ur5e.urdf"


@pytest.mark.skipif(not UR5E.exists(), reason="the UR5e description is not at ../shared/data")
def test_a_ur5e_is_an_arm_by_configuration_alone(tmp_path):
    text = (Path(__file__).parents[2] / "examples/add_an_arm/ur5e.yaml").read_text()
    tool = (Path(__file__).parents[2] / "teleop/arm/models/drill_guide.urdf").resolve()
    config = tmp_path / "ur5e.yaml"
    config.write_text(
        text.replace("urdf: ur5e.urdf", f"urdf: {UR5E}").replace("../../teleop/arm/models/drill_guide.urdf", str(tool))
    )
    model = load_model(config)
    assert model.n == 6
    home = warm(model).fk(model.home)
    assert home[:3] == pytest.approx((0.45, 0.0, 0.40), abs=2e-3)
    c = Cable(model)
    c.ready()
    target = (home[0], home[1] + 0.004, home[2] - 0.004, *home[3:])
    drive_along(c, 1.5, target)
    assert norm(pose_error(warm(model).fk(c.arm.q), target)[0]) < 1e-4
