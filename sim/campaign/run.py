"""One run of the campaign: a fault, a mode, a network profile, a seed. Deterministic; returns what the table needs."""

import functools
from dataclasses import asdict, dataclass, replace
from typing import Any

from safety.params import MS
from sim.campaign.faults import FAULTS, Fault
from sim.campaign.world import World

#: Motion before the strike, and how long to wait for it; a seed whose line never lets the arm move is replaced.
BEFORE_NS = 300 * MS
PATIENCE_NS = 2500 * MS
ATTEMPTS = 6
#: Another seed's distance, so that replacements never coincide with seeds of the campaign.
NEXT = 1_000_003


@dataclass(frozen=True, slots=True)
class Outcome:
    """time_ratio: worst of time to rest and of the fault's own response, over their bounds. why: failures in words."""

    fault: str
    mode: str
    profile: str
    seed: int
    struck: bool
    passed: bool
    time_ratio: float
    travel_ratio: float
    travel_mm: float
    rest_ms: float
    foreign: int
    leases: int
    why: str
    reproduce: str
    driver: str = "kinematic"
    attacks: int = 0
    attacks_accepted: int = 0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def reproduction(
    fault: str, mode: str, net: str, seed: int, lease_enabled: bool = True, driver: str = "kinematic"
) -> str:
    """The command that runs this again."""
    line = f"longhand campaign --fault {fault} --mode {mode} --profile {net} --first-seed {seed} --seeds 1"
    line += "" if driver == "kinematic" else f" --driver {driver}"
    return line if lease_enabled else line + " --no-lease"


def run_one(
    fault_id: str, mode: str, net: str, seed: int, *, lease_enabled: bool = True, driver: str = "kinematic"
) -> Outcome:
    """Raises KeyError (no such fault), ValueError (no such profile), OSError (a trace is missing)."""
    fault = FAULTS[fault_id]
    if driver == "kinematic":
        world = _in_motion(mode, net, seed, lease_enabled, fault.params, driver).fork()
    else:
        world = _in_motion.__wrapped__(mode, net, seed, lease_enabled, fault.params, driver)
    moved = world.judge.leases > 0 and world.moving()
    if moved:
        world.mark_strike()
        world.judge.truth = fault.truth
        fault.strike(world)
        while world.elapsed() < fault.horizon:
            world.advance()
            if fault.each is not None:
                fault.each(world)
    if driver == "pybullet":
        world.site.arm.close()
    line = reproduction(fault_id, mode, net, seed, lease_enabled, driver)
    return replace(
        _outcome(world, fault, mode, net, seed, moved, lease_enabled), driver=driver, reproduce=line,
        attacks=world.judge.attacks, attacks_accepted=world.judge.attacks_accepted,
    )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _in_motion(
    mode: str, net: str, seed: int, lease_enabled: bool, params: tuple[tuple[str, object], ...], driver: str
) -> World:
    """A session at the moment of the strike. Kept, because every fault of a mode, profile and seed begins there: fork it."""
    world: World | None = None
    for attempt in range(ATTEMPTS):
        world = World(mode, net, seed + attempt * NEXT, lease_enabled=lease_enabled, params=params, driver=driver)
        if _until_motion(world):
            break
    assert world is not None
    world.seed = seed
    return world


def _until_motion(w: World) -> bool:
    begun = 0
    while w.now - w.t0 < PATIENCE_NS:
        w.advance()
        if w.moving():
            begun = begun or w.now
            if w.now - begun >= BEFORE_NS + w.seed % 97 * 2 * MS:
                return True
    return False


def _outcome(w: World, fault: Fault, mode: str, net: str, seed: int, moved: bool, lease_enabled: bool) -> Outcome:
    struck = moved and fault.struck(w)
    why = list(w.judge.wrongs)
    time_ratio = w.judge.time_ratio
    if struck:
        ratio, missing = _response(w, fault)
        time_ratio = max(time_ratio, ratio)
        why += missing
        if fault.keep:
            bad = [
                f"{new}: {reason}"
                for t, _, new, reason in w.judge.changes
                if t >= w.struck_at and new in ("HOLD", "STOP", "FAULT")
            ]
            why += [f"went to {b}" for b in bad]
        if fault.check is not None:
            why += fault.check(w)
    elif moved:
        why.append("the fault never struck")
    else:
        why.append("no motion to strike")
    return Outcome(
        fault.id, mode, net, seed, struck, not why, time_ratio, w.judge.travel_ratio, w.judge.worst_travel * 1e3,
        0.0, w.judge.foreign, w.judge.leases, "; ".join(why[:4]), reproduction(fault.id, mode, net, seed, lease_enabled),
    )  # fmt: skip


def _response(w: World, fault: Fault) -> tuple[float, list[str]]:
    """(response time over its bound, failures)."""
    if not fault.respond:
        return 0.0, []
    alarms = [a[1:] for a in fault.respond if a.startswith("!")]
    states = tuple(a for a in fault.respond if not a.startswith("!"))
    found: int | None = None
    if alarms:
        found = min((a.since for a in w.site.s.alarms if a.id in alarms), default=None)
    else:
        found = w.judge.entered(states, w.struck_at)
    if found is None and w.state_at_strike in states and str(w.site.s.state) in states:
        return 0.0, []
    if found is None:
        return 0.0, [f"no {' or '.join(fault.respond)}, is in {w.site.s.state} ({w.site.s.reason})"]
    ref = w.ref
    if ref < 0:  # the last valid command before the response
        ref = min(w.site.s.last_valid, found) or w.struck_at
    ratio = (found - ref) / fault.within
    if ratio > 1.0:
        return ratio, [f"{'/'.join(fault.respond)} after {(found - ref) / MS:.0f} ms, bound {fault.within // MS}"]
    return max(0.0, ratio), []
