"""`Hand`: a model console with a surgeon's hand, seeded. Believes only what arrived; follows docs/orders.md to the letter.

It is deliberately simpler than the shipped console (which waits for a release where this one resumes softly), so that the
governor meets the less careful client.
"""

import random
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from safety.command import COMMAND_VERSION, Command
from sim.campaign.rig import PLAN


@dataclass(frozen=True, slots=True)
class Frame:
    """What a state frame tells: robot stamp, governor's words, where the set-point stands."""

    stamp: int
    session: bytes
    epoch: int
    rebase: int
    state: str
    pause_kind: str
    setpoint: tuple[float, ...]
    view: int


class Hand:
    """Moves along `way` (unit vector, base frame) there and back, or permits a path; presses from `press_at` on."""

    def __init__(
        self, mode: str, path: bytes, start: np.ndarray, way: np.ndarray, rng: random.Random, press_at: int
    ) -> None:
        self.mode, self.path = mode, path
        self.site = "a"
        self.way = way
        self.rng = rng
        self.speed = rng.uniform(0.006, 0.03)
        self.reach = 0.03
        self.press_at = press_at
        self.frame: Frame | None = None
        self.seq = 0
        self.press = 0
        self.ordinal = 10
        self.wants = True
        self.rebase = -1
        self.base: tuple[float, ...] = ()
        self.moved = 0.0
        self.sign = 1.0
        self.jump = 0.0
        self.plan = PLAN
        self.registration = 1
        self.clock_rate = 1.0
        self.frozen_echo = 0
        self.frozen_view = 0
        self.still = False
        self.stop = False
        self.s_limit = 1.0

    def receive(self, frame: Frame) -> None:
        if self.frame is None or frame.stamp > self.frame.stamp:
            self.frame = frame

    def _press(self, now: int, f: Frame) -> None:
        if not self.wants or now < self.press_at or f.state in ("HOLD", "STOP", "FAULT", "LOCAL", "INIT"):
            self.press = 0
        elif f.state == "PAUSE" and f.pause_kind != "lease":
            if f.rebase != self.rebase:
                self.press = 0  # let go once, then press anew
            elif not self.press:
                self._new_press()
        elif not self.press:
            self._new_press()

    def _new_press(self) -> None:
        self.ordinal += 1
        self.press = self.ordinal

    def command(self, now: int) -> Command | None:
        """This tick's command, or None while nothing has been heard."""
        f = self.frame
        if f is None:
            return None
        self._press(now, f)
        if f.rebase != self.rebase:
            self.rebase, self.base, self.moved = f.rebase, f.setpoint, 0.0
        target = s_limit = None
        if self.press:
            if self.path:
                s_limit = self.s_limit
            else:
                target = self._target(f)
        self.seq += 1
        return Command(
            v=COMMAND_VERSION, session=f.session, site=self.site, arm="arm1", epoch=f.epoch, seq=self.seq, rebase=self.rebase,
            t_console=int(now * self.clock_rate), echo_state=self.frozen_echo or f.stamp,
            echo_view=(self.frozen_view or f.view) or None, mode=self.mode, press=self.press, stop=self.stop,
            plan_hash=self.plan, path_hash=self.path, registration_epoch=self.registration, peer_checkpoint=b"",
            target=target, q_target=None, s_limit=s_limit,
        )  # fmt: skip

    def _target(self, f: Frame) -> tuple[float, ...]:
        at = np.array(self.base[:3]) + self.way * self.moved
        ahead = float(np.linalg.norm(at - np.array(f.setpoint[:3])))
        if not self.still and ahead < 0.008:
            self.moved += self.sign * self.speed * 0.01
            if abs(self.moved) > self.reach:
                self.sign = -self.sign
            at = np.array(self.base[:3]) + self.way * self.moved
        at = at + self.way * self.jump
        return (*(float(x) for x in at), *f.setpoint[3:])


def pack(command: Command) -> bytes:
    """As the console's encoder does."""
    data: Any = msgpack.packb(command.to_wire())
    return bytes(data)
