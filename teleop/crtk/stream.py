"""`LocalStream`: numbers and writes the command frames of the local principal."""

from collections.abc import Mapping, Sequence
from typing import Any

from safety.command import COMMAND_VERSION, Command
from teleop.wire.command import encode_command

LOCAL = "local"


class LocalStream:
    """Frames of one grant. `granted` first; after that every frame is one `{"t": "cmd"}` message for governor.sock.

    A program has no deadman. Its press is its participation: one ordinal per motion, a larger one for each new motion,
    so that the governor sees a change of mode or path as what it is.
    """

    def __init__(self, site: str, arm: str) -> None:
        self._site, self._arm = site, arm
        self._session = bytes(16)
        self.epoch = 0
        self.press = 0
        self._motion: object = None
        self._seq = 0

    def granted(self, epoch: int, session: bytes) -> None:
        """The governor enabled us under a (possibly new) epoch."""
        if (epoch, session) != (self.epoch, self._session):
            self.epoch, self._session, self._seq = epoch, session, 0
        self.new_motion(None)

    def new_motion(self, motion: object) -> None:
        """Another motion than the last one begins: a new press, unless it is the same (servo of the same kind)."""
        if motion is None or motion != self._motion:
            self._motion = motion
            self.press += 1

    def frame(self, status: Mapping[str, Any], echo: int, *, mode: str = "servo",
              target: Sequence[float] | None = None, q_target: Sequence[float] | None = None,
              path_hash: bytes = b"", s_limit: float | None = None, release: bool = False) -> dict[str, Any]:
        """One frame. echo: stamp (robot ns) of the arm state that the client could have seen. release: press 0.

        Raises ValueError if the frame would be too large.
        """
        self._seq += 1
        self.press = max(self.press, int(status.get("press_floor", 0)) + 1)
        command = Command(
            v=COMMAND_VERSION, session=self._session, site=self._site, arm=self._arm, epoch=self.epoch, seq=self._seq,
            rebase=int(status["rebase"]), t_console=echo, echo_state=echo, echo_view=None, mode=mode,
            press=0 if release else self.press, stop=False, plan_hash=b"", path_hash=path_hash,
            registration_epoch=int(status.get("registration_epoch", 0)), peer_checkpoint=b"",
            target=None if target is None else tuple(float(x) for x in target),
            q_target=None if q_target is None else tuple(float(x) for x in q_target), s_limit=s_limit,
        )  # fmt: skip
        return {"t": "cmd", "key": LOCAL, "path": 0, "data": encode_command(command)}
