"""Test the line to a site before a case: round trip, loss, bursts, jitter, throughput, on every path."""

import argparse
import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from teleop.link.console import ConsoleLink
from teleop.link.endpoint import direct_endpoint, relay_endpoint
from teleop.link.errors import KeyRefused, LinkError
from teleop.link.keys import load_roles, load_secret
from teleop.link.line_test import CERTIFICATE_S, LineTest
from teleop.link.versions import own_release
from teleop.review import line_certificate
from teleop.review.report import write_pdf
from teleop.wire import VERSIONS

EPILOG = """examples:
  longhand check-network a --keys out/keys --me console --port 7400
  longhand check-network a --keys out/keys --me console --relay-port 7450 --demo --json
  longhand check-network a --keys out/keys --certificate line-a.json --print line-a.pdf
  longhand check-network --verify line-a.json --keys out/keys --print line-a.html
The site's gateway must run, and no other console may use the same key at that time. Exit codes: 0 fit, 4 not fit or no
link, 5 refused. Less than two minutes (or --demo, 5 s) gives numbers, but is marked invalid as a certificate."""


def parser(prog: str) -> argparse.ArgumentParser:
    """The arguments."""
    p = argparse.ArgumentParser(prog=prog, description=__doc__, epilog=EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("site", nargs="?", help="name of the site in the role table")
    p.add_argument("--keys", type=Path, required=True, help="key directory (roles.toml and your own secret)")
    p.add_argument("--me", default="console", help="whose secret to use (default: console)")
    p.add_argument("--host", default="127.0.0.1")
    where = p.add_mutually_exclusive_group()
    where.add_argument("--port", type=int, default=7400, help="first port of the site (default 7400)")
    where.add_argument("--relay-port", type=int, help="first port of an emulated WAN in front of it")
    p.add_argument("--seconds", type=float, default=180.0, help="length of the traffic test (default 180)")
    p.add_argument("--demo", action="store_true", help="5 seconds; invalid as a certificate")
    p.add_argument("--mbps", type=float, default=8.0, help="throughput to try per path, for video (0: none)")
    p.add_argument("--certificate", type=Path, metavar="FILE", help="write the signed certificate (JSON)")
    p.add_argument("--print", type=Path, dest="page", metavar="FILE", help="write it as a page: .html, or .pdf (needs Chromium)")
    p.add_argument("--watch", type=Path, metavar="FILE",
                   help="with --verify and --certificate: what the line did in the case (from /cockpit/line/SITE), signed anew with it")
    p.add_argument("--verify", type=Path, metavar="FILE", help="check a certificate's signature instead of measuring")
    p.add_argument("--json", action="store_true")
    return p


def run(args: argparse.Namespace) -> int:
    """Do it; the exit code."""
    if args.page is not None and args.page.suffix not in (".html", ".pdf"):
        print(f"check-network: --print {args.page}: the name must end in .html or .pdf", file=sys.stderr)
        return 2
    if args.verify is not None:
        return verify(args)
    if args.site is None:
        print("check-network: name the site, or give --verify FILE", file=sys.stderr)
        return 2
    seconds = 5.0 if args.demo else args.seconds
    if not 1.0 <= seconds <= 3600.0:
        print("check-network: --seconds is between 1 and 3600", file=sys.stderr)
        return 2
    try:
        roles = load_roles(args.keys)
        key = roles.site_key(args.site)
        keys = load_secret(args.keys / args.me)
        make = relay_endpoint if args.relay_port else direct_endpoint
        link = ConsoleLink(make(args.site, key, args.relay_port or args.port, args.host), keys, versions=VERSIONS).start()
    except KeyRefused as e:
        print(f"check-network: {e}", file=sys.stderr)
        return 5
    except LinkError as e:
        print(f"check-network: {e}", file=sys.stderr)
        return 4
    test = LineTest(link, seconds, load_mbps=args.mbps, load_s=2.0 if args.mbps > 0 else 0.0)
    said, show = 0, not args.json and sys.stderr.isatty()
    started = time.monotonic_ns()
    try:
        while test.result is None:
            link.wait(2.0)
            now = time.monotonic_ns()
            link.poll(now)
            test.step(now)
            if show and (now - started) // 1_000_000_000 != said:
                said = (now - started) // 1_000_000_000
                print(f"\r{test.phase} {said} s ", end="", file=sys.stderr, flush=True)
    finally:
        if show:
            print("\r", end="", file=sys.stderr)
        release = link.site_release
        link.close()
    print(json.dumps(test.result) if args.json else report(test.result))
    if args.certificate is not None or args.page is not None:
        address = f"{args.host}, ports from {args.relay_port or args.port}" + (" (an emulated WAN)" if args.relay_port else "")
        utc = datetime.now(UTC).isoformat(timespec="seconds")
        releases = {"console": own_release(), "site": release}
        document = line_certificate.make(test.result, keys, key, utc, address, releases)
        if args.certificate is not None:
            args.certificate.write_text(json.dumps(document, indent=1) + "\n")
        if args.page is not None:
            put_page(document, args.page)
    if link.refused is not None:
        return 5
    return 0 if test.result["passed"] else 4


def verify(args: argparse.Namespace) -> int:
    """0: signed by somebody of the role table; 5: not."""
    try:
        document = line_certificate.load(args.verify)
        body = line_certificate.check(document, load_roles(args.keys))
    except (line_certificate.CertificateError, KeyRefused) as e:
        print(f"check-network: {args.verify}: {e}", file=sys.stderr)
        return 5
    if args.watch is not None:
        try:
            watch = json.loads(args.watch.read_text())
            if not isinstance(watch, dict) or not {"minutes", "seconds_by_colour", "paths_fell", "seconds"} <= watch.keys():
                raise ValueError("not what /cockpit/line/SITE gives")
            keys = load_secret(args.keys / args.me)
        except (OSError, ValueError, KeyRefused) as e:
            print(f"check-network: {args.watch}: {e}", file=sys.stderr)
            return 5 if isinstance(e, KeyRefused) else 1
        utc = datetime.now(UTC).isoformat(timespec="seconds")
        document = line_certificate.make(body["result"], keys, body["site_key"], utc, body["endpoint"], body["releases"], watch)
        if args.certificate is not None:
            args.certificate.write_text(json.dumps(document, indent=1) + "\n")
    if args.page is not None:
        put_page(document, args.page)
    said = f"signed by {body['tester']} at {body['utc']}"
    print(json.dumps({"ok": True, **body}) if args.json else f"{said}\n{report(body['result'])}")
    return 0


def put_page(document: dict[str, Any], page: Path) -> None:
    """The certificate as HTML or PDF, by the file's name. Raises RuntimeError without a browser to print with."""
    text = line_certificate.html(document)
    if page.suffix == ".pdf":
        write_pdf(text, page)
    else:
        page.write_text(text, encoding="utf-8")


def report(r: dict[str, Any]) -> str:
    """The result as text for people."""
    lines = [f"Line to {r['site']}, {r['seconds']:.0f} s" + (f" at {r['rate_hz']} Hz, {r['bytes_up']} B up, {r['bytes_down']} B down" if r["paths"] else "")]
    if r["paths"]:
        lines.append("path  rtt p50   p99   max ms  loss up  down   burst  jitter  gap ms  reorder  Mbit/s")
    for p in r["paths"]:
        t = p["rtt_ms"]
        ms = "".join(f"{t[k]:7.1f}" if t[k] is not None else "      -" for k in ("p50", "p99", "max"))
        rate = f"{p['throughput_mbps']:.1f}" if p["throughput_mbps"] is not None else "-"
        lines.append(
            f"{p['path']:4} {ms}     {p['loss_up']:6.2%} {p['loss_down']:6.2%} {p['longest_burst_down']:5} {p['jitter_ms']:7.1f} "
            f"{p['longest_gap_ms']:7.0f} {p['reordered']:8} {rate:>7}   {'good' if p['good'] else '; '.join(p['why'])}"
        )
    if r["paths"]:
        lines.append(f"both paths together: longest gap {r['combined_longest_gap_ms']:.0f} ms")
    verdict = "FIT" if r["passed"] else "NOT FIT"
    if r["passed"] and not r["valid"]:
        verdict += f" (DEMO: shorter than {CERTIFICATE_S:.0f} s, not valid as a certificate)"
    lines.append(verdict + (f": {r['why']}" if r["why"] else ""))
    return "\n".join(lines)


def app(args: list[str] | None = None, prog_name: str = "longhand check-network") -> None:
    """Run the command line and exit."""
    raise SystemExit(run(parser(prog_name).parse_args(args)))


if __name__ == "__main__":
    app()
