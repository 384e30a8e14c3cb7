"""What a page may ask for and wait for: `{"t": "call", "id", "call": "plan.edit", "args": {...}}` -> reply.

Each function takes (hub, page, args) and returns a plain value. Roles are checked once, before, from `permissions`. A
ConsoleError becomes the reply's words; anything else is a bug, is logged and answered with "internal error".
"""

import re
import time
from collections.abc import Awaitable, Callable
from typing import Any

from teleop.console.contracts import ConsoleError, Role
from teleop.console.desk import Desk
from teleop.console.hub import Hub, Page, require
from teleop.console.permissions import may
from teleop.console.planner_process import Superseded

Call = Callable[[Hub, Page, dict[str, Any]], Awaitable[Any]]
CALLS: dict[str, Call] = {}

#: Orders that a console may send to a hospital; everything else belongs to the bedside.
SITE_ORDERS = frozenset(
    [
        "request",
        "release",
        "hold",
        "halt",
        "ack",
        "speed",
        "case.describe",
        "case.qualify",
        "case.rehearse",
        "case.rehearse_take_over",
        "case.register",
        "case.read_back",
        "case.request_control",
        "case.select",
        "case.path",
        "case.measure",
        "case.correct",
        "case.breath_hold",
        "case.verify",
        "case.confirm",
        "case.place",
        "case.retreat",
        "case.rearm",
    ]
)


def call(name: str) -> Callable[[Call], Call]:
    def put(function: Call) -> Call:
        if name in CALLS:
            raise ValueError(f"two functions answer {name!r}: {CALLS[name].__name__} and {function.__name__}")
        CALLS[name] = function
        return function

    return put


async def dispatch(hub: Hub, page: Page, name: object, args: object) -> Any:
    """Make a call for a page. Raises ConsoleError."""
    if not isinstance(name, str) or name not in CALLS:
        raise ConsoleError(f"unknown call {name!r}")
    if not may(page.who, name):
        hub.journal.write(page.who.name, "refused", call=name)
        raise ConsoleError(f"your role ({page.who.role.value}) may not do this ({name})")
    return await CALLS[name](hub, page, args if isinstance(args, dict) else {})


def desk_of(hub: Hub, args: dict[str, Any]) -> Desk:
    desk = hub.desks.get(str(args.get("case", "")))
    if desk is None:
        raise ConsoleError("this case is not open any more: choose it again from the list")
    return desk


# -- cases and images ---------------------------------------------------------------------------------------------
@call("cases.sources")
async def sources(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """What can be opened: series of the hospitals (fetched when opened), folders of this machine."""
    found = await hub.planner.call("sources")
    here = {s["id"] for s in found if s["kind"] == "series"}
    for name, site in hub.sites.items():
        if hasattr(site, "fetch_series") and name not in here:
            note = "fetch the series from the hospital"
            found.append({"kind": "fetch", "id": name, "title": site.snapshot().title, "note": note})
    return found


@call("cases.open")
async def open_case(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Open images as a new case (or the existing case of the same images)."""
    source = args.get("source", {})
    require(isinstance(source, dict), "choose what to open from the list")
    if source.get("kind") == "fetch":
        source = await fetch(hub, str(source.get("id")))
    image = await hub.planner.call("open", source)
    for desk in hub.desks.values():
        if desk.image["id"] == image["id"]:
            desk.image = image
            hub.tell_desk(desk)
            return desk.id
    base = re.sub(r"[^A-Za-z0-9]+", "-", image["title"]).strip("-")[:40] or "case"
    name, k = base, 2
    while name in hub.desks:
        name, k = f"{base}-{k}", k + 1
    desk = Desk(
        name,
        image["title"],
        image,
        site=str(image.get("site", "")),
        folder=hub.folder / "plans" if hub.folder else None,
    )
    hub.desks[name] = desk
    desk.save()
    hub.journal.write(page.who.name, "case.open", case=name, ct=image.get("ct_sha256", ""))
    hub.broadcast(hub.cases_message())
    hub.tell_desk(desk)
    return name


async def fetch(hub: Hub, name: str) -> dict[str, Any]:
    """Fetch a hospital's series; every page sees how far it is."""
    site = hub.sites.get(name)
    folder = hub.folder
    require(site is not None and hasattr(site, "fetch_series") and folder is not None, f"{name} has no images to send")
    assert folder is not None
    told = 0.0

    def progress(share: float) -> None:
        nonlocal told
        if share - told > 0.05 or share >= 1:
            told = share
            hub.broadcast({"t": "progress", "what": "images", "site": name, "share": share})

    await site.fetch_series(folder / "series" / name, progress)  # type: ignore[union-attr]
    hub.journal.write("server", "series.fetched", site=name)
    return {"kind": "series", "id": name}


@call("cases.show")
async def show_case(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """The document of a case; its images are opened again after a restart of the server."""
    desk = desk_of(hub, args)
    desk.image = await hub.planner.call("open", desk.image["source"])
    return desk.document()


@call("cases.list")
async def list_cases(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    return hub.cases_message()["cases"]


# -- the plan -----------------------------------------------------------------------------------------------------
@call("plan.auto")
async def auto(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Plan every level and side (or those named)."""
    desk = desk_of(hub, args)
    screws = await hub.planner.call(
        "auto_plan", desk.image["id"], args.get("levels"), args.get("kind", "pedicle_screw")
    )
    keep = {s["id"] for s in screws}
    desk.change([s for s in desk.screws if s["id"] not in keep] + screws, page.who.name)
    desk.screws.sort(key=lambda s: s.get("order", 0))
    hub.journal.write(page.who.name, "plan.auto", case=desk.id, rev=desk.rev, screws=len(screws))
    hub.tell_desk(desk)
    return len(screws)


@call("plan.edit")
async def edit(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Move entry, tip or both, rotate, or resize one screw. While dragging only the newest change is computed."""
    desk = desk_of(hub, args)
    screw = desk.screw(str(args.get("screw")))
    change = args.get("change")
    require(isinstance(change, dict), "a change names what to do: entry, tip, both, size")
    gesture = str(args.get("gesture", ""))[:40]
    try:
        after = await hub.planner.call_newest(f"{page.id}/{screw['id']}", "edit", desk.image["id"], screw, change)
    except Superseded:
        return None
    desk.replace_one(after, page.who.name, gesture)
    if not gesture or args.get("last"):
        hub.journal.write(page.who.name, "plan.edit", case=desk.id, rev=desk.rev, screw=screw["id"], change=change)
    hub.tell_desk(desk, gesture)
    return desk.rev


@call("plan.preview")
async def preview(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """The metrics of a changed screw without changing the plan (experts' proposals, needle tries)."""
    desk = desk_of(hub, args)
    return await hub.planner.call("edit", desk.image["id"], desk.screw(str(args.get("screw"))), args.get("change"))


@call("plan.add")
async def add(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Add a screw at a level and side, or a needle or electrode between two points."""
    desk = desk_of(hub, args)
    screw = await hub.planner.call("add", desk.image["id"], args.get("what", {}))
    require(all(s["id"] != screw["id"] for s in desk.screws), f"{screw['id']} is already in the plan")
    desk.change([*desk.screws, screw], page.who.name)
    desk.screws.sort(key=lambda s: s.get("order", 0))
    hub.journal.write(page.who.name, "plan.add", case=desk.id, rev=desk.rev, screw=screw["id"])
    hub.tell_desk(desk)
    return screw["id"]


@call("plan.remove")
async def remove(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    desk = desk_of(hub, args)
    gone = desk.screw(str(args.get("screw")))
    desk.change([s for s in desk.screws if s is not gone], page.who.name)
    hub.journal.write(page.who.name, "plan.remove", case=desk.id, rev=desk.rev, screw=gone["id"])
    hub.tell_desk(desk)
    return desk.rev


@call("plan.choose")
async def choose(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Take one of the planner's alternatives for a screw."""
    desk = desk_of(hub, args)
    screw = desk.screw(str(args.get("screw")))
    after = await hub.planner.call("choose", desk.image["id"], screw, int(args.get("alternative", 0)))
    desk.replace_one(after, page.who.name)
    hub.journal.write(page.who.name, "plan.choose", case=desk.id, rev=desk.rev, screw=screw["id"])
    hub.tell_desk(desk)
    return desk.rev


@call("plan.undo")
async def undo(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    desk = desk_of(hub, args)
    desk.undo(page.who.name)
    hub.tell_desk(desk)
    return desk.rev


@call("plan.redo")
async def redo(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    desk = desk_of(hub, args)
    desk.redo(page.who.name)
    hub.tell_desk(desk)
    return desk.rev


@call("plan.approve")
async def approve(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Sign the plan exactly as the page shows it: the page names the revision that it drew."""
    desk = desk_of(hub, args)
    require(args.get("rev") == desk.rev, "the plan changed since your page drew it: look again, then approve")
    signer = hub.signer.sign if hub.signer is not None else None
    plan_hash = await hub.planner.call("plan_hash", desk.document())
    signature = signer(page.who, plan_hash) if signer else {"key": "", "signature": ""}
    desk.approve(page.who.name, plan_hash, signature)
    hub.journal.write(page.who.name, "plan.approve", case=desk.id, rev=desk.rev, hash=plan_hash)
    hub.event("plan", f"Plan {desk.title} approved", who=page.who.name)
    hub.broadcast(hub.cases_message())
    hub.tell_desk(desk)
    return plan_hash


@call("plan.void")
async def void(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    desk = desk_of(hub, args)
    desk.void(page.who.name, str(args.get("why") or "withdrawn by the surgeon")[:200])
    hub.journal.write(page.who.name, "plan.void", case=desk.id, rev=desk.rev)
    hub.broadcast(hub.cases_message())
    hub.tell_desk(desk)
    return desk.rev


@call("plan.import")
async def import_plan(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Screws from a file (plan.json, Slicer .mrk.json, .fcsv, ROSA .ros); everything is graded again."""
    desk = desk_of(hub, args)
    data = args.get("data")
    require(isinstance(data, bytes) and 0 < len(data) <= 4_000_000, "a plan file has 1 byte to 4 MB")
    screws = await hub.planner.call("import_plan", desk.image["id"], data, str(args.get("name", ""))[:200])
    keep = {s["id"] for s in screws}
    desk.change([s for s in desk.screws if s["id"] not in keep] + screws, page.who.name)
    desk.screws.sort(key=lambda s: s.get("order", 0))
    hub.journal.write(page.who.name, "plan.import", case=desk.id, rev=desk.rev, screws=sorted(keep))
    hub.tell_desk(desk)
    return len(screws)


@call("plan.export")
async def export(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    desk = desk_of(hub, args)
    name, mime, data = await hub.planner.call("export", desk.document(), str(args.get("format", "json")))
    return {"name": name, "mime": mime, "data": data}


@call("plan.transfer")
async def transfer(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Send the approved plan to the patient's hospital."""
    desk = desk_of(hub, args)
    require(desk.approval is not None, "only an approved plan is sent to a hospital: approve it first")
    assert desk.approval is not None
    name = str(args.get("site") or desk.site)
    require(name in hub.sites, "choose the hospital that this plan belongs to")
    plan = await hub.planner.call("plan_file", desk.document())
    require(plan["hash"] == desk.approval["hash"], "the plan is not the one that was signed: approve it again")
    reply = await hub.sites[name].order(
        "case.plan",
        plan=plan["data"],
        signature=bytes.fromhex(desk.approval["signature"]),
        public_key=desk.approval["key"],
        hash=plan["hash"],
    )
    require(bool(reply.get("ok")), f"{name} did not take the plan: {reply.get('reason', 'no reason given')}")
    desk.site = name
    desk.transferred = {"site": name, "when": time.time(), "hash": plan["hash"], "screws": plan["screws"]}
    hub.bind_plan(name, plan["hash"])
    desk.save()
    hub.journal.write(page.who.name, "plan.transfer", case=desk.id, site=name, hash=desk.approval["hash"])
    hub.event("plan", f"Plan {desk.title} is at {name}", site=name, who=page.who.name)
    hub.tell_desk(desk)
    return reply


# -- the hand -----------------------------------------------------------------------------------------------------
@call("hand.mode")
async def hand_mode(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """The surgeon chose how the arm is to be moved; nothing moves by this, and it is never silent."""
    name, mode = str(args.get("site")), str(args.get("mode"))
    require(name in hub.sites, f"unknown hospital {name!r}")
    require(mode in ("goal", "jog", "servo"), f"a mode is goal, jog or servo, not {mode!r}")
    hub.journal.write(page.who.name, "hand.mode", site=name, mode=mode)
    hub.event("mode", f"mode {mode}", site=name, who=page.who.name)


@call("hand.settings")
async def hand_settings(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Scale, tremor filter, fixtures, locks of the hand at one hospital; returns all settings in force."""
    name, settings = str(args.get("site")), args.get("settings")
    require(name in hub.sites, f"unknown hospital {name!r}")
    require(isinstance(settings, dict), "hand.settings takes a map of settings")
    now = hub.sites[name].configure(settings)  # type: ignore[arg-type]
    hub.journal.write(page.who.name, "hand.settings", site=name, **now)
    return now


# -- sites --------------------------------------------------------------------------------------------------------
@call("site.order")
async def order(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """An order to a hospital; the reply is the hospital's own."""
    name, op = str(args.get("site")), str(args.get("op"))
    require(name in hub.sites, f"unknown hospital {name!r}")
    require(op in SITE_ORDERS, f"{op!r} is not for the console: the bedside does that")
    params = {k: v for k, v in (args.get("params") or {}).items() if isinstance(k, str) and k != "op"}
    hub.journal.write(page.who.name, "site.order", site=name, op=op, params=params)
    if op == "request":
        for other, link in hub.sites.items():
            view = link.snapshot()
            require(other == name or not view.mine or not hub.hand.press, f"release the deadman at {other} first")
    reply = await hub.sites[name].order(op, by=page.who.name, **params)
    hub.event(
        "order",
        f"{op} {'done' if reply.get('ok') else 'refused: ' + str(reply.get('reason', ''))}",
        site=name,
        who=page.who.name,
        priority="" if reply.get("ok") else "low",
    )
    return reply


@call("site.stop")
async def stop(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    site = args.get("site")
    return hub.stop(page.who.name, site if isinstance(site, str) and site in hub.sites else None)


@call("site.path")
async def site_path(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """The guide along the newest stored path of a hospital, to be seen before it moves: {"path_hash", "way"}."""
    name = str(args.get("site"))
    require(name in hub.sites, f"unknown hospital {name!r}")
    path_hash, way = hub.sites[name].way
    return {"path_hash": path_hash, "way": way}


@call("site.robot")
async def robot(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Joints and links of the arm, for the 3-D view."""
    name = str(args.get("site"))
    require(name in hub.sites, f"unknown hospital {name!r}")
    return hub.sites[name].robot()


# -- consult ------------------------------------------------------------------------------------------------------
@call("room.chat")
async def chat(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    line = hub.room.say(page.id, args.get("text"), time.time())
    hub.journal.write(page.who.name, "room.chat", text=line["text"])
    hub.tell_room()


@call("room.pointer")
async def pointer(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    hub.room.point(page.id, str(args.get("case", ""))[:60], args.get("at"))
    hub._changed.set()


@call("room.draw")
async def draw(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    made = hub.room.draw(
        page.id,
        str(args.get("case", ""))[:60],
        str(args.get("kind")),
        args.get("points"),
        str(args.get("text", "")),
        time.time(),
    )
    hub.journal.write(
        page.who.name, "room.draw", **{k: made[k] for k in ("id", "case", "kind", "points_lps_mm", "text")}
    )
    hub.tell_room()
    return made["id"]


@call("room.erase")
async def erase(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    hub.room.erase(page.id, int(args.get("id", 0)))
    hub.journal.write(page.who.name, "room.erase", id=args.get("id"))
    hub.tell_room()


@call("room.hand")
async def raise_hand(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    hub.room.hand(page.id, bool(args.get("up")), time.time())
    hub.journal.write(page.who.name, "room.hand", up=bool(args.get("up")))
    hub.tell_room()


@call("room.present")
async def present(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    hub.room.present(page.id, bool(args.get("on")))
    hub.journal.write(page.who.name, "room.present", on=bool(args.get("on")))
    hub.tell_room()


@call("room.look")
async def look(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    hub.room.show(page.id, args.get("look"))
    hub.broadcast({"t": "look", "look": hub.room.look})


@call("room.propose")
async def propose(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    """Propose a change of a screw: graded by the server, shown to everybody, taken by the surgeon or not."""
    desk = desk_of(hub, args)
    before = desk.screw(str(args.get("screw")))
    after = await hub.planner.call("edit", desk.image["id"], before, args.get("change"))
    made = hub.room.propose(page.id, desk.id, after, str(args.get("text", "")), time.time())
    hub.journal.write(
        page.who.name, "room.propose", id=made["id"], case=desk.id, screw=before["id"], change=args.get("change")
    )
    hub.tell_room()
    return made["id"]


@call("room.decide")
async def decide(hub: Hub, page: Page, args: dict[str, Any]) -> Any:
    accept = bool(args.get("accept"))
    made = hub.room.decide(int(args.get("id", 0)), accept, page.who.name)
    if accept:
        desk = desk_of(hub, {"case": made["case"]})
        desk.replace_one(made["screw"], f"{page.who.name} (proposed by {made['author']})")
        hub.tell_desk(desk)
    hub.journal.write(page.who.name, "room.decide", id=made["id"], accept=accept)
    hub.tell_room()


def motion_rights(page: Page) -> bool:
    """Whether this page's deadman counts at all."""
    return page.who.role is Role.SURGEON and may(page.who, "hand")
