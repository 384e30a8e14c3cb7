"""A made-up but complete session log for benches and page tests: the shipped governor's real steps in virtual time,
an arm
that follows its target kinematically, link reports, tracker-free. Nothing in it was measured on a robot.

    python bench/synthetic_session.py OUT.mcap --seconds 600 [--site a] [--state-hz 500] [--seed 1]
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from safety.inputs import KIND_OF, Input, Output, encode_input, encode_outputs
from safety.log import SessionInfo, SessionLog
from safety.log.keepout import SIGNAL as KEEPOUT
from safety.log.keepout import Keepout
from safety.log.seconds import (
    ALARM_TOPIC,
    ALARM_TYPE,
    ARM_SIGNALS,
    CHANGE_TOPIC,
    CHANGE_TYPE,
    LINK_SIGNALS,
    SECOND_TOPIC,
    SECOND_TYPE,
    Overview,
)
from safety.log.steps import EVENT_TOPIC, EVENT_TYPE, ORDER_TOPIC, RARE
from safety.params import MS
from safety.states import State
from safety.status import status_of
from sim.campaign.rig import GOOD_LINK, HOME, SURGEON, Rig, still_report

UTC = 1_790_000_000_000_000_000
CENTRE = HOME[:3]


class Keeper(SessionLog):
    """Remembers what was written, so that a segment can be repeated."""

    kept: list[tuple[str, str, Any, int, bool]] | None = None

    def write(self, topic: str, msg_type: str, message: Any, mono: int, *, publish_mono: int | None = None) -> None:
        if self.kept is not None and not topic.startswith("log/"):
            self.kept.append((topic, msg_type, message, mono, False))
        super().write(topic, msg_type, message, mono, publish_mono=publish_mono)

    def write_alone(self, topic: str, msg_type: str, message: Any, mono: int) -> None:
        if self.kept is not None:
            self.kept.append((topic, msg_type, message, mono, True))
        super().write_alone(topic, msg_type, message, mono)


class Session:
    """Drives the rig and writes what a recorder would have written."""

    def __init__(
        self, path: Path, site: str, key: Ed25519PrivateKey, nonce: bytes, seed: int, state_hz: int, clock: int = 0
    ) -> None:
        """clock: ns by which this site's robot clock is ahead."""
        self.rng = random.Random(seed)
        self.rig = Rig(require_rehearsal=False)
        self.rig.now += clock
        self.rig.do = self.do  # type: ignore[method-assign]
        self.start = self.rig.now
        info = SessionInfo(
            session=nonce, site=site, case_id="SYNTHETIC", details={"simulated": True, "versions": {"longhand": "0.1.0"}},
        )  # fmt: skip
        self.log = Keeper(path, key, info, mono=self.rig.now, utc=UTC + seed * 1_000_000)
        self.overview = Overview(self.rig.now)
        self.keepout = Keepout()
        self.state_hz = state_hz
        self.n = 0
        self.travel = 0.0
        self.pose = HOME
        self.press = 0
        self.block: list[tuple[int, tuple[float, ...], float]] = []
        self.event(0, "boot", encode_input(self.rig.boot_input), b"\x90", "")

    def event(self, n: int, kind: str, data: bytes, outputs: bytes, summary: str) -> None:
        topic = ORDER_TOPIC if kind in RARE else EVENT_TOPIC
        if topic == ORDER_TOPIC:
            self.keepout.step(kind, data, outputs)
        fields = {
            "schema_version": 1, "n": n, "stamp_mono": self.rig.now, "kind": kind, "state": str(self.rig.s.state),
            "summary": summary, "input": data, "outputs": outputs,
        }  # fmt: skip
        self.log.write(topic, EVENT_TYPE, fields, self.rig.now)

    def do(self, i: Input) -> list[Output]:
        """One real step, recorded."""
        rig = self.rig
        rig.s, out = rig.step(rig.s, i, rig.params)
        kind = KIND_OF[type(i)]
        self.event(rig.s.n, kind, encode_input(i), encode_outputs(out), "")
        if kind not in ("tick", "report", "command") or rig.s.n % 10 == 0:
            self.status()
        return out

    def status(self) -> None:
        status = status_of(self.rig.s, self.rig.params)
        change = self.overview.status(status, self.rig.s.n, self.rig.now)
        if change is not None:
            self.log.write(CHANGE_TOPIC, CHANGE_TYPE, change, self.rig.now)
        for alarm in self.overview.alarms(status, self.rig.now):
            self.log.write(ALARM_TOPIC, ALARM_TYPE, alarm, self.rig.now)

    def turn(self, speed: float, beat: int) -> None:
        """10 ms: partners, arm, topics, tick. speed: m/s of the made-up arm along a circle of 30 mm radius."""
        rig = self.rig
        rig.now += 10 * MS
        angle = self.travel / 0.03
        x = CENTRE[0] + 0.03 * math.cos(angle) - 0.03
        y = CENTRE[1] + 0.03 * math.sin(angle)
        self.travel += speed * 0.01
        noise = self.rng.gauss(0.0, 2e-5)
        self.pose = (x + noise, y, CENTRE[2], *HOME[3:])
        setpoint = (x, y, CENTRE[2], *HOME[3:])
        report = still_report(rig.now)
        error = abs(noise) + speed * 0.002
        force = 0.5 + abs(self.rng.gauss(0.0, 0.2))
        report = replace(
            report, pose=self.pose, setpoint=setpoint, speed=speed, force=force, tracking_error=error, travel=self.travel,
            q=(0.1 + self.travel, 0.2 + 0.1 * noise), q_ref=(0.1 + self.travel, 0.2),
            drive="moving" if speed > 0 else "standstill", lease_id=rig.s.lease.lease_id if rig.s.lease else 0,
            late_ns=int(abs(self.rng.gauss(0, 2e5))),
        )  # fmt: skip
        rig.do(_report(rig.now, report))
        if beat % 5 == 0:
            for role in ("gateway", "recorder", "case"):
                rig.do(_beat(rig.now, role))
        if beat % 10 == 0:
            loss = 0.004 * abs(self.rng.gauss(0, 1))
            rtt = 40 + 8 * math.sin(rig.now / 60e9) + abs(self.rng.gauss(0, 3))
            rig.do(_link(rig.now, [{**GOOD_LINK[0], "loss": loss, "rtt_ms": rtt}, GOOD_LINK[1]]))
            self.write_link(loss, rtt)
        rig.do(_tick(rig.now))
        self.write_arm(report)
        self.block.append((rig.now, self.pose, self.travel))
        if len(self.block) == 10:
            self.write_block()
        second = self.overview.second(rig.now)
        if second is not None:
            self.log.write_alone(SECOND_TOPIC, SECOND_TYPE, second, rig.now)
        self.log.tick(rig.now)

    def write_arm(self, r: object) -> None:
        q = [0.3, 0.5, 0.1, -1.3, 0.2, 0.9, 0.0]
        fields = {
            "schema_version": 1, "stamp_mono": self.rig.now, "q": q, "dq": [0.0] * 7, "tau": [0.1] * 7,
            "base_t_tip": _pose(r.pose), "setpoint": _pose(r.setpoint), "speed": r.speed, "force": r.force,  # type: ignore[attr-defined]
            "drive": r.drive, "tracking_error": r.tracking_error, "late_ns": r.late_ns, "lease_id": r.lease_id,  # type: ignore[attr-defined]
        }  # fmt: skip
        self.overview.add_fields(ARM_SIGNALS, fields)
        self.overview.add(KEEPOUT, self.keepout.of_state(fields))
        self.log.write("arm_state", "longhand_msgs/msg/ArmState", fields, self.rig.now)

    def write_block(self) -> None:
        """100 ms of full-rate state, the samples between repeated with noise: the size is what matters."""
        per = max(1, self.state_hz // 100)
        rows = [row for row in self.block for _ in range(per)]
        n = len(rows)
        q = [self.rng.gauss(0.3, 1e-5) for _ in range(7 * n)]
        fields = {
            "schema_version": 1, "joints": 7, "stamp_mono": [r[0] for r in rows], "q": q, "q_ref": q,
            "tip": [v for r in rows for v in r[1]], "travel": [r[2] for r in rows], "lease_id": [1] * n,
        }  # fmt: skip
        self.log.write("arm_state_block", "longhand_msgs/msg/ArmStateBlock", fields, self.rig.now)
        self.block.clear()

    def write_link(self, loss: float, rtt: float) -> None:
        for path in (0, 1):
            fields = {
                "schema_version": 1, "stamp_mono": self.rig.now, "peer": "console", "path": path, "alive": True,
                "rtt_ms_p50": rtt + 10 * path, "rtt_ms_p99": rtt * 1.4, "loss": loss * (1 - 0.5 * path), "jitter_ms": 2.0,
            }  # fmt: skip
            self.overview.add_fields(LINK_SIGNALS, fields, f".{path}")
            self.log.write("link/stats", "longhand_msgs/msg/LinkStats", fields, self.rig.now)

    def case(self, who: str, step: str, detail: dict[str, object]) -> None:
        fields = {"schema_version": 1, "stamp_mono": self.rig.now, "who": who, "where": "a", "step": step,
                  "detail": json.dumps(detail)}  # fmt: skip
        self.log.write("case/events", "longhand_msgs/msg/CaseEvent", fields, self.rig.now)

    def tile(self, seconds: float, length: int) -> None:
        """Write the segment kept so far again and again, stamps shifted, until `seconds` are full. Only sizes, rates and
        overviews mean something in such a log: the governor's inputs carry the stamps of the first pass."""
        kept, log = self.log.kept or [], self.log
        log.kept = None
        shift = length
        while (shift - length) / 1e9 < seconds - length / 1e9:
            for topic, msg_type, fields, mono, alone in kept:
                moved = {**fields, "stamp_mono": fields["stamp_mono"] + shift} if isinstance(fields["stamp_mono"], int) else fields
                if topic == "arm_state_block":
                    moved = {**fields, "stamp_mono": [t + shift for t in fields["stamp_mono"]]}
                elif topic == SECOND_TOPIC:
                    moved["from_mono"] = fields["from_mono"] + shift
                (log.write_alone if alone else log.write)(topic, msg_type, moved, mono + shift)
                log.tick(mono + shift)
            shift += length

    def run(self, seconds: float, segment: float = 0.0) -> None:
        """All turns, then the close."""
        for _ in self.turns(segment or seconds):
            pass
        if segment and segment < seconds:
            self.tile(seconds, self.rig.now - self.start)
            self.rig.now = self.start + int(seconds * 1e9)
        self.close()

    def close(self) -> None:
        self.log.close(self.rig.now, "end of the synthetic session")

    def turns(self, seconds: float) -> Iterator[None]:
        """Press, move, release; every 90 s the line is silent for 2 s; the bedside acknowledges."""
        rig = self.rig
        rig.ready()
        rig.qualified()
        rig.scene(
            corridor={"entry": [0.4, 0.0, 0.18], "axis": [0.0, 0.0, -1.0], "radius": 0.004, "near": 0.03, "depth": 0.0},
            keepouts=[{"name": "dura", "kind": "sphere", "c": [0.4, 0.03, 0.15], "r": 0.012}],
        )
        self.case("bedside", "case.read_back", {"ok": True})
        rig.must("grant", holder=SURGEON)
        self.case("bedside", "case.request_control", {"ok": True})
        rig.seq = 0
        end = rig.now + int(seconds * 1e9)
        beat = 0
        cut_at, cut_until = rig.now + 45_000_000_000, 0
        while rig.now < end:
            beat += 1
            cut = rig.now < cut_until
            if rig.now >= cut_at:
                cut_at, cut_until = rig.now + 90_000_000_000, rig.now + 2_000_000_000
            self.command(cut, beat)
            speed = 0.0
            if (
                rig.s.lease is not None
                and rig.s.lease.expiry > rig.now
                and rig.s.state in (State.ACTIVE, State.DEGRADED)
            ):
                speed = min(rig.s.v_cap, 0.006) * (0.6 + 0.4 * math.sin(rig.now / 7e9))
            self.turn(speed, beat)
            yield

    def command(self, cut: bool, beat: int) -> None:
        rig = self.rig
        if cut:
            return
        if rig.s.state is State.STOP and beat % 300 == 0:
            rig.order("rearm")  # the bedside has looked
        if rig.s.state is State.READY and not rig.s.auth.holder and beat % 100 == 0:
            rig.order("grant", holder=SURGEON)
            rig.seq = 0
        if rig.s.state is State.HOLD and not rig.s.acked:
            rig.order("ack", key=SURGEON)
        waiting = rig.s.state in (State.HOLD, State.STOP) and (not rig.s.acked or (beat // 100) % 2 == 0)
        held = waiting or (beat // 100) % 20 == 19 or beat < 300
        if rig.s.state is State.PAUSE and beat % 100 == 0:
            held = True
        if (not held and self.press % 2 == 0) or (held and self.press % 2 == 1):
            self.press += 1
        press = (self.press + 1) // 2 if self.press % 2 else 0
        age = int(abs(self.rng.gauss(45, 6)) * MS) + (
            200 * MS if (rig.now // 1_000_000_000) % 300 in (120, 121, 122) else 0
        )
        target = {"target": (*self.pose[:3], *HOME[3:])} if press else {}
        rig.send(press=press, echo_state=max(rig.s.last_echo, rig.now - age), **target)


def _pose(pose: tuple[float, ...]) -> dict[str, dict[str, float]]:
    x, y, z, qx, qy, qz, qw = pose
    return {"position": {"x": x, "y": y, "z": z}, "orientation": {"x": qx, "y": qy, "z": qz, "w": qw}}


def _report(now: int, report: object) -> Input:
    from safety.inputs import ReportIn

    return ReportIn(now, report)  # type: ignore[arg-type]


def _beat(now: int, role: str) -> Input:
    from safety.inputs import BeatIn

    return BeatIn(now, role, "")


def _link(now: int, paths: list[dict[str, object]]) -> Input:
    from safety.inputs import LinkIn

    return LinkIn(now, paths)


def _tick(now: int) -> Input:
    from safety.inputs import TickIn

    return TickIn(now, 0, 0)


def two_sites(a: Session, b: Session, seconds: float, late_ms: float = 20.0) -> None:
    """Both at once, each carrying the other's newest checkpoint to its log once a second, `late_ms` on the way."""
    turns = int(late_ms / 10)
    on_the_way: list[tuple[int, Session, str, str]] = []
    for count, _ in enumerate(zip(a.turns(seconds), b.turns(seconds), strict=False)):
        if count % 100 == 50:
            on_the_way += [(count + turns, b, "a", a.log.newest_note), (count + turns, a, "b", b.log.newest_note)]
        for item in [x for x in on_the_way if x[0] <= count]:
            on_the_way.remove(item)
            _, to, site, note = item
            to.log.peer_checkpoint(site, to.rig.now, note=note)
    a.close()
    b.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--site", default="a")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state-hz", type=int, default=500)
    parser.add_argument("--segment", type=float, default=0.0, help="make this many seconds, then repeat them (long logs)")
    parser.add_argument("--second", type=Path, help="also write the log of a second site b, witnessing each other")
    args = parser.parse_args()
    args.out.unlink(missing_ok=True)
    began = time.monotonic()
    session = Session(args.out, args.site, Ed25519PrivateKey.generate(), b"S" * 16, args.seed, args.state_hz)
    if args.second:
        args.second.unlink(missing_ok=True)
        other = Session(args.second, "b", Ed25519PrivateKey.generate(), b"S" * 16, args.seed + 1, args.state_hz, 7_000_000_000)
        two_sites(session, other, args.seconds)
        return
    if args.segment:
        session.log.kept = []
    session.run(args.seconds, args.segment)
    took = time.monotonic() - began
    size = args.out.stat().st_size
    print(
        f"{args.out}: {session.log.records} records, {size / 1e6:.1f} MB, {size / args.seconds / 1e3:.0f} kB/s, {took:.0f} s"
    )


if __name__ == "__main__":
    main()
