"""YAML with line numbers: `read_launch_file` gives the top-level actions of a launch file."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from teleop.launch.errors import LaunchFileError


@dataclass(frozen=True, slots=True)
class At:
    """Where something stands."""

    file: Path
    line: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def error(self, text: str) -> LaunchFileError:
        return LaunchFileError(f"{self}: {text}")


@dataclass(frozen=True, slots=True)
class Scalar:
    """A leaf as it is written, without its quotes. `plain`: not quoted, so that `true` means a truth value."""

    text: str
    plain: bool
    at: At


@dataclass(frozen=True, slots=True)
class Items:
    """A list."""

    values: tuple["Element", ...]
    at: At


@dataclass(frozen=True, slots=True)
class Fields:
    """A map with string keys."""

    values: dict[str, "Element"]
    at: At

    def reject_unknown(self, what: str, known: frozenset[str]) -> None:
        """Raise for the first key that `what` does not have here; nothing is ignored silently."""
        for key, value in self.values.items():
            if key not in known:
                raise value.at.error(f"{what}: {key!r} is not supported; supported: {', '.join(sorted(known))}")


Element = Scalar | Items | Fields


@dataclass(frozen=True, slots=True)
class Action:
    """One entry such as `- node: {...}`."""

    kind: str
    body: Element
    at: At


def read_launch_file(file: Path) -> list[Action]:
    """The actions under the key `launch`. Raises LaunchFileError naming file and line."""
    try:
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        raise LaunchFileError(f"{file}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise LaunchFileError(f"{file}: not UTF-8 text: {error.reason}") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise LaunchFileError(f"{file}:{line}: not YAML: {error.problem}") from None
    except yaml.YAMLError as error:
        raise LaunchFileError(f"{file}: not YAML: {error}") from None
    if root is None:
        raise LaunchFileError(f"{file}:1: empty; a launch file starts with `launch:` and a list of actions")
    top = _element(root, file)
    if not isinstance(top, Fields) or set(top.values) != {"launch"}:
        raise LaunchFileError(f"{file}:1: a launch file is one map with the single key `launch`")
    return list(actions(top.values["launch"]))


def actions(body: Element) -> Iterator[Action]:
    """The actions of a list, each a map with one key."""
    if not isinstance(body, Items):
        raise body.at.error("expected a list of actions, each starting with `- `")
    for item in body.values:
        if not isinstance(item, Fields) or len(item.values) != 1:
            raise item.at.error("an action is a map with one key, such as `- node: {...}`")
        kind, inner = next(iter(item.values.items()))
        yield Action(kind, inner, item.at)


def _element(node: yaml.Node, file: Path) -> Element:
    at = At(file, node.start_mark.line + 1)
    if isinstance(node, yaml.ScalarNode):
        return Scalar("" if node.tag.endswith(":null") and node.style is None else node.value, node.style is None, at)
    if isinstance(node, yaml.SequenceNode):
        return Items(tuple(_element(n, file) for n in node.value), at)
    if not isinstance(node, yaml.MappingNode):
        raise at.error("unexpected YAML")
    fields: dict[str, Element] = {}
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise At(file, key.start_mark.line + 1).error("a key must be a word")
        if key.value in fields:
            raise At(file, key.start_mark.line + 1).error(f"the key {key.value!r} appears twice")
        fields[key.value] = _element(value, file)
    return Fields(fields, at)
