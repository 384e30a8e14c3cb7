"""The console's figures for Prometheus: one `FleetCollector`, asked at each scrape. Names follow Prometheus' own advice: base units
(seconds, metres), `_total` for what only grows, no figure that has not been measured (a site that says nothing has `up` 0 and no more).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from safety.states import State
from teleop.cockpit.tally import Tally
from teleop.link.versions import own_release

STATES = tuple(str(s) for s in State)
PRIORITIES = ("HIGH", "MEDIUM", "LOW")


@dataclass(frozen=True, slots=True)
class SiteFigures:
    """One site at the time of a scrape. gov: the governor's status; link: as `SiteSnapshot.link`; tally: the console's own, if it keeps one."""

    site: str
    up: bool
    mine: bool
    gov: dict[str, Any]
    link: dict[str, Any]
    age_s: float | None
    warning: bool
    score: float
    tally: Tally | None


class FleetCollector(Collector):
    """`figures` is called once a scrape, in the server's own thread."""

    def __init__(self, figures: Callable[[], list[SiteFigures]]) -> None:
        self._figures = figures

    def describe(self) -> Iterator[Metric]:
        """Nothing beforehand: registering must not ask the sites."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        sites = self._figures()
        yield InfoMetricFamily("longhand_build", "What runs here", value={"release": own_release()})
        up = GaugeMetricFamily("longhand_site_up", "1: a state frame younger than a second is here", labels=["site"])
        mine = GaugeMetricFamily("longhand_site_in_hand", "1: this console holds the arm", labels=["site"])
        warning = GaugeMetricFamily("longhand_early_warning", "1: a hold by the line is likely within seconds", labels=["site"])
        score = GaugeMetricFamily("longhand_early_warning_score", "Log odds of that, uncalibrated", labels=["site"])
        age = GaugeMetricFamily("longhand_line_age_seconds", "Age that a command would have now by the line", labels=["site"])
        for s in sites:
            up.add_metric([s.site], float(s.up))
            mine.add_metric([s.site], float(s.mine))
            warning.add_metric([s.site], float(s.warning))
            score.add_metric([s.site], s.score)
            if s.age_s is not None:
                age.add_metric([s.site], s.age_s)
        yield from (up, mine, warning, score, age)
        yield from _paths(sites)
        yield from status_metrics({s.site: s.gov for s in sites if s.up})
        yield from _tallies(sites)


def _paths(sites: list[SiteFigures]) -> Iterator[Metric]:
    alive = GaugeMetricFamily("longhand_path_alive", "1: datagrams pass", labels=["site", "path"])
    rtt = GaugeMetricFamily("longhand_path_rtt_seconds", "Round trip of the last ten seconds", labels=["site", "path", "quantile"])
    loss = GaugeMetricFamily("longhand_path_loss_ratio", "Share of datagrams lost in the last ten seconds", labels=["site", "path"])
    jitter = GaugeMetricFamily("longhand_path_jitter_seconds", "RFC 3550 jitter", labels=["site", "path"])
    tcp = GaugeMetricFamily("longhand_streams_by_tcp", "1: no datagram path passes, streams go by TCP", labels=["site"])
    for s in sites:
        tcp.add_metric([s.site], float(s.link.get("carrier") == "tcp"))
        for i, p in enumerate(s.link.get("paths") or []):
            labels = [s.site, str(p.get("path", i))]
            alive.add_metric(labels, float(bool(p.get("alive"))))
            for name, quantile in (("rtt_ms", "0.5"), ("p99_ms", "0.99"), ("rtt_ms_p50", "0.5"), ("rtt_ms_p99", "0.99")):
                if p.get(name) is not None:
                    rtt.add_metric([*labels, quantile], p[name] / 1e3)
            if p.get("loss") is not None:
                loss.add_metric(labels, p["loss"])
            if p.get("jitter_ms") is not None:
                jitter.add_metric(labels, p["jitter_ms"] / 1e3)
    yield from (alive, rtt, loss, jitter, tcp)


def status_metrics(statuses: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    """What the governors say of themselves (site -> status dict); the site's own exporter says the same from nearer by."""
    state = GaugeMetricFamily("longhand_governor_state", "1 for the state the governor is in", labels=["site", "state"])
    age = GaugeMetricFamily("longhand_loop_age_seconds", "Loop age of the newest accepted command", labels=["site"])
    cap = GaugeMetricFamily("longhand_speed_cap_metres_per_second", "The speed law's cap", labels=["site"])
    bound = GaugeMetricFamily("longhand_travel_bound_metres", "Bound of the travel after the last valid command", labels=["site"])
    qualified = GaugeMetricFamily("longhand_line_qualified", "1: the site's qualification of the line is in force", labels=["site"])
    alarms = GaugeMetricFamily("longhand_alarms_active", "Alarms that stand now", labels=["site", "priority"])
    accepted = CounterMetricFamily("longhand_commands_accepted", "Commands accepted by the gate", labels=["site"])
    rejected = CounterMetricFamily("longhand_commands_rejected", "Commands refused by the gate", labels=["site", "reason"])
    holds = CounterMetricFamily("longhand_holds", "Holds since the governor started", labels=["site"])
    pauses = CounterMetricFamily("longhand_pauses", "Pauses since the governor started", labels=["site"])
    for site, gov in statuses.items():
        if not gov:
            continue
        for name in STATES:
            state.add_metric([site, name], float(gov.get("state") == name))
        if gov.get("loop_age_ns"):
            age.add_metric([site], gov["loop_age_ns"] / 1e9)
        for family, key in ((cap, "v_cap"), (bound, "travel_bound")):
            if isinstance(gov.get(key), int | float):
                family.add_metric([site], gov[key])
        if "t" in gov and isinstance(gov.get("qualified_until"), int) and isinstance(gov["t"], int):
            qualified.add_metric([site], float(gov["qualified_until"] > gov["t"]))
        active = [str(a.get("priority", "")).upper() for a in gov.get("alarms", []) if a.get("active")]
        for priority in PRIORITIES:
            alarms.add_metric([site, priority.lower()], float(active.count(priority)))
        counts = gov.get("counts") or {}
        for family_, key in ((accepted, "accepted"), (holds, "holds"), (pauses, "pauses")):
            if key in counts:
                family_.add_metric([site], counts[key])
        for reason, n in (counts.get("rejected") or {}).items():
            rejected.add_metric([site, str(reason)[:40]], n)
    yield from (state, age, cap, bound, qualified, alarms, accepted, rejected, holds, pauses)


def _tallies(sites: list[SiteFigures]) -> Iterator[Metric]:
    spent = CounterMetricFamily("longhand_state_seconds", "Time this console saw the site in each state", labels=["site", "state"])
    unseen = CounterMetricFamily("longhand_unseen_seconds", "Time without fresh data from the site", labels=["site"])
    warnings = CounterMetricFamily("longhand_early_warnings", "Early warnings begun", labels=["site"])
    warned = CounterMetricFamily("longhand_holds_warned", "Holds that began while the warning stood", labels=["site"])
    lateral = GaugeMetricFamily("longhand_guide_lateral_error_metres", "Newest verified guide against plan", labels=["site", "screw"])
    angle = GaugeMetricFamily("longhand_guide_angle_error_degrees", "Newest verified guide against plan", labels=["site", "screw"])
    for s in sites:
        if s.tally is None:
            continue
        for name, seconds in s.tally.seconds.items():
            spent.add_metric([s.site, name], seconds)
        unseen.add_metric([s.site], s.tally.unseen_s)
        warnings.add_metric([s.site], s.tally.warnings)
        warned.add_metric([s.site], s.tally.warned_holds)
        for screw, a in s.tally.accuracy.items():
            if a.get("lateral_mm") is not None:
                lateral.add_metric([s.site, screw], a["lateral_mm"] / 1e3)
            if a.get("angle_deg") is not None:
                angle.add_metric([s.site, screw], a["angle_deg"])
    yield from (spent, unseen, warnings, warned, lateral, angle)
