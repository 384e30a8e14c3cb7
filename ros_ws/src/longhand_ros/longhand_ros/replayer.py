"""`longhand replay LOG --ros`: a recorded session on ROS again, at any speed, frame-aligned, with the control events.

The payloads are the recorded CDR bytes, untouched, under /replay (so that nothing live can be mistaken for them, or moved by
them); beside them joints, poses, transforms and the robot's description are made from each state, for tools that know no
messages of ours (`replay_view.py`). Time is that of the recording: `/clock` is published too, for tools with use_sim_time. The order is that of the file and
does not depend on the speed: a slow machine makes the replay late, never different.
"""

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import rclpy
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args

from longhand_ros.recorder import message_class
from safety.log.reader import LogReader
from safety.log.session import HEADER_TOPIC
from safety.log.walk import NotALog

#: Seconds to let subscribers match before the first message.
SETTLE_S = 0.5
CLOCK_NS = 10_000_000


def clock_class() -> Any:
    """rosgraph_msgs/Clock where it is installed (it is no part of the wheels' message set), else None."""
    try:
        return message_class("rosgraph_msgs/msg/Clock")
    except (ImportError, AttributeError):
        return None


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="replayer", description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("--speed", type=float, default=1.0)
    parser.add_argument("--start", type=float, default=0.0, help="seconds from the log's begin")
    parser.add_argument("--prefix", default="/replay")
    args = parser.parse_args(remove_ros_args(argv)[1:])
    try:
        log = LogReader(args.log)
    except (NotALog, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    stop: list[int] = []
    rclpy.init(args=argv, signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda number, _: stop.append(number))
    node = rclpy.create_node("replayer", enable_rosout=False)
    try:
        sent = play(node, log, args.prefix, args.speed, args.start, stop)
    finally:
        node.destroy_node()
        rclpy.shutdown()
    print(f"{sent} messages of {args.log} published under {args.prefix}")
    return 130 if stop else 0


def play(node: Any, log: LogReader, prefix: str, speed: float, start_s: float, stop: list[int]) -> int:
    """Publish everything from `start_s` on; returns how many messages."""
    profile = QoSProfile(
        history=HistoryPolicy.KEEP_LAST, depth=1000, reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.VOLATILE,
    )  # fmt: skip
    publishers: dict[str, Any] = {}
    base = f"{prefix}/{log.header['site']}/{log.header['arm']}/"
    for topic, name in log.topics.items():
        try:
            publishers[topic] = node.create_publisher(message_class(name), base + topic, profile)
        except (ImportError, AttributeError) as error:
            print(f"{topic} of type {name} is left out: {error}", file=sys.stderr)
    clock = clock_class()
    clock_publisher = node.create_publisher(clock, "/clock", 10) if clock is not None else None
    time.sleep(SETTLE_S)
    view = view_of(node, log, base)
    begin = log.start + int(start_s * 1e9)
    wall0 = time.monotonic()
    sent, next_clock = 0, begin
    # The header belongs to any replay, wherever it begins.
    for message in log.messages((HEADER_TOPIC,)):
        if begin > log.start and HEADER_TOPIC in publishers:
            publishers[HEADER_TOPIC].publish(bytes(message.payload))
    for message in log.messages(start=begin):
        if stop:
            break
        wait = (message.mono - begin) / 1e9 / speed - (time.monotonic() - wall0)
        if wait > 0:
            time.sleep(wait)
        if clock_publisher is not None and message.mono >= next_clock:
            next_clock = message.mono + CLOCK_NS
            seconds, nanoseconds = divmod(log.utc(message.mono), 1_000_000_000)
            clock_publisher.publish(clock(clock=Time(sec=seconds, nanosec=nanoseconds)))
        publisher = publishers.get(message.topic)
        if publisher is not None:
            publisher.publish(bytes(message.payload))
            sent += 1
        if view is not None and message.topic == "arm_state":
            view.show(log.decode(message), log.utc(message.mono))
    return sent


def view_of(node: Any, log: LogReader, base: str) -> Any:
    """A ReplayView of the log's arm, None when there is no arm in it or its model is not here."""
    if "arm_state" not in log.topics:
        return None
    try:
        from longhand_ros.replay_view import ReplayView

        config = json.loads(log.header["details"]).get("config", {})
        view = ReplayView(node, base, log.header["arm"], str(config.get("arm_model", "iiwa7")))
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        print(f"joints and transforms are left out: {error}", file=sys.stderr)
        return None
    if not view.transforms:
        print("/tf is left out: somebody else publishes it in this ROS domain (choose another ROS_DOMAIN_ID)", file=sys.stderr)
    return view


if __name__ == "__main__":
    sys.exit(main())
