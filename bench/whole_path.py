"""From the hand to the joint: a command's way through console link, gateway, governor and drive, on this machine.

    .venv/bin/python bench/whole_path.py                 # 20 s; prints a table
    .venv/bin/python bench/whole_path.py --json out.json --seconds 60

Real processes (arm with the kinematic driver, governor, gateway), real sockets, no emulated network. A scripted hand moves the tip
by +- 2 mm; the clock starts when the hand sample is made into a command and stops at the first drive tick (500 Hz) whose
set-point was computed under that command's lease. All processes share CLOCK_MONOTONIC. The bench plays the bedside: qualification,
rehearsal and recorder are switched off for it by the governor's parameters, the rest of the gate is as shipped.
"""

import argparse
import contextlib
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "ros_ws/src/longhand_ros"), str(ROOT / "bench")]
DOMAIN, INDEX, SITE = "98", 190, "bench"
os.environ.update(ROS_DOMAIN_ID=DOMAIN, ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")

import rclpy  # noqa: E402
from command_path import machine, summary  # noqa: E402
from longhand_msgs.msg import ArmStateBlock  # noqa: E402

from longhand_ros import qos  # noqa: E402
from safety.states import Mode  # noqa: E402
from teleop.case.site_config import SiteConfig, save_site_config  # noqa: E402
from teleop.link.console import ConsoleLink  # noqa: E402
from teleop.link.endpoint import direct_endpoint  # noqa: E402
from teleop.link.events import StateFrame  # noqa: E402
from teleop.link.keys import load_secret, make_directory  # noqa: E402
from teleop.master.command_maker import CommandMaker, Intention, Phase  # noqa: E402
from teleop.site.governor_client import GovernorClient  # noqa: E402
from teleop.wire import VERSIONS  # noqa: E402
from teleop.wire.command import encode_command  # noqa: E402
from teleop.wire.state import decode_state  # noqa: E402

PLAN = b"benchpln"
RELAXED = ("require_qualification=false", "require_rehearsal=false", "require_recorder=false")


def start(config: SiteConfig, file: Path, state_dir: Path) -> list[subprocess.Popen[bytes]]:
    """Arm, governor, gateway."""
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "ros_ws/src/longhand_ros")])}
    governor = ["safety.process", "--site", SITE, "--run-dir", str(config.run_dir), "--state-dir", str(state_dir),
                "--roles", str(config.keys_dir / "roles.toml"), *(w for p in RELAXED for w in ("--param", p))]  # fmt: skip
    commands = [["longhand_ros.arm", "--config", str(file)], governor, ["longhand_ros.gateway", "--config", str(file)]]
    return [subprocess.Popen([sys.executable, "-m", *c], env=env, cwd=ROOT) for c in commands]


class Bench:
    """Console, bedside and judge in one loop."""

    def __init__(self, config: SiteConfig) -> None:
        roles = config.keys_dir
        keys = load_secret(roles / "lin")
        self.key = keys.curve_public
        from teleop.link.keys import load_roles

        self.link = ConsoleLink(
            direct_endpoint(SITE, load_roles(roles).site_key(SITE), config.base_port), keys, versions=VERSIONS
        ).start()
        self.bedside = GovernorClient.connect(config.governor_socket, "case", wait_s=30)
        self.maker = CommandMaker(me=self.key)
        self.node = rclpy.create_node("whole_path", namespace=f"/{SITE}/arm1")
        self.blocks = self.node.create_subscription(ArmStateBlock, "arm_state_block", lambda _: None, qos.ORDER)
        self.frame: dict[str, Any] | None = None
        self.made: dict[tuple[int, int], int] = {}  # (epoch, seq) -> hand sample, ns
        self.lease_of: dict[int, tuple[int, int]] = {}  # lease -> (epoch, seq)
        self.first_tick: dict[int, int] = {}  # lease -> stamp of the first tick under it
        self.home: list[float] | None = None
        self.granted = self.began = 0
        self.asked = 0
        self.next_beat = self.next_command = 0

    def turn(self) -> None:
        now = time.monotonic_ns()
        # Sleep exactly up to the command's due time: the wait of the bench must not count as the stack's.
        left_ms = (self.next_command - now) / 1e6
        self.link.wait(max(0.0, math.floor(left_ms)) if left_ms > 1 else 0, [self.bedside])
        for e in self.link.poll():
            if isinstance(e, StateFrame):
                self.frame = decode_state(e.data)
                gov = self.frame["gov"]
                if gov.get("lease_id"):
                    self.lease_of.setdefault(gov["lease_id"], (gov["epoch"], gov["last_seq"]))
        self._bedside(time.monotonic_ns())
        while (now := time.monotonic_ns()) < self.next_command and self.next_command - now < 1_000_000:
            pass
        if now >= self.next_command:
            self.next_command = max(self.next_command + 10_000_000, now)
            self._hand()
        self._ticks()

    def _bedside(self, now: int) -> None:
        if now >= self.next_beat:
            self.next_beat = now + 50_000_000
            self.bedside.send({"t": "hb", "note": ""})
        for m in self.bedside.poll():
            if m["t"] == "reply" and not m["ok"]:
                print(f"bedside: {m['reason']}", file=sys.stderr)
            elif m["t"] == "status":
                self._case(m, now)

    def _case(self, status: dict[str, Any], now: int) -> None:
        if self.asked == 0 and status["state"] == "READY":
            self.asked = 1
            self.link.order({"op": "request"})
            scene = {"op": "scene", "plan_hash": PLAN, "registration_epoch": 1, "confirmed": True, "corridor": None, "keepouts": []}
            self.bedside.send({"t": "order", "key": "bedside", "id": 1, "order": scene})
        elif self.asked == 1 and self.key in status["requests"]:
            self.asked = 2
            self.bedside.send({"t": "order", "key": "bedside", "id": 2, "order": {"op": "grant", "holder": self.key, "ttl": 1.0}})
        elif self.asked == 2 and status["holder"] == self.key and not status["blockers"]:
            self.granted = self.granted or now

    def _hand(self) -> None:
        sample = time.monotonic_ns()
        target = None
        if self.frame and self.frame["arm"]:
            self.home = self.home or self.frame["arm"]["setpoint"]
            moving = bool(self.granted) and self.frame["gov"].get("state") in ("ACTIVE", "DEGRADED")
            self.began = self.began or (sample if moving else 0)
            t = (sample - self.began) / 1e9 if self.began else 0.0
            target = (self.home[0], self.home[1], self.home[2] + 0.002 * math.sin(math.pi * t), *self.home[3:])
        # After a pause of the line a person lets go and presses again; so does this hand.
        pressed = bool(self.granted) and self.maker.phase is not Phase.WAITING_FOR_RELEASE
        wish = Intention(mode=Mode.SERVO, pressed=pressed, target=target, plan_hash=PLAN, registration_epoch=1)
        command = self.maker.step(sample, self.frame, wish)
        if command is not None and self.link.send_command(encode_command(command)):
            self.made[command.epoch, command.seq] = sample

    def _ticks(self) -> None:
        with self.blocks.handle:
            while (got := self.blocks.handle.take_message(ArmStateBlock, False)) is not None:
                for stamp, lease in zip(got[0].stamp_mono, got[0].lease_id, strict=True):
                    if lease:
                        self.first_tick.setdefault(lease, stamp)

    def latencies(self) -> list[int]:
        """ns from the hand sample to the first tick under its lease."""
        out = []
        for lease, command in self.lease_of.items():
            if command in self.made and lease in self.first_tick:
                out.append(self.first_tick[lease] - self.made[command])
        return [x for x in out if x > 0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    before = machine()
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(5))  # as arm, governor and gateway have it where permitted
    rclpy.init()
    with tempfile.TemporaryDirectory(prefix="lhb") as d:
        folder = Path(d)
        (folder / "run").mkdir(mode=0o700)
        make_directory(folder / "keys", [SITE], [("lin", "surgeon")])
        config = SiteConfig(site=SITE, index=INDEX, domain=int(DOMAIN), run_dir=folder / "run", log_dir=folder, keys_dir=folder / "keys",
                            driver="kinematic")  # fmt: skip
        save_site_config(config, folder / "site.toml")
        processes = start(config, folder / "site.toml", folder)
        try:
            bench = Bench(config)
            limit = time.monotonic() + 90 + args.seconds
            while not (bench.began and time.monotonic_ns() - bench.began > args.seconds * 1e9):
                bench.turn()
                dead = [p.args for p in processes if p.poll() is not None]
                if dead or time.monotonic() > limit:
                    gov = bench.frame["gov"] if bench.frame else {}
                    print(f"error: {'ended: ' + str(dead) if dead else 'no motion came about'}; {gov}; {bench.maker.why}", file=sys.stderr)
                    return 1
            for _ in range(30):  # the last block of ticks is still on its way
                bench.turn()
            found, sent = bench.latencies(), len(bench.lease_of)
            bench.link.close()
        finally:
            for p in processes:
                p.terminate()
            for p in processes:
                p.wait(20)
            rclpy.shutdown()
    row = summary(found, sent)
    print(f"hand sample to joint set-point, us ({before['cpu']}, {before['cores']} cores, load {before['load'][0]:.1f}):")
    print(f"p50 {row['p50_us']:.0f}  p99 {row['p99_us']:.0f}  max {row['max_us']:.0f}   ({len(found)} leases; a drive tick is 2000 us)")
    if args.json:
        args.json.write_text(json.dumps({"machine": before, "row": row, "command": " ".join(sys.argv)}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
