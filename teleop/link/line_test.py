"""`LineTest`: is this line fit for a case? Probes at the real rate and size on every path, both ways, then throughput.

Steps through a console link that somebody else polls; needs no arm and asks for no authority. While it runs, the probes
(100 a second, as long as command and state frames) *are* the traffic, so loss, bursts and jitter are those of the real streams.
"""

from dataclasses import dataclass, field
from typing import Any

from teleop.link.console import ConsoleLink
from teleop.link.estimators import quantile
from teleop.link.stream import StreamEnd

RATE_HZ = 100
#: Payloads as long as a full command and a full state frame.
SIZE_UP, SIZE_DOWN = 480, 1200
#: A certificate needs at least this long; anything shorter is marked DEMO and invalid.
CERTIFICATE_S = 120.0
_SETTLE_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limits:
    """A path is good up to these; the line passes with one good path, and says so when it is only one.

    rtt_p99_ms: servo is blocked above 300 ms of loop age. loss: DEGRADED begins at 2 %. gap_ms: HOLD comes 500 ms after
    the last valid command. throughput_mbps: a 720p stream.
    """

    rtt_p99_ms: float = 300.0
    loss: float = 0.05
    gap_ms: float = 500.0
    throughput_mbps: float = 4.0


@dataclass
class LineTest:
    """Call `step` every few ms until `result` is there. Times in ns."""

    link: ConsoleLink
    seconds: float
    load_mbps: float = 8.0
    load_s: float = 2.0
    limits: Limits = field(default_factory=Limits)
    result: dict[str, Any] | None = None
    phase: str = "connect"
    _deadline: int = 0
    _stream: StreamEnd | None = None
    _start: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    _records: list[list[int]] = field(default_factory=list)
    _gaps: list[float] = field(default_factory=list)
    _combined_gap: float = 0.0
    _jitter: list[float] = field(default_factory=list)
    _bursts: list[dict[int, int]] = field(default_factory=list)
    _measured: list[dict[str, Any]] = field(default_factory=list)
    _load_path: int = 0
    _load_from: tuple[int, int] = (0, 0)
    _next_look: int = 0

    def step(self, now_ns: int) -> None:
        """One step. Sets `result` when done, or when the session was lost on the way."""
        stream = self.link.stream
        if self.result is not None:
            return
        if self.phase == "connect":
            if stream is None:
                self._deadline = self._deadline or now_ns + 10_000_000_000
                if self.link.refused is not None:
                    self._fail(f"refused: {self.link.refused.text}")
                elif now_ns > self._deadline:
                    why = "; ".join(r["why"] for r in self.link.stats()["routes"] if r["why"]) or "no answer"
                    self._fail(f"no session in 10 s: {why}")
                return
            self._stream = stream
            self.phase, self._deadline = "settle", now_ns + _SETTLE_NS
            ms = int(self.seconds * 1000) + 3000
            self.link.run_test(ms, RATE_HZ, SIZE_UP, SIZE_DOWN)
        elif stream is not self._stream:
            self._fail("the session was lost during the test")
        elif self.phase == "settle" and now_ns >= self._deadline:
            self._begin(now_ns)
        elif self.phase == "traffic":
            self._look(now_ns)
            if now_ns >= self._deadline:
                self._end_traffic(now_ns)
        elif self.phase == "load" and now_ns >= self._deadline:
            self._end_load(now_ns)

    def _fail(self, why: str) -> None:
        self.result = {
            "site": self.link.site, "passed": False, "valid": False, "why": why, "seconds": self.seconds, "paths": [],
        }  # fmt: skip

    def _begin(self, now: int) -> None:
        assert self._stream is not None
        self.phase, self._deadline = "traffic", now + int(self.seconds * 1e9)
        for path, h in enumerate(self._stream.health):
            h.record = []
            h.bursts.clear()
            self._records.append(h.record)
            self._start.append((h.received, h.highest, h.reordered, h.duplicates, *self._stream.peer_report[path]))
            self._gaps.append(0.0)
            self._jitter.append(0.0)

    def _look(self, now: int) -> None:
        # The estimators' window is ten seconds: gaps and jitter of a longer test are collected as it goes.
        if now < self._next_look or self._stream is None:
            return
        self._next_look = now + 200_000_000
        ran = (now - self._deadline) / 1e9 + self.seconds
        for path, p in enumerate(self._stream.stats(now)):
            if p.longest_gap_ms / 1e3 < ran:  # a gap from before the start is none of ours
                self._gaps[path] = max(self._gaps[path], p.longest_gap_ms)
            self._jitter[path] = max(self._jitter[path], p.jitter_ms)
        combined = self._stream.combined.stats(now).longest_gap_ms
        if combined / 1e3 < ran:
            self._combined_gap = max(self._combined_gap, combined)

    def _end_traffic(self, now: int) -> None:
        assert self._stream is not None
        for path, h in enumerate(self._stream.health):
            received, highest, reordered, duplicates, peer_received, peer_highest = self._start[path]
            rtts = sorted(self._records[path])
            h.record = None
            peer_now = self._stream.peer_report[path]
            self._measured.append({
                "path": path,
                "rtt_ms": {"p50": quantile(rtts, 0.5), "p99": quantile(rtts, 0.99), "max": quantile(rtts, 1.0), "samples": len(rtts)},
                "loss_down": _loss(h.received - received, h.highest - highest),
                "loss_up": _loss(peer_now[0] - peer_received, peer_now[1] - peer_highest),
                "bursts_down": {str(k): n for k, n in sorted(h.bursts.items())},
                "longest_burst_down": max(h.bursts, default=0),
                "reordered": h.reordered - reordered,
                "duplicates": h.duplicates - duplicates,
                "jitter_ms": self._jitter[path],
                "longest_gap_ms": self._gaps[path],
                "throughput_mbps": None,
            })  # fmt: skip
        self.phase, self._load_path = "load", -1
        self._next_load(now)

    def _next_load(self, now: int) -> None:
        assert self._stream is not None
        self._load_path += 1
        if self.load_s <= 0 or self._load_path >= len(self._measured):
            self._judge()
            return
        self._load_from = (self._stream.load_bytes[self._load_path], now)
        self.link.ask_load(self._load_path, int(self.load_s * 1000), int(self.load_mbps * 1e6))
        # Half a second more, for what is still under way; it is not counted as time.
        self._deadline = now + int((self.load_s + 0.5) * 1e9)

    def _end_load(self, now: int) -> None:
        assert self._stream is not None
        came = self._stream.load_bytes[self._load_path] - self._load_from[0]
        self._measured[self._load_path]["throughput_mbps"] = came * 8 / self.load_s / 1e6
        self._next_load(now)

    def _judge(self) -> None:
        lim = self.limits
        for m in self._measured:
            why = []
            rtt, loss = m["rtt_ms"]["p99"], max(m["loss_up"], m["loss_down"])
            if rtt is None:
                why.append("nothing arrived")
            elif rtt > lim.rtt_p99_ms:
                why.append(f"round trip p99 {rtt:.0f} ms, at most {lim.rtt_p99_ms:.0f}")
            if loss > lim.loss:
                why.append(f"loss {loss:.1%}, at most {lim.loss:.0%}")
            if m["longest_gap_ms"] > lim.gap_ms:
                why.append(f"silent for {m['longest_gap_ms']:.0f} ms, at most {lim.gap_ms:.0f}")
            if m["throughput_mbps"] is not None and m["throughput_mbps"] < lim.throughput_mbps:
                why.append(f"{m['throughput_mbps']:.1f} Mbit/s, video needs {lim.throughput_mbps:.0f}")
            m["good"], m["why"] = not why, why
        good = [m["path"] for m in self._measured if m["good"]]
        demo = self.seconds < CERTIFICATE_S
        verdict = "" if good else "no path is good enough"
        if good and len(good) < len(self._measured):
            verdict = f"only path {good[0]} is good: there is nothing to fall back on"
        self.phase = "done"
        self.result = {
            "site": self.link.site, "passed": bool(good), "valid": bool(good) and not demo, "demo": demo, "why": verdict,
            "seconds": self.seconds, "rate_hz": RATE_HZ, "bytes_up": SIZE_UP + 32, "bytes_down": SIZE_DOWN + 32,
            "combined_longest_gap_ms": self._combined_gap, "paths": self._measured,
        }  # fmt: skip


def _loss(came: int, sent: int) -> float:
    return 1.0 if sent <= 0 else max(0.0, 1.0 - came / sent)
