"""How every node of ours (but the arm, which has its own loop) is run: EventsExecutor, a finite deadline, a clean end.

Never `MultiThreadedExecutor`: in the released rclpy it re-submits queued tasks in a hot loop (ros2/rclpy PR 1547).
Never `executor.spin()` of the events executor: the wheels' build waits for a deadline at the end of time, which
overflows into a loop that starves every callback. A deadline of an hour, renewed, has neither fault.
"""

import faulthandler
import signal
import sys
from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.experimental.events_executor import EventsExecutor
from rclpy.node import Node
from rclpy.task import Future
from rclpy.utilities import remove_ros_args

ROUND_S = 3600.0


def spin(*nodes: Node, until: Future | None = None) -> None:
    """Run the nodes' callbacks until SIGINT, SIGTERM, rclpy.shutdown() or until `until` is done.

    An exception in a callback ends the spin and is raised here.
    """
    executor = EventsExecutor()
    for node in nodes:
        executor.add_node(node)
    try:
        while rclpy.ok() and not (until is not None and until.done()):
            executor.spin_until_future_complete(until if until is not None else Future(), timeout_sec=ROUND_S)
    except (ExternalShutdownException, KeyboardInterrupt):
        pass
    finally:
        executor.shutdown()


def run(make: Callable[[list[str]], Node], argv: list[str] | None = None) -> int:
    """The `main` of a node: init, `make(arguments without ROS's own)`, spin, destroy, shut down.

    Returns the exit code: 0 after a clean end, 1 with one line on stderr when the node could not start.
    """
    argv = sys.argv if argv is None else argv
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # kill -USR1 PID: where is it?
    rclpy.init(args=argv)
    node: Node | None = None
    try:
        node = make(remove_ros_args(argv)[1:])
        spin(node)
        return 0
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must not tear the goodbye apart
        if node is not None:
            node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()
