"""What the governor measures of its line, from the frames themselves: loop age p95, loss, longest gap; jitter for
people.

Pure, immutable, integers only. Windows are tuples of (t, age, seq), pruned to one second and `_KEEP` entries.
"""

from dataclasses import dataclass

_WINDOW_NS = 1_000_000_000
_KEEP = 256


def _percentile(frames: tuple[tuple[int, int, int], ...]) -> int | None:
    """95th percentile (nearest rank) of the loop ages, ns; None without a frame."""
    n = len(frames)
    if n == 0:
        return None
    return sorted([age for _, age, _ in frames])[(95 * n + 99) // 100 - 1]


@dataclass(frozen=True, slots=True)
class Estimates:
    """frames: (t_k, loop age, seq or -1 where the frame was refused for its age). p95: of their loop ages, kept because every
    decision asks for it.
    """

    frames: tuple[tuple[int, int, int], ...] = ()
    late: tuple[int, ...] = ()  # when frames arrived that had been overtaken: late, not lost
    p95: int | None = None

    def with_frame(self, now: int, age: int, seq: int) -> "Estimates":
        frames = (*self.frames, (now, age, seq))
        start = now - _WINDOW_NS
        if frames[0][0] < start or len(frames) > _KEEP:
            frames = tuple([f for f in frames if f[0] >= start])[-_KEEP:]
        return Estimates(frames, self.late, _percentile(frames))

    def with_late(self, now: int) -> "Estimates":
        """An overtaken frame: it asks for nothing, but it was not lost."""
        return Estimates(self.frames, (*(t for t in self.late if t > now - _WINDOW_NS), now)[-_KEEP:], self.p95)

    def pruned(self, now: int) -> "Estimates":
        if self.frames and self.frames[0][0] < now - _WINDOW_NS:
            start = now - _WINDOW_NS
            frames = tuple([f for f in self.frames if f[0] >= start])
            return Estimates(frames, tuple(t for t in self.late if t >= start), _percentile(frames))
        return self

    def age_p95(self) -> int | None:
        """95th percentile (nearest rank) of the loop age over the window, ns; None without a frame."""
        return self.p95

    def loss(self) -> float:
        """Share of frames that the sequence numbers say are missing; 0 below 50 frames (too few to tell)."""
        seqs = [f[2] for f in self.frames if f[2] >= 0]
        if len(seqs) < 50:
            return 0.0
        span = seqs[-1] - seqs[0] + 1
        first = self.frames[0][0]
        came = len(seqs) + len([t for t in self.late if t >= first])
        return 1.0 - came / span if span > came else 0.0
