"""What a demo ends with: one row per screw, one per site, the hand-overs, the fault; as a table and as JSON."""

from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table

#: The demo passes only if every guide is within these of its registered line (mm, deg).
ENTRY_LIMIT_MM = 0.5
AXIS_LIMIT_DEG = 0.5


@dataclass
class ScrewRow:
    site: str
    level: str
    side: str
    entry_error_mm: float
    axis_error_deg: float
    total_error_mm: float
    grade_planned: str
    grade_as_positioned: str
    seconds: float

    @property
    def good(self) -> bool:
        return (
            self.entry_error_mm <= ENTRY_LIMIT_MM
            and self.axis_error_deg <= AXIS_LIMIT_DEG
            and self.grade_as_positioned == "A"
        )


@dataclass
class SiteRow:
    name: str
    profile: str
    rtt_ms: dict[str, float]
    loop_age_ms: dict[str, float]
    holds: int
    log: str
    log_verifies: bool
    #: None: nobody measured.
    memory_mb: float | None = None
    cpu_percent: float | None = None


@dataclass
class FaultRow:
    name: str
    at_s: float
    travel_mm: float
    bound_mm: float
    final_state: str
    struck: bool = True
    unknown: str = ""

    @property
    def good(self) -> bool:
        return self.struck and self.travel_mm <= self.bound_mm

    def words(self) -> str:
        """For the table."""
        if not self.struck:
            return f"fault {self.name} never struck"
        if self.unknown:
            return f"fault {self.name} at {self.at_s:g} s: travel unknown: {self.unknown}"
        return (
            f"fault {self.name} at {self.at_s:g} s: travel after the last valid command {self.travel_mm:.2f} mm, bound X "
            f"{self.bound_mm:.2f} mm, state at standstill {self.final_state}"
        )


@dataclass
class Outcome:
    """Everything the demo can say for itself. `problems` are the reasons why `ok` is false, for people."""

    screws: list[ScrewRow] = field(default_factory=list)
    sites: list[SiteRow] = field(default_factory=list)
    handovers: list[dict[str, Any]] = field(default_factory=list)
    fault: FaultRow | None = None
    expected_screws: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.all_problems()

    def all_problems(self) -> list[str]:
        """Each reason to exit with an error, in words."""
        out = list(self.problems)
        for s in self.screws:
            if not s.good:
                out.append(
                    f"{s.site} {s.level}_{s.side}: entry {s.entry_error_mm:.2f} mm (limit {ENTRY_LIMIT_MM}), axis "
                    f"{s.axis_error_deg:.2f} deg (limit {AXIS_LIMIT_DEG}), as positioned grade {s.grade_as_positioned}"
                )
        if len(self.screws) != self.expected_screws:
            out.append(f"{len(self.screws)} of {self.expected_screws} guides were verified, confirmed and judged")
        out += [f"hand-over {h['from']} -> {h['to']} was not clean: {h.get('why', '')}" for h in self.handovers if not h["clean"]]
        out += [f"{s.name}: the session log does not verify: {s.log}" for s in self.sites if not s.log_verifies]
        if self.fault and not self.fault.struck:
            out.append(f"the fault {self.fault.name} never struck")
        elif self.fault and self.fault.unknown:
            out.append(self.fault.words())
        elif self.fault and not self.fault.good:
            out.append(f"fault {self.fault.name}: travel {self.fault.travel_mm:.2f} mm is over the bound {self.fault.bound_mm:.2f} mm")
        return out

    def to_json(self) -> dict[str, Any]:
        fault = None
        if self.fault:
            f = self.fault
            known = f.struck and not f.unknown
            fault = {
                "name": f.name, "at_s": f.at_s, "travel_mm": f.travel_mm if known else None,
                "bound_mm": f.bound_mm if known else None, "final_state": f.final_state,
            }
        return {
            "screws": [
                {
                    "site": s.site, "level": s.level, "side": s.side, "entry_error_mm": s.entry_error_mm,
                    "axis_error_deg": s.axis_error_deg, "total_error_mm": s.total_error_mm,
                    "grade_planned": s.grade_planned, "grade_as_positioned": s.grade_as_positioned, "seconds": s.seconds,
                }
                for s in self.screws
            ],
            "sites": [
                {
                    "name": s.name, "profile": s.profile, "rtt_ms": s.rtt_ms, "loop_age_ms": s.loop_age_ms,
                    "holds": s.holds, "log": s.log, "log_verifies": s.log_verifies,
                    "memory_mb": s.memory_mb, "cpu_percent": s.cpu_percent,
                }
                for s in self.sites
            ],
            "fault": fault,
            "handovers": self.handovers,
            "ok": self.ok,
            "problems": self.all_problems(),
            "simulated": True,
        }

    def print(self, console: Console) -> None:
        """The table at the end of the demo."""
        table = Table(title="Guides, judged by the physics (simulated)")
        for name in ("site", "screw", "profile", "RTT p50/p99 ms", "loop age p50/p99 ms", "entry mm", "axis deg", "total mm",
                     "planned", "as positioned", "holds", "s"):
            table.add_column(name, justify="left" if name in ("site", "screw", "profile") else "right")
        sites = {s.name: s for s in self.sites}
        for s in self.screws:
            site = sites.get(s.site)
            table.add_row(
                s.site, f"{s.level} {s.side}", site.profile if site else "?",
                f"{site.rtt_ms['p50']:.0f}/{site.rtt_ms['p99']:.0f}" if site else "?",
                f"{site.loop_age_ms['p50']:.0f}/{site.loop_age_ms['p99']:.0f}" if site else "?",
                f"{s.entry_error_mm:.2f}", f"{s.axis_error_deg:.2f}", f"{s.total_error_mm:.2f}",
                s.grade_planned, s.grade_as_positioned, str(site.holds) if site else "?", f"{s.seconds:.0f}",
                style=None if s.good else "red",
            )
        console.print(table)
        if self.fault:
            console.print(self.fault.words(), soft_wrap=True)
        for h in self.handovers:
            console.print(f"hand-over {h['from']} -> {h['to']}: {h['ms']:.0f} ms, {'clean' if h['clean'] else 'NOT clean'}")
        for site in self.sites:
            console.print(f"log {site.log}: {'verifies' if site.log_verifies else 'DOES NOT VERIFY'}", soft_wrap=True)
        for problem in self.all_problems():
            console.print(f"[red]not ok:[/red] {problem}")
        console.print("ok" if self.ok else "not ok")
