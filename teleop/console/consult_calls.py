"""What pages may ask of the consultation and of the live pictures. Registers itself with `calls` when imported."""

from typing import Any

import numpy as np

from teleop.console import consultation as c
from teleop.console.calls import call
from teleop.console.contracts import ConsoleError, Role
from teleop.console.hub import Hub, Page, require
from teleop.console.together import Together


def _who(hub: Hub, page: Page) -> tuple[Together, c.Person]:
    return hub.together, hub.together.state.people.get(page.id) or c.Person(page.who.name, page.who.role)


def _names(raw: object) -> list[str]:
    return [str(n)[:40] for n in raw[:50]] if isinstance(raw, list) else []


@call("consult.request")
async def request(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Ask for an opinion on a case that is open here."""
    t, who = _who(hub, page)
    case = str(args.get("case") or "")
    require(not case or case in hub.desks, "open the images first: a question without images cannot be seen")
    t.do(c.ask(t.state, who, str(args.get("site") or "")[:40], case, str(args.get("question", "")), t.now()))
    return t.state.serial


@call("consult.look")
async def look(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.look_at(t.state, who, int(args.get("id", 0)), str(args.get("what")), t.now()))


@call("consult.close")
async def close(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.close_request(t.state, who, int(args.get("id", 0)), str(args.get("answer", "")), t.now()))


@call("consult.duty")
async def duty(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.duty(t.state, who, _names(args.get("names")), t.now()))


@call("consult.invite")
async def invite(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """-> the token, told once."""
    t, who = _who(hub, page)
    try:
        role = Role(str(args.get("role")))
    except ValueError:
        raise ConsoleError(f"unknown role {args.get('role')!r}") from None
    return t.invite(who, str(args.get("name", "")), role, float(args.get("seconds", 0)), str(args.get("only_case") or ""))


@call("consult.revoke")
async def revoke(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.revoke(t.state, who, str(args.get("id")), t.now()))


@call("consult.say")
async def say(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.say(t.state, who, str(args.get("text", "")), _names(args.get("to")), str(args.get("kind", "text")), t.now()))


@call("consult.ack")
async def acknowledge(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.acknowledge(t.state, who, int(args.get("id", 0)), t.now()))


@call("consult.voice")
async def voice(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.speak(t.state, who, bool(args.get("muted", True)), _names(args.get("to")), t.now()))


def _mark(t: Together, args: dict[str, Any]) -> c.Mark:
    raw = args.get("points")
    if not isinstance(raw, list) or not all(isinstance(p, list) and len(p) == 2 and all(isinstance(v, (int, float)) for v in p) for p in raw):
        raise ConsoleError("points are pairs of shares of the picture")
    points = tuple((float(p[0]), float(p[1])) for p in raw)
    site, stream = str(args.get("site", ""))[:40], str(args.get("stream", ""))[:20]
    kind, text, lps = str(args.get("kind", "line")), str(args.get("text", "")), _patient(t, site, stream, points)
    return c.Mark(0, "", site, stream, int(args.get("frame", 0)), kind, points, text, 0.0, lps)


def _patient(t: Together, site: str, stream: str, points: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float, float], ...]:
    """The same points in patient millimetres, where the picture knows where it is."""
    pose = t.media().pose_of(site, stream)
    if stream != "ultrasound" or len(pose) != 16:
        return ()
    from teleop.media.geometry import PROBE_T_SHARE

    m = np.array(pose).reshape(4, 4) @ PROBE_T_SHARE
    placed = [(m @ np.array([x, y, 0.0, 1.0]))[:3].round(3).tolist() for x, y in points]
    return tuple((p[0], p[1], p[2]) for p in placed)


@call("consult.mark")
async def mark(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Draw on a live picture. On ultrasound the mark stands in the patient too: it appears on the slices and in 3-D."""
    t, who = _who(hub, page)
    m = _mark(t, args)
    t.do(c.mark(t.state, who, m, t.now()))
    case = str(args.get("case") or "")
    if m.lps and len(m.lps) > 1 and case in hub.desks:
        hub.room.draw(page.id, case, "line", [list(p) for p in m.lps], m.text or "ultrasound", t.now().utc)
        hub.tell_room()
    return t.state.serial


@call("consult.point")
async def point(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    t, who = _who(hub, page)
    t.do(c.point(t.state, who, _mark(t, args) if args.get("points") else None, t.now()))
    hub._changed.set()


# -- live pictures ----------------------------------------------------------------------------------------------------
@call("media.open")
async def media_open(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """-> the answer's SDP, the streams in their order, and which hospitals have cameras."""
    from teleop.media.frames import STREAMS

    offer = args.get("offer")
    require(isinstance(offer, str) and 0 < len(offer) < 60_000, "an offer is an SDP text")
    assert isinstance(offer, str)
    desk = hub.together.media()
    from teleop.console.media import Full

    try:
        sdp = await desk.open(page.id, page.who.name, page.who.role, offer, hub.together.hosts.get(page.id, "127.0.0.1"))
    except Full:
        if desk.janus is None:
            raise
        return {"room": await desk.room_offer(str(args.get("site", "")), page.who.name), "streams": list(STREAMS), "sites": list(desk.trunks)}
    for name, v in hub.together.state.voices.items():
        from teleop.media.voices import Line

        desk.voices.set(name, Line(v.muted, frozenset(v.to)))
    return {"answer": sdp, "streams": list(STREAMS), "sites": list(desk.trunks)}


@call("media.room")
async def media_room(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """The page's answer to an offer of the video room."""
    handle, answer = args.get("handle"), args.get("answer")
    require(isinstance(handle, str) and isinstance(answer, str) and len(answer) < 60_000, "an answer is an SDP text")
    await hub.together.media().room_answer(str(handle), str(answer))


@call("media.watch")
async def media_watch(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    streams = args.get("streams")
    hub.together.media().watch(page.id, str(args.get("site", "")), _names(streams))
    hub._changed.set()


@call("media.leave")
async def media_leave(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    await hub.together.media().leave(page.id)


@call("media.thumbnail")
async def media_thumbnail(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """A small JPEG of a hospital's room, on demand."""
    return await hub.together.media().thumbnail(str(args.get("site", "")))
