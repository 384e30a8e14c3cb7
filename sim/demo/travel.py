"""Travel after the last valid command, read from a session log: what the arm's own encoders say against the bound X."""

from dataclasses import dataclass
from pathlib import Path

from mcap.exceptions import McapError
from mcap.reader import NonSeekingReader
from mcap_ros2.decoder import DecoderFactory

from safety.inputs import BootIn, ChangeOut, LeaseOut, decode_input, decode_outputs
from safety.params import Params
from safety.speed_law import travel_bound

#: No lease for this long is the end of a motion (ns): twice the lease length.
GAP_NS = 300_000_000
#: The arm stands when its travel grows by less than this over 100 ms (m).
STILL_M = 1e-5


@dataclass(frozen=True, slots=True)
class Travel:
    """t_k: dequeue time of the last accepted command (ns); travel_m: arc length of the worst tool point from t_k to
    standstill, as measured; bound_m: X of the lease's speed cap; final_state: the governor's state at standstill, the
    most severe before it recovered."""

    t_k: int
    travel_m: float
    bound_m: float
    final_state: str


@dataclass
class _Log:
    leases: list[tuple[int, float]]
    changes: list[tuple[int, str]]
    travel: list[tuple[int, float]]
    params: Params


def _read(path: Path) -> _Log:
    log = _Log([], [], [], Params())
    with path.open("rb") as file:
        reader = NonSeekingReader(file, decoder_factories=[DecoderFactory()])
        try:
            for _, channel, _, message in reader.iter_decoded_messages():
                if channel.topic.endswith(("governor/event", "governor/order")):
                    if message.kind == "boot":
                        boot = decode_input(bytes(message.input))
                        assert isinstance(boot, BootIn)
                        log.params = Params.from_dict(boot.params)
                    for out in decode_outputs(bytes(message.outputs)):
                        if isinstance(out, LeaseOut):
                            log.leases.append((out.lease.t_k, out.lease.v_cap))
                        elif isinstance(out, ChangeOut):
                            log.changes.append((message.stamp_mono, out.new))
                elif channel.topic.endswith("arm_state_block"):
                    log.travel += zip(message.stamp_mono, message.travel, strict=True)
        except McapError:
            pass  # a log that was cut ends here; what was read stands
    log.travel.sort()
    log.leases.sort()
    return log


def travel_after(path: Path, struck_ns: int) -> Travel:
    """The first motion that ends after `struck_ns`. Raises ValueError when the log shows no lease or no motion then."""
    log = _read(path)
    after = [i for i, (t_k, _) in enumerate(log.leases) if t_k >= struck_ns - GAP_NS]
    if not after or not log.travel:
        raise ValueError(f"{path}: no lease around the fault; nothing was moving")
    last = after[0]
    for i in after:
        if log.leases[i][0] - log.leases[last][0] > GAP_NS and log.leases[last][0] >= struck_ns - GAP_NS:
            break
        last = i
    t_k, v_cap = log.leases[last]
    next_lease = log.leases[last + 1][0] if last + 1 < len(log.leases) else log.travel[-1][0]
    start = max((d for t, d in log.travel if t <= t_k), default=log.travel[0][1])
    rest = next((d for (t, d), (u, e) in zip(log.travel, log.travel[50:], strict=False) if t > t_k and e - d < STILL_M), None)
    end = rest if rest is not None else max((d for t, d in log.travel if t <= next_lease), default=start)
    states = [new for stamp, new in log.changes if t_k <= stamp < next_lease]
    standing = [s for s in states if s not in ("ACTIVE", "DEGRADED", "READY")]
    # The cap in force when the last command was accepted bounds the speed from which the stop began; a drive that is
    # still slowing down to a lowered cap has the larger of the last caps.
    v = max([v_cap] + [cap for t, cap in log.leases if t_k - GAP_NS <= t <= t_k])
    return Travel(t_k, end - start, travel_bound(v, log.params), standing[-1] if standing else (states[-1] if states else ""))
