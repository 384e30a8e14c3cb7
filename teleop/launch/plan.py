"""From launch files and arguments to a list of processes. Pure but for `$(command)`: reads files, starts nothing.

Supported actions: arg, let, node, executable, include, group, set_env, unset_env, push_ros_namespace, each with `if`
and `unless`; any other, and any unknown attribute, is refused by name with file and line. As in ROS 2 a group keeps
its variables, environment and namespace to itself. Other than there, so does an include.
"""

import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from teleop.launch.document import Action, At, Element, Fields, Items, Scalar, actions, read_launch_file
from teleop.launch.errors import LaunchFileError
from teleop.launch.substitution import Scope, as_bool, expand

SUPPORTED = ("arg", "let", "node", "executable", "include", "group", "set_env", "unset_env", "push_ros_namespace")
MAX_DEPTH = 20  # includes within includes; more is a circle


@dataclass(frozen=True, slots=True)
class Process:
    """One process to start. `env` holds what differs from the starter's environment (None: unset)."""

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str | None]
    cwd: str | None
    at: At


@dataclass(frozen=True, slots=True)
class Argument:
    """A declared launch argument."""

    name: str
    description: str
    at: At


@dataclass(frozen=True, slots=True)
class Plan:
    processes: tuple[Process, ...]
    arguments: tuple[Argument, ...]


@dataclass(frozen=True, slots=True)
class Installed:
    """Where packages and their executables are: `executable(package, name)` gives a path or None; `command(line)` runs
    a program and gives what it printed, or raises ValueError."""

    package_prefix: Callable[[str], str | None]
    executable: Callable[[str, str], str | None]
    environ: Mapping[str, str]
    command: Callable[[str], str]


@dataclass(slots=True)
class _Frame:
    """Variables, environment and namespace in force at one place of a file."""

    variables: dict[str, str]
    environ: dict[str, str | None]
    namespace: str

    def copy(self) -> "_Frame":
        return _Frame(dict(self.variables), dict(self.environ), self.namespace)


@dataclass(slots=True)
class _Reader:
    installed: Installed
    given: Mapping[str, str]
    processes: list[Process] = field(default_factory=list)
    arguments: dict[str, Argument] = field(default_factory=dict)


def plan(files: Sequence[Path], given: Mapping[str, str], installed: Installed) -> Plan:
    """Everything the files start when called with the arguments `given`. Raises LaunchFileError."""
    reader = _Reader(installed, given)
    for file in files:
        _file(reader, file, _Frame({}, {}, ""), given, depth=0)
    unknown = [name for name in given if name not in reader.arguments]
    if unknown:
        close = get_close_matches(unknown[0], reader.arguments, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise LaunchFileError(f"no launch argument {unknown[0]!r} in {', '.join(map(str, files))}{hint}"
                              f" (declared: {', '.join(sorted(reader.arguments)) or 'none'})")
    return Plan(tuple(_unique_names(reader.processes)), tuple(reader.arguments.values()))


def _unique_names(processes: list[Process]) -> list[Process]:
    seen: dict[str, int] = {}
    out = []
    for p in processes:
        seen[p.name] = seen.get(p.name, 0) + 1
        name = p.name if seen[p.name] == 1 else f"{p.name}-{seen[p.name]}"
        out.append(Process(name, p.argv, p.env, p.cwd, p.at))
    return out


def _file(reader: _Reader, file: Path, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    for action in read_launch_file(file):
        _action(reader, action, frame, given, depth)


def _action(reader: _Reader, action: Action, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    if action.kind not in SUPPORTED:
        raise action.at.error(f"the action {action.kind!r} is not supported; supported: {', '.join(SUPPORTED)}")
    body = action.body
    if isinstance(body, Fields):
        if "if" in body.values and "unless" in body.values:
            raise body.at.error(f"{action.kind}: `if` and `unless` exclude each other")
        for key in ("if", "unless"):
            if key in body.values:
                text = _text(reader, body.values[key], frame, key)
                if as_bool(text, body.values[key].at, f"`{key}`") != (key == "if"):
                    return
        body = Fields({k: v for k, v in body.values.items() if k not in ("if", "unless")}, body.at)
    if action.kind == "group":
        inner = frame.copy()
        if isinstance(body, Fields):
            body.reject_unknown("group", frozenset({"children", "scoped", "if", "unless"}))
            if "children" not in body.values:
                raise body.at.error("group: needs `children`, a list of actions")
            if "scoped" in body.values and not as_bool(_text(reader, body.values["scoped"], frame, "scoped"),
                                                       body.values["scoped"].at, "`scoped`"):
                inner = frame
            body = body.values["children"]
        for child in actions(body):
            _action(reader, child, inner, given, depth)
        return
    if not isinstance(body, Fields):
        raise body.at.error(f"{action.kind}: expected a map of attributes")
    _HANDLERS[action.kind](reader, body, frame, given, depth)


def _arg(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("arg", frozenset({"name", "default", "description", "choice"}))
    name = _required(reader, body, frame, "arg", "name")
    chosen = name in given or name in frame.variables
    default = None
    if "default" in body.values and not chosen:  # only then, since it may run a command
        default = _text(reader, body.values["default"], frame, "default")
    description = ""
    if "description" in body.values:
        description = _text(reader, body.values["description"], frame, "description")
    if depth == 0 or name not in reader.arguments:
        reader.arguments[name] = Argument(name, description, body.at)
    if name in given:
        frame.variables[name] = given[name]
    elif name not in frame.variables:
        if default is None:
            raise body.at.error(f"the argument {name!r} has no default; give {name}:=VALUE"
                                + (f" ({description})" if description else ""))
        frame.variables[name] = default
    if "choice" in body.values:
        choices = [_required(reader, c, frame, "choice", "value") for c in _maps(body.values["choice"], "choice")]
        if frame.variables[name] not in choices:
            raise body.at.error(f"{name}:={frame.variables[name]}: must be one of {', '.join(choices)}")


def _let(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("let", frozenset({"name", "value"}))
    frame.variables[_required(reader, body, frame, "let", "name")] = _required(reader, body, frame, "let", "value")


def _set_env(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("set_env", frozenset({"name", "value"}))
    name = _required(reader, body, frame, "set_env", "name")
    frame.environ[name] = _required(reader, body, frame, "set_env", "value")


def _unset_env(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("unset_env", frozenset({"name"}))
    frame.environ[_required(reader, body, frame, "unset_env", "name")] = None


def _push(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("push_ros_namespace", frozenset({"namespace"}))
    frame.namespace = _join(frame.namespace, _required(reader, body, frame, "push_ros_namespace", "namespace"))


def _include(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("include", frozenset({"file", "arg", "let"}))
    file = Path(_required(reader, body, frame, "include", "file"))
    if depth >= MAX_DEPTH:
        raise body.at.error(f"include of {file}: {MAX_DEPTH} levels deep; do two files include each other?")
    if not file.is_absolute():
        file = body.at.file.parent / file
    inner = frame.copy()
    passed: dict[str, str] = {}
    for key in ("arg", "let"):
        for pair in _maps(body.values.get(key), f"include {key}"):
            pair.reject_unknown(f"include {key}", frozenset({"name", "value"}))
            name = _required(reader, pair, frame, key, "name")
            passed[name] = _required(reader, pair, frame, key, "value")
    inner.variables.update(passed)
    _file(reader, file, inner, passed, depth + 1)


def _executable(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("executable", frozenset({"cmd", "cwd", "name", "args", "env", "output"}))
    command = _required(reader, body, frame, "executable", "cmd")
    argv = _split(command, body.values["cmd"].at) + _optional_args(reader, body, frame, "args")
    if not argv:
        raise body.at.error("executable: `cmd` is empty")
    name = _text(reader, body.values["name"], frame, "name") if "name" in body.values else os.path.basename(argv[0])
    cwd = _text(reader, body.values["cwd"], frame, "cwd") if "cwd" in body.values else None
    reader.processes.append(Process(name, tuple(argv), _environ(reader, body, frame), cwd, body.at))


def _node(reader: _Reader, body: Fields, frame: _Frame, given: Mapping[str, str], depth: int) -> None:
    body.reject_unknown("node", frozenset({"pkg", "exec", "name", "namespace", "args", "ros_args", "param", "remap",
                                           "env", "output", "cwd"}))
    package = _required(reader, body, frame, "node", "pkg")
    program = _required(reader, body, frame, "node", "exec")
    path = reader.installed.executable(package, program)
    if path is None:
        raise body.at.error(f"node: no executable {program!r} in package {package!r}; is it built and installed?")
    argv = [path, *_optional_args(reader, body, frame, "args"), "--ros-args"]
    name = program
    if "name" in body.values:
        name = _text(reader, body.values["name"], frame, "name")
        argv += ["-r", f"__node:={name}"]
    namespace = frame.namespace
    if "namespace" in body.values:
        namespace = _join(namespace, _text(reader, body.values["namespace"], frame, "namespace"))
    if namespace:
        argv += ["-r", f"__ns:={namespace}"]
    for pair in _maps(body.values.get("remap"), "remap"):
        pair.reject_unknown("remap", frozenset({"from", "to"}))
        old, new = (_required(reader, pair, frame, "remap", key) for key in ("from", "to"))
        argv += ["-r", f"{old}:={new}"]
    for pair in _maps(body.values.get("param"), "param"):
        pair.reject_unknown("param", frozenset({"name", "value", "from"}))
        if "from" in pair.values:
            if len(pair.values) != 1:
                raise pair.at.error("param: `from` stands alone")
            argv += ["--params-file", _required(reader, pair, frame, "param", "from")]
        else:
            key = _required(reader, pair, frame, "param", "name")
            argv += ["-p", f"{key}:={_param_value(reader, pair, frame)}"]
    argv += _optional_args(reader, body, frame, "ros_args")
    if argv[-1] == "--ros-args":
        argv.pop()
    cwd = _text(reader, body.values["cwd"], frame, "cwd") if "cwd" in body.values else None
    reader.processes.append(Process(name, tuple(argv), _environ(reader, body, frame), cwd, body.at))


_HANDLERS = {"arg": _arg, "let": _let, "set_env": _set_env, "unset_env": _unset_env, "push_ros_namespace": _push,
             "include": _include, "executable": _executable, "node": _node}


def _param_value(reader: _Reader, pair: Fields, frame: _Frame) -> str:
    """YAML text of a parameter: what was quoted stays a string, what was not is typed by ROS itself."""
    if "value" not in pair.values:
        raise pair.at.error("param: needs `value` (or `from`)")
    value = pair.values["value"]
    if isinstance(value, Items):
        return "[" + ", ".join(_typed(reader, v, frame) for v in value.values) + "]"
    return _typed(reader, value, frame)


def _typed(reader: _Reader, value: Element, frame: _Frame) -> str:
    text = _text(reader, value, frame, "value")
    assert isinstance(value, Scalar)
    return text if value.plain or "$(" in value.text else "'" + text.replace("'", "''") + "'"


def _environ(reader: _Reader, body: Fields, frame: _Frame) -> dict[str, str | None]:
    env = dict(frame.environ)
    for pair in _maps(body.values.get("env"), "env"):
        pair.reject_unknown("env", frozenset({"name", "value"}))
        env[_required(reader, pair, frame, "env", "name")] = _required(reader, pair, frame, "env", "value")
    return env


def _optional_args(reader: _Reader, body: Fields, frame: _Frame, key: str) -> list[str]:
    if key not in body.values:
        return []
    return _split(_text(reader, body.values[key], frame, key), body.values[key].at)


def _split(text: str, at: At) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise at.error(f"{text!r}: {error}") from None


def _maps(element: Element | None, what: str) -> list[Fields]:
    if element is None:
        return []
    if not isinstance(element, Items) or not all(isinstance(v, Fields) for v in element.values):
        raise element.at.error(f"{what}: expected a list of maps")
    return [v for v in element.values if isinstance(v, Fields)]


def _required(reader: _Reader, body: Fields, frame: _Frame, what: str, key: str) -> str:
    if key not in body.values:
        raise body.at.error(f"{what}: needs `{key}`")
    return _text(reader, body.values[key], frame, key)


def _text(reader: _Reader, element: Element, frame: _Frame, what: str) -> str:
    if not isinstance(element, Scalar):
        raise element.at.error(f"`{what}` must be one value, not a list or a map")
    environ = dict(reader.installed.environ)
    for key, value in frame.environ.items():
        if value is None:
            environ.pop(key, None)
        else:
            environ[key] = value
    scope = Scope(frame.variables, environ, reader.installed.package_prefix, reader.installed.command)
    return expand(element.text, scope, element.at)


def _join(outer: str, inner: str) -> str:
    if inner.startswith("/"):
        return inner.rstrip("/") or "/"
    return f"{outer.rstrip('/')}/{inner.strip('/')}"
