"""The `arm` process of one hospital: the robot's own controller (ring 1) and, in simulation, the room around it.

One loop of 500 Hz in the main thread, outside any executor, with real-time priority where permitted. It listens on
arm.sock (the governor) and world.sock (the simulated room: touches, breath-hold, the judge's truth), and publishes
what it
measures. Nothing that arrives over ROS can move it: it subscribes to nothing.

    longhand_arm --config site.toml
    longhand_arm --site a --run-dir /run/longhand/a --driver kinematic --seed 7

While nothing moves for two seconds it parks: brakes on, the loop wakes 50 times a second or when a socket speaks,
telemetry
at 10 Hz.
"""

import argparse
import gc
import os
import select
import signal
import sys
import time
from pathlib import Path

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from longhand_ros.arm_topics import ArmTopics
from longhand_ros.real_room import RealRoom
from longhand_ros.robot_model import robot_description
from sim.layout import truth_folder
from sim.room import SimRoom
from teleop.arm.arm_loop import PARKED_REPORT_NS, REPORT_NS, ArmLoop
from teleop.arm.drive import drive_params
from teleop.arm.driver import DriverError
from teleop.arm.governor_door import GovernorDoor
from teleop.arm.kinematics import warm
from teleop.arm.model import load_model
from teleop.arm.pacing import Pacer, calm_memory, real_time
from teleop.case.site_config import SiteConfig, load_site_config
from teleop.site.packet_server import PacketServer

TRACKER_NS = 20_000_000
PARKED_TRACKER_NS = 100_000_000
#: After somebody touched or measured, the tracker stays at its full rate for so long even while parked.
WORLD_POLL_NS = 10_000_000
SAY_NS = 60_000_000_000


class ArmProcess:
    """See the module."""

    def __init__(
        self, config: SiteConfig, model_name: str, phantom: Path | None, crtk: str = "/crtk_arm", context: Context | None = None
    ) -> None:
        self.model = load_model(model_name)
        self.kin = warm(self.model)
        now = time.monotonic_ns()
        self.node = Node("arm", namespace=f"/{config.site}/{config.arm}", context=context)
        self.room: SimRoom | RealRoom
        if config.driver == "crtk":
            self.room = RealRoom(self.node, crtk, self.model)
        else:
            self.room = SimRoom(self.model, driver=config.driver, seed=config.seed, phantom=phantom, now=now)
        self.door = GovernorDoor(config.arm_socket)
        self.world = PacketServer(config.world_socket)
        self.topics = ArmTopics(self.node, self.kin, f"{config.arm}_base", robot_description(self.model))
        self.loop = ArmLoop(self.room.driver, drive_params(self.kin), self.door, time.monotonic_ns())
        self.pacer = Pacer()
        self.stop = False
        self._next_state = 0
        self._next_world = 0
        self._next_say = time.monotonic_ns() + SAY_NS
        self._next_collect = 0
        self._word = ""
        self._fault = ""

    def turn(self) -> None:
        """Wait for the next period and do it."""
        if self.loop.parked:
            ready = select.select([*self.door.filenos(), *self.world.filenos()], [], [], self.loop.period_ns * 1e-9)[0]
            now = self.pacer.woken()
            if ready and self._next_world > now:
                self._next_world = now
        else:
            now = self.pacer.wait(self.loop.period_ns)
        self.step(now)
        if self.loop.parked and now >= self._next_collect:
            self._next_collect = now + 5_000_000_000
            gc.collect()

    def step(self, now: int) -> None:
        """One period of the loop at robot time `now`; does not wait."""
        parked = self.loop.parked
        report = self.loop.tick(now)
        self.room.tick(now, moving=not self.loop.parked)
        if not parked:
            self.topics.collect(report)
        if now >= self._next_state or report.drive != self._word:
            self._next_state = now + (PARKED_REPORT_NS if parked else REPORT_NS)
            self.topics.state(report)
        if report.drive != self._word or report.fault != self._fault:
            self._word, self._fault = report.drive, report.fault
            if report.fault:
                self.node.get_logger().error(f"drive fault: {report.fault}")
        frame = self.room.tracker_frame(now, PARKED_TRACKER_NS if parked and not self._measuring(now) else TRACKER_NS)
        if frame is not None:
            self.topics.tracker(frame.stamp, frame.tracker_T_guide, frame.tracker_T_reference)
        if now >= self._next_world:
            self._next_world = now + WORLD_POLL_NS
            self._serve_world(now)
        if now >= self._next_say:
            self._say(now)

    def _measuring(self, now: int) -> bool:
        """Breath is held: somebody is measuring, so the tracker runs at its full rate."""
        return isinstance(self.room, SimRoom) and self.room.patient.breath.held_from is not None

    def _serve_world(self, now: int) -> None:
        for peer, message in self.world.poll():
            if message is None:
                continue
            answer = self.room.handle(message, now)
            report = self.loop.report
            if message["t"] == "truth" and report is not None:
                # when a fault of a demo strikes: the lease in force and the measured speed
                answer |= {"lease_id": report.lease_id, "tip_speed": report.speed, "drive": report.drive}
            self.world.send(peer, answer)

    def _say(self, now: int) -> None:
        self._next_say = now + SAY_NS
        p = self.pacer
        if p.ticks and p.missed:
            self.node.get_logger().info(
                f"{p.missed} of {p.ticks} servo periods missed in the last minute, worst {p.worst_ns / 1e6:.1f} ms late; "
                f"leases ignored so far: {self.loop.state.ignored_count}"
            )
        p.reset()

    def close(self) -> None:
        self.world.close()
        self.door.close()
        self.room.close()
        self.node.destroy_node()


def parse(argv: list[str]) -> tuple[SiteConfig, str, Path | None, str]:
    """Command line -> configuration, arm model, phantom folder, namespace of an external arm."""
    text = (__doc__ or "").splitlines()
    parser = argparse.ArgumentParser(prog="longhand_arm", description=text[0])
    parser.add_argument("--config", type=Path, help="the site's TOML file")
    parser.add_argument("--site", default="a", help="without --config: name of the hospital")
    parser.add_argument("--arm", default="arm1", help="without --config: name of the arm")
    parser.add_argument("--run-dir", type=Path, help="without --config: directory of the sockets, mode 0700")
    parser.add_argument("--driver", default="pybullet", help="without --config: pybullet, kinematic, crtk")
    parser.add_argument("--seed", type=int, default=1, help="without --config: seed of the simulated room")
    parser.add_argument("--model", default="", help="arm model: a name or a YAML file; default: the site's arm_model")
    parser.add_argument("--crtk", default="/crtk_arm", help="namespace of the external arm, with driver crtk")
    parser.add_argument("--phantom", type=Path, help="folder of the phantom patient; default CASE_DIR/../truth")
    args = parser.parse_args(argv)
    if args.config is not None:
        config = load_site_config(args.config)
    elif args.run_dir is not None:
        run = args.run_dir.resolve()
        config = SiteConfig(
            site=args.site, arm=args.arm, run_dir=run, log_dir=run, keys_dir=run, driver=args.driver, seed=args.seed
        )
    else:
        parser.error("give --config FILE or --run-dir DIR")
    return config, args.model or config.arm_model, args.phantom or truth_folder(config.case_dir), args.crtk


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 asked to end, 1 could not start."""
    argv = sys.argv if argv is None else argv
    config, model, phantom, crtk = parse(remove_ros_args(argv)[1:])
    rclpy.init(args=argv, signal_handler_options=SignalHandlerOptions.NO)
    process: ArmProcess | None = None
    try:
        config.run_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        process = ArmProcess(config, model, phantom, crtk)

        def end(*_: object) -> None:
            assert process is not None
            process.stop = True

        signal.signal(signal.SIGINT, end)
        signal.signal(signal.SIGTERM, end)
        logger = process.node.get_logger()
        calm_memory()
        logger.info(real_time())
        simulated = "" if config.driver == "crtk" else " (simulated)"
        logger.info(f"arm {config.arm} of site {config.site}: {config.driver}{simulated}, pid {os.getpid()}")
        while not process.stop:
            process.turn()
        return 0
    except (OSError, ValueError, DriverError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        if process is not None:
            process.close()
        if rclpy.ok():
            rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
