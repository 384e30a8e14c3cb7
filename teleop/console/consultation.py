"""The consultation as a pure machine: `step(state, event, now) -> (state, effects)`.

Requests for an opinion and who was told, invitations with role, expiry and revocation, words and instructions (to all or to
some), voice (to all or to some), pointers and drawings on live pictures. What is drawn on images in patient millimetres, the
common look and the proposals live in `room`; a proposal changes nothing until the surgeon decides (`permissions`, `calls`).

Nothing here reads a clock, draws a random number or touches a socket; `together` does what the effects say. Every event that
changes something leaves a `Log` effect: the record is complete because it is made here.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from teleop.console.contracts import ConsoleError, Role

TEXT_MAX = 1000
MARKS_MAX = 60
#: A mark on a moving picture is about that moment: it fades. s
MARK_LIFE_S = 20.0
POINTER_LIFE_S = 4.0
#: Nobody on call looked at a request for so long: everybody who may advise is told. s
ESCALATE_S = 60.0
INVITATION_MAX_S = 7 * 24 * 3600.0
#: Roles that may be invited; an operating surgeon is appointed by the console's owner, not invited.
INVITABLE = frozenset({Role.MENTOR, Role.EXPERT, Role.BEDSIDE, Role.OBSERVER, Role.REVIEWER})
ADVISERS = frozenset({Role.SURGEON, Role.MENTOR, Role.EXPERT})


@dataclass(frozen=True, slots=True)
class Now:
    """mono: ns, for durations. utc: s, for expiry and for people."""

    mono: int
    utc: float


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody present with at least one page."""

    name: str
    role: Role
    invitation: str = ""


@dataclass(frozen=True, slots=True)
class Request:
    """A hospital asks for an opinion. at: ns of the asking. told, seen, opened: name -> ms after it."""

    id: int
    by: str
    site: str
    case: str
    question: str
    at: int
    utc: float
    told: dict[str, float] = field(default_factory=dict)
    seen: dict[str, float] = field(default_factory=dict)
    opened: dict[str, float] = field(default_factory=dict)
    state: str = "open"
    escalated: bool = False
    #: Asked at a hospital's bedside page, not at a page of this console; its images are fetched from there.
    bedside: bool = False
    answer: str = ""


@dataclass(frozen=True, slots=True)
class Invitation:
    """expires, revoked, made: utc s (revoked 0 = it is not). case: the only one it is good for, "" = any here."""

    id: str
    name: str
    role: Role
    by: str
    made: float
    expires: float
    case: str = ""
    revoked: float = 0.0

    def state(self, utc: float) -> str:
        return "revoked" if self.revoked else "expired" if utc >= self.expires else "valid"


@dataclass(frozen=True, slots=True)
class Words:
    """A text; to: names, empty = all. kind: "text" or "instruction" (shown large, to be acknowledged)."""

    id: int
    author: str
    text: str
    to: tuple[str, ...]
    utc: float
    kind: str = "text"
    acked: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """On a live picture: points as shares of its width and height. frame: id of the picture it was made on. lps: patient mm,
    where the picture knows where it is (ultrasound)."""

    id: int
    author: str
    site: str
    stream: str
    frame: int
    kind: str
    points: tuple[tuple[float, float], ...]
    text: str
    utc: float
    lps: tuple[tuple[float, float, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Voice:
    """A person's microphone: muted, and to whom (names, empty = all)."""

    muted: bool = True
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """Everything a late joiner must get, and the register of invitations."""

    people: dict[str, Person] = field(default_factory=dict)  # page -> person
    requests: tuple[Request, ...] = ()
    invitations: dict[str, Invitation] = field(default_factory=dict)
    words: tuple[Words, ...] = ()
    marks: tuple[Mark, ...] = ()
    pointers: dict[str, Mark] = field(default_factory=dict)
    voices: dict[str, Voice] = field(default_factory=dict)
    on_call: tuple[str, ...] = ()
    serial: int = 0


# -- effects ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Log:
    """A line of the record."""

    who: str
    what: str
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tell:
    """The document changed for these people (None: everybody)."""

    names: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Alert:
    """Somebody is wanted: shown large and sounded on their pages, handed to the outside notifier if there is one."""

    name: str
    text: str
    request: int


@dataclass(frozen=True, slots=True)
class Close:
    """End the pages that came with this invitation."""

    invitation: str
    words: str


@dataclass(frozen=True, slots=True)
class Speak:
    """A microphone's line changed."""

    name: str
    voice: Voice


Effect = Log | Tell | Alert | Close | Speak
Result = tuple[State, list[Effect]]


# -- coming and going -------------------------------------------------------------------------------------------------
def joined(s: State, page: str, person: Person, now: Now) -> Result:
    """A page opened. Whoever is on call and was not told of an open request is told now."""
    told: list[Effect] = []
    requests = []
    for r in s.requests:
        if r.state == "open" and person.role in ADVISERS and person.name not in r.told and (person.name in s.on_call or r.escalated):
            r = replace(r, told={**r.told, person.name: _ms(r, now)})
            told.append(Alert(person.name, _asks(r), r.id))
        requests.append(r)
    s = replace(s, people={**s.people, page: person}, requests=tuple(requests))
    return s, [*told, Tell()]


def left(s: State, page: str, now: Now) -> Result:
    """A page closed: its pointer goes, and with a person's last page the microphone is shut."""
    person = s.people.get(page)
    if person is None:
        return s, []
    people = {p: who for p, who in s.people.items() if p != page}
    effects: list[Effect] = [Tell()]
    voices = s.voices
    if all(who.name != person.name for who in people.values()) and not voices.get(person.name, Voice()).muted:
        voices = {**voices, person.name: Voice()}
        effects += [Speak(person.name, Voice()), Log(person.name, "consult.voice", {"muted": True, "why": "left"})]
    pointers = {n: m for n, m in s.pointers.items() if any(who.name == n for who in people.values())}
    return replace(s, people=people, voices=voices, pointers=pointers), effects


# -- requests ---------------------------------------------------------------------------------------------------------
def ask(s: State, who: Person, site: str, case: str, question: str, now: Now) -> Result:
    """Open a request: everybody on call is told at once. Raises ConsoleError."""
    question = question.strip()
    if not question or len(question) > TEXT_MAX:
        raise ConsoleError(f"write a question of 1 to {TEXT_MAX} letters")
    if sum(r.state == "open" for r in s.requests) >= 20:
        raise ConsoleError("twenty requests are open already: close some first")
    r = Request(s.serial + 1, who.name, site, case, question, now.mono, now.utc)
    present = {p.name for p in s.people.values() if p.role in ADVISERS}
    names = [n for n in s.on_call if n != who.name]
    r = replace(r, told={n: 0.0 for n in names if n in present})
    effects: list[Effect] = [Alert(n, _asks(r), r.id) for n in names]
    effects.append(Log(who.name, "consult.request", {"id": r.id, "site": site, "case": case, "question": question, "on_call": names}))
    return replace(s, serial=r.id, requests=(*s.requests[-49:], r)), [*effects, Tell()]


def asked_at_bedside(s: State, by: str, site: str, question: str, age_ms: float, now: Now) -> Result:
    """A hospital's own request came over its line, asked `age_ms` ago. Everybody on call is told; when none of them has a page
    open here, everybody here who may advise is told at once: a county doctor who waits should not wait for a minute in vain."""
    r = Request(
        s.serial + 1, by, site, "", question.strip()[:TEXT_MAX], now.mono - int(age_ms * 1e6), now.utc - age_ms / 1e3, bedside=True
    )
    present = {p.name for p in s.people.values() if p.role in ADVISERS}
    here = [n for n in s.on_call if n in present]
    names = list(s.on_call) if here else [*s.on_call, *sorted(present - set(s.on_call))]
    r = replace(r, told={n: _ms(r, now) for n in names if n in present}, escalated=not here and bool(present))
    effects: list[Effect] = [Alert(n, _asks(r), r.id) for n in names]
    details = {"id": r.id, "site": site, "question": r.question, "on_call": list(s.on_call), "told": sorted(r.told), "after_ms": round(age_ms, 1)}
    effects.append(Log(by, "consult.request", details | {"bedside": True}))
    return replace(s, serial=r.id, requests=(*s.requests[-49:], r)), [*effects, Tell()]


def withdrawn(s: State, serial: int, now: Now) -> Result:
    """The hospital took its request back."""
    r = _request(s, serial)
    if r.state != "open":
        return s, []
    s = _with_request(s, replace(r, state="withdrawn"))
    return s, [Log(r.by, "consult.withdrawn", {"id": r.id, "after_ms": round(_ms(r, now), 1)}), Tell()]


def look_at(s: State, who: Person, serial: int, what: str, now: Now) -> Result:
    """A person saw a request (what = "seen"), or has its images on the screen ("opened"): the time is measured once."""
    r = _request(s, serial)
    have: dict[str, float] = r.seen if what == "seen" else r.opened
    if what not in ("seen", "opened"):
        raise ConsoleError(f"unknown {what!r}")
    if who.name in have or r.state != "open":
        return s, []
    ms = _ms(r, now)
    changed = replace(r, seen={**r.seen, who.name: ms}) if what == "seen" else replace(r, opened={**r.opened, who.name: ms}, seen={who.name: ms} | r.seen)
    return _with_request(s, changed), [Log(who.name, f"consult.{what}", {"id": r.id, "after_ms": round(ms, 1)}), Tell()]


def close_request(s: State, who: Person, serial: int, answer: str, now: Now) -> Result:
    """Whoever asked, the surgeon or an adviser closes a request with the answer."""
    r = _request(s, serial)
    if r.state != "open":
        raise ConsoleError("this request is closed already")
    if who.name != r.by and who.role not in ADVISERS:
        raise ConsoleError(f"{r.by} asked this: only they or an adviser close it")
    s = _with_request(s, replace(r, state="closed", answer=answer.strip()[:TEXT_MAX]))
    return s, [Log(who.name, "consult.closed", {"id": r.id, "answer": answer.strip()[:TEXT_MAX], "after_ms": round(_ms(r, now), 1)}), Tell()]


def duty(s: State, who: Person, names: list[str], now: Now) -> Result:
    """Who is on call."""
    clean = tuple(dict.fromkeys(n.strip()[:40] for n in names if n.strip()))[:50]
    present = {p.name for p in s.people.values() if p.role in ADVISERS}
    effects: list[Effect] = [Log(who.name, "consult.on_call", {"names": list(clean)})]
    requests = []
    for r in s.requests:
        # whoever comes on call takes over what nobody has opened yet
        new = [n for n in clean if n not in s.on_call and n not in r.told and n != r.by] if r.state == "open" and not r.opened else []
        effects += [Alert(n, _asks(r), r.id) for n in new]
        requests.append(replace(r, told={**r.told, **{n: _ms(r, now) for n in new if n in present}}) if new else r)
    return replace(s, on_call=clean, requests=tuple(requests)), [*effects, Tell()]


# -- invitations ------------------------------------------------------------------------------------------------------
def invite(s: State, who: Person, token_id: str, name: str, role: Role, seconds: float, case: str, now: Now) -> Result:
    """Register an invitation. Raises ConsoleError."""
    name = name.strip()
    if who.role not in (Role.SURGEON, Role.MENTOR, Role.BEDSIDE):
        raise ConsoleError("only the surgeon, a mentor and the bedside doctor invite")
    if not name or len(name) > 40:
        raise ConsoleError("an invitation names a person, 1 to 40 letters")
    if role not in INVITABLE:
        raise ConsoleError(f"nobody is invited as {role.value}")
    if who.role is not Role.SURGEON and role is Role.MENTOR:
        raise ConsoleError("a mentor is invited by the operating surgeon")
    if not 60 <= seconds <= INVITATION_MAX_S:
        raise ConsoleError("an invitation lasts from a minute to a week")
    if any(i.name == name and i.role is not role and i.state(now.utc) == "valid" for i in s.invitations.values()):
        raise ConsoleError(f"{name} has a valid invitation in another role: revoke it first")
    made = Invitation(token_id, name, role, who.name, now.utc, now.utc + seconds, case)
    log = Log(who.name, "consult.invite", {"id": token_id, "name": name, "role": role.value, "expires": made.expires, "case": case})
    return replace(s, invitations={**s.invitations, token_id: made}), [log, Tell()]


def revoke(s: State, who: Person, token_id: str, now: Now) -> Result:
    """Take an invitation back: its pages end at once."""
    i = s.invitations.get(token_id)
    if i is None:
        raise ConsoleError("no such invitation")
    if who.role is not Role.SURGEON and who.name != i.by:
        raise ConsoleError(f"{i.by} invited {i.name}: only they or the surgeon revoke it")
    if i.revoked:
        return s, []
    s = replace(s, invitations={**s.invitations, token_id: replace(i, revoked=now.utc)})
    return s, [Log(who.name, "consult.revoke", {"id": token_id, "name": i.name}), Close(token_id, f"{who.name} took this invitation back"), Tell()]


def admit(s: State, token_id: str, utc: float) -> str:
    """"" when the invitation is good now, else the words for the person who holds it."""
    i = s.invitations.get(token_id)
    if i is None:
        return "this invitation is not known here"
    if i.state(utc) == "revoked":
        return f"this invitation was taken back: ask {i.by} for a new one"
    if i.state(utc) == "expired":
        return f"this invitation has expired: ask {i.by} for a new one"
    return ""


# -- words, voice -----------------------------------------------------------------------------------------------------
def say(s: State, who: Person, text: str, to: list[str], kind: str, now: Now) -> Result:
    """Say something to all or to some who are here. Raises ConsoleError."""
    text = text.strip()
    if not text or len(text) > TEXT_MAX:
        raise ConsoleError(f"a message has 1 to {TEXT_MAX} letters")
    if kind not in ("text", "instruction"):
        raise ConsoleError(f"unknown kind of message {kind!r}")
    names = tuple(sorted(set(to)))
    here = {p.name for p in s.people.values()}
    away = [n for n in names if n not in here]
    if away:
        raise ConsoleError(f"{', '.join(away)} is not here: nothing was sent")
    w = Words(s.serial + 1, who.name, text, names, now.utc, kind)
    log = Log(who.name, "consult.say", {"id": w.id, "text": text, "to": list(names), "kind": kind})
    tell = Tell(frozenset({who.name, *names}) if names else None)
    return replace(s, serial=w.id, words=(*s.words[-499:], w)), [log, tell]


def acknowledge(s: State, who: Person, serial: int, now: Now) -> Result:
    """Read and understood (an instruction)."""
    found = next((w for w in s.words if w.id == serial and readable(w, who.name)), None)
    if found is None or who.name in found.acked:
        return s, []
    changed = replace(found, acked=(*found.acked, who.name))
    return replace(s, words=tuple(changed if w.id == serial else w for w in s.words)), [Log(who.name, "consult.ack", {"id": serial}), Tell()]


def readable(w: Words, name: str) -> bool:
    """May this person read it?"""
    return not w.to or name == w.author or name in w.to


def speak(s: State, who: Person, muted: bool, to: list[str], now: Now) -> Result:
    """Open or shut one's microphone, to all or to some."""
    if not muted and who.role in (Role.VIEWER, Role.REVIEWER):
        raise ConsoleError("your role listens and looks: ask the surgeon for another invitation to speak")
    voice = Voice(muted, tuple(sorted(set(to) - {who.name})))
    if s.voices.get(who.name, Voice()) == voice:
        return s, []
    log = Log(who.name, "consult.voice", {"muted": muted, "to": list(voice.to)})
    return replace(s, voices={**s.voices, who.name: voice}), [Speak(who.name, voice), log, Tell()]


# -- on live pictures -------------------------------------------------------------------------------------------------
def mark(s: State, who: Person, m: Mark, now: Now) -> Result:
    """Draw or write on a live picture. Raises ConsoleError."""
    if m.kind not in ("line", "arrow", "note") or not 1 <= len(m.points) <= 400:
        raise ConsoleError("a mark is a line, an arrow or a note of 1 to 400 points")
    if not all(-0.01 <= c <= 1.01 for p in m.points for c in p):
        raise ConsoleError("points of a mark are shares of the picture, 0 to 1")
    m = replace(m, id=s.serial + 1, author=who.name, utc=now.utc, text=m.text.strip()[:200])
    marks = (*[k for k in s.marks if now.utc - k.utc < MARK_LIFE_S][-(MARKS_MAX - 1) :], m)
    details = {"id": m.id, "site": m.site, "stream": m.stream, "frame": m.frame, "kind": m.kind, "points": [list(p) for p in m.points], "text": m.text}
    return replace(s, serial=m.id, marks=marks), [Log(who.name, "consult.mark", details | ({"lps_mm": [list(p) for p in m.lps]} if m.lps else {})), Tell()]


def point(s: State, who: Person, m: Mark | None, now: Now) -> Result:
    """Show one's pointer on a live picture, or take it away. Fast, hence not in the record one by one."""
    pointers = {n: k for n, k in s.pointers.items() if n != who.name and now.utc - k.utc < POINTER_LIFE_S}
    if m is not None and len(m.points) == 1:
        pointers[who.name] = replace(m, author=who.name, utc=now.utc)
    return replace(s, pointers=pointers), []


# -- time -------------------------------------------------------------------------------------------------------------
def tick(s: State, now: Now) -> Result:
    """Once a second: invitations run out, marks fade, unanswered requests are escalated."""
    effects: list[Effect] = []
    held = {p.invitation for p in s.people.values() if p.invitation}
    for token_id in sorted(held):
        if words := admit(s, token_id, now.utc):
            who = s.invitations[token_id].name if token_id in s.invitations else ""
            effects += [Close(token_id, words), Log(who, "consult.ended", {"id": token_id, "why": words})]
    requests = []
    for r in s.requests:
        if r.state == "open" and not r.escalated and not r.seen and now.mono - r.at >= ESCALATE_S * 1e9:
            present = {p.name for p in s.people.values() if p.role in ADVISERS} - {r.by}
            more = sorted(present - set(r.told))
            r = replace(r, escalated=True, told={**r.told, **{n: _ms(r, now) for n in more}})
            effects += [Alert(n, _asks(r), r.id) for n in sorted(present)]
            effects.append(Log("server", "consult.escalated", {"id": r.id, "told": sorted(present)}))
        requests.append(r)
    marks = tuple(m for m in s.marks if now.utc - m.utc < MARK_LIFE_S)
    if tuple(requests) != s.requests or len(marks) != len(s.marks):
        effects.append(Tell())
    return replace(s, requests=tuple(requests), marks=marks), effects


# -- what a page gets -------------------------------------------------------------------------------------------------
def document(s: State, name: str, role: Role, utc: float) -> dict[str, Any]:
    """Everything one person may see, whole: a late joiner needs nothing else."""
    mine = role in (Role.SURGEON, Role.MENTOR, Role.BEDSIDE)
    return {
        "requests": [
            {"id": r.id, "by": r.by, "site": r.site, "case": r.case, "question": r.question, "utc": r.utc, "state": r.state,
             "told": r.told, "seen": r.seen, "opened": r.opened, "escalated": r.escalated, "bedside": r.bedside, "answer": r.answer}
            for r in s.requests
        ],
        "invitations": [
            {"id": i.id, "name": i.name, "role": i.role.value, "by": i.by, "expires": i.expires, "state": i.state(utc), "case": i.case}
            for i in s.invitations.values()
            if mine and (role is Role.SURGEON or i.by == name)
        ],
        "words": [
            {"id": w.id, "author": w.author, "text": w.text, "to": list(w.to), "utc": w.utc, "kind": w.kind, "acked": list(w.acked)}
            for w in s.words
            if readable(w, name)
        ],
        "marks": [_mark(m) for m in s.marks],
        "voices": {n: {"muted": v.muted, "to": list(v.to)} for n, v in s.voices.items()},
        "on_call": list(s.on_call),
    }  # fmt: skip


def _mark(m: Mark) -> dict[str, Any]:
    return {"id": m.id, "author": m.author, "site": m.site, "stream": m.stream, "frame": m.frame, "kind": m.kind,
            "points": [list(p) for p in m.points], "text": m.text, "utc": m.utc}  # fmt: skip


def pointer_rows(s: State, utc: float) -> list[dict[str, Any]]:
    """Pointers on live pictures, for the fast frames."""
    return [_mark(m) for m in s.pointers.values() if utc - m.utc < POINTER_LIFE_S]


def _request(s: State, serial: int) -> Request:
    found = next((r for r in s.requests if r.id == serial), None)
    if found is None:
        raise ConsoleError("no such request")
    return found


def _with_request(s: State, changed: Request) -> State:
    return replace(s, requests=tuple(changed if r.id == changed.id else r for r in s.requests))


def _ms(r: Request, now: Now) -> float:
    return (now.mono - r.at) / 1e6


def _asks(r: Request) -> str:
    return f"{r.by}{f' ({r.site})' if r.site else ''} asks: {r.question}"
