"""The metrics of hospitals, from their own side: what each governor says, and what each process of a site uses.

One exporter serves any number of sites of one machine (`longhand metrics`). It is a peer "probe" at governor.sock, which may listen and no
more, and it reads /proc: no process of a site carries an HTTP server, least of all the ones that move or stop an arm.
The ROS side (`python -m longhand_ros.metrics`) adds the topics of one site to the same page.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from teleop.case.site_config import SiteConfig
from teleop.cockpit.fleet_metrics import status_metrics
from teleop.site.governor_client import GovernorClient, GovernorGoneError, GovernorProtocolError

#: Process of a site -> words one of which stands in its command line, beside the configuration file or the run folder of the site.
PROCESSES = {
    "arm": ("longhand_arm", "longhand_ros.arm"),
    "governor": ("safety.process", "teleop.site.governor"),
    "adapter": ("longhand_governor_adapter", "longhand_ros.governor_adapter"),
    "gateway": ("longhand_gateway", "longhand_ros.gateway"),
    "case": ("longhand_case", "longhand_ros.case"),
    "recorder": ("longhand_recorder", "longhand_ros.recorder"),
}
RECONNECT_NS = 1_000_000_000
#: A status older than this is not shown: the governor says one at least ten times a second.
STATUS_OLD_NS = 2_000_000_000
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Usage:
    """One process from /proc: CPU s, resident bytes, threads, involuntary context switches, s since it started."""

    pid: int
    cpu_s: float
    resident: int
    threads: int
    preempted: int
    age_s: float


def find(config: SiteConfig, config_file: Path, proc: Path = Path("/proc")) -> dict[str, Usage]:
    """The site's processes that run now, by name. Unreadable ones (gone meanwhile, another user's) are left out."""
    marks = (str(config_file), str(config_file.resolve()), str(config.run_dir))
    out: dict[str, Usage] = {}
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        line = " ".join(words)
        if not any(m in line for m in marks):
            continue
        for name, known in PROCESSES.items():
            if any(k in line for k in known):
                usage = read_usage(folder, proc)
                # A launcher that only waits may carry the same words: the one that works is the one that used more.
                if usage is not None and (name not in out or usage.cpu_s > out[name].cpu_s):
                    out[name] = usage
    return out


def read_usage(folder: Path, proc: Path = Path("/proc")) -> Usage | None:
    """Of one /proc folder; None when the process is gone or a zombie."""
    try:
        stat = (folder / "stat").read_text()
        fields = stat[stat.rindex(")") + 2 :].split()
        if fields[0] in ("Z", "X"):
            return None
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines() if ":" in line)
        uptime = float((proc / "uptime").read_text().split()[0])
        return Usage(
            int(folder.name), (int(fields[11]) + int(fields[12])) / _TICK, int(fields[21]) * _PAGE, int(fields[17]),
            int(status.get("nonvoluntary_ctxt_switches", "0")), max(0.0, uptime - int(fields[19]) / _TICK),
        )  # fmt: skip
    except (OSError, ValueError, IndexError):
        return None


@dataclass
class SiteProbe:
    """A listening peer of one site's governor. `poll` takes what has arrived; it never waits and never raises."""

    config: SiteConfig
    file: Path
    clock: Callable[[], int] = time.monotonic_ns
    status: dict[str, Any] = field(default_factory=dict)
    heard: int = -1
    why: str = "not connected yet"
    _governor: GovernorClient | None = None
    _next: int = 0

    def poll(self) -> None:
        now = self.clock()
        if self._governor is None:
            if now < self._next:
                return
            self._next = now + RECONNECT_NS
            try:
                self._governor, self.why = GovernorClient.connect(self.config.governor_socket, "probe"), ""
            except (OSError, ValueError) as error:
                self.why = str(error)
                return
        try:
            for message in self._governor.poll():
                if message["t"] == "status":
                    self.status, self.heard = message, now
        except (GovernorGoneError, GovernorProtocolError) as error:
            self._governor, self.why = None, str(error)

    @property
    def fresh(self) -> bool:
        return self.heard >= 0 and self.clock() - self.heard < STATUS_OLD_NS

    def close(self) -> None:
        if self._governor is not None:
            self._governor.close()


class SiteCollector(Collector):
    """All sites of one exporter. `probes` are polled by the exporter's loop; a scrape only reads."""

    def __init__(self, probes: list[SiteProbe], expected: tuple[str, ...] = tuple(PROCESSES)) -> None:
        self.probes = probes
        self.expected = expected

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        up = GaugeMetricFamily("longhand_governor_up", "1: the governor answers on its socket", labels=["site"])
        process = GaugeMetricFamily("longhand_process_up", "1: the process runs", labels=["site", "process"])
        cpu = CounterMetricFamily("longhand_process_cpu_seconds", "User and system time", labels=["site", "process"])
        resident = GaugeMetricFamily("longhand_process_resident_memory_bytes", "Resident memory", labels=["site", "process"])
        threads = GaugeMetricFamily("longhand_process_threads", "Threads", labels=["site", "process"])
        preempted = CounterMetricFamily("longhand_process_preempted", "Involuntary context switches", labels=["site", "process"])
        age = GaugeMetricFamily("longhand_process_age_seconds", "Time since its start", labels=["site", "process"])
        free = GaugeMetricFamily("longhand_log_free_bytes", "Space left where session logs are written", labels=["site"])
        for p in self.probes:
            site = p.config.site
            up.add_metric([site], float(p.fresh))
            found = find(p.config, p.file)
            for name in self.expected:
                process.add_metric([site, name], float(name in found))
            for name, u in found.items():
                cpu.add_metric([site, name], u.cpu_s)
                resident.add_metric([site, name], u.resident)
                threads.add_metric([site, name], u.threads)
                preempted.add_metric([site, name], u.preempted)
                age.add_metric([site, name], u.age_s)
            try:
                disk = os.statvfs(p.config.log_dir)
                free.add_metric([site], disk.f_bavail * disk.f_frsize)
            except OSError:
                continue
        yield from (up, process, cpu, resident, threads, preempted, age, free)
        yield from status_metrics({p.config.site: p.status for p in self.probes if p.fresh})
