"""`$(...)` in launch files (`SUPPORTED` lists which).

As in ROS 2: arguments are separated by blanks, may be quoted with ' or ", may hold further substitutions, and `\\$`
stands for a dollar sign. `$(command '...')` runs a program while the file is read and stands for what it printed.
`$(eval)` runs Python and is refused by name, like every other.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from teleop.launch.document import At

TRUE, FALSE = frozenset({"true", "1"}), frozenset({"false", "0"})
SUPPORTED = "var, env, find-pkg-share, find-pkg-prefix, dirname, command, not, and, or, equals, not-equals"


@dataclass(frozen=True, slots=True)
class Scope:
    """What a substitution may look at: launch variables, environment, and where packages are."""

    variables: Mapping[str, str]
    environ: Mapping[str, str]
    package_prefix: Callable[[str], str | None]
    command: Callable[[str], str]  # output of a program; raises ValueError when it fails


def as_bool(text: str, at: At, what: str) -> bool:
    """true, 1, false, 0 in any case. Raises LaunchFileError."""
    word = text.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise at.error(f"{what} must be true or false, not {text!r}")


def expand(text: str, scope: Scope, at: At) -> str:
    """`text` with every substitution replaced. Raises LaunchFileError."""
    result, end = _expand(text, 0, scope, at, until="")
    assert end == len(text)
    return result


def _expand(text: str, i: int, scope: Scope, at: At, until: str) -> tuple[str, int]:
    """Expand from i to an unquoted character of `until` (or the end, if `until` is empty); gives text and stop."""
    out: list[str] = []
    quote = ""
    while i < len(text):
        c = text[i]
        if text.startswith("\\$", i):
            out.append("$")
            i += 2
        elif text.startswith("$(", i):
            value, i = _call(text, i + 2, scope, at)
            out.append(value)
        elif quote:
            if c == quote:
                quote = ""
            else:
                out.append(c)
            i += 1
        elif until and c in "'\"":
            quote = c
            i += 1
        elif until and c in until:
            return "".join(out), i
        else:
            out.append(c)
            i += 1
    if until or quote:
        raise at.error(f"{text!r}: a $( or a quote is not closed")
    return "".join(out), i


def _call(text: str, i: int, scope: Scope, at: At) -> tuple[str, int]:
    """Evaluate the call whose name starts at i (just after `$(`); gives its value and the index after `)`."""
    words: list[str] = []
    while True:
        while i < len(text) and text[i] == " ":
            i += 1
        if i < len(text) and text[i] == ")":
            break
        word, i = _expand(text, i, scope, at, until=" )")
        words.append(word)
    if not words:
        raise at.error(f"{text!r}: $() names nothing")
    return _apply(words[0], words[1:], scope, at), i + 1


def _apply(name: str, args: list[str], scope: Scope, at: At) -> str:
    def need(low: int, high: int) -> None:
        if not low <= len(args) <= high:
            span = str(low) if low == high else f"{low} or {high}"
            raise at.error(f"$({name}) takes {span} argument{'' if high == 1 else 's'}, got {len(args)}")

    def word(value: bool) -> str:
        return "true" if value else "false"

    match name:
        case "var":
            need(1, 2)
            if args[0] in scope.variables:
                return scope.variables[args[0]]
            if len(args) == 2:
                return args[1]
            known = ", ".join(sorted(scope.variables)) or "none"
            raise at.error(f"$(var {args[0]}): no such variable; declared so far: {known}")
        case "env":
            need(1, 2)
            if args[0] in scope.environ:
                return scope.environ[args[0]]
            if len(args) == 2:
                return args[1]
            raise at.error(f"$(env {args[0]}): the environment has no {args[0]}, and no default is given")
        case "find-pkg-prefix" | "find-pkg-share":
            need(1, 1)
            prefix = scope.package_prefix(args[0])
            if prefix is None:
                raise at.error(f"$({name} {args[0]}): no package {args[0]!r} is installed; is AMENT_PREFIX_PATH set?")
            return prefix if name == "find-pkg-prefix" else f"{prefix}/share/{args[0]}"
        case "dirname":
            need(0, 0)
            return str(at.file.resolve().parent)
        case "command":
            need(1, 1)
            try:
                return scope.command(args[0])
            except ValueError as error:
                raise at.error(f"$(command '{args[0]}'): {error}") from None
        case "not":
            need(1, 1)
            return word(not as_bool(args[0], at, "$(not)"))
        case "and" | "or":
            need(2, 2)
            both = [as_bool(a, at, f"$({name})") for a in args]
            return word(all(both) if name == "and" else any(both))
        case "equals" | "not-equals":
            need(2, 2)
            return word((args[0] == args[1]) == (name == "equals"))
    raise at.error(f"$({name} ...) is not supported; supported: {SUPPORTED}")
