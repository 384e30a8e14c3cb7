"""The `console` node: the surgeon's side of a demo. Holds a session with every site and runs the scripted surgeon.

    console --list LIST.json --events EVENTS.jsonl

LIST.json names the sites (endpoint, folder, screws) and the console's keys; every step is appended to EVENTS.jsonl with
the monotonic clock and published on `/console/events`, so that anybody can watch.
"""

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from longhand_msgs.msg import CaseEvent
from rclpy.utilities import remove_ros_args

from longhand_ros import qos
from sim.surgeon import Treatment, operate
from teleop.case.checkpoints import Carrier
from teleop.case.console_log import Actions, ConsoleLog, log_of_list
from teleop.case.console_session import ConsoleSession
from teleop.case.script import Script
from teleop.case.site_list import sessions_of
from teleop.link.estimators import p50_p99

#: The session in hand is pumped with whatever arrives and at least this often (ms), commands go out at 100 Hz; the others
#: only wait and are pumped a hundred times a second.
PUMP_MS = 5.0
WAITING_NS = 10_000_000
#: How often link statistics are written down (ns).
STATS_NS = 1_000_000_000


def _jsonable(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, dict):
        return {str(k): _jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(v) for v in value]
    return value


class Reporter:
    """Writes each step as one JSON line, at once, mirrors it on ROS, and enters it in the session logs as the script's act."""

    def __init__(self, path: Path, publisher: Any, actions: Actions | None) -> None:
        self._file = path.open("a", buffering=1)
        self._publisher = publisher
        self._actions = actions

    def __call__(self, event: str, site: str, **detail: Any) -> None:
        detail = _jsonable(detail)
        self._file.write(json.dumps({"t": time.monotonic_ns(), "event": event, "site": site, **detail}) + "\n")
        self._publisher.publish(CaseEvent(
            schema_version=CaseEvent.SCHEMA_VERSION, stamp_mono=time.monotonic_ns(), who="console", where=site,
            step=event, detail=json.dumps(detail),
        ))
        if self._actions is not None:
            self._actions.took("script", "console", event, {"site": site, **detail})


def logging_of(plan: dict[str, Any], sessions: list[ConsoleSession]) -> tuple[ConsoleLog | None, Carrier, Actions | None]:
    """The console's own log (when the list names a folder for it), who carries checkpoints, and who tells of actions."""
    log = log_of_list(plan, simulated=True)
    return log, Carrier(sessions, log), Actions(log, {s.name: s for s in sessions}) if log is not None else None


def _urgent() -> str:
    """Ask for real-time priority, for this process and not for the planner it starts; a plain word of what came of it."""
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(3))
    except (OSError, ValueError) as error:
        return f"no real-time priority ({error}): on a busy machine commands may come late"
    return "SCHED_FIFO 3"


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="console", description=__doc__.splitlines()[0])
    parser.add_argument("--list", type=Path, required=True, help="JSON file: sites, keys, screws")
    parser.add_argument("--events", type=Path, required=True, help="JSON lines to append to")
    args = parser.parse_args(remove_ros_args(argv)[1:])
    plan = json.loads(args.list.read_text())
    stop = False

    def end(*_: object) -> None:
        nonlocal stop
        stop = True

    rclpy.init(args=argv, signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    signal.signal(signal.SIGINT, end)
    signal.signal(signal.SIGTERM, end)
    node = rclpy.create_node("console", namespace="/console")
    node.get_logger().info(f"scripted surgeon, {len(plan['sites'])} sites, {_urgent()}")
    sessions, signer = sessions_of(plan)
    log, carrier, actions = logging_of(plan, sessions)
    if log is not None:
        node.get_logger().info(f"recording to {log.path}")
    report = Reporter(args.events, node.create_publisher(CaseEvent, "events", qos.EVENTS), actions)
    folder = Path(plan["folder"])
    treatments = [
        Treatment(session, folder / session.name, int(plan["screws_per_site"]), bool(plan["correction"]))
        for session in sessions
    ]
    script = Script(operate(treatments, signer, report))
    rtts: dict[str, list[float]] = {s.name: [] for s in sessions}
    next_stats = next_pump = 0
    try:
        while not stop and not script.done:
            now = time.monotonic_ns()
            in_hand = next((s for s in sessions if s.holding), sessions[0])
            others_due = now >= next_pump
            if others_due:
                next_pump = now + WAITING_NS
            for session in sessions:
                if others_due or session is in_hand:
                    session.pump(now)
            script.resume(now)
            carrier.step(now)
            if log is not None:
                log.step(now, {s.name: s.link for s in sessions})
            if now >= next_stats:
                next_stats = now + STATS_NS
                for session in sessions:
                    rtts[session.name] += [
                        p["rtt_ms_p50"] for p in session.link.stats()["paths"] if p.get("alive") and p.get("rtt_ms_p50")
                    ]
            in_hand.link.wait(PUMP_MS)
        for session in sessions:
            report(
                "link", session.name, rtt_ms=p50_p99(rtts[session.name]),
                loop_age_ms=p50_p99(list(session.loop_ages_ms)), stats=session.link.stats(),
                counts=session.status.get("counts", {}),
            )
        if script.error is not None:
            report("failed", "", why=f"{type(script.error).__name__}: {script.error}")
            print(f"error: {script.error}", file=sys.stderr, flush=True)
            return 1
        report("done" if script.done else "interrupted", "")
        return 0 if script.done else 130
    finally:
        if log is not None:
            log.close("end of the script" if script.done else "ended before the script")
        for session in sessions:
            session.link.close()
        node.destroy_node()
        rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
