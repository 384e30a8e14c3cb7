"""Which processes a demo consists of: per hospital the launch file's, an emulated WAN and a scripted doctor; one console."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from sim.demo.prepare import Demo
from teleop.case.site_config import SiteConfig
from teleop.launch.document import At
from teleop.launch.installed import here
from teleop.launch.plan import Process, plan
from teleop.launch.runner import Line, Runner

HERE = At(Path(__file__), 1)
#: The very files that `longhand up` and `ros2 launch` read.
LAUNCH = Path(__file__).resolve().parents[2] / "launch"
#: The console's own ROS domain, away from every hospital's.
CONSOLE_DOMAIN = 40
#: So long processes may take to end by themselves, s.
PATIENCE_S = 20.0


def _python(name: str, module: str, *arguments: str, domain: int) -> Process:
    env = {"ROS_DOMAIN_ID": str(domain)}
    return Process(name, (sys.executable, "-m", module, *arguments), env, None, HERE)


def relay_config(config: SiteConfig, profile: str, seed: int) -> dict[str, object]:
    """What `sim.network.relay` reads: where it listens, where it forwards to, and the line it stands for."""
    return {
        "profile": profile,
        "seed": seed,
        "host": config.host,
        "listen": config.relay_base,
        "forward": config.base_port,
        "control": str(config.run_dir / "relay.sock"),
    }


def processes(demo: Demo) -> list[Process]:
    """Everything, in starting order; names are "<site>/<process>", "ward1/<process>" and "console"."""
    out = []
    installed = here()
    for config in demo.configs[: demo.own]:
        given = {"site": config.site, "domain": str(config.domain), "config": str(demo.config_file(config.site))}
        for process in plan([LAUNCH / "hospital.launch.yaml"], given, installed).processes:
            out.append(replace(process, name=f"{config.site}/{process.name}"))
        out += _around(demo, config.site, (config,))
    for name, configs in demo.wards.items():
        out.append(_python(f"{name}/hospitals", "longhand_ros.ward", *_configs(demo, configs), domain=configs[0].domain))
        out += _around(demo, name, configs)
    out.append(_python(
        "console", "longhand_ros.console", "--list", str(demo.list_file), "--events", str(demo.events_file),
        domain=CONSOLE_DOMAIN,
    ))
    return out


def _configs(demo: Demo, configs: tuple[SiteConfig, ...]) -> list[str]:
    return [word for c in configs for word in ("--config", str(demo.config_file(c.site)))]


def _around(demo: Demo, name: str, configs: tuple[SiteConfig, ...]) -> list[Process]:
    """The lines to these hospitals and the doctors in them, one process each."""
    relays = []
    for config in configs:
        relay_file = demo.out / config.site / "relay.json"
        relay_file.write_text(json.dumps(relay_config(config, demo.profile_of(config.site), config.seed), indent=1))
        relays += ["--config", str(relay_file)]
    domain = configs[0].domain
    return [
        _python(f"{name}/relay", "sim.network.relay", *relays, domain=domain),
        _python(f"{name}/doctor", "sim.doctor", *_configs(demo, configs), domain=domain),
    ]


def end(runner: Runner, log: TextIO) -> None:
    """Ask every process to end and write down what they still say; who does not end is killed. Closes the log."""
    runner.stop()
    limit = time.monotonic() + PATIENCE_S
    while not runner.finished and time.monotonic() < limit:
        for event in runner.poll(0.2):
            if isinstance(event, Line):
                log.write(f"[{event.name}] {event.text}\n")
    if not runner.finished:
        runner.kill()
    log.close()
