"""The metrics of one site with what its nodes say on their topics, for Prometheus.

    python -m longhand_ros.metrics --config SITE.toml --port 9464

Beside what `longhand metrics` serves (governor, processes): lateness of the arm's loop, age of each node's heartbeat and of the main topics.
It subscribes and publishes nothing; best effort, depth 1, so no node waits for it.
"""

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import rclpy
from longhand_msgs.msg import ArmState, Heartbeat, LinkStats, TrackerSample
from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.utilities import remove_ros_args

from teleop.case.site_config import SiteConfig, load_site_config
from teleop.cockpit.site_exporter import SiteCollector, SiteProbe

NEWEST = QoSProfile(history=HistoryPolicy.KEEP_LAST, depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)
#: How often the topics are looked at; figures need no more.
PERIOD_S = 0.1


class MetricsNode(Node):
    """Takes what has arrived, keeps the newest."""

    def __init__(self, config: SiteConfig) -> None:
        super().__init__("metrics", namespace=f"/{config.site}/{config.arm}", enable_rosout=False)
        self.site = config.site
        kinds: dict[str, Any] = {"arm_state": ArmState, "heartbeat": Heartbeat, "link/stats": LinkStats, "tracker": TrackerSample}
        self.subscriptions_ = {topic: (self.create_subscription(kind, topic, lambda _: None, NEWEST), kind) for topic, kind in kinds.items()}
        self.heard: dict[str, int] = {}
        self.beats: dict[str, int] = {}
        self.late_s: float | None = None

    def look(self) -> None:
        now = time.monotonic_ns()
        for topic, (subscription, kind) in self.subscriptions_.items():
            with subscription.handle:
                while (got := subscription.handle.take_message(kind, False)) is not None:
                    self.heard[topic] = now
                    if kind is Heartbeat:
                        self.beats[got[0].process[:32]] = now
                    elif kind is ArmState:
                        self.late_s = got[0].late_ns / 1e9


class TopicCollector(Collector):
    """What `MetricsNode` has heard."""

    def __init__(self, node: MetricsNode) -> None:
        self.node = node

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        now, n = time.monotonic_ns(), self.node
        late = GaugeMetricFamily("longhand_arm_late_seconds", "Lateness of the arm's loop as it last said", labels=["site"])
        beat = GaugeMetricFamily("longhand_node_heartbeat_age_seconds", "Since the node's last heartbeat", labels=["site", "node"])
        topic = GaugeMetricFamily("longhand_topic_age_seconds", "Since the last message", labels=["site", "topic"])
        if n.late_s is not None:
            late.add_metric([n.site], n.late_s)
        for name, at in list(n.beats.items()):
            beat.add_metric([n.site, name], (now - at) / 1e9)
        for name, at in list(n.heard.items()):
            topic.add_metric([n.site, name], (now - at) / 1e9)
        yield from (late, beat, topic)


def main(argv: list[str] | None = None) -> int:
    """Exit codes: 0 asked to end, 1 could not start."""
    argv = sys.argv if argv is None else argv
    parser = argparse.ArgumentParser(prog="longhand_ros.metrics", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--config", type=Path, required=True, help="the site's TOML file")
    parser.add_argument("--port", type=int, default=9464, help="0: any free one, said on stderr")
    parser.add_argument("--host", default="127.0.0.1")
    args = parser.parse_args(remove_ros_args(argv)[1:])
    ended: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda n, _: ended.append(n))
    rclpy.init(args=argv, signal_handler_options=rclpy.signals.SignalHandlerOptions.NO)
    try:
        config = load_site_config(args.config)
        node, probe = MetricsNode(config), SiteProbe(config, args.config)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(SiteCollector([probe]))
        registry.register(TopicCollector(node))
        server, _ = start_http_server(args.port, addr=args.host, registry=registry)
        print(f"metrics of {config.site}: http://{args.host}:{server.server_port}/metrics", file=sys.stderr, flush=True)
        while not ended:
            node.look()
            probe.poll()
            time.sleep(PERIOD_S)
        server.shutdown()
        probe.close()
        node.destroy_node()
        return 0
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    finally:
        rclpy.shutdown()


if __name__ == "__main__":
    sys.exit(main())
