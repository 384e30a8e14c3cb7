"""The certificate of a line: what `longhand check-network` measured, on one page for the file, signed by whoever measured.

The JSON is the certificate; the page is printed from it and carries the same numbers and the signature. A certificate is valid for one
case and 30 minutes, like the site's own qualification, and only when the test ran for two minutes or more. With a watch
(`teleop.link.watch`) the second part says what the line did during the case.
"""

import json
from html import escape
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from teleop.link.keys import Roles, SecretKeys
from teleop.review.report import STYLE
from teleop.review.svg import line_plot

VERSION = 1
SIGNED_PREFIX = b"longhand line certificate 1\n"
VALID_S = 1800


class CertificateError(ValueError):
    """Not a certificate, or not one of somebody we know; the text says which."""


def make(
    result: dict[str, Any], tester: SecretKeys, site_key: str, utc: str, endpoint: str, releases: dict[str, str], watch: dict[str, Any] | None = None
) -> dict[str, Any]:
    """The signed certificate of a line test's result. `utc`: when it ended, ISO 8601; `endpoint`: host and ports, for people."""
    body = {
        "v": VERSION, "site": result["site"], "site_key": site_key, "tester": tester.name, "tester_key": tester.ed25519_public, "utc": utc,
        "endpoint": endpoint, "releases": releases, "valid_s": VALID_S if result.get("valid") else 0, "result": result, "watch": watch,
    }  # fmt: skip
    return {"certificate": body, "signature": tester.signer().sign(_signed(body)).hex()}


def check(document: Any, roles: Roles) -> dict[str, Any]:
    """The body, if a principal of the role table signed it and is not revoked. Raises CertificateError."""
    try:
        body, signature = document["certificate"], bytes.fromhex(document["signature"])
        key, name = body["tester_key"], body["tester"]
        if body["v"] != VERSION:
            raise CertificateError(f"a certificate of version {body['v']!r}; this release reads {VERSION}")
        known = roles.principals.get(name)
        if known is None or known.ed25519 != key:
            raise CertificateError(f"signed by {name!r}, who is not in the role table with this key")
        if known.curve in roles.revoked:
            raise CertificateError(f"signed by {name!r}, whose key has been revoked")
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)).verify(signature, _signed(body))
    except CertificateError:
        raise
    except InvalidSignature:
        raise CertificateError("the signature does not fit: the certificate was changed after it was made") from None
    except (KeyError, TypeError, ValueError) as error:
        raise CertificateError(f"not a line certificate: {type(error).__name__} {error}") from None
    return dict(body)


def _signed(body: dict[str, Any]) -> bytes:
    return SIGNED_PREFIX + json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def load(path: Path) -> Any:
    """The document in a file. Raises CertificateError."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise CertificateError(f"{path}: {error}") from None


def html(document: dict[str, Any]) -> str:
    """One page (two with a watch), self-contained; the same certificate gives the same bytes."""
    body = document["certificate"]
    r = body["result"]
    if body["valid_s"]:
        verdict = f'<p class="badge ok">FIT for a case, for {body["valid_s"] // 60} minutes from {escape(body["utc"])}</p>'
    elif r["passed"]:
        verdict = '<p class="badge warn">FIT, but DEMO: the test was shorter than two minutes. Not valid as a certificate.</p>'
    else:
        verdict = '<p class="badge bad">NOT FIT for a case</p>'
    if r.get("why"):
        verdict += f"<p>{escape(r['why'])}</p>"
    head = [
        ("hospital", escape(body["site"])), ("its key", f"<code>{escape(body['site_key'])}</code>"), ("address", escape(body["endpoint"])),
        ("measured by", f"{escape(body['tester'])} <code>{escape(body['tester_key'])}</code>"), ("at (UTC)", escape(body["utc"])),
        ("releases", escape(", ".join(f"{k} {v or 'unknown'}" for k, v in sorted(body["releases"].items())))),
    ]  # fmt: skip
    if r["paths"]:
        head.append(("test", f"{r['seconds']:.0f} s at {r['rate_hz']} Hz, {r['bytes_up']} B to the site, {r['bytes_down']} B from it, every path at once"))
    rows = "".join(f"<tr><th>{k}</th><td>{v}</td></tr>" for k, v in head)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Line certificate, {escape(body['site'])}</title><style>{STYLE}</style>"
        f"<h1>Certificate of a line</h1><p class=dim>Longhand. Research software, not a medical device.</p>{verdict}<table>{rows}</table>"
        f"{_paths(r)}{_watch(body['watch'])}"
        f"<h2>Signatures</h2><p>Ed25519: <code>{escape(document['signature'])}</code></p>"
        "<table><tr><th>for the hospital</th><td style='width:60%'>&nbsp;<br>&nbsp;</td></tr><tr><th>for the surgeon</th><td>&nbsp;<br>&nbsp;</td></tr></table>"
        "<p class=dim>Limits: round trip p99 at most 300 ms, loss at most 5 %, no silence above 500 ms, 4 Mbit/s for video; "
        "one good path suffices, two are asked for. What the site itself measures decides at the time-out, not this page.</p></html>\n"
    )


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _paths(r: dict[str, Any]) -> str:
    if not r["paths"]:
        return ""
    columns = ["path", "rtt p50", "p99", "max, ms", "loss up", "down", "burst", "jitter, ms", "gap, ms", "Mbit/s", ""]
    rows = []
    for p in r["paths"]:
        t = p["rtt_ms"]
        rate = "–" if p["throughput_mbps"] is None else f"{p['throughput_mbps']:.1f}"
        good = '<span class="badge ok">good</span>' if p["good"] else f'<span class="badge bad">{escape("; ".join(p["why"]))}</span>'
        cells = [p["path"], _ms(t["p50"]), _ms(t["p99"]), _ms(t["max"]), f"{p['loss_up']:.2%}", f"{p['loss_down']:.2%}", p["longest_burst_down"],
                 f"{p['jitter_ms']:.1f}", f"{p['longest_gap_ms']:.0f}", rate]  # fmt: skip
        rows.append("<tr>" + "".join(f"<td class=n>{c}</td>" for c in cells) + f"<td>{good}</td></tr>")
    head = "".join(f"<th{'' if not c else ' class=n'}>{c}</th>" for c in columns)
    together = f"<p>Both paths together were never silent for more than {r['combined_longest_gap_ms']:.0f} ms.</p>"
    return f"<h2>Measured</h2><table><tr>{head}</tr>{''.join(rows)}</table>{together}"


def _watch(w: dict[str, Any] | None) -> str:
    if not w:
        return ""
    spent = ", ".join(f"{k.lower()} {v:.0f} s" for k, v in w["seconds_by_colour"].items())
    fell = ", ".join(f"path {i}: {n}" for i, n in enumerate(w["paths_fell"])) or "none"
    panels = {}
    if w["minutes"]:
        minutes = [float(i) for i in range(len(w["minutes"]))]
        for path in range(len(w["minutes"][0])):
            rows: list[dict[str, Any]] = [row[path] if path < len(row) else {"rtt_p99_ms": None, "loss": 0.0} for row in w["minutes"]]
            panels[f"path {path}: round trip p99, ms"] = (minutes, [m["rtt_p99_ms"] for m in rows])
            panels[f"path {path}: loss, %"] = (minutes, [m["loss"] * 100 for m in rows])
    plot = line_plot("The worst of every minute", "minute of the case", panels) if panels else ""
    return f"<h2>During the case</h2><p>{w['seconds']:.0f} s watched: {spent}. Times a path fell silent: {fell}.</p>{plot}"
