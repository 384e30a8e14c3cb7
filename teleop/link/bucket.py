"""Token bucket: sheds a flood per key before it costs anything."""


class TokenBucket:
    """At most `burst` at once and `rate` a second on average. Time is an input (ns), so a test needs no clock."""

    def __init__(self, rate: float, burst: float) -> None:
        self._rate = rate / 1e9
        self._burst = burst
        self._tokens = burst
        self._last: int | None = None

    def take(self, now_ns: int, cost: float = 1.0) -> bool:
        """True if `cost` is granted now. A clock that steps back grants nothing extra."""
        if self._last is not None and now_ns > self._last:
            self._tokens = min(self._burst, self._tokens + (now_ns - self._last) * self._rate)
        if self._last is None or now_ns > self._last:
            self._last = now_ns
        if self._tokens < cost:
            return False
        self._tokens -= cost
        return True
