"""A hand out of a session log: what the holder's console asked the guide to do, as a recording of a hand.

Every command frame is in the log as it came. Those in servo say where the guide shall be, in the arm's base frame: played
back with scale 1 and `base_q_master` at identity they ask for the same motion again. The times are those of the console that
sent them, so the line's jitter is not in the recording; frames that were lost are not either. Jog, goal and advance have no
hand: there the recording is released.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from safety.command import Command
from safety.decode import Refusal, decode_command
from safety.inputs import KIND_OF, CommandIn, decode_input
from safety.log.reader import LogReader
from safety.log.steps import Step, steps
from safety.states import Mode
from teleop.geometry import Pose
from teleop.master.recorded import Row

#: A hand must be seen released before it may press: so long before the first press, ns.
LEAD = 200_000_000
DEADMAN_HELD, RELEASED = frozenset({"deadman"}), frozenset[str]()


def read_session(path: str | Path) -> list[Row]:
    """The recorded hand, time ascending from 0. Raises OSError, or ValueError saying that the log has no servo motion."""
    with LogReader(Path(path)) as log:
        commands = list(_commands(steps(log)))
    held = Counter(key for key, c in commands if _steers(c))
    if not held:
        raise ValueError(f"{path}: nobody steered by hand (servo) in this session")
    key = held.most_common(1)[0][0]
    return list(_rows(c for k, c in commands if k == key))


def _steers(c: Command) -> bool:
    return c.mode == Mode.SERVO and c.press > 0 and c.target is not None


def _commands(recorded: Iterable[Step]) -> Iterator[tuple[str, Command]]:
    """Every command that can be read, once: the second copy of a frame says nothing new, nor does one overtaken by a newer."""
    newest: dict[str, tuple[int, int]] = {}
    for step in recorded:
        if step.kind != KIND_OF[CommandIn]:
            continue
        i = decode_input(step.input)
        assert isinstance(i, CommandIn)
        try:
            c = decode_command(i.data)
        except Refusal:
            continue
        if (c.epoch, c.seq) > newest.get(i.key, (-1, -1)):
            newest[i.key] = (c.epoch, c.seq)
            yield i.key, c


def _rows(commands: Iterable[Command]) -> Iterator[Row]:
    start: int | None = None
    last = 0.0
    pose: Pose = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
    for c in commands:
        if start is None:
            if not _steers(c):
                continue
            start = c.t_console - LEAD
            yield Row(0.0, c.target or pose, RELEASED)
        t = 1e-9 * (c.t_console - start)
        if t <= last:
            continue  # a console that was started anew has another clock: what it says is not placed in time
        last = t
        if _steers(c) and c.target is not None:
            pose = c.target
        yield Row(t, pose, DEADMAN_HELD if _steers(c) else RELEASED)
