"""Explicit-state exploration of the shipped authority: two consoles, the bedside, a network that loses, duplicates,
reorders and replays, and restarts of the governor. Breadth first, every reachable state.

The world keeps what the bedside *means* (whom it granted last, in which epoch); a violation is a command that the shipped
`authority.admits` lets through although the bedside means somebody else (foreign), nobody, or a later grant of the same
key (old). `fencing=False` and `persist=False` show that the exploration would notice.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace

from safety import authority
from safety.authority import Authority
from safety.states import Reason

KEYS = ("one", "two")
#: Epochs per boot, and boots: enough for a hand-over, a take-over in between, and a restart.
BLOCK = 2
BOOTS = 2


@dataclass(frozen=True, slots=True)
class World:
    """auth: the shipped state. known: epoch that each console believes it was granted (0 none). air: (key, epoch, boot) of commands sent so far
    (each may be delivered any number of times, or never: loss, duplication, reordering and replay in one). news: grant
    notices under way. meant: (key, epoch, boot) that the bedside means. still: no lease in force. boots: so far."""

    auth: Authority
    known: tuple[int, int] = (0, 0)
    air: frozenset[tuple[str, int, int]] = frozenset()
    news: frozenset[tuple[str, int]] = frozenset()
    meant: tuple[str, int, int] = ("", 0, 0)
    still: bool = True
    boots: int = 1


@dataclass(frozen=True, slots=True)
class Explored:
    """states and transitions visited; foreign, old: commands admitted that should not have been; path to the first."""

    states: int
    transitions: int
    foreign: int
    old: int
    example: tuple[str, ...]


def _after(w: World, auth: Authority) -> World:
    return replace(w, auth=auth)


def moves(w: World, *, fencing: bool, persist: bool) -> Iterator[tuple[str, World, str]]:
    """(name, next world, violation "" | "foreign" | "old")."""
    for i, key in enumerate(KEYS):
        if key not in w.auth.requests:
            yield f"{key} asks", _after(w, authority.request(w.auth, key)), ""
        auth, refusal = authority.grant(w.auth, key, 0, 1, still=w.still)
        if not refusal:
            told = replace(w, auth=auth, news=w.news | {(key, auth.epoch)}, meant=(key, auth.epoch, w.boots))
            yield f"bedside grants {key}", told, ""
        for epoch in {e for k, e in w.news if k == key and e != w.known[i]}:
            known = (epoch, w.known[1]) if i == 0 else (w.known[0], epoch)
            yield f"{key} hears of epoch {epoch}", replace(w, known=known), ""
        if w.known[i] and (key, w.known[i], w.boots) not in w.air:
            yield f"{key} sends", replace(w, air=w.air | {(key, w.known[i], w.boots)}), ""
        auth, refusal = authority.release(w.auth, key)
        if not refusal:
            yield f"{key} releases", replace(w, auth=auth, meant=("", 0, 0), still=True), ""
        auth, refusal = authority.release(w.auth, key, KEYS[1 - i])
        if not refusal and auth != w.auth:
            yield f"{key} names {KEYS[1 - i]}", replace(w, auth=auth, still=True), ""
    for key, epoch, boot in sorted(w.air):
        if authority.admits(w.auth, key, epoch, fencing=fencing) is Reason.OK:
            wrong = "" if (key, epoch, boot) == w.meant else "old" if key == w.meant[0] else "foreign"
            auth = authority.renew(w.auth, 0, 1) if w.auth.holder else w.auth
            yield f"{key}/{epoch} arrives: moves", replace(w, auth=auth, still=False), wrong
    if not w.still:
        yield "the lease ends", replace(w, still=True), ""
    expired = authority.expire(w.auth, 10)
    if expired != w.auth:
        yield "authority lapses", replace(w, auth=expired, still=True), ""
    if not w.auth.bedside_has_it:
        yield "bedside takes over", replace(w, auth=authority.take_over(w.auth), meant=("", 0, 0), still=True), ""
    else:
        yield "bedside returns", _after(w, authority.return_to_ready(w.auth)), ""
    if w.auth.holder:
        yield "stop", replace(w, auth=authority.fence(w.auth), meant=("", 0, 0), still=True), ""
    if w.boots < BOOTS:
        first = w.auth.epoch_end if persist else 0
        auth = Authority(first, first + BLOCK)
        yield "governor restarts", replace(w, auth=auth, meant=("", 0, 0), still=True, boots=w.boots + 1), ""


def explore(
    *, fencing: bool = True, persist: bool = True, first_only: bool = False, limit: int = 2_000_000
) -> Explored:
    """Visit everything reachable (until the first violation with `first_only`).

    Raises RuntimeError above `limit` states: an unfinished exploration proves nothing."""
    start = World(Authority(0, BLOCK))
    seen: dict[World, tuple[World, str] | None] = {start: None}
    queue = deque([start])
    transitions = foreign = old = 0
    first: tuple[World, str] | None = None
    while queue:
        w = queue.popleft()
        for name, after, wrong in moves(w, fencing=fencing, persist=persist):
            transitions += 1
            if wrong:
                foreign += wrong == "foreign"
                old += wrong == "old"
                first = first or (w, name)
                if first_only:
                    return Explored(len(seen), transitions, foreign, old, _story(seen, first))
            if after not in seen:
                if len(seen) >= limit:
                    raise RuntimeError(f"more than {limit} states")
                seen[after] = (w, name)
                queue.append(after)
    return Explored(len(seen), transitions, foreign, old, _story(seen, first))


def _story(seen: dict[World, tuple[World, str] | None], end: tuple[World, str] | None) -> tuple[str, ...]:
    if end is None:
        return ()
    steps = [end[1]]
    back = seen[end[0]]
    while back is not None:
        steps.append(back[1])
        back = seen[back[0]]
    return tuple(reversed(steps))
