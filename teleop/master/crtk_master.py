"""Any master arm that speaks CRTK (dVRK MTM, Touch, Force Dimension, ...) as a master device, without ROS in it.

The ROS side (`longhand_ros.crtk_master`) subscribes and calls the `on_*` methods; what goes back to the arm goes
through a `CrtkMasterLink`.
CRTK facts that matter here (see docs/hand.md): a stamp of 0 means that the data are not valid (dVRK publishes
identity poses with
stamp 0 until it is homed); only ENABLED and homed arms may be believed; there is no frame id to trust, so the
alignment to our base
is `HandSettings.base_q_master`; units are SI by convention, so a jump of metres shows at once.
"""

from collections.abc import Sequence
from typing import Protocol

from teleop.geometry import Pose, check_pose
from teleop.master.device import Capabilities
from teleop.master.sample import CLUTCH, DEADMAN, MasterSample


class CrtkMasterLink(Protocol):
    """What can be sent to the arm; the ROS node implements it."""

    def servo_cf(self, wrench: Sequence[float]) -> None:
        """Force and torque at the grip, N and Nm (body/servo_cf where the arm has it)."""

    def move_cp(self, pose: Pose) -> None:
        """Go to a pose by itself (aligning)."""

    def state_command(self, command: str) -> None:
        """enable, disable, home, ..."""


class CrtkMasterDevice:
    """See the module. force: the arm renders `servo_cf`; damping: its physical damping, N s/m (0 unknown: no
    forces)."""

    def __init__(
        self,
        link: CrtkMasterLink,
        name: str = "crtk master",
        rate_hz: float = 100.0,
        gripper: bool = False,
        force: bool = False,
        damping: float = 0.0,
    ) -> None:
        self.capabilities = Capabilities(
            name, "pose", (True,) * 6, rate_hz, orientation=True, gripper=gripper, force=force, damping=damping
        )
        self._link = link
        self._pose: Pose | None = None
        self._gripper: float | None = None
        self._buttons: set[str] = set()
        self._stamp = 0
        self._fresh = False
        self._seq = 0
        self._state, self._homed = "", False
        self._note = ""
        self._lost = False
        self._gone = ""

    def connect(self) -> None:
        """Ask the arm to enable and home itself; it answers by its operating state."""
        self._link.state_command("enable")
        self._link.state_command("home")

    # --- called by the ROS side

    def on_measured_cp(self, pose: Sequence[float], stamp_ns: int) -> None:
        """measured_cp. A stamp of 0 or a pose that is none is no reading."""
        if stamp_ns == 0:
            self._note = "it says that its pose is not valid (stamp 0)"
            return
        try:
            self._pose = check_pose(pose)
        except ValueError as e:
            self._note = str(e)
            return
        if stamp_ns != self._stamp:
            self._stamp, self._fresh, self._note, self._lost = stamp_ns, True, "", False

    def on_gripper(self, angle: float) -> None:
        """gripper/measured_js position, rad."""
        self._gripper = angle

    def on_button(self, button: str, pressed: bool) -> None:
        """operator_present or button 1 (deadman), clutch or button 2."""
        name = {"operator_present": DEADMAN, "button1": DEADMAN, "clutch": CLUTCH, "button2": CLUTCH}.get(
            button, button
        )
        (self._buttons.add if pressed else self._buttons.discard)(name)

    def on_operating_state(self, state: str, is_homed: bool) -> None:
        self._state, self._homed = state, is_homed

    def on_lost(self) -> None:
        """The publisher has gone (liveliness, matched count): a release."""
        self._lost = True
        self._buttons.clear()

    # --- MasterDevice

    def read(self, now_ns: int) -> MasterSample | None:
        name = self.capabilities.name
        ready = self._state == "ENABLED" and self._homed
        if self._lost or (self._state and not ready):
            self._seq += 1
            why = "its node has gone" if self._lost else f"it is {self._state}{'' if self._homed else ', not homed'}"
            self._fresh = False
            if why == self._gone:
                return None
            self._gone = why
            return MasterSample(name, self._seq, None, now_ns, connected=False, note=why)
        self._gone = ""
        if not self._fresh or self._pose is None:
            return None
        self._fresh = False
        self._seq += 1
        return MasterSample(
            name, self._seq, self._stamp, now_ns, pose=self._pose, gripper=self._gripper, buttons=frozenset(self._buttons),
            note=self._note,
        )  # fmt: skip

    def align(self, orientation: Sequence[float]) -> bool:
        """Ask the arm to turn its grip to `orientation` (master frame) where it is. False while its pose is unknown."""
        if self._pose is None or self._state != "ENABLED":
            return False
        self._link.move_cp((*self._pose[:3], *orientation))
        return True

    def send_force(self, wrench: tuple[float, ...]) -> bool:
        if not self.capabilities.force or self._state != "ENABLED":
            return False
        self._link.servo_cf(wrench)
        return True

    def disconnect(self) -> None:
        """Leave the arm weightless and let others use it: no force any more."""
        if self.capabilities.force and self._state == "ENABLED":
            self._link.servo_cf((0.0,) * 6)
        self._pose, self._fresh = None, False
