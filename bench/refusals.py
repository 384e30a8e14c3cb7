"""How many commands that must be refused are accepted? Five classes, many variants, each against an arm in motion; the answer must be 0.

    .venv/bin/python bench/refusals.py --count 20000 --seed 1 [--json out.json]

Each frame is given, as bytes, to the shipped governor step (decoder, gate, authority) in a session in which the holder's own next
frame *would* be accepted, which is checked every time: so a refusal is the frame's own. Sealing and CURVE are not in the way here;
in the field an attacker has to break those first. Time: CPU time of the whole step.
"""

import argparse
import json
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgpack

from safety.command import Command
from safety.inputs import LeaseOut, VerdictOut
from safety.params import MS
from sim.campaign.rig import HOME, OBSERVER, OTHER, STRANGER, SURGEON, Rig

Frame = tuple[bytes, str]
#: The holder's key, with a frame that a stalled line held up for longer than A_hold.
LATE = "late"


def pack(c: Command) -> bytes:
    return bytes(msgpack.packb(c.to_wire()))


class Attacker:
    """Knows every frame so far and the governor's whole state."""

    def __init__(self, rig: Rig, wire: list[bytes], rng: random.Random) -> None:
        self.rig, self.wire, self.rng = rig, wire, rng

    def good(self, **changes: Any) -> Command:
        """What the holder would send next."""
        seq = self.rig.seq
        c = self.rig.make(press=self.rig.s.press, target=HOME)
        self.rig.seq = seq
        return replace(c, **changes)

    def replayed(self) -> Frame:
        """A frame of this session, or one of another session or of an earlier grant."""
        kind = self.rng.randrange(4)
        if kind == 0:
            return pack(self.good(session=self.rng.randbytes(16))), SURGEON
        if kind == 1:
            return pack(
                self.good(epoch=self.rig.s.auth.epoch - self.rng.randint(1, min(3, self.rig.s.auth.epoch)))
            ), SURGEON
        return self.rng.choice(self.wire), SURGEON

    def stale(self) -> Frame:
        """New number, old picture: older than the one before, or a good frame that came long after its picture."""
        if self.rng.random() < 0.5:
            return pack(self.good(echo_state=self.rig.s.last_echo - self.rng.randint(1, 10**9))), SURGEON
        released = {"press": 0, "target": None} if self.rng.random() < 0.5 else {}
        return pack(self.good(echo_state=self.rig.s.last_echo + self.rng.randint(0, 40 * MS), **released)), LATE

    def future(self) -> Frame:
        """An echo of a frame that the robot has not sent yet, a number too far ahead, a grant to come."""
        kind = self.rng.randrange(3)
        if kind == 0:
            return pack(self.good(echo_state=self.rig.now + self.rng.randint(1, 10**9))), SURGEON
        if kind == 1:
            return pack(self.good(seq=self.rig.s.last_seq + self.rng.randint(1100, 2**40))), SURGEON
        return pack(self.good(epoch=self.rig.s.auth.epoch + self.rng.randint(1, 5))), SURGEON

    def foreign(self) -> Frame:
        """A perfect frame of somebody else, or for another arm or site."""
        kind = self.rng.randrange(5)
        if kind == 3:
            return pack(self.good(arm="arm2")), SURGEON
        if kind == 4:
            return pack(self.good(site="b")), SURGEON
        return pack(self.good()), (OTHER, OBSERVER, STRANGER)[kind]

    def malformed(self) -> Frame:
        """The holder's next frame, spoiled in one way that no decoder may forgive."""
        rng = self.rng
        m: dict[str, Any] = self.good().to_wire()
        kind = rng.randrange(10)
        name = rng.choice(sorted(m))
        if kind == 0:
            data = pack(self.good())
            return data[: rng.randrange(len(data))], SURGEON
        if kind == 1:
            return pack(self.good()) + rng.randbytes(rng.randint(1, 8)), SURGEON
        if kind == 2:
            del m[name]
        elif kind == 3:
            m["x" + name] = 0
        elif kind == 4:
            target = list(HOME)
            target[rng.randrange(7)] = rng.choice([float("nan"), float("inf"), -float("inf")])
            m["target"] = target
        elif kind == 5:
            m[rng.choice(["v", "epoch", "seq", "rebase", "echo_state", "press"])] = rng.choice(
                [True, 1.0, "1", -1, None, [], 2**63]
            )
        elif kind == 6:
            m["target"] = rng.choice(
                [list(HOME[:6]), [*HOME, 0.0], [1, *HOME[1:]], [True, *HOME[1:]], "far", [[0.0]] * 7]
            )
        elif kind == 7:
            raw = msgpack.packb(m)
            return bytes([0xDE, 0, len(m) + 1]) + raw[3:] + msgpack.packb(name) + msgpack.packb(m[name]), SURGEON
        elif kind == 8:
            return rng.choice(
                [
                    b"\x91" * rng.randint(1, 470),
                    b"\xc1" * rng.randint(1, 4000),
                    rng.randbytes(rng.randint(1, 3000)),
                    b"",
                ]
            ), SURGEON
        else:
            m["target"], m["s_limit"] = list(HOME), 0.1
        return bytes(msgpack.packb(m)), SURGEON


def measure(count: int, seed: int) -> dict[str, Any]:
    rng = random.Random(seed)
    rig = Rig(require_rehearsal=False).active()
    wire: list[bytes] = []
    for k in range(300):
        rig.pass_time(10 * MS)
        c = rig.make(press=1, target=(HOME[0] + 1e-5 * (k % 2), *HOME[1:]))
        wire.append(pack(c))
        rig.send(wire[-1])
    rig.pass_time(10 * MS)
    assert rig.s.lease is not None
    attacker = Attacker(rig, wire, rng)
    out: dict[str, Any] = {}
    classes: dict[str, Callable[[], Frame]] = {
        "replayed": attacker.replayed, "stale": attacker.stale, "future": attacker.future, "foreign": attacker.foreign,
        "malformed": attacker.malformed,
    }  # fmt: skip
    for name, make in classes.items():
        reasons: Counter[str] = Counter()
        accepted = leases = 0
        times = []
        for k in range(count):
            if k % 100 == 0:  # the control: the holder's own next frame passes here
                control = rig.fork()
                assert any(isinstance(o, LeaseOut) for o in control.send(pack(attacker.good())))
            data, key = make()
            here = rig.fork()
            if key == LATE:
                key = SURGEON
                here.now += here.params.a_hold_ns + rng.randint(41 * MS, 10**10)
            before = here.s.accepted
            t = time.thread_time_ns()
            outs = here.send(data, key=key)
            times.append(time.thread_time_ns() - t)
            accepted += here.s.accepted - before
            leases += sum(isinstance(o, LeaseOut) for o in outs)
            reasons[next((o.reason for o in outs if isinstance(o, VerdictOut)), "second copy, dropped")] += 1
        times.sort()
        out[name] = {"frames": count, "accepted": accepted, "leases": leases, "reasons": dict(reasons.most_common()),
                     "p50_us": times[count // 2] / 1e3, "p99_us": times[count * 99 // 100] / 1e3, "max_us": times[-1] / 1e3}  # fmt: skip
    return out


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--count", type=int, default=20000, help="frames of each class")
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--json", default="")
    args = a.parse_args()
    result = measure(args.count, args.seed)
    print(
        f"{'class':10} {'frames':>7} {'accepted':>8} {'leases':>6} {'p50 us':>7} {'p99 us':>7} {'max us':>8}  refused as"
    )
    for name, r in result.items():
        why = ", ".join(f"{k} {v}" for k, v in r["reasons"].items())
        print(
            f"{name:10} {r['frames']:7} {r['accepted']:8} {r['leases']:6} {r['p50_us']:7.1f} {r['p99_us']:7.1f} {r['max_us']:8.1f}  {why}"
        )
    if args.json:
        Path(args.json).write_text(json.dumps({"seed": args.seed, "classes": result}, indent=1) + "\n")


if __name__ == "__main__":
    main()
