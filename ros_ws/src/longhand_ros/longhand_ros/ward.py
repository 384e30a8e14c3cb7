"""The `ward`: several simulated hospitals in one process, for those that wait until it is their turn.

    longhand_ward --config a/site.toml --config b/site.toml ...

Each hospital has the same arm, governor, gateway, case desk and recorder as one with processes of its own: the same classes,
sockets, ROS domain and link. They take turns in one loop, the hospital in a hand five hundred times a second, the others
twenty times. What a hospital in a ward lacks: the CRTK face (the adapter), real-time priority, and walls (one fault ends the
ward, and every arm in it comes to rest by its lease).
"""

import argparse
import contextlib
import gc
import heapq
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from longhand_ros.arm import ArmProcess
from longhand_ros.case import CaseNode
from longhand_ros.gateway import GatewayNode
from longhand_ros.recorder import RecorderNode, open_log
from safety.process import GovernorProcess
from safety.process import parser as governor_parser
from sim.layout import truth_folder
from teleop.arm.pacing import calm_memory
from teleop.case.site_config import SiteConfig, SiteConfigError, load_site_config
from teleop.link.errors import LinkError
from teleop.site.governor import arguments
from teleop.site.governor_client import GovernorGoneError

MS = 1_000_000
#: Periods (ns) of a role while its hospital's arm is in a hand or moving, and while it waits. Waiting, heartbeats (missed
#: after 200 ms) and the desk's answers set them; in a hand, the drive's 2 ms.
PERIODS: dict[str, tuple[int, int]] = {
    "arm": (2 * MS, 50 * MS),
    "governor": (2 * MS, 25 * MS),
    "gateway": (2 * MS, 25 * MS),
    "case": (10 * MS, 50 * MS),
    "recorder": (20 * MS, 100 * MS),
}
COLLECT_NS = 20_000_000_000


class Hospital:
    """One hospital of the ward. Raises what its parts raise when they cannot start."""

    def __init__(self, config: SiteConfig, file: Path) -> None:
        self.config = config
        self.context = Context()
        rclpy.init(context=self.context, domain_id=config.domain, signal_handler_options=SignalHandlerOptions.NO)
        self.arm = ArmProcess(config, config.arm_model, truth_folder(config.case_dir), context=self.context)
        self.governor = GovernorProcess(governor_parser().parse_args(arguments(config)))
        self.gateway = GatewayNode(config, self.context)
        self.case = CaseNode(config, self.context)
        log, case_key = open_log(config, file, config.session, 3600.0)
        self.recorder = RecorderNode(config, log, case_key, 20.0, False, self.context)

    def steps(self) -> dict[str, Callable[[int], None]]:
        """What each role does when its turn has come."""
        return {
            "arm": self.arm.step,
            "governor": lambda now: self.governor.turn(wait=False),
            "gateway": self.gateway.step,
            "case": lambda now: self.case.turn(),
            "recorder": self.recorder.step,
        }

    @property
    def busy(self) -> bool:
        """Somebody holds the arm, or it moves, or the desk is measuring or asking."""
        return self.governor.busy or bool(self.case.asked or self.case.bedside_asked) or not self.arm.loop.parked

    def close(self, reason: str) -> None:
        self.case.close()
        self.gateway.close()
        self.recorder.finish(reason)
        self.governor.close()
        self.arm.close()
        for node in (self.case, self.gateway, self.recorder):
            node.destroy_node()
        with contextlib.suppress(RuntimeError):
            rclpy.shutdown(context=self.context)


class Ward:
    """Takes turns: always the role whose time has come first."""

    def __init__(self, hospitals: list[Hospital]) -> None:
        now = time.monotonic_ns()
        self._hospitals = hospitals
        self._steps = [(h, name, step) for h in hospitals for name, step in h.steps().items()]
        # spread over the first waiting period, so that thirty hospitals do not all wake at once
        spread = 50 * MS // max(len(self._steps), 1)
        self._queue = [(now + i * spread, i) for i in range(len(self._steps))]
        self._next_collect = now + COLLECT_NS

    def turn(self) -> None:
        """The next role's turn; waits for it."""
        due, index = self._queue[0]
        now = time.monotonic_ns()
        if due > now:
            time.sleep((due - now) * 1e-9)
            now = time.monotonic_ns()
        hospital, name, step = self._steps[index]
        step(now)
        period = PERIODS[name][0 if hospital.busy else 1]
        # a role that fell behind goes on from now: nothing is caught up
        heapq.heapreplace(self._queue, (max(due + period, now), index))
        if now >= self._next_collect and not any(h.busy for h in self._hospitals):
            self._next_collect = now + COLLECT_NS
            gc.collect()  # the collector is switched off: its pauses belong where nothing moves


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 asked to end, 1 could not start or a part failed."""
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="longhand_ward", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--config", type=Path, action="append", required=True, help="a site's TOML file; give it once a hospital")
    args = parser.parse_args(remove_ros_args(argv)[1:])
    stop: list[str] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: stop.append(signal.Signals(n).name))
    hospitals: list[Hospital] = []
    reason = "error"
    try:
        for file in args.config:
            hospitals.append(Hospital(load_site_config(file), file))
        calm_memory()
        print(f"ward of {len(hospitals)} simulated hospitals: {', '.join(h.config.site for h in hospitals)}", flush=True)
        ward = Ward(hospitals)
        while not stop:
            ward.turn()
        reason = f"ended by {stop[0]}"
        return 0
    except (GovernorGoneError, LinkError, SiteConfigError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        for hospital in hospitals:
            hospital.close(reason)


if __name__ == "__main__":
    sys.exit(main())
