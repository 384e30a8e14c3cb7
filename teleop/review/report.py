"""The report: one self-contained HTML document about a log, no scripts, nothing loaded from anywhere; PDF by Chromium.

The same log gives the same bytes. Says what is simulated, what was verified, and on whose key.
"""

import json
import os
import shutil
import subprocess
import tempfile
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from safety.log import questions
from safety.log.replay import ReplayError, replay
from safety.log.steps import steps
from teleop.review.data import ReviewLog
from teleop.review.svg import line_plot

#: Alarms and words of reasons that belong to the line rather than to the hand, the arm or the case.
NETWORK_ALARMS = frozenset({"link_down", "path_lost", "degraded", "gateway_lost", "gateway_silent", "pauses", "flood"})
NETWORK_WORDS = ("no valid command", "loop age", "line", "loss", "path", "link")
#: Distances closer than this are one network event, s.
JOIN_S = 5.0
STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #17202a; max-width: 860px; margin: 24px auto; padding: 0 16px; }
h1 { font-size: 24px; margin-bottom: 2px; } h2 { font-size: 17px; border-bottom: 1px solid #ccd4dc; margin-top: 30px; }
table { border-collapse: collapse; width: 100%; margin: 8px 0; }
td, th { text-align: left; padding: 3px 8px; border-bottom: 1px solid #e4e9ee; vertical-align: top; }
th { background: #f3f6f8; } td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; }
.badge { display: inline-block; padding: 4px 10px; border-radius: 5px; font-weight: 600; }
.ok { background: #d9f2e3; } .warn { background: #fdeecb; } .bad { background: #f9d4d8; }
.dim { color: #5b6b7a; } svg { width: 100%; height: auto; } code { font-size: 12px; overflow-wrap: anywhere; }
@media print { h2 { break-after: avoid; } svg, tr { break-inside: avoid; } body { margin: 0; } }
"""


def network_events(log: ReviewLog) -> list[dict[str, Any]]:
    """Times when the line made itself felt: pauses, holds and alarms of the network, joined where they follow closely."""
    found: list[tuple[int, str]] = []
    for event in log.events:
        if event["what"] == "alarm" and event["phase"] == "enter" and event["id"] in NETWORK_ALARMS:
            found.append((event["at"], event["text"]))
        elif event["what"] == "state" and event["state"] in ("PAUSE", "HOLD", "DEGRADED", "STOP"):
            reason = event["text"].partition(": ")[2]
            if any(word in reason for word in NETWORK_WORDS) and "deadman" not in reason:
                found.append((event["at"], event["text"]))
    found.sort()
    joined: list[dict[str, Any]] = []
    for at, text in found:
        if joined and (at - joined[-1]["last"]) / 1e9 < JOIN_S:
            joined[-1]["last"] = at
            if text not in joined[-1]["what"]:
                joined[-1]["what"].append(text)
        else:
            joined.append({"at": at, "last": at, "what": [text]})
    for row in joined:
        row["until"] = _back_to_work(log, row["at"])
        row["worst_age_ms"] = _worst(log, "loop_age", row["at"], row["until"] or row["last"])
    return joined


def _back_to_work(log: ReviewLog, at: int) -> int | None:
    """When the arm was ACTIVE again."""
    for change in log.changes:
        if change["stamp_mono"] > at and change.get("state") == "ACTIVE":
            return int(change["stamp_mono"])
    return None


def _worst(log: ReviewLog, name: str, a: int, b: int) -> float | None:
    if name not in log.overview or not len(log.overview_t):
        return None
    i, j = np.searchsorted(log.overview_t, (a, b + 1_000_000_000))
    part = log.overview[name][i : j + 1, 1]
    part = part[~np.isnan(part)]
    return float(part.max() * 1e3) if len(part) else None


def html_report(log: ReviewLog, verdict: dict[str, Any] | None, *, with_replay: bool = True) -> str:
    """The document. verdict: `Report.to_json()` of a verification, None when none was made."""
    h = log.header
    try:
        details = json.loads(h["details"])
    except ValueError:
        details = {}
    parts = [
        f"<h1>Session report: site {_e(h['site'])}</h1>",
        f"<p class=dim>session <code>{_e(h['session'])}</code>, arm {_e(h['arm'])}, case {_e(h['case_id'] or 'none')}, "
        f"{(log.end - log.start) / 1e9:.1f} s, begun {_utc(log, log.start)}</p>",
        _badges(log, verdict, details),
        _summary(log),
        "<h2>Network-related events</h2>", _network(log),
        "<h2>States</h2>", _states(log),
        "<h2>Coming to rest: travel against its bound</h2>", _travel(log),
        "<h2>Plots</h2>", _plots(log),
        "<h2>Alarms</h2>", _alarms(log),
        "<h2>Steps of the case</h2>", _case(log),
        "<h2>Would it decide the same again?</h2>",
        _replayed(log) if with_replay else "<p class=dim>not asked for</p>",
        "<h2>How this log was made</h2>", _made(log, verdict, details),
    ]  # fmt: skip
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Session report {_e(h["site"])} '
        f'{_e(h["session"][:8])}</title><style>{STYLE}</style></head><body>' + "\n".join(parts) + "</body></html>\n"
    )


def _e(value: object) -> str:
    return escape(str(value))


def _s(log: ReviewLog, at: int) -> str:
    return f"{(at - log.start) / 1e9:.2f}"


def _utc(log: ReviewLog, at: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(log.reader.utc(at) / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _table(head: list[str], rows: list[list[str]], empty: str) -> str:
    if not rows:
        return f"<p class=dim>{_e(empty)}</p>"
    top = "".join(f"<th>{_e(c)}</th>" for c in head) if any(head) else ""
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in rows)
    return f"<table><tr>{top}</tr>{body}</table>"


def _badges(log: ReviewLog, verdict: dict[str, Any] | None, details: dict[str, Any]) -> str:
    out = []
    if details.get("simulated"):
        out.append('<span class="badge warn">SIMULATED: no patient, no robot</span>')
    if verdict is None:
        out.append('<span class="badge warn">not verified</span>')
    else:
        kind = {"clean": "ok", "unclean": "warn"}.get(verdict["end"], "bad")
        out.append(f'<span class="badge {kind}">{_e(verdict["end"].upper())}: {verdict.get("records", 0)} records</span>')
        if not all(f.get("key_pinned") for f in verdict.get("files", [])):
            out.append('<span class="badge warn">site key taken from the log itself</span>')
    return "<p>" + " ".join(out) + "</p>"


def _summary(log: ReviewLog) -> str:
    seconds = questions.time_in_states(log.reader)
    stops = questions.stops(log.reader)
    worst = max(stops, key=lambda s: s.travel / s.bound if s.bound else 0.0, default=None)
    age = questions.latency(log.reader)
    rows = [
        ["time in motion (ACTIVE, DEGRADED)", f"{seconds.get('ACTIVE', 0) + seconds.get('DEGRADED', 0):.1f} s"],
        ["time paused / held / stopped", f"{seconds.get('PAUSE', 0):.1f} / {seconds.get('HOLD', 0):.1f} / "
         f"{seconds.get('STOP', 0) + seconds.get('FAULT', 0):.1f} s"],
        ["network-related events", str(len(network_events(log)))],
        ["loop age of accepted commands", ", ".join(f"{k} {v:.0f} ms" for k, v in age["loop_age_ms"].items()) or "none"],
        ["commands accepted / refused", f"{age['commands_accepted']} / {sum(age['rejected'].values())}"],
        ["worst travel after the last command", "the arm never moved" if worst is None else
         f"{worst.travel * 1e3:.3f} mm of {worst.bound * 1e3:.3f} mm bound"],
    ]  # fmt: skip
    return _table(["", ""], [[_e(a), _e(b)] for a, b in rows], "")


def _network(log: ReviewLog) -> str:
    rows = [
        [_s(log, r["at"]), "" if r["until"] is None else f"{(r['until'] - r['at']) / 1e9:.2f}",
         "" if r["worst_age_ms"] is None else f"{r['worst_age_ms']:.0f}", "<br>".join(map(_e, r["what"]))]
        for r in network_events(log)
    ]  # fmt: skip
    return _table(["at, s", "until in motion again, s", "worst loop age, ms", "what"], rows,
                  "none: no pause, hold or alarm of the line")  # fmt: skip


def _states(log: ReviewLog) -> str:
    rows = [
        [_s(log, c.stamp), _e(f"{c.old} → {c.new}"), _e(c.reason), str(c.n)] for c in questions.changes(log.reader)[:400]
    ]
    return _table(["at, s", "state", "reason", "step"], rows, "no change of state")


def _travel(log: ReviewLog) -> str:
    rows = [
        [_s(log, r.t_k), f"{r.travel * 1e3:.3f}", f"{r.bound * 1e3:.3f}", f"{r.took_ns / 1e6:.0f}", _e(r.mode), _e(r.why)]
        for r in questions.stops(log.reader)[:400]
    ]
    return _table(["last command, s", "travel, mm", "bound, mm", "at rest after, ms", "mode", "why"], rows,
                  "the arm never moved under a lease")  # fmt: skip


def _plots(log: ReviewLog) -> str:
    wanted = [("loop_age", "loop age, ms (highest in each interval)", 1e3, 1), ("loss.0", "loss on path 0, %", 100, 1),
              ("rtt_p50.0", "round trip on path 0, ms", 1e3, 2), ("v_cap", "speed cap, mm/s", 1e3, 2),
              ("speed", "speed measured, mm/s", 1e3, 1), ("tracking_error", "tracking error, mm", 1e3, 1),
              ("clearance", "distance to the nearest keep-out, mm (lowest)", 1e3, 0), ("force", "force, N", 1, 1)]  # fmt: skip
    names = [name for name, *_ in wanted]
    series = log.series(names, log.start, log.end, 700) if (log.end - log.start) / 1e9 > 40 else _short(log, names)
    panels = {}
    for name, label, factor, column in wanted:
        if name in series:
            s = series[name]
            y = [None if v is None else v * factor for v in s[("low", "high", "mean")[column]]]
            panels[label] = ([(t - log.start) / 1e9 for t in s["t"]], y)
    return line_plot("", "s from the begin of the log", panels) if panels else "<p class=dim>no signals recorded</p>"


def _short(log: ReviewLog, names: list[str]) -> dict[str, Any]:
    return log.series(names, log.start, log.end + 1, 400)


def _alarms(log: ReviewLog) -> str:
    rows = [
        [_s(log, e["at"]), _e(e["priority"]), _e(e["phase"]), _e(e["text"]), _e(e.get("todo", ""))]
        for e in log.events if e["what"] == "alarm"
    ][:400]  # fmt: skip
    return _table(["at, s", "priority", "", "alarm", "what to do"], rows, "no alarms")


def _case(log: ReviewLog) -> str:
    rows = []
    for e in log.events:
        if e["what"] == "case":
            detail = e["detail"]
            short = ", ".join(f"{k} {_short_value(v)}" for k, v in detail.items() if k not in ("ok",)) if isinstance(detail, dict) else str(detail)
            rows.append([_s(log, e["at"]), _e(e["text"]), "" if e["ok"] else "<b>refused</b>", f"<span class=dim>{_e(short[:400])}</span>"])
    return _table(["at, s", "who and what", "", "detail"], rows[:400], "no steps recorded")


def _short_value(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _replayed(log: ReviewLog) -> str:
    try:
        report = replay(steps(log.reader))
    except ReplayError as error:
        return f"<p>{_e(error)}</p>"
    if report.ok:
        return f"<p>{report.decisions} decisions replayed, every one the same bit for bit. {_e(' '.join(report.notes))}</p>"
    d = report.first_difference
    where = f" First at step {d.n}: {d.kind}." if d else ""
    return f'<p class="badge bad">{report.decisions - report.equal} of {report.decisions} decisions differ.{_e(where)}</p>'


def _made(log: ReviewLog, verdict: dict[str, Any] | None, details: dict[str, Any]) -> str:
    rows = [["site key", f"<code>{log.header['site_public_key'].hex()}</code>"],
            ["git commit", f"<code>{_e(details.get('git', ''))}</code>"],
            ["configuration", f"<code>{_e(details.get('config_sha256', ''))}</code>"],
            ["versions", _e(", ".join(f"{k} {v}" for k, v in details.get("versions", {}).items()))]]  # fmt: skip
    for key in ("inviting_institution", "invited_institution", "service", "operators", "consent_form_sha256"):
        if key in details:
            rows.append([_e(key.replace("_", " ")), _e(details[key])])
    known = questions.facts(log.reader)
    rows += [["plan", f"<code>{_e(p['sha256'])}</code> at {_s(log, p['at'])} s"] for p in known["plans"]]
    rows += [
        ["registration", f"<code>{_e(r.get('ref_T_ct_sha256', 'no hash'))}</code> at {_s(log, r['at'])} s, "
         f"FRE {r.get('fre_mm', 0):.2f} mm, TRE95 {r.get('tre95_mm', 0):.2f} mm"]
        for r in known["registrations"]
    ]  # fmt: skip
    bad = (verdict or {}).get("first_bad")
    if bad:
        rows.append(["first bad byte", _e(f"{bad['byte']}, behind record {bad['record']}: {bad['what']}")])
    return _table(["", ""], rows, "") + (
        "<p class=dim>Research software, not a medical device. Times are the site's robot clock; UTC is an estimate.</p>"
    )


def find_chromium() -> str | None:
    """A browser that can print, or None. $LONGHAND_CHROMIUM comes first."""
    named = os.environ.get("LONGHAND_CHROMIUM")
    return named or next(
        (p for p in map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome")) if p), None
    )


def write_pdf(html: str, out: Path) -> None:
    """Print to PDF. Raises RuntimeError when no Chromium is there or it fails."""
    browser = find_chromium()
    if browser is None:
        raise RuntimeError("a PDF needs Chromium (apt install chromium, or set LONGHAND_CHROMIUM); the HTML needs nothing")
    with tempfile.TemporaryDirectory(prefix="longhand-report-") as folder:
        page = Path(folder) / "report.html"
        page.write_text(html, encoding="utf-8")
        printed = Path(folder) / "report.pdf"
        words = [browser, "--headless", "--disable-gpu", "--no-pdf-header-footer", f"--user-data-dir={folder}/profile"]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            words.append("--no-sandbox")  # Chromium refuses its sandbox to root; the page is ours and loads nothing
        done = subprocess.run(
            [*words, f"--print-to-pdf={printed}", page.as_uri()], capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode or not printed.exists():
            raise RuntimeError(f"{browser} did not print: {done.stderr.strip()[-300:]}")
        shutil.move(printed, out)
