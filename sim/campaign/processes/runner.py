"""One small site in real processes, struck again and again: keys, kills, stops and a full disk, each while the tool moves.

The bedside desk is here, on a real socket of the governor like every other partner. Times are the machine's monotonic clock.
"""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safety.lease import path_digest
from safety.params import MS, Params
from sim.campaign.processes.judge import judge
from sim.campaign.processes.parts import LEASE, LEASES, SITE, TICK, TICKS, Table
from sim.campaign.rig import PLAN
from sim.campaign.site import axis_of, kinematics
from teleop.geometry import pose_to_matrix
from teleop.link.keys import make_directory, revoke
from teleop.site.governor_client import GovernorClient, GovernorGoneError

ROOT = Path(__file__).resolve().parents[3]
MODES = ("servo", "jog", "goal", "advance")
BAD = ("HOLD", "STOP", "FAULT")
#: Sockets and wake-ups of ordinary processes between a cause and the state that answers it (two busy cores), ns.
SLACK_NS = 60 * MS
PARAMS = Params(require_rehearsal=False)


@dataclass(frozen=True)
class Kind:
    """strike: acts; respond: states of which one must follow within `within` (0: none must), or `keep`: none of BAD may."""

    fault: str
    title: str
    strike: Callable[["Runner"], None]
    respond: tuple[str, ...] = ()
    within: int = 0
    keep: bool = False
    since_last: bool = False  # `within` counts from the last valid command, not from the strike
    later: Callable[["Runner"], None] | None = None  # `later_at` after
    later_at: int = 500 * MS
    check: Callable[["Runner"], list[str]] | None = None
    watch_ns: int = 1200 * MS
    prepare: Callable[["Runner"], None] | None = None  # before the grant
    modes: tuple[str, ...] = MODES


@dataclass
class Result:
    """One run. struck: the injection is seen to have happened; why: failures in words."""

    name: str
    fault: str
    mode: str
    run: int
    struck: bool
    passed: bool
    travel_ratio: float
    travel_mm: float
    time_ratio: float
    rest_ms: float
    response_ms: float
    response_ratio: float
    foreign: int
    leases: int
    late_ms: float
    why: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Runner:
    """Starts everything once; what a fault kills is started again before the next run."""

    def __init__(self, base: int, seed: int = 1) -> None:
        self.base = base
        self.rng = random.Random(seed)
        self.folder = Path(tempfile.mkdtemp(prefix="lhp-"))
        self.folder.chmod(0o700)
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=160m", "tmpfs", str(self.disk)], capture_output=True
        )
        self.own_disk = mounted.returncode == 0
        self.parts: dict[str, subprocess.Popen[bytes]] = {}
        self.case: GovernorClient | None = None
        self.status: dict[str, Any] = {}
        self.replies: dict[int, dict[str, Any]] = {}
        self.changes: list[tuple[int, str, str]] = []
        self.ids = 0
        self.next_beat = 0
        self.ticks = self.leases = Table(np.zeros((1, 1)))
        self.registration = 0
        self.stopped: list[str] = []
        self._new_keys()

    # --- processes ---------------------------------------------------------------------------------------------------

    def _new_keys(self) -> None:
        shutil.rmtree(self.folder / "keys", ignore_errors=True)
        roles = make_directory(
            self.folder / "keys", [SITE], [("sam", "surgeon"), ("tess", "surgeon"), ("olga", "observer")]
        )
        self.sam = roles.principals["sam"].curve
        self.table = (self.folder / "keys" / "roles.toml").read_text()
        other = self.folder / "strangers"
        shutil.rmtree(other, ignore_errors=True)
        make_directory(other, ["elsewhere"], [("mallory", "surgeon")])
        shutil.copytree(other / "mallory", self.folder / "keys" / "mallory")

    def spawn(self, name: str, *words: str) -> None:
        env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        part = name.split("-")[0]
        if part == "governor":
            command = ["-m", "safety.process", "--site", SITE, "--arm", "arm1", "--run-dir", str(self.folder), "--state-dir",
                       str(self.folder / "state"), "--roles", str(self.folder / "keys" / "roles.toml"), "--param",
                       "require_rehearsal=0"]  # fmt: skip
        else:
            command = ["-m", "sim.campaign.processes.parts", part, str(self.folder), "--base", str(self.base)]
        with (self.folder / f"{name}.log").open("ab") as log:
            self.parts[name] = subprocess.Popen(
                [sys.executable, *command, *words], cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=log, stderr=log
            )

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        self.parts[name].send_signal(number)
        if number == signal.SIGKILL:
            self.parts.pop(name).wait(10)
        elif number == signal.SIGSTOP:
            self.stopped.append(name)

    def wake(self) -> None:
        for name in self.stopped:
            if name in self.parts:
                self.parts[name].send_signal(signal.SIGCONT)
        self.stopped.clear()

    def said(self, name: str) -> str:
        file = self.folder / f"{name}.log"
        return file.read_text(errors="replace") if file.exists() else ""

    # --- the desk ----------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Everything the desk does in 5 ms."""
        if self.case is None:
            with contextlib.suppress(GovernorGoneError, PermissionError, ValueError):
                self.case = GovernorClient.connect(self.folder / "governor.sock", "case")
                self.status = {}
        if self.case is None:
            time.sleep(0.01)
            return
        try:
            self.case.wait(0.005)
            now = time.monotonic_ns()
            if now >= self.next_beat:
                self.next_beat = now + 50 * MS
                self.case.send({"t": "hb", "note": ""})
            for m in self.case.poll():
                if m["t"] == "status":
                    if m["state"] != self.status.get("state"):
                        self.changes.append((m["since"], m["state"], m["reason"]))
                    self.status = m
                elif m["t"] == "reply":
                    self.replies[m["id"]] = m
        except GovernorGoneError:
            self.case, self.status = None, {}

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 30.0) -> Any:
        end = time.monotonic() + seconds
        while True:
            self.pump()
            value = condition()
            if value:
                return value
            if time.monotonic() > end:
                state = {k: self.status.get(k) for k in ("state", "reason", "blockers", "last_reject", "holder_name")}
                raise RuntimeError(f"waited in vain until {what}: {state}")

    def order(self, op: str, **fields: Any) -> dict[str, Any]:
        self.ids += 1
        n = self.ids
        self.until(lambda: self.case, "the governor listens")
        assert self.case is not None
        self.case.send({"t": "order", "key": "bedside", "id": n, "order": {"op": op, **fields}})
        answer: dict[str, Any] = self.until(lambda: self.replies.pop(n, None), f"the answer to {op}", 5.0)
        return answer

    def must(self, op: str, **fields: Any) -> None:
        answer = self.order(op, **fields)
        if not answer["ok"]:
            raise RuntimeError(f"{op}: {answer['reason']}")

    # --- one run -----------------------------------------------------------------------------------------------------

    def ready(self) -> None:
        """Everybody there, the arm at rest, READY without a holder, then a new case and grant."""
        self.wake()
        for name in ("arm", "governor", "recorder", "gateway", "console"):
            if name not in self.parts or self.parts[name].poll() is not None:
                if name == "arm" and name in self.parts:
                    raise RuntimeError(f"the arm ended by itself: {self.said('arm')[-400:]}")
                self.spawn(name)
                if name == "arm":
                    self.until(lambda: (self.folder / "arm.sock").exists(), "the arm listens", 60.0)
                    self.ticks = Table.open(self.folder / "ticks", TICK, TICKS, new=False)
                    self.leases = Table.open(self.folder / "leases", LEASE, LEASES, new=False)
        self.tell_console("release")  # a deadman that is down at a grant moves nothing until it was up
        self.until(lambda: self.status.get("state"), "a status")
        end = time.monotonic() + 60.0
        while self.status.get("state") != "READY" or self.status.get("holder"):
            state = self.status.get("state")
            if state in ("STOP", "INIT"):
                self.order("rearm")
            elif state == "LOCAL":
                self.order("rearm")  # a stop given meanwhile
                self.order("return_local")
            elif state:
                self.order("stop")
            pause = time.monotonic() + 0.05
            self.until(lambda p=pause: time.monotonic() > p, "")  # type: ignore[misc]
            if time.monotonic() > end:
                raise RuntimeError(
                    f"the site does not become READY: {self.status.get('state')} {self.status.get('reason')}"
                )
        self.until(lambda: self.ticks.written()[-1, 3] == 0.0, "the arm rests")

    def grant(self, mode: str) -> None:
        q = self.ticks.written()[-1, 4:11].copy()
        kin = kinematics()
        pose = np.array(kin.fk(q))
        z = axis_of(pose)
        side = np.array([0.0, 1.0, 0.0]) - z * z[1]
        side /= np.linalg.norm(side)
        home = np.array(kin.fk(kin.model.home))
        if float((home - pose)[:3] @ side) < 0.0:
            side = -side  # back towards where it all began
        up = float((home - pose)[:3] @ z)
        entry = pose[:3] + 0.045 * z
        self.registration += 1
        self.must("scene", plan_hash=PLAN, registration_epoch=1, confirmed=True, sigma_reg=0.0003,
                  corridor={"entry": entry.tolist(), "axis": z.tolist(), "radius": 0.002},
                  keepouts=[{"kind": "halfspace", "n": (-z).tolist(), "d": float(-z @ (entry + 0.02 * z)), "name": "canal"}])  # fmt: skip
        self.must("qualify", result={"passed": True})
        path = b""
        way = side if mode != "jog" else (z if up > 0.0 else -z)
        if mode in ("goal", "advance"):
            way = side if mode == "goal" else z
            path = self.path(mode, q, way, 0.08 if mode == "goal" else 0.03, 0.02 if mode == "goal" else 0.002)
            self.until(lambda: path in self.status.get("paths", ()), "the arm took the path")
        self.must("grant", holder=self.sam)
        self.until(lambda: not self.status.get("blockers", ["?"]), "nothing blocks")
        self.until(lambda: self.status.get("last_seq", 0) > 2, "the console's released deadman is known under this grant")
        self.tell_console(f"press {mode} {path.hex() or '-'} {','.join(f'{x:.9f}' for x in way)}")

    def tell_console(self, line: str) -> None:
        console = self.parts["console"].stdin
        assert console is not None
        with contextlib.suppress(BrokenPipeError):
            console.write(line.encode() + b"\n")
            console.flush()

    def path(self, kind: str, q: np.ndarray, way: np.ndarray, length: float, margin: float) -> bytes:
        kin = kinematics()
        rows, pose = [q], np.array(kin.fk(q))
        for k in range(1, int(length / 0.0005) + 1):
            target = pose_to_matrix(pose)
            target[:3, 3] += way * (k * 0.0005)
            row = rows[-1]
            for _ in range(4):
                row, _ = kin.follow(row, target)
            rows.append(np.array(row))
        lengths, _ = kin.path_steps(np.array(rows))
        s = [0.0, *np.cumsum(lengths * 1.0001 + 1e-7).tolist()]
        q_rows, m = [[float(x) for x in row] for row in rows], [margin] * len(s)
        digest = path_digest(kind, q_rows, s, m)
        self.must("path", path_hash=digest, kind=kind, q=q_rows, s=s, margin=m)
        return digest

    def moving(self) -> bool:
        rows = self.ticks.written()
        recent = rows[rows[:, 0] > rows[-1, 0] - 50 * MS]
        return self.status.get("state") in ("ACTIVE", "DEGRADED") and bool((recent[:, 2] > 0.001).all())

    def last_lease(self) -> int:
        return int(self.leases.written()[-1, 1])

    def run(self, name: str, kind: Kind, mode: str, number: int) -> Result:
        """One fault. Raises RuntimeError where the run could not even begin."""
        for attempt in range(3):
            self.ready()
            if kind.prepare is not None:
                kind.prepare(self)
            try:
                first_tick, first_lease = len(self.ticks.written()), len(self.leases.written())
                self.grant(mode)
                self.until(self.moving, "the tool moves", 8.0)
                break
            except RuntimeError:
                if attempt == 2:
                    raise
        wait = time.monotonic() + 0.3 + self.rng.random() * 0.3
        self.until(lambda: time.monotonic() > wait, "")
        was_moving = self.moving()
        self.changes.clear()
        struck_at = time.monotonic_ns()
        kind.strike(self)
        later = kind.later
        while time.monotonic_ns() - struck_at < kind.watch_ns:
            self.pump()
            if later is not None and time.monotonic_ns() - struck_at > kind.later_at:
                later(self)
                later = None
        ticks, leases = self.ticks.written()[first_tick:].copy(), self.leases.written()[first_lease:].copy()
        v = judge(ticks, leases, PARAMS)
        why = [] if was_moving else ["the tool did not move when it was struck"]
        entered = next(((t, s) for t, s, _ in self.changes if s in kind.respond and t >= struck_at - 20 * MS), None)
        response = ratio = 0.0
        if kind.within:
            if entered is None:
                why.append(
                    f"no {'/'.join(kind.respond)}, is in {self.status.get('state')} ({self.status.get('reason')})"
                )
            else:
                response = (entered[0] - (v.last_t_k if kind.since_last else struck_at)) / MS
                ratio = response * MS / (kind.within + SLACK_NS)
        if ratio > 1.0:
            why.append(f"{entered} after {response:.0f} ms")
        if kind.keep and any(s in BAD for _, s, _ in self.changes):
            why.append(f"went to {self.changes}")
        if kind.check is not None:
            why += kind.check(self)
        if v.foreign:
            why.append(f"{v.foreign} leases of an attacker's command")
        if not kind.keep and v.time_ratio > 1.0:
            why.append(f"at rest after {v.rest_ms:.0f} ms")
        if v.travel_ratio > 1.0:
            why.append(f"travelled {v.travel_mm:.2f} mm, over the bound")
        self.wake()
        for extra in [n for n in self.parts if n.startswith("console-")]:
            self.kill(extra)
        return Result(name, kind.fault, mode, number, was_moving, not why, v.travel_ratio, v.travel_mm,
                      0.0 if kind.keep else v.time_ratio, v.rest_ms, response, max(0.0, ratio), v.foreign, v.leases, v.late_ms,
                      "; ".join(why))  # fmt: skip

    def close(self) -> None:
        self.wake()
        for process in self.parts.values():
            process.terminate()
        for process in self.parts.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
                continue
            process.kill()
        if self.own_disk:
            subprocess.run(["umount", "-l", str(self.disk)], capture_output=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- faults ------------------------------------------------------------------------------------------------------

    def restore(self) -> None:
        """After a run: the role table as it was, space on the disk, and a recorder with a new log on it."""
        table = self.folder / "keys" / "roles.toml"
        if table.read_text() != self.table:
            table.write_text(self.table)
            until = time.monotonic() + 2.5  # governor and gateway read it every second
            self.until(lambda: time.monotonic() > until, "")
            if "console" in self.parts:
                self.kill("console")  # a console that was refused does not knock again
        if (self.disk / "filler").exists() or sum(f.stat().st_size for f in self.disk.iterdir()) > 80_000_000:
            if "recorder" in self.parts:
                self.kill("recorder")
            self.free_disk()

    def attacker(self, who: str) -> None:
        """A second console with the keys of `who`, connected as far as it gets; it waits for the word."""
        name = f"console-{who}"
        if name in self.parts:
            return
        (self.folder / f"{name}.log").unlink(missing_ok=True)
        self.spawn(name, "--who", who, "--attack")
        if who == "mallory":
            self.until(lambda: "refused" in self.said("gateway"), "the stranger is refused")
        else:
            self.until(lambda: "state frames arrive" in self.said(name), "the attacker sees the robot")

    def attack(self) -> None:
        """From now on every frame of the attacker wants the tool 4 mm higher."""
        for name, process in self.parts.items():
            if name.startswith("console-") and process.stdin is not None:
                process.stdin.write(b"go\n")
                process.stdin.flush()

    def revoke(self) -> None:
        """The holder's key goes on the revocation list of the role table; nobody is told."""
        revoke(self.folder / "keys", "sam")

    def fill_disk(self) -> None:
        """A real ENOSPC: everything that is left of the small disk is taken."""
        with contextlib.suppress(OSError), (self.disk / "filler").open("wb") as f:
            while True:
                f.write(b"\0" * 65536)
                f.flush()

    def free_disk(self) -> None:
        for file in self.disk.iterdir():
            file.unlink(missing_ok=True)


def _refused(name: str, word: str) -> Callable[[Runner], list[str]]:
    """The counter must show that the attack came as far as it could, and no further."""

    def check(r: Runner) -> list[str]:
        if name == "gateway":
            return [] if "refused" in r.said("gateway") else ["the gateway never met the stranger"]
        n = r.status.get("counts", {}).get("rejected", {}).get(word, 0)
        return [] if n > 0 else [f"the governor counted no refusal for {word}"]

    return check


def _disk_alarm(r: Runner) -> list[str]:
    told = [a.get("id") for a in r.status.get("alarms", [])]
    return [] if "log_disk" in told else [f"no alarm of the full disk, only {told}"]


def _revoked(r: Runner) -> list[str]:
    return [] if r.status.get("holder") != r.sam else ["the revoked key still holds the arm"]


def campaign(
    names: list[str], runs: int, *, base: int, first: int = 0, tell: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """`runs` of each, modes in turn. A run that could not begin is a failed run with its reason."""
    r = Runner(base, seed=first + 1)
    results = []
    try:
        for name in names:
            for number in range(first, first + runs):
                mode = KINDS[name].modes[number % len(KINDS[name].modes)]
                try:
                    result = r.run(name, KINDS[name], mode, number)
                except RuntimeError as error:
                    result = Result(
                        name, KINDS[name].fault, mode, number, False, False, 0, 0, 0, 0, 0, 0, 0, 0, 0, str(error)
                    )
                results.append(result)
                tell(result)
                r.restore()
    finally:
        r.close()
    return results


HELD = ("HOLD", "STOP")
KINDS: dict[str, Kind] = {
    "unknown key": Kind("F15", "a console with an unknown key", Runner.attack, prepare=lambda r: r.attacker("mallory"), keep=True,
                        check=_refused("gateway", ""), watch_ns=1500 * MS),
    "observer key": Kind("F16", "an observer's key commands", Runner.attack, prepare=lambda r: r.attacker("olga"), keep=True,
                         check=_refused("governor", "role"), watch_ns=2500 * MS),
    "other surgeon": Kind("F35", "another surgeon's key commands", Runner.attack, prepare=lambda r: r.attacker("tess"), keep=True,
                          check=_refused("governor", "not_holder"), watch_ns=2500 * MS),
    "revoked key": Kind("F42", "the holder's key is revoked", lambda r: r.revoke(), HELD, 1100 * MS,
                        check=_revoked, watch_ns=2000 * MS),
    "console killed": Kind("F25", "SIGKILL of the console", lambda r: r.kill("console"), HELD, 530 * MS, since_last=True),
    # Clearly longer than the 500 ms to a HOLD: at 0.5 s three of forty were a pause that ended by itself, and the tool moved on as it may.
    "console stopped": Kind("F26", "SIGSTOP of the console, SIGCONT after 0.7 s",
                            lambda r: r.kill("console", signal.SIGSTOP), ("PAUSE", *HELD), 170 * MS, since_last=True,
                            later=lambda r: r.wake(), later_at=700 * MS),
    "gateway killed": Kind("F27", "SIGKILL of the gateway", lambda r: r.kill("gateway"), HELD, 10 * MS),
    "governor killed": Kind("F28", "SIGKILL of the governor", lambda r: r.kill("governor")),
    "governor stopped": Kind("F28", "SIGSTOP of the governor, SIGCONT after 0.5 s",
                             lambda r: r.kill("governor", signal.SIGSTOP), HELD, 530 * MS, later=lambda r: r.wake()),
    "recorder killed": Kind("F44", "SIGKILL of the recorder", lambda r: r.kill("recorder"), HELD, 10 * MS),
    "disk full": Kind("F44", "the log's disk is full (tmpfs, ENOSPC)", lambda r: r.fill_disk(), HELD, 1500 * MS,
                      watch_ns=2500 * MS, modes=("servo", "jog", "goal")),
    # A feed is not left in the bone for a disk's sake: it may end, with an alarm, within log_grace_ns (60 s).
    "disk full in a feed": Kind("F44", "the log's disk is full while the guide advances: an alarm, the feed may end", lambda r: r.fill_disk(),
                                keep=True, check=_disk_alarm, watch_ns=2500 * MS, modes=("advance",)),
}  # fmt: skip


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """One line per kind; ok only with runs, all of them struck and passed."""
    lines = []
    for name, kind in KINDS.items():
        group = [r for r in rows if r["name"] == name]
        if group:
            lines.append({
                "fault": kind.fault, "name": name, "title": kind.title, "runs": len(group),
                "struck": sum(r["struck"] for r in group), "passed": sum(r["passed"] for r in group),
                "worst_time_ratio": max(max(r["time_ratio"], r["response_ratio"]) for r in group),
                "worst_travel_ratio": max(r["travel_ratio"] for r in group),
                "worst_travel_mm": max(r["travel_mm"] for r in group),
                "worst_response_ms": max(r["response_ms"] for r in group),
                "worst_late_ms": max(r["late_ms"] for r in group), "why": next((r["why"] for r in group if r["why"]), ""),
            })  # fmt: skip
    return {
        "ok": bool(rows) and all(r["passed"] and r["struck"] for r in rows),
        "runs": len(rows),
        "failed": sum(not r["passed"] for r in rows),
        "foreign": sum(r["foreign"] for r in rows),
        "rows": lines,
    }
