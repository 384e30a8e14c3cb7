"""The surgeon's hand on one hospital's arm: the page's devices, `HandLoop` and the predictor behind the face of a
command maker.

    page ─ master message ─► BrowserDevice ─► HandLoop.feel ─┐
    page ─ hand message ─► teleop.console.hand (press, seat) ─┴─► HandLoop.command ─► Command, 100 Hz

Two judges, and both must say yes: the console's deadman machine knows pages, seats and the age of a press, the hand's own
guard knows devices. A press counts for the device that the page named when it began, and for no other. Modes other
than servo go to the command maker directly; the hand is laid down in them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from safety.command import Command
from safety.states import Mode
from teleop.console.hand import SAMPLE_LIFE
from teleop.geometry import (
    Pose,
    Quat,
    Vec3,
    axis_of,
    cross,
    dot,
    matrix_to_quat,
    norm,
    quat_multiply,
    quat_normalize,
    unit,
)
from teleop.master.admittance import AxisAdmittance
from teleop.master.browser import KINDS, BrowserDevice
from teleop.master.command_maker import Intention, Phase
from teleop.master.device import Capabilities
from teleop.master.fixtures import AxisGuide, Cone, Fixture
from teleop.master.guard import GuardParams
from teleop.master.hand import HandState
from teleop.master.hand_loop import HandLoop
from teleop.master.haptics import LocalHaptics
from teleop.master.prediction import PredictionError, Predictor
from teleop.master.reflection import NOTHING, ReflectedForce, grip_force
from teleop.master.robot_view import MOTION_STATES, RobotView
from teleop.master.sample import MasterSample
from teleop.master.shaping import ShapingParams
from teleop.master.tremor import STRENGTHS
from teleop.master.user_scale import UserScale
from teleop.master.vectors import add, scaled

#: A page that shows servo sends its devices 50 times a second; without them for so long servo is not in use. ns
IN_USE = 500_000_000
#: Without a state frame for so long nothing of the guide is felt any more. ns
SILENT = 200_000_000
#: Turns the master's axes (x right, y away or up, z back) into the guide's (x right, y down, z ahead).
HALF_TURN_ABOUT_X: Quat = (1.0, 0.0, 0.0, 0.0)
ALIGNMENTS = ("picture", "guide")
FIXTURES = ("none", "cone", "axis", "push")


@dataclass(frozen=True, slots=True)
class Choices:
    """What a surgeon may set. scale 0.05..1; least: factor left on an old line; tremor: off, light, normal, strong;
    alignment: how the hand's axes lie (the probe's-eye picture, or the guide); fixture: none, the cone to the entry, the
    planned axis, or push: a push along the planned axis is a speed along it and nothing else moves; lock_*: the guide keeps
    its position, its orientation; align: a grip with an orientation engages only within 5 deg of the guide's; reflect: a device that renders forces
    also renders what the guide meets."""

    scale: float = 0.3
    least: float = 0.5
    tremor: str = "normal"
    alignment: str = "picture"
    fixture: str = "none"
    lock_rotation: bool = False
    lock_translation: bool = False
    align: bool = False
    reflect: bool = False


def choices_from(raw: Mapping[str, Any], old: Choices) -> Choices:
    """`old` with what a page asks to change. Raises ValueError naming the field and its range."""
    known = set(Choices.__dataclass_fields__)
    if unknown := set(raw) - known:
        raise ValueError(
            f"hand settings: {', '.join(sorted(map(str, unknown)))} is not one of {', '.join(sorted(known))}"
        )
    new = replace(old, **dict(raw))
    for name, among in (("tremor", ("off", *STRENGTHS)), ("alignment", ALIGNMENTS), ("fixture", FIXTURES)):
        if getattr(new, name) not in among:
            raise ValueError(f"hand settings: {name} is one of {', '.join(among)}, not {getattr(new, name)!r}")
    for name in ("lock_rotation", "lock_translation", "align", "reflect"):
        if type(getattr(new, name)) is not bool:
            raise ValueError(f"hand settings: {name} is true or false")
    for name in ("scale", "least"):
        if type(getattr(new, name)) not in (int, float):
            raise ValueError(f"hand settings: {name} is a number")
    UserScale(scale=new.scale, least=new.least)  # raises with the range
    return new


class SiteHand:
    """See the module. Has the face of `CommandMaker` that `ConsoleSession` needs: `step`, `view`, `phase`, `why`."""

    def __init__(self, me: str) -> None:
        self._devices = {kind: BrowserDevice(kind) for kind in KINDS}
        guard = GuardParams(silence=SAMPLE_LIFE)  # one rule for a page: its press and its devices age alike
        self.loop = HandLoop({k: d.capabilities for k, d in self._devices.items()}, me=me, guard=guard)
        self.predictor = Predictor()
        self.choices = Choices()
        #: The device whose press the console counts now; "" none.
        self.source = ""
        #: Planned line in the base frame, (entry, direction), for the fixtures; None: no fixture can be.
        self.line: tuple[tuple[float, ...], tuple[float, ...]] | None = None
        #: base to patient (LPS), rotation rows of 3; None before a registration.
        self.turn: tuple[tuple[float, ...], ...] | None = None
        self._page = ""
        self._heard = 0
        self._mirrored = False
        self._haptics: dict[str, LocalHaptics | None] = {}
        self._reflected: dict[str, ReflectedForce] = {}
        self._felt: tuple[int, Pose] | None = None
        self._answered: RobotView | None = None
        self._answered_at = 0
        self._news: list[str] = []
        self._use()

    # -- the face of a command maker ------------------------------------------------------------------------------
    @property
    def view(self) -> RobotView | None:
        return self.loop.maker.view

    @property
    def phase(self) -> Phase:
        return self.loop.maker.phase

    @property
    def why(self) -> str:
        return self.loop.maker.why

    def step(self, now_ns: int, robot: Mapping[str, Any] | RobotView | None, intention: Intention) -> Command | None:
        """The command of this tick (100 Hz)."""
        if self.in_use(now_ns) or self.loop.hand.state is not HandState.DISABLED:
            self._feel(now_ns, {})
        if intention.mode is Mode.SERVO:
            permitted = intention.pressed and self.source == self.loop.active
            command = self.loop.command(now_ns, robot, intention, permitted)
        else:
            command = self.loop.maker.step(now_ns, robot, intention)
        view = self.view
        if view is not None and view is not self._answered:
            self._answered, self._answered_at = view, now_ns
            self.predictor.answered(view)
        if command is not None:
            self.predictor.sent(command.seq, command.press, command.target)
        return command

    # -- from the page ----------------------------------------------------------------------------------------------
    def push(self, page: str, samples: object, age_ns: int, now_ns: int) -> None:
        """Readings of a page's devices. A malformed one is said and counts for nothing: its device falls silent."""
        if page != self._page:
            self.page_gone(self._page, now_ns)
            self._page = page
        self._heard = now_ns
        fed: dict[str, MasterSample | None] = {}
        for raw in samples if isinstance(samples, list) else []:
            kind = raw.get("kind") if isinstance(raw, dict) else None
            device = self._devices.get(kind) if isinstance(kind, str) else None
            if device is None:
                self._say(f"a page's device is one of {', '.join(KINDS)}, not {kind!r}")
                continue
            try:
                device.push({**raw, "device": kind}, now_ns - age_ns)
            except ValueError as error:
                self._say(str(error))
                continue
            fed[kind] = self._seen(device.read(now_ns))  # type: ignore[index]
        self._feel(now_ns, fed)

    # -- from devices at the console's own machine --------------------------------------------------------------------
    def announce(self, name: str, capabilities: Capabilities) -> None:
        """A device that is not a page's may be used from now on."""
        self.loop.announce(name, capabilities)
        self._haptics[name] = LocalHaptics(capabilities.damping) if capabilities.force else None
        if capabilities.force and capabilities.damping > 0.0 and capabilities.kind == "pose":
            self._reflected[name] = ReflectedForce()

    def feed(self, samples: Mapping[str, MasterSample | None], now_ns: int) -> None:
        """Readings of announced devices, at any rate; they count only while a page shows servo."""
        self._feel(now_ns, {name: self._seen(s) for name, s in samples.items()})

    def force(self, name: str, now_ns: int, sample: MasterSample | None) -> tuple[float, ...]:
        """Wrench (N, Nm, master frame) to render at an announced device: of the fixtures at this console, never from the
        line, and where the surgeon chose it of what the guide meets. sample: the newest reading of the device. Ask with every
        look at it, whether this hospital is in use or not: what is reflected is let down smoothly."""
        local = self._local_force(name, now_ns)
        reflected = self._reflected.get(name)
        if reflected is None or (reflected.quiet and not self.choices.reflect):
            return (*local, 0.0, 0.0, 0.0)
        there = sample is not None and sample.connected and sample.pose is not None
        reading = (sample.t_host, sample.pose[:3]) if there else None  # type: ignore[union-attr,index]
        view = self.view
        wish = self._contact_at_grip(name, now_ns, norm(local), reflected.params.force)
        f = reflected.step(now_ns, reading, wish, view.contact[2] if view is not None else 0.0)
        return (*add(local, f), 0.0, 0.0, 0.0)

    def _moves_the_guide(self, name: str) -> bool:
        return self.loop.last.device == name and self.loop.hand.state is HandState.ENGAGED

    def _local_force(self, name: str, now_ns: int) -> Vec3:
        haptics, last = self._haptics.get(name), self.loop.last
        before, self._felt = self._felt, None
        grip = None if last.reading is None or last.reading.sample is None else last.reading.sample.pose
        if haptics is None or not self._moves_the_guide(name) or grip is None or last.shaped is None or last.hand is None or last.hand.target is None:
            if haptics is not None:
                haptics.reset()
            return NOTHING
        self._felt = (now_ns, grip)
        dt = 0.0 if before is None else (now_ns - before[0]) * 1e-9
        velocity = (0.0,) * 3 if before is None or dt <= 0.0 else tuple((a - b) / dt for a, b in zip(grip[:3], before[1][:3], strict=True))
        allowed = self.loop.shaper.constrained(last.hand.target)
        return haptics.step(last.hand.target, allowed, velocity, last.scale, self.loop.settings.base_q_master, dt)

    def _contact_at_grip(self, name: str, now_ns: int, used: float, limit: float) -> Vec3 | None:
        """The contact at the guide as the grip is to feel it, N, master frame; None while nothing may be felt: the choice is
        off, the hand does not move the guide, the line is silent, the governor lets nothing move. used: N that the fixtures
        render already, of `limit` for both."""
        view = self.view
        if not self.choices.reflect or view is None or not self._moves_the_guide(name) or not self.in_use(now_ns):
            return None
        if view.state not in MOTION_STATES or now_ns - self._answered_at > SILENT:
            return None
        f = grip_force(scaled(axis_of(view.measured), -view.contact[0]), self.loop.last.scale, self.loop.settings.base_q_master)
        size, room = norm(f), max(0.0, limit - used)
        return f if size <= room else scaled(f, room / size)

    def _seen(self, sample: MasterSample | None) -> MasterSample | None:
        """A reading as the operator sees the picture: right and left of a rate device exchanged where that is a mirror."""
        if sample is None or sample.twist is None or not self._mirrored:
            return sample
        x, y, z, rx, ry, rz = sample.twist
        return replace(sample, twist=(-x, y, z, rx, -ry, -rz))

    def page_gone(self, page: str, now_ns: int) -> None:
        """The page closed, or another page takes over: its devices are let go."""
        if page and page == self._page:
            self._page = ""
            for device in self._devices.values():
                device.page_gone(now_ns)
            seen = {k for k, c in self.loop.last_samples().items() if c is not None and c.connected}
            self._feel(now_ns, {k: d.read(now_ns) for k, d in self._devices.items() if k in seen})

    def choose(self, choices: Choices) -> None:
        """Take new settings. Raises ValueError while a tremor filter is asked to change in mid-motion."""
        old, self.choices = self.choices, choices
        try:
            self._use()
        except ValueError:
            self.choices = old
            raise

    def in_use(self, now_ns: int) -> bool:
        """A page shows servo for this arm."""
        return bool(self._page) and now_ns - self._heard < IN_USE

    # -- for the page and the log -------------------------------------------------------------------------------------
    def take_news(self) -> list[str]:
        """What was noticed of devices since the last call, in words."""
        news, self._news = self._news, []
        return news

    def take_errors(self) -> list[PredictionError]:
        """Prediction errors since the last call, for the log."""
        return self.predictor.take_errors()

    def energies(self) -> dict[str, dict[str, float]]:
        """By device, of the reflected force, J: `budget` and what is `left` of it and of what came back, `out`, `into`,
        `returned` and `taken` (dissipated by the controller) of this engagement; the `engagements` so far and the sums
        before this one. For the log; empty while the surgeon has it off."""
        if not self.choices.reflect:
            return {}
        rows = {}
        for name, r in self._reflected.items():
            book, (out, into, taken) = r.ledger, r.before
            rows[name] = {
                "budget": book.budget, "left": book.observer, "out": book.out, "into": book.into, "returned": book.other,
                "taken": book.taken, "engagements": r.engagements, "out_before": out, "into_before": into, "taken_before": taken,
            }  # fmt: skip
        return rows

    def show(self, now_ns: int) -> dict[str, Any]:
        """What a page draws of the hand: state, device, scale, what changed the target, ghost, prediction, halo; what is
        reflected (None: no device here renders it)."""
        out = self.predictor.display()
        out["reflected"] = self._show_reflected()
        if self.in_use(now_ns):
            last = self.loop.last
            changes = last.shaped.changes if last.shaped and last.hand and last.hand.pressed else ()
            out |= {
                "state": self.loop.hand.state.value,
                "device": self.loop.active or "",
                "why": last.hand.why if last.hand else "",
                "scale": last.scale,
                "misaligned": last.hand.misaligned if last.hand else 0.0,
                "changes": [[c.what, c.moved, c.turned] for c in changes],
                "delay_ms": self.loop.shaper.delay * 1e3,
            }
        return out

    def _show_reflected(self) -> dict[str, Any] | None:
        if not self._reflected:
            return None
        row: dict[str, Any] = {"on": self.choices.reflect}
        active = self._reflected.get(self.loop.active or "")
        if self.choices.reflect and active is not None:
            row |= {"force": norm(active.force), "left_mj": 1e3 * active.ledger.observer, "budget_mj": 1e3 * active.ledger.budget}
        return row

    # -- inside -------------------------------------------------------------------------------------------------------
    def _use(self) -> None:
        c = self.choices
        if not self.loop.use_shaping(ShapingParams(tremor=c.tremor)):
            raise ValueError("the tremor filter cannot be changed while the hand moves the arm: release first")
        if (c.scale, c.least) != (self.loop.scale.scale, self.loop.scale.least):
            self.loop.use_scale(UserScale(scale=c.scale, least=c.least))
        self.loop.settings = replace(
            self.loop.settings, lock_rotation=c.lock_rotation, lock_translation=c.lock_translation, align=c.align
        )

    def _feel(self, now_ns: int, fed: Mapping[str, MasterSample | None]) -> None:
        if self.loop.hand.state in (HandState.DISABLED, HandState.ALIGNING, HandState.WAITING_FOR_RELEASE):
            self._align()
        self.loop.shaper.set_fixtures(self._fixtures(), self._admittance())
        report = self.loop.feel(now_ns, fed, self.in_use(now_ns))
        # a device that nobody uses may come and go without a word; what the one in use does is said
        others = tuple(f"{name}: " for name in self.loop.last_samples() if name != self.loop.active)
        self._news += [words for words in report.events if not words.startswith(others)] if others else report.events

    def _align(self) -> None:
        """Lay the hand's axes; only while nothing moves."""
        view = self.view
        if view is None:
            return
        q = quat_normalize(quat_multiply(view.setpoint[3:], HALF_TURN_ABOUT_X))
        self._mirrored = False
        if self.choices.alignment == "picture" and self.turn is not None:
            q, self._mirrored = picture_alignment(axis_of(view.setpoint), self.turn)
        old = self.loop.settings.base_q_master
        if abs(sum(a * b for a, b in zip(q, old, strict=True))) < 1.0 - 1e-9:
            self.loop.settings = replace(self.loop.settings, base_q_master=q)

    def _fixtures(self) -> tuple[Fixture, ...]:
        if self.line is None or self.choices.fixture not in ("cone", "axis"):
            return ()
        entry, direction = self.line
        e, d = (entry[0], entry[1], entry[2]), (direction[0], direction[1], direction[2])
        fixture: Fixture = AxisGuide(e, d) if self.choices.fixture == "axis" else Cone(e, d)
        return (fixture,)

    def _admittance(self) -> AxisAdmittance | None:
        if self.line is None or self.choices.fixture != "push":
            return None
        x, y, z = self.line[1]
        return AxisAdmittance((x, y, z))

    def _say(self, words: str) -> None:
        if words not in self._news:
            self._news.append(words)


def picture_alignment(direction: tuple[float, ...], turn: tuple[tuple[float, ...], ...]) -> tuple[Quat, bool]:
    """(base_q_master, mirrored) so that right and up of the hand are right and up of the probe's-eye picture, and ahead
    is ahead along the guide.

    direction: the guide's axis in the base frame; turn: rows of the rotation base to LPS. The picture (web/src/image/
    planes.js) has the head up and the patient's right on the left. Looked at from behind the patient that is a mirror
    image, which no rotation gives: then right and left of a rate device are exchanged (`mirrored`)."""

    def lps(v: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(dot(row, v) for row in turn)

    d = unit(lps(direction))
    up = (0.0, 0.0, 1.0) if abs(d[2]) < 0.99 else (0.0, -1.0, 0.0)
    k = dot(up, d)
    up = unit((up[0] - k * d[0], up[1] - k * d[1], up[2] - k * d[2]))
    back = (-d[0], -d[1], -d[2])
    right = cross(up, back)
    mirrored = right[0] < 0.0
    # columns of lps_R_master are right, up, back; base_R_master = turn^T lps_R_master
    m = np.asarray(turn).T @ np.array([right, up, back]).T
    return matrix_to_quat(m), mirrored
