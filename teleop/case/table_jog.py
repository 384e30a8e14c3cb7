"""The hand of the doctor at the table: what the bedside page asks for becomes command frames of the principal "bedside".

Absolute targets a little ahead of where the drive's set-point stands, made afresh from each sample of the page, so that nothing
ever adds up: without samples there are no frames, and the lease ends by itself. Whether a target is allowed the governor
decides (`safety.table_jog`); nothing here knows a keep-out.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from safety.command import COMMAND_VERSION, Command
from teleop.wire.command import encode_command

BEDSIDE = "bedside"
#: How far ahead of the set-point the target lies (m): enough for 10 mm/s at 30 samples a second, less than a re-base allows (2 mm).
LEAD_M = 0.0015
#: What a page may ask for. "away": back along the guide's own axis, out of the patient; the others along the arm's base axes.
WAYS: dict[str, tuple[float, float, float]] = {
    "x+": (1.0, 0.0, 0.0), "x-": (-1.0, 0.0, 0.0), "y+": (0.0, 1.0, 0.0), "y-": (0.0, -1.0, 0.0),
    "up": (0.0, 0.0, 1.0), "down": (0.0, 0.0, -1.0),
}  # fmt: skip
AWAY = "away"


def direction(way: str, setpoint: Sequence[float]) -> tuple[float, float, float]:
    """Unit vector (base frame) of `way` for base_T_tip `setpoint` (7,). Raises KeyError on an unknown way."""
    if way != AWAY:
        return WAYS[way]
    x, y, z, w = setpoint[3:7]
    return (-2.0 * (x * z + w * y), -2.0 * (y * z - w * x), -(1.0 - 2.0 * (x * x + y * y)))


class TableFrames:
    """Numbers the frames of one take-over and keeps presses apart."""

    def __init__(self, site: str, arm: str) -> None:
        self._site, self._arm = site, arm
        self._grant: tuple[Any, Any] = (None, None)
        self._seq = 0
        self._theirs: tuple[str, int] | None = None
        self.press = 0

    def frame(self, ask: Mapping[str, Any], status: Mapping[str, Any], setpoint: Sequence[float] | None) -> dict[str, Any] | None:
        """The `cmd` message for governor.sock, or None where there is nothing to say (not LOCAL, no arm state).

        ask: {`server`: nonce of the page's server, `press`: its ordinal or 0, `way`, `echo`: the status stamp (ns) that the page
        had drawn}. Raises KeyError, TypeError or ValueError on anything else.
        """
        if status.get("state") != "LOCAL":
            return None
        press, echo, server = ask["press"], ask["echo"], ask["server"]
        if type(press) is not int or type(echo) is not int or type(server) is not str or press < 0 or echo < 0:
            raise ValueError("press and echo need integers >= 0, server needs text")
        grant = (status["epoch"], status["session"])
        if grant != self._grant:
            self._grant, self._seq, self._theirs, self.press = grant, 0, None, 0
        target = None
        if press:
            way = direction(str(ask["way"]), setpoint) if setpoint is not None else None
            if way is None or setpoint is None:
                return None
            target = (*(float(setpoint[k]) + LEAD_M * way[k] for k in range(3)), *(float(v) for v in setpoint[3:7]))
            if self._theirs != (server, press):
                self._theirs = (server, press)
                self.press = max(self.press, int(status["press_floor"])) + 1
        self._seq = max(self._seq, int(status["last_seq"])) + 1  # a desk that was restarted goes on where it stood
        command = Command(
            v=COMMAND_VERSION, session=grant[1], site=self._site, arm=self._arm, epoch=grant[0], seq=self._seq,
            rebase=int(status["rebase"]), t_console=echo, echo_state=echo, echo_view=None, mode="jog",
            press=self.press if press else 0, stop=False, plan_hash=status["plan_hash"], path_hash=b"",
            registration_epoch=int(status["registration_epoch"]), peer_checkpoint=b"", target=target, q_target=None, s_limit=None,
        )  # fmt: skip
        return {"t": "cmd", "key": BEDSIDE, "path": 0, "data": encode_command(command)}
