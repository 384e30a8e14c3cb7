"""The reviewer's web server: one page over one or several logs of a session, on this machine only.

Times cross to the page as seconds on one common line: 0 is the begin of the first log given, other logs are placed on it as
`teleop.review.alignment` says. Handlers run in threads; a log is read, never written.
"""

import json
import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safety.log.replay import ReplayError, replay
from safety.log.session import CHECKPOINT_TOPIC
from safety.log.steps import steps
from safety.log.verify import Report, Trusted, verify
from teleop.review.alignment import Alignment, align
from teleop.review.data import ReviewLog
from teleop.review.notes import NoteError, Notes, reviewer_key
from teleop.review.pictures import Pictures, logged
from teleop.review.skeleton import Skeleton, base_T_ct_of, vertebrae

STATIC = Path(__file__).parent / "static"
HEADERS = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
#: Names under which the server answers: a page of elsewhere that points a name at this machine gets nothing.
HOSTS = frozenset({"127.0.0.1", "localhost", "::1", "testserver"})
LOG = logging.getLogger("longhand.review")


class Shell:
    """Adds the headers, refuses foreign Host names."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1").rsplit(":", 1)[0].strip("[]")
        if host not in HOSTS:
            await Response("unknown host name\n", 421)(scope, receive, send)
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", []),
                                                  *((k.encode(), v.encode()) for k, v in HEADERS.items())]}  # fmt: skip
            await send(message)

        await self.app(scope, receive, with_headers)


class Review:
    """The logs under review and what is being found out about them in the background."""

    def __init__(self, paths: list[Path], trusted: list[Trusted], case: Path | None, reviewer: str, key_file: Path) -> None:
        """Raises NotALog, OSError, ValueError (logs of different sessions)."""
        self.logs = [ReviewLog(path) for path in paths]
        sessions = {log.header["session"] for log in self.logs}
        if len(sessions) > 1:
            raise ValueError("these logs are of different sessions: review one session at a time")
        self.trusted, self.case, self.reviewer, self.key_file = trusted, case, reviewer, key_file
        self.paths = paths
        self.token = secrets.token_urlsafe(16)
        first = self.logs[0].reader
        self.alignments = [Alignment(0, 0, "reference"), *(align(first, log.reader) for log in self.logs[1:])]
        self.verdict: dict[str, Any] | None = None
        self.replays: list[dict[str, Any] | None] = [None] * len(self.logs)
        self._plans: list[dict[str, Any] | None] = [None] * len(self.logs)
        self._skeletons: dict[str, Skeleton] = {}
        self._pictures: dict[int, Pictures] = {}
        self._picture_lock = threading.Lock()
        self._busy: set[str] = set()
        self._lock = threading.Lock()

    # Common time

    def seconds(self, index: int, mono: int) -> float:
        """A log's stamp on the common line."""
        return (mono - self.alignments[index].offset - self.logs[0].start) / 1e9

    def mono(self, index: int, seconds: float) -> int:
        return round(seconds * 1e9) + self.logs[0].start + self.alignments[index].offset

    def pictures(self, index: int, seconds: float) -> dict[str, Any]:
        """The recorded pictures of that moment (`teleop.review.pictures`)."""
        with self._picture_lock:
            if index not in self._pictures:
                self._pictures[index] = Pictures(self.paths[index], logged(self.logs[index].reader))
            return self._pictures[index].at(self.mono(index, seconds), lambda mono: self.seconds(index, mono))

    # Background work

    def in_background(self, name: str, work: Callable[[], None]) -> None:
        """Run once at a time."""
        with self._lock:
            if name in self._busy:
                return
            self._busy.add(name)

        def run() -> None:
            try:
                work()
            finally:
                self._busy.discard(name)

        threading.Thread(target=run, name=name, daemon=True).start()

    def start_verifying(self) -> None:
        def work() -> None:
            try:
                report: Report = verify(self.paths, self.trusted)
                self.verdict = report.to_json()
            except (OSError, ValueError) as error:
                self.verdict = {"ok": False, "end": "error", "error": str(error), "files": []}

        self.in_background("verify", work)

    def start_replay(self, index: int) -> None:
        def work() -> None:
            try:
                self.replays[index] = replay(steps(self.logs[index].reader)).to_json()
            except ReplayError as error:
                # A console's log has no governor in it, so there is nothing to compare and nothing wrong.
                self.replays[index] = {"ok": not self.logs[index].has_governor, "decisions": 0, "error": str(error)}

        self.replays[index] = None
        self.in_background(f"replay {index}", work)

    # Answers

    def session(self) -> dict[str, Any]:
        """Everything the page needs at once."""
        out = []
        for k, log in enumerate(self.logs):
            h = log.header
            details = _json(h["details"])
            changes = [
                {**{name: c.get(name, "") for name in ("state", "reason", "holder", "holder_name", "mode")},
                 "epoch": c.get("epoch", 0), "t": self.seconds(k, c["stamp_mono"])}
                for c in log.changes
            ]  # fmt: skip
            events = [{**{n: v for n, v in e.items() if n != "at"}, "t": self.seconds(k, e["at"])} for e in log.events]
            out.append({
                "file": log.path.name, "site": h["site"], "arm": h["arm"], "case_id": h["case_id"], "session": h["session"],
                "begin": self.seconds(k, log.start), "end": self.seconds(k, log.end),
                "utc_at_zero": log.reader.utc(self.mono(k, 0.0)) / 1e9,
                "complete": log.reader.complete, "governor": log.has_governor, "signals": log.signals, "changes": changes, "events": events,
                "alignment": asdict(self.alignments[k]), "details": details, "site_key": h["site_public_key"].hex(),
            })  # fmt: skip
        return {"logs": out, "reviewer": self.reviewer}

    def plans(self, index: int) -> dict[str, Any]:
        """Planned lines, keep-outs, achieved poses, vertebrae when the case is at hand."""
        if self._plans[index] is None:
            log = self.logs[index]
            found = log.plans()
            for row in (*found["lines"], *found["achieved"]):
                row["t"] = self.seconds(index, row.pop("at"))
            case = self.case or _case_of(_json(log.header["details"]))
            base_T_ct = base_T_ct_of(log.events)
            found["vertebrae"], found["vertebrae_why"] = [], "no case folder: start with --case DIR"
            if case is not None and base_T_ct is None:
                found["vertebrae_why"] = "the log holds no registration, so the images have no place"
            elif case is not None and base_T_ct is not None:
                try:
                    found["vertebrae"] = vertebrae(case, base_T_ct)
                    found["vertebrae_why"] = ""
                except (OSError, ValueError, KeyError) as error:
                    found["vertebrae_why"] = f"the case folder cannot be read: {error}"
            self._plans[index] = found
        return self._plans[index] or {}

    def moment(self, index: int, seconds: float) -> dict[str, Any]:
        out = self.logs[index].moment(self.mono(index, seconds))
        state = out.get("arm_state")
        if state:
            out["skeleton"] = self._skeleton_of(index).points(list(state["q"]))
        out["utc"] = self.logs[index].reader.utc(out["at"]) / 1e9
        return out

    def _skeleton_of(self, index: int) -> Skeleton:
        config = _json(self.logs[index].header["details"]).get("config", {})
        model = str(config.get("arm_model", "iiwa7"))
        if model not in self._skeletons:
            self._skeletons[model] = Skeleton(model)
        return self._skeletons[model]

    def notes_of(self, index: int) -> Notes:
        log = self.logs[index]
        last = log.reader.last_before(CHECKPOINT_TOPIC, log.end)
        digest = b""
        if last is not None:
            from hashlib import sha256

            note = log.reader.decode(last)["note"]
            digest = sha256((note.partition("\n\n")[0] + "\n").encode()).digest()
        return Notes(log.path, log.header["session"], log.header["site"], digest)

    def notes(self) -> list[dict[str, Any]]:
        rows = []
        for k in range(len(self.logs)):
            rows += [{**asdict(n), "log": k, "t": self.seconds(k, n.at)} for n in self.notes_of(k).read()]
        return sorted(rows, key=lambda row: row["t"])


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return {}


def _case_of(details: Any) -> Path | None:
    """The case folder named in the header's configuration, where it is at hand on this machine."""
    try:
        folder = Path(details["config"]["case_dir"])
        return folder if (folder / "case.json").is_file() else None
    except (KeyError, TypeError):
        return None


def make_app(review: Review) -> ASGIApp:
    """The application."""

    def guarded(answer: Callable[[Request], Any]) -> Callable[[Request], Response]:
        def handler(request: Request) -> Response:
            kind, _, token = request.headers.get("authorization", "").partition(" ")
            if kind != "Bearer" or not secrets.compare_digest(token, review.token):
                return JSONResponse({"error": "open the page by the address that `longhand review` printed"}, 401)
            try:
                return JSONResponse(answer(request), headers={"cache-control": "no-store"})
            except (LookupError, ValueError, NoteError) as error:
                return JSONResponse({"error": str(error) or type(error).__name__}, 400)

        return handler

    def index_of(request: Request) -> int:
        index = int(request.path_params["log"])
        if not 0 <= index < len(review.logs):
            raise LookupError(f"no log {index}")
        return index

    def number(request: Request, name: str) -> float:
        text = request.query_params.get(name, "")
        try:
            value = float(text)
        except ValueError:
            raise ValueError(f"{name} needs a number, got {text!r}") from None
        if value - value != 0:
            raise ValueError(f"{name} needs a finite number")
        return value

    def session(request: Request) -> Any:
        return review.session()

    def series(request: Request) -> Any:
        k = index_of(request)
        names = request.query_params.get("names", "").split(",")
        t0, t1 = review.mono(k, number(request, "from")), review.mono(k, number(request, "to"))
        out = review.logs[k].series(names, t0, t1, int(number(request, "width")))
        for column in out.values():
            column["t"] = [review.seconds(k, t) for t in column["t"]]
        return out

    def paths(request: Request) -> Any:
        k = index_of(request)
        out = review.logs[k].paths(review.mono(k, number(request, "from")), review.mono(k, number(request, "to")))
        return {**out, "t": [review.seconds(k, t) for t in out["t"]]}

    def moment(request: Request) -> Any:
        return review.moment(index_of(request), number(request, "t"))

    def pictures(request: Request) -> Any:
        return review.pictures(index_of(request), number(request, "t"))

    def decision(request: Request) -> Any:
        k = index_of(request)
        if "n" in request.query_params:
            found = review.logs[k].find_step(int(number(request, "n")))
        else:
            record = int(number(request, "record")) if "record" in request.query_params else None
            move = int(request.query_params.get("move", 0))
            found = review.logs[k].decision(review.mono(k, number(request, "t")), move, record)
        return None if found is None else {**found, "t": review.seconds(k, found["at"])}

    def status(request: Request) -> Any:
        return {"verdict": review.verdict, "replays": review.replays, "busy": sorted(review._busy)}

    def start_replay(request: Request) -> Any:
        review.start_replay(index_of(request))
        return {"ok": True}

    def plans(request: Request) -> Any:
        return review.plans(index_of(request))

    def notes(request: Request) -> Any:
        return review.notes()

    async def add_note(request: Request) -> Response:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind != "Bearer" or not secrets.compare_digest(token, review.token):
            return JSONResponse({"error": "open the page by the address that `longhand review` printed"}, 401)
        try:
            body = json.loads((await request.body())[:20000])
            index = int(body["log"])
            at = review.mono(index, float(body["t"]))
            key = reviewer_key(review.key_file)
            review.notes_of(index).add(at, str(body["text"]), str(body["author"]), key)
        except (NoteError, LookupError, ValueError, TypeError, OSError) as error:
            return JSONResponse({"error": str(error)}, 400)
        return JSONResponse(review.notes())

    async def page(request: Request) -> Response:
        return FileResponse(STATIC / "replay.html", headers={"cache-control": "no-cache"})

    async def root(request: Request) -> Response:
        return RedirectResponse("/replay")

    def report(request: Request) -> Response:
        if not secrets.compare_digest(request.query_params.get("token", ""), review.token):
            return JSONResponse({"error": "token missing"}, 401)
        from teleop.review.report import html_report

        return HTMLResponse(html_report(review.logs[index_of(request)], review.verdict))

    app = Starlette(
        routes=[
            Route("/", root),
            Route("/replay", page),
            Route("/api/session", guarded(session)),
            Route("/api/status", guarded(status)),
            Route("/api/log/{log:int}/series", guarded(series)),
            Route("/api/log/{log:int}/paths", guarded(paths)),
            Route("/api/log/{log:int}/moment", guarded(moment)),
            Route("/api/log/{log:int}/decision", guarded(decision)),
            Route("/api/log/{log:int}/plans", guarded(plans)),
            Route("/api/log/{log:int}/pictures", guarded(pictures)),
            Route("/api/log/{log:int}/replay", guarded(start_replay), methods=["POST"]),
            Route("/api/log/{log:int}/report", report),
            Route("/api/notes", guarded(notes), methods=["GET"]),
            Route("/api/notes", add_note, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(GZipMiddleware, minimum_size=2000)],
    )
    return Shell(app)
