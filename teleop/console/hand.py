"""The deadman at the console, decided purely: when does a press count, and when is it over?

    pressed(t) <=> a page holds the seat, its newest sample says "press k", k is not spent, and that sample is < 150
    ms old

A press is *spent* (and only a release followed by a larger press helps) as soon as anything interrupts it: release,
silence, a page that goes away, a stop, a change of site, mode or grant. Nothing that arrives later revives it: a
hand that still holds the button after a stop was cleared must not move the arm (a published bug of another stack),
and a key whose release never arrived (lost focus) must not either. The age is that of the *sample*, not of the packet.
"""

from dataclasses import dataclass, replace

#: A page samples its deadman every 33 ms (and on every change); four missed samples end the press. ns.
SAMPLE_LIFE = 150_000_000


@dataclass(frozen=True, slots=True)
class HandState:
    """seat: id of the page whose input counts ("" = free). press: the page's own press number, 0 = released.
    spent: largest press number of that page which is over. ordinal: press counter of this console (never goes back).
    heard: console monotonic ns of the newest sample. why: the last reason why a press ended."""

    seat: str = ""
    site: str = ""
    mode: str = ""
    press: int = 0
    spent: int = 0
    ordinal: int = 0
    heard: int = 0
    why: str = ""

    @property
    def value(self) -> int:
        """What goes into the command: the press ordinal while pressed, else 0."""
        return self.ordinal if self.press else 0


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at a page's deadman. press 0 = released; each new press of that page has a larger number."""

    page: str
    site: str
    mode: str
    press: int
    age_ns: int = 0


def sample(state: HandState, s: Sample, now: int) -> HandState:
    """Take a sample from a page. A page without the seat gets it only when nobody presses."""
    if s.page != state.seat:
        if state.press or not s.press:
            return state  # somebody else is pressing, or this page does not ask for anything
        state = HandState(seat=s.page, ordinal=state.ordinal, why=state.why)
    if s.age_ns >= SAMPLE_LIFE:
        return release(state, "old_sample", s.press)
    if s.press == 0:
        return replace(release(state, "released"), heard=now) if state.press else replace(state, heard=now)
    if s.press <= state.spent:
        return state
    if state.press == 0:
        return replace(state, site=s.site, mode=s.mode, press=s.press, ordinal=state.ordinal + 1, heard=now, why="")
    if s.press != state.press:
        # A new press without a release in between: the release was lost, so the old press is over first.
        over = release(state, "released")
        if s.press <= over.spent:
            return over  # an older press that arrived late
        return replace(over, site=s.site, mode=s.mode, press=s.press, ordinal=over.ordinal + 1, heard=now, why="")
    if (s.site, s.mode) != (state.site, state.mode):
        return release(state, "changed")
    return replace(state, heard=now - s.age_ns)


def release(state: HandState, why: str, also: int = 0) -> HandState:
    """End the press in force, for good."""
    return replace(state, press=0, spent=max(state.spent, state.press, also), why=why)


def tick(state: HandState, now: int) -> HandState:
    """Silence ends a press."""
    if state.press and now - state.heard >= SAMPLE_LIFE:
        return release(state, "silence")
    return state


def page_gone(state: HandState, page: str) -> HandState:
    """The page closed or its connection broke: its press ends and its seat is free."""
    if page != state.seat:
        return state
    over = release(state, "page_gone") if state.press else state
    return HandState(ordinal=over.ordinal, why=over.why)


def interrupted(state: HandState, site: str, why: str) -> HandState:
    """A stop, a hold, a lost grant at a site: the press on that site is over until released and pressed again."""
    if state.press and state.site == site:
        return release(state, why)
    return state
