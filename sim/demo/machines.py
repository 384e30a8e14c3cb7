"""The two forms of a demo on several machines: hospitals for somebody else's surgeon (`serve`), and a surgeon for hospitals
elsewhere (`treat`). What a guide is worth is judged by the physics only on the hospitals' machines; over there it is what the
hospital's own tracker verified.
"""

import json
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sim.demo import pairing
from sim.demo.prepare import CITIES, CONSOLE, Demo, prepare
from sim.demo.processes import CONSOLE_DOMAIN, HERE, end, processes
from sim.demo.watch import EventLines
from teleop.launch.plan import Process
from teleop.launch.runner import Ended, Line, Runner
from teleop.link.keys import load_roles, make_directory

Say = Callable[[str], None]
LIMIT_S = 300.0


def serve(listen: str, phrase_file: Path, sites: int, out: Path, say: Say, interrupted: Callable[[], bool], **options: Any) -> int:
    """Wait for a surgeon's machine, lay out hospitals for its console, run them until interrupted. Exit code."""
    host, port = pairing.address(listen)
    phrase = pairing.phrase_of(phrase_file, make=True)
    with socket.create_server((host, port)) as sock:
        say(f"waiting at {host}:{port} for a surgeon's machine; it needs {phrase_file} (copy it there by hand)")
        with pairing.offered(sock, phrase, lambda why: say(f"refused {why}")) as (console, first, answer):
            say(f"laying out {sites} hospitals for {console.name} ...")
            demo = prepare(out, sites, host=host, first=first, screws_per_site=1, correction=True, profile=None, **options)
            pairing.welcome(out / "keys", console)
            runner = Runner([p for p in processes(demo) if p.name != "console"])
            runner.start()
            answer(offer(demo))
    say("the hospitals run; Ctrl-C ends them")
    log = (out / "processes.log").open("w", buffering=1)
    failed = False
    try:
        while not interrupted() and not failed:
            for event in runner.poll(0.2):
                if isinstance(event, Line):
                    log.write(f"[{event.name}] {event.text}\n")
                elif isinstance(event, Ended):
                    say(f"{event.name} {event.why}")
                    failed = True
    finally:
        end(runner, log)
    return 1 if failed else 0


def offer(demo: Demo) -> list[dict[str, Any]]:
    """What the surgeon's machine is told."""
    roles = load_roles(demo.out / "keys")
    return [
        {"name": c.site, "host": c.host, "base": c.base_port, "relay_base": c.relay_base,
         "curve": roles.principals[c.site].curve, "ed25519": roles.principals[c.site].ed25519}
        for c in demo.configs
    ]  # fmt: skip


def gather(addresses: list[str], phrase_file: Path, out: Path, say: Say) -> Path:
    """Ask every machine for its hospitals; writes keys and the surgeon's list, returns the list's file. Raises PairingError."""
    phrase = pairing.phrase_of(phrase_file, make=False)
    keys = out / "keys"
    make_directory(keys, [], [(CONSOLE, "surgeon")])
    me = load_roles(keys).principals[CONSOLE]
    listed: list[dict[str, Any]] = []
    for text in addresses:
        host, port = pairing.address(text)
        say(f"asking {host}:{port} for its hospitals ...")
        found = pairing.fetch(host, port, phrase, me, len(listed))
        if len(listed) + len(found) > len(CITIES):
            raise pairing.PairingError(f"{host}:{port}: more than {len(CITIES)} hospitals together")
        pairing.take_in(keys, found)
        listed += found
        say(f"{host}:{port} has {', '.join(s['name'] for s in found)}")
    (out / "console").mkdir(parents=True, exist_ok=True)
    (out / "logs").mkdir(exist_ok=True)
    file = out / "console" / "list.json"
    file.write_text(json.dumps({
        "keys_dir": str(keys), "console": CONSOLE, "folder": str(out / "console"), "screws_per_site": 1, "correction": True,
        "log_dir": str(out / "logs"), "institution": f"{CONSOLE} (simulated institution)",
        "sites": [{k: s[k] for k in ("name", "host", "base", "relay_base")} for s in listed],
    }, indent=1))  # fmt: skip
    return file


def treat(addresses: list[str], phrase_file: Path, out: Path, say: Say, interrupted: Callable[[], bool]) -> dict[str, Any]:
    """Treat every hospital of the machines; the outcome as JSON. Raises PairingError."""
    out = out.resolve()
    list_file = gather(addresses, phrase_file, out, say)
    names = [s["name"] for s in json.loads(list_file.read_text())["sites"]]
    events = out / "console" / "events.jsonl"
    events.write_text("")
    console = Process(
        "console", (sys.executable, "-m", "longhand_ros.console", "--list", str(list_file), "--events", str(events)),
        {"ROS_DOMAIN_ID": str(CONSOLE_DOMAIN)}, None, HERE,
    )  # fmt: skip
    runner, lines, log = Runner([console]), EventLines(events), (out / "processes.log").open("w", buffering=1)
    verified: dict[str, list[dict[str, Any]]] = {}
    problems: list[str] = []
    begin, ended = time.monotonic(), False
    runner.start()
    try:
        while not ended and not interrupted():
            for event in runner.poll(0.1):
                if isinstance(event, Line):
                    log.write(f"[{event.name}] {event.text}\n")
                elif isinstance(event, Ended):
                    ended = True
                    if not event.clean:
                        problems.append(f"the surgeon's script {event.why}: see {out}/processes.log")
            for step in lines.read():
                say(f"{time.monotonic() - begin:6.1f} s  {step['site']:<12} {step['event']}")
                if step["event"] == "verified":
                    verified.setdefault(step["site"], []).append(step)
                elif step["event"] in ("not_verified", "failed"):
                    problems.append(f"{step['site']}: {step.get('why', step['event'])}")
            if time.monotonic() - begin > LIMIT_S * (1 + len(names)):
                problems.append("not finished in time")
                break
    finally:
        end(runner, log)
    problems += [f"{n}: no guide was verified" for n in names if n not in verified]
    rows = [{"site": n, **{k: v[k] for k in ("screw", "lateral_mm", "angle_deg", "grade") if k in v}} for n in names for v in verified.get(n, [])]
    return {"ok": not problems, "problems": problems, "verified": rows, "judged_by": "each hospital's own tracker", "simulated": True}


def until_interrupted() -> Callable[[], bool]:
    """True once SIGINT or SIGTERM came."""
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: told.append(n))
    return lambda: bool(told)
