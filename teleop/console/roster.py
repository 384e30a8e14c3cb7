"""Who is on call now: a small versioned file of shifts, with time zones. Pure but for `read_roster`, which opens the file.

    version = 1                       # of this format
    revision = 12                     # counts up with every change
    zone = "Asia/Shanghai"            # of the times below, unless a shift has its own

    [[shift]]
    who = "dr.chen"
    days = ["mon", "tue", "wed", "thu", "fri"]      # the day the shift begins
    from = "08:00"
    to = "20:00"                      # not later than `from`: it ends on the next day

    [[shift]]
    who = "dr.sato"
    zone = "Asia/Tokyo"
    date = 2026-12-24                 # one day instead of days
    from = "20:00"
    to = "08:00"

    [[away]]                          # nobody's shift counts in this time
    who = "dr.chen"
    from = 2026-12-20
    to = 2026-12-27                   # both days included, in the roster's zone

A shift begins at `from` and ends just before `to`, by the wall clock of its zone: on a night in which the clocks change it is an
hour longer or shorter, as it is for the people. Wall-clock times that do not exist count as the moment the clock jumps over them.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

VERSION = 1
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_BYTES, MAX_SHIFTS = 200_000, 1000


class RosterError(ValueError):
    """The roster cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Shift:
    """days: weekdays on which it begins, Monday 0; or one `date`."""

    who: str
    zone: ZoneInfo
    days: frozenset[int]
    date: date | None
    begin: time
    end: time


@dataclass(frozen=True, slots=True)
class Away:
    who: str
    zone: ZoneInfo
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Roster:
    revision: int
    shifts: tuple[Shift, ...]
    away: tuple[Away, ...]


def read_roster(file: Path) -> Roster:
    """Read and check a roster. Raises RosterError naming the file, the entry and what is wrong with it."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise RosterError(f"{file}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise RosterError(f"{file}: {len(data)} bytes; a roster has at most {MAX_BYTES}")
    try:
        raw = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RosterError(f"{file}: not TOML: {error}") from None
    try:
        return parse(raw)
    except RosterError as error:
        raise RosterError(f"{file}: {error}") from None


def parse(raw: dict[str, Any]) -> Roster:
    """A roster from its TOML tables. Raises RosterError."""
    _known(raw, "the roster", {"version", "revision", "zone", "shift", "away"})
    version = raw.get("version")
    if version != VERSION:
        newer = " (it was written for a newer release)" if isinstance(version, int) and version > VERSION else ""
        raise RosterError(f"version: {version!r} is not {VERSION}{newer}")
    revision = raw.get("revision", 0)
    if type(revision) is not int or revision < 0:
        raise RosterError(f"revision: {revision!r} is not a number that counts up")
    home = _zone(raw.get("zone"), "zone")
    shifts, away = raw.get("shift", []), raw.get("away", [])
    for name, rows in (("shift", shifts), ("away", away)):
        if not isinstance(rows, list) or len(rows) > MAX_SHIFTS or not all(isinstance(r, dict) for r in rows):
            raise RosterError(f"{name}: write each as [[{name}]], at most {MAX_SHIFTS}")
    if not shifts:
        raise RosterError("shift: there is none, so nobody would ever be on call")
    return Roster(
        revision, tuple(_shift(r, f"shift {n}", home) for n, r in enumerate(shifts, 1)),
        tuple(_away(r, f"away {n}", home) for n, r in enumerate(away, 1)),
    )  # fmt: skip


def on_call(roster: Roster, utc: float) -> tuple[str, ...]:
    """Names on call at this moment (s since 1970), in the roster's order, each once."""
    now = datetime.fromtimestamp(utc, UTC)
    gone = {a.who for a in roster.away if a.first <= now.astimezone(a.zone).date() <= a.last}
    return tuple(dict.fromkeys(s.who for s in roster.shifts if s.who not in gone and _covers(s, now)))


def _covers(s: Shift, now: datetime) -> bool:
    return any(begin <= now < end for begin, end in _occurrences(s, now))


def _occurrences(s: Shift, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The shift's beginnings of yesterday and today by its own clock, as moments."""
    today = now.astimezone(s.zone).date()
    for day in (today - timedelta(days=1), today):
        if (s.date is not None and day != s.date) or (s.date is None and day.weekday() not in s.days):
            continue
        last = day if s.end > s.begin else day + timedelta(days=1)
        yield _moment(day, s.begin, s.zone), _moment(last, s.end, s.zone)


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    """A wall-clock time as a moment in UTC; the first of two, and the end of a gap for one that does not exist."""
    local = datetime.combine(day, at, zone)
    moment = local.astimezone(UTC)
    if moment.astimezone(zone).replace(tzinfo=None) != local.replace(tzinfo=None):
        # In a gap fold 0 counts with the offset before it, which puts the moment behind the jump by what is missing.
        before, after = local.utcoffset(), local.replace(fold=1).utcoffset()
        assert before is not None and after is not None
        midnight = datetime.combine(day, time(0), zone).astimezone(UTC)
        low, high = midnight, moment
        while high - low > timedelta(seconds=1):
            middle = low + (high - low) / 2
            low, high = (middle, high) if middle.astimezone(zone).utcoffset() == before else (low, middle)
        return high.replace(microsecond=0)
    return moment


def _shift(r: dict[str, Any], where: str, home: ZoneInfo) -> Shift:
    _known(r, where, {"who", "zone", "days", "date", "from", "to"})
    zone = _zone(r["zone"], f"{where}: zone") if "zone" in r else home
    days, day = r.get("days"), r.get("date")
    if (days is None) == (day is None):
        raise RosterError(f"{where}: give one of days and date")
    if days is not None and (not isinstance(days, list) or not days or any(d not in DAYS for d in days)):
        raise RosterError(f"{where}: days: {days!r} is not a list of {', '.join(DAYS)}")
    if day is not None and type(day) is not date:
        raise RosterError(f"{where}: date: {day!r} is not a date like 2026-12-24")
    numbers = frozenset(DAYS.index(d) for d in days) if days else frozenset[int]()
    return Shift(_who(r, where), zone, numbers, day, _time(r, "from", where), _time(r, "to", where))


def _away(r: dict[str, Any], where: str, home: ZoneInfo) -> Away:
    _known(r, where, {"who", "from", "to"})
    first, last = r.get("from"), r.get("to")
    if type(first) is not date or type(last) is not date:
        raise RosterError(f"{where}: from and to are dates like 2026-12-24")
    if last < first:
        raise RosterError(f"{where}: it ends ({last}) before it begins ({first})")
    return Away(_who(r, where), home, first, last)


def _known(r: dict[str, Any], where: str, keys: set[str]) -> None:
    if unknown := sorted(set(r) - keys):
        raise RosterError(f"{where}: {unknown[0]!r} is not one of {', '.join(sorted(keys))}")


def _who(r: dict[str, Any], where: str) -> str:
    who = r.get("who")
    if not isinstance(who, str) or not 1 <= len(who.strip()) <= 40:
        raise RosterError(f"{where}: who: a name of 1 to 40 letters")
    return who.strip()


def _time(r: dict[str, Any], key: str, where: str) -> time:
    text = r.get(key)
    if isinstance(text, time) and text.tzinfo is None:
        return text
    try:
        if not isinstance(text, str) or len(text) != 5:
            raise ValueError
        return time.fromisoformat(text)
    except ValueError:
        raise RosterError(f"{where}: {key}: {text!r} is not a time like 08:00") from None


def _zone(name: object, where: str) -> ZoneInfo:
    if not isinstance(name, str) or not name:
        raise RosterError(f"{where}: name a time zone like Asia/Shanghai")
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise RosterError(f"{where}: {name!r} is no time zone that this machine knows") from None
