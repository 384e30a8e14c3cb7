"""Make, show, check and revoke the keys of sites and people, and who may do what where."""

import argparse
import json
import sys
from pathlib import Path

from teleop.link.errors import KeyRefused
from teleop.link.keys import ROLES, Roles, load_roles, load_secret, make_directory, revoke

EXAMPLE = """examples:
  longhand keys make ~/.longhand/keys --site a --site b --console lin --mentor zhao --observer chen
  longhand keys show ~/.longhand/keys
  longhand keys check ~/.longhand/keys/lin
  longhand keys revoke ~/.longhand/keys lin
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EXAMPLE
    sub = parser.add_subparsers(dest="verb", required=True)
    make = sub.add_parser("make", help="make keys for new principals and add them to DIR/roles.toml")
    make.add_argument("dir", type=Path)
    make.add_argument("--site", action="append", default=[], metavar="NAME", help="a hospital with an arm")
    make.add_argument("--console", action="append", default=[], metavar="NAME", help="a surgeon's console (role surgeon)")
    for role in ("mentor", "observer", "bedside", "reviewer"):
        make.add_argument(f"--{role}", action="append", default=[], metavar="NAME")
    make.add_argument("--arm", default="*", help="the grants are for this arm only (default: every arm of a site)")
    for verb, text in (
        ("show", "who is in DIR/roles.toml"),
        ("check", "would a program accept this secret (DIR/NAME) or this table (DIR)?"),
        ("revoke", "refuse a principal's key from now on"),
    ):
        p = sub.add_parser(verb, help=text)
        p.add_argument("dir", type=Path)
        if verb == "revoke":
            p.add_argument("name")
    for p in sub.choices.values():
        p.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Do it. 0 ok, 1 refused (the reason on stderr), 2 usage."""
    try:
        if args.verb == "make":
            people = [(n, "surgeon") for n in args.console]
            people += [(n, r) for r in ROLES if r != "surgeon" for n in getattr(args, r)]
            if not args.site and not people:
                print("longhand keys make: name at least one --site or --console", file=sys.stderr)
                return 2
            _print(make_directory(args.dir, args.site, people, args.arm), args.json)
            if not args.json:
                print(f"\nCopy {args.dir}/NAME to NAME's machine and nowhere else; {args.dir}/roles.toml goes to everybody.")
        elif args.verb == "show":
            _print(load_roles(args.dir), args.json)
        elif args.verb == "revoke":
            roles = revoke(args.dir, args.name)
            print(json.dumps({"revoked": sorted(roles.revoked)}) if args.json else f"{args.name}: revoked. Running sites reload the table within a second.")
        else:
            if (args.dir / "roles.toml").exists():
                load_roles(args.dir)
                what = "role table"
            else:
                what = f"secret of {load_secret(args.dir).name}"
            print(json.dumps({"ok": True, "what": what}) if args.json else f"{args.dir}: {what}, fit for use")
    except KeyRefused as e:
        print(f"longhand keys: {e}", file=sys.stderr)
        return 1
    return 0


def _print(roles: Roles, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps(
                {
                    "principals": {
                        n: {"kind": p.kind, "curve": p.curve, "ed25519": p.ed25519, "revoked": p.curve in roles.revoked}
                        for n, p in roles.principals.items()
                    },
                    "grants": [{"who": g.who, "role": g.role, "site": g.site, "arm": g.arm} for g in roles.grants],
                }
            )
        )
        return
    for n, p in roles.principals.items():
        print(f"{p.kind:7} {n:16} curve {p.curve}  {'REVOKED' if p.curve in roles.revoked else ''}")
    for g in roles.grants:
        print(f"grant   {g.who:16} {g.role} at {g.site}, arm {g.arm}")


def app(args: list[str] | None = None, prog_name: str = "longhand keys") -> None:
    """Run the command line and exit."""
    parser = argparse.ArgumentParser(prog=prog_name, description=__doc__)
    add_arguments(parser)
    raise SystemExit(run(parser.parse_args(args)))


if __name__ == "__main__":
    app()
