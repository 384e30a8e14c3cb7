"""`ConsoleLog`: the session log of the surgeon's side, of the same kind as a hospital's and witnessing the hospitals'.

It holds what no hospital sees: who did what at which screen, orders with their answers, the lines as measured here, and how
far each hospital's clock is from this one. What was commanded, and every decision about it, stands in the hospital's log.
A thread writes; nothing here waits. Free texts are sealed with a key of this log (`<keys>/cases/console-<session>.key`).
"""

import contextlib
import json
import os
import platform
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

from safety.log.disk import require_space
from safety.log.privacy import CaseKey, key_file, load_or_make, seal_fields
from safety.log.recording import Recording
from safety.log.session import SessionInfo, log_path
from safety.log.utc import CLOCK_TOPIC, CLOCK_TYPE, UtcWatch, estimate, now, utc_error
from safety.log.writer import SessionLog
from teleop.link.keys import load_roles, load_secret

UI_TOPIC, UI_TYPE = "ui/actions", "longhand_msgs/msg/UiAction"
LINK_TOPIC, LINK_TYPE = "link/stats", "longhand_msgs/msg/LinkStats"
HEARTBEAT_TOPIC, HEARTBEAT_TYPE = "heartbeat", "longhand_msgs/msg/Heartbeat"
PERIOD_NS = 1_000_000_000
#: Space for so long at an arm's rate (250 kB/s) must be free at the beginning: hours at a console's 2 kB/s.
PLANNED_S = 120.0
#: Bytes of a detail that are kept: an order may carry a whole plan, which the hospital's log has.
MAX_DETAIL = 8000
#: ... and of what a hospital is told.
MAX_TOLD = 2000


class ConsoleLog:
    """Open with `open_console_log`; give it to a `Carrier`; `step` in the loop; `close` at the end."""

    def __init__(self, recording: Recording, name: str, path: Path, key: CaseKey) -> None:
        self.name = name
        self.path = path
        self._recording = recording
        self._key = key
        self._utc = UtcWatch()
        self._due = 0

    @property
    def checkpoint(self) -> str:
        """The newest signed checkpoint that is on disk."""
        return self._recording.state.note

    def witness(self, site: str, note: str) -> None:
        """A site's newest checkpoint arrived here."""
        self._recording.peer_checkpoint(site, note=note)

    def action(self, who: str, where: str, action: str, detail: Mapping[str, Any], stamp_ui: int = 0) -> None:
        """What somebody did at a screen. stamp_ui: the screen's own clock, ns, 0 when it did not say."""
        fields = {
            "schema_version": 1, "stamp_mono": time.monotonic_ns(), "stamp_ui": stamp_ui, "who": who, "where": where,
            "action": action, "detail": sealed_detail(detail, self._key),
        }  # fmt: skip
        self._recording.put(UI_TOPIC, UI_TYPE, fields)

    def step(self, now_ns: int, links: Mapping[str, Any]) -> None:
        """Once a second: UTC, heartbeat, each site's clock and line. links: site -> `ConsoleLink` (its `stats`, `clock`)."""
        if now_ns < self._due:
            return
        self._due = now_ns + PERIOD_NS
        utc = self._utc.look(*now())
        if utc is not None:
            self._recording.put(CLOCK_TOPIC, CLOCK_TYPE, utc)
        beat = {"schema_version": 1, "stamp_mono": now_ns, "process": "console", "pid": os.getpid(), "note": ""}
        self._recording.put(HEARTBEAT_TOPIC, HEARTBEAT_TYPE, beat)
        for site, link in links.items():
            found = link.clock()
            if found is not None:
                fields = estimate(now_ns, f"site:{site}", found.offset_ns, found.error_ns)
                self._recording.put(CLOCK_TOPIC, CLOCK_TYPE, fields)
            for path in link.stats()["paths"]:
                self._recording.put(LINK_TOPIC, LINK_TYPE, _link_fields(site, path, now_ns))

    def close(self, reason: str) -> bool:
        """Write what is queued and the clean end; False when the writer did not manage."""
        return self._recording.close(reason)


def open_console_log(
    folder: Path, keys_dir: Path, name: str, session: bytes, details: Mapping[str, Any]
) -> ConsoleLog:
    """Create `<folder>/<session>-<name>.mcap` (or -2, -3 ...) and start its thread. name: the console's principal.

    Raises OSError (no space, no folder), ValueError, teleop.link.errors.KeyRefused (no key of that name).
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    stat = os.statvfs(folder)
    require_space(stat.f_bavail * stat.f_frsize, PLANNED_S, str(folder))
    case_id = f"console-{session.hex()[:12]}"
    key = load_or_make(key_file(keys_dir, case_id))
    info = SessionInfo(
        session=session, site=name, arm="console", case_id=case_id, details={**details, "case_key_id": key.key_id}
    )
    log = SessionLog(
        log_path(folder, session, name), load_secret(keys_dir / name).signer(), info, mono=time.monotonic_ns(),
        utc=time.time_ns(), utc_error=utc_error(),
    )  # fmt: skip
    return ConsoleLog(Recording(log, time.monotonic_ns).start(), name, log.path, key)


def log_of_list(plan: Mapping[str, Any], *, simulated: bool) -> ConsoleLog | None:
    """The log of a console that works on a list of hospitals (list.json); None when the list names no `log_dir`.

    Raises what `open_console_log` raises."""
    if not plan.get("log_dir"):
        return None
    keys_dir = Path(plan["keys_dir"])
    roles = load_roles(keys_dir)
    versions = {"python": platform.python_version(), "machine": platform.machine(), "longhand": _version("longhand")}
    details = {
        "role": "console", "simulated": simulated, "versions": versions,
        "invited_institution": plan.get("institution", plan["console"]),
        "inviting_institution": ", ".join(site["name"] for site in plan["sites"]),
        "service": plan.get("service", "not stated"), "operators": plan.get("operators", [plan["console"]]),
        "sites": [site["name"] for site in plan["sites"]],
        "site_keys": {p.name: p.ed25519 for p in roles.principals.values()},
    }  # fmt: skip
    session = bytes.fromhex(plan.get("session", "")) or os.urandom(16)
    return open_console_log(Path(plan["log_dir"]), keys_dir, plan["console"], session, details)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


class Teller(Protocol):
    """What is needed of a `ConsoleSession`."""

    up: bool

    def send(self, op: str, timeout_s: float = ..., **fields: Any) -> Any: ...


class Actions:
    """Enters what people (or a script) do at the console in the console's log, and tells the hospital it concerns."""

    def __init__(self, log: ConsoleLog, sites: Mapping[str, Teller]) -> None:
        self._log = log
        self._sites = sites

    def took(self, who: str, where: str, action: str, detail: Mapping[str, Any], stamp_ui: int = 0) -> None:
        """who: a person's name or id; where: page or program; detail: `site` in it names the hospital."""
        self._log.action(who, where, action, detail, stamp_ui)
        site = self._sites.get(str(detail.get("site")))
        if site is None or not site.up:
            return
        text = json.dumps(_plain({k: v for k, v in detail.items() if k != "site"}), ensure_ascii=False)
        if len(text) > MAX_TOLD:
            text = json.dumps({"left_out": f"{len(text)} characters; the console's log has them"})
        with contextlib.suppress(ValueError, RuntimeError, OSError):  # too many orders are open: the console's log has it
            site.send("site.ui", 10.0, by=who[:64], where=where[:64], action=action[:64], detail=text, stamp_ui=stamp_ui)


def sealed_detail(detail: Mapping[str, Any], key: CaseKey) -> str:
    """JSON of a detail, what people wrote in it sealed. Bytes become their length: what they are is in the site's log."""
    text = json.dumps(seal_fields(_plain(dict(detail)), key), ensure_ascii=False)
    return text if len(text) <= MAX_DETAIL else json.dumps({"left_out": f"{len(text)} characters of detail"})


def _plain(value: Any) -> Any:
    if isinstance(value, bytes | bytearray):
        return value.hex() if len(value) <= 32 else f"{len(value)} bytes"
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value if isinstance(value, str | int | float | bool) or value is None else str(value)


def _link_fields(site: str, p: Mapping[str, Any], now_ns: int) -> dict[str, Any]:
    nan = float("nan")
    return {
        "schema_version": 1, "stamp_mono": now_ns, "peer": site, "path": p["path"], "alive": p["alive"],
        "rtt_ms_p50": nan if p["rtt_ms_p50"] is None else p["rtt_ms_p50"],
        "rtt_ms_p99": nan if p["rtt_ms_p99"] is None else p["rtt_ms_p99"], "loss": p["loss"], "jitter_ms": p["jitter_ms"],
        "received": p["received"], "lost": p["lost"], "duplicates": p["duplicates"], "bad": p["bad"],
    }  # fmt: skip
