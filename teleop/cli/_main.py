"""Entry point of `longhand`: finds the command's module, imports that one only, runs it."""

import ast
import importlib
import os
import sys
from difflib import get_close_matches
from pathlib import Path

OK, ERROR, USAGE, SAFETY, LINK, DENIED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

_HEAD = """longhand: an open telesurgery stack.

Usage: longhand COMMAND [options]      longhand COMMAND --help

Commands:"""


def commands() -> dict[str, Path]:
    """Command name -> its module's file, sorted by name."""
    files = Path(__file__).parent.glob("*.py")
    return {f.stem.replace("_", "-"): f for f in sorted(files) if not f.stem.startswith("_")}


def summary(file: Path) -> str:
    """First line of a module's docstring, read without importing it ("" where there is none)."""
    try:
        doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    except SyntaxError:
        return "(does not parse)"
    first = doc.splitlines()[0] if doc else ""
    return first.split("`: ", 1)[1] if first.startswith("`longhand ") and "`: " in first else first


def help_text() -> str:
    known = commands()
    width = max((len(name) for name in known), default=0)
    rows = [f"  {name:<{width}}  {summary(file)}" for name, file in known.items()]
    tail = "\nExit codes: 0 ok, 1 error, 2 usage, 3 safety limit or alarm found, 4 link, 5 denied, 130 interrupted."
    return "\n".join([_HEAD, *rows, tail])


def run(argv: list[str]) -> int:
    """Run one command line (without the program's name); returns the exit code."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(help_text())
        return OK if argv else USAGE
    if argv[0] == "--version":
        from importlib.metadata import version

        print(version("longhand"))
        return OK
    name, known = argv[0], commands()
    if name not in known:
        close = get_close_matches(name, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else "; `longhand --help` lists them"
        print(f"error: no command {name!r}{hint}", file=sys.stderr)
        return USAGE
    try:
        module = importlib.import_module(f"teleop.cli.{known[name].stem}")
        module.app(args=argv[1:], prog_name=f"longhand {name}")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else (OK if end.code is None else ERROR)
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        print(f"error: {name} needs the Python module {error.name!r}; `longhand doctor` says what is missing",
              file=sys.stderr)
        return ERROR
    except (OSError, ValueError, RuntimeError) as error:
        if os.environ.get("LONGHAND_TRACEBACK"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    return OK


def main() -> None:
    # The ROS wheels do not set it, and get_package_share_directory needs it.
    os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    raise SystemExit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
