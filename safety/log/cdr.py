"""CDR (XCDR1, little endian) for messages described by ROS 2 `.msg` texts: what rmw puts on the wire and MCAP stores.

A message type is compiled once into one Python function each way. Fixed-size fields that follow each other are packed
by one `struct.Struct`; its pad bytes depend on where the run starts modulo 8, hence eight Structs a run. Alignment
counts from behind the 4-byte encapsulation header (OMG CDR 15.3; checked against rclpy and mcap_ros2 in the tests).

A message is a dict. Fields left out are zero, fields the type does not have raise `CdrError`: a recorder that
drops what it does not know would be lying.
"""

import re
import struct
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

SCHEMA_DIR = Path(__file__).parent / "schemas"
ENCAPSULATION = b"\x00\x01\x00\x00"

#: ROS primitive -> (struct code, size and alignment in bytes)
PRIMITIVES = {
    "bool": ("?", 1), "byte": ("B", 1), "char": ("B", 1), "int8": ("b", 1), "uint8": ("B", 1),
    "int16": ("h", 2), "uint16": ("H", 2), "int32": ("i", 4), "uint32": ("I", 4),
    "int64": ("q", 8), "uint64": ("Q", 8), "float32": ("f", 4), "float64": ("d", 8),
}  # fmt: skip

Encoder = Callable[[Mapping[str, Any]], bytes]
Decoder = Callable[[bytes | memoryview], dict[str, Any]]


class CdrError(ValueError):
    """A message type that cannot be found or read, a field of the wrong kind, or bytes that are not that message."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message. array: None, or 0 for a sequence, or the fixed length."""

    name: str
    base: str
    array: int | None


@dataclass(frozen=True, slots=True)
class Definition:
    """A parsed `.msg`: its full name (`pkg/msg/Name`), fields in order, integer constants."""

    name: str
    fields: tuple[Field, ...]
    constants: dict[str, str]


def parse_definition(name: str, text: str) -> Definition:
    """Read one `.msg` text. Types without a package are of the package of `name`. Raises CdrError on anything unknown."""
    package = name.split("/")[0]
    fields: list[Field] = []
    constants: dict[str, str] = {}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.split("#", 1)[0].strip()
        if not line:
            continue
        match = re.fullmatch(r"([\w/]+(?:<=\d+)?)(\[(?:<=)?\d*\])?\s+(\w+)\s*(=.*|\S.*)?", line)
        if match is None:
            raise CdrError(f"{name} line {number}: cannot read {line!r}")
        base, brackets, field, rest = match.groups()
        base = base.split("<=")[0]
        if rest is not None and rest.startswith("="):
            constants[field] = rest[1:].strip()
            continue
        if base not in PRIMITIVES and base not in ("string", "wstring"):
            parts = base.split("/")
            base = f"{package}/msg/{parts[0]}" if len(parts) == 1 else f"{parts[0]}/msg/{parts[-1]}"
        if base == "wstring":
            raise CdrError(f"{name} line {number}: wstring is not supported")
        count: int | None = None
        if brackets is not None:
            inner = brackets[1:-1]
            count = 0 if inner == "" or inner.startswith("<=") else int(inner)
        fields.append(Field(field, base, count))
    return Definition(name, tuple(fields), constants)


class TypeStore:
    """Message texts by name, from the copies kept beside this file or from texts that were added (`add`)."""

    def __init__(self, search: tuple[Path, ...] = ()) -> None:
        """search: folders laid out as `<pkg>/msg/<Name>.msg`, looked at after the kept copies (a ROS `share` folder)."""
        self._search = (SCHEMA_DIR, *search)
        self._texts: dict[str, str] = {}
        self._definitions: dict[str, Definition] = {}
        self._encoders: dict[str, Encoder] = {}
        self._decoders: dict[str, Decoder] = {}

    def add(self, name: str, text: str) -> None:
        """Register a type's own text (one block, no dependencies)."""
        self._texts[name] = text

    def add_bundle(self, name: str, bundle: str) -> None:
        """Register a type and its dependencies from the text MCAP stores (blocks parted by a line of `=`)."""
        blocks = re.split(r"\n?={20,}\n", bundle)
        self._texts.setdefault(name, blocks[0])
        for block in blocks[1:]:
            head, _, body = block.partition("\n")
            parts = head.removeprefix("MSG:").strip().split("/")
            self._texts.setdefault(f"{parts[0]}/msg/{parts[-1]}", body)

    def text(self, name: str) -> str:
        """The `.msg` text of a type. Raises CdrError when it is nowhere."""
        if name not in self._texts:
            parts = name.split("/")
            if len(parts) != 3 or parts[1] != "msg":
                raise CdrError(f"message type {name!r} is not of the form package/msg/Name")
            for folder in self._search:
                path = folder / parts[0] / "msg" / f"{parts[2]}.msg"
                if path.is_file():
                    self._texts[name] = path.read_text(encoding="utf-8")
                    break
            else:
                raise CdrError(f"no definition of {name} in {', '.join(map(str, self._search))}")
        return self._texts[name]

    def definition(self, name: str) -> Definition:
        if name not in self._definitions:
            self._definitions[name] = parse_definition(name, self.text(name))
        return self._definitions[name]

    def bundle(self, name: str) -> str:
        """The text MCAP's `ros2msg` encoding wants: the type, then every dependency once, parted by 80 `=`."""
        seen: list[str] = []

        def visit(current: str) -> None:
            for field in self.definition(current).fields:
                if "/" in field.base and field.base not in seen and field.base != name:
                    seen.append(field.base)
                    visit(field.base)

        visit(name)
        blocks = [self.text(name).rstrip("\n")]
        for dependency in seen:
            package, _, short = dependency.split("/")
            blocks.append(f"MSG: {package}/{short}\n" + self.text(dependency).rstrip("\n"))
        return ("\n" + "=" * 80 + "\n").join(blocks) + "\n"

    def encode(self, name: str, message: Mapping[str, Any]) -> bytes:
        """Message dict -> CDR bytes with encapsulation header. Raises CdrError."""
        encoder = self._encoders.get(name)
        if encoder is None:
            encoder = self._encoders[name] = _compile_encoder(self, name)
        try:
            return encoder(message)
        except (struct.error, TypeError, AttributeError, OverflowError, KeyError) as error:
            raise CdrError(f"{name}: {error} in {sorted(message)}") from error

    def decode(self, name: str, data: bytes | memoryview) -> dict[str, Any]:
        """CDR bytes -> message dict (sequences of numbers become `array.array`, uint8[] bytes). Raises CdrError."""
        decoder = self._decoders.get(name)
        if decoder is None:
            decoder = self._decoders[name] = _compile_decoder(self, name)
        if len(data) < 4 or bytes(data[:4]) != ENCAPSULATION:
            raise CdrError(f"{name}: not little-endian CDR (starts {bytes(data[:4]).hex()})")
        try:
            return decoder(data)
        except (struct.error, ValueError, IndexError) as error:
            raise CdrError(f"{name}: {error}") from error


def _run_structs(codes: str) -> tuple[struct.Struct, ...]:
    """Eight Structs for the same fields, for each start offset modulo 8, pad bytes included."""
    out = []
    for start in range(8):
        offset, fmt = start, "<"
        for code in codes:
            size = struct.calcsize("<" + code)
            pad = -offset % size
            fmt += "x" * pad + code
            offset += pad + size
        out.append(struct.Struct(fmt))
    return tuple(out)


class _Source:
    """Collects the lines of one generated function and the constants it closes over."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.names: dict[str, Any] = {"array": array, "CdrError": CdrError}

    def constant(self, value: Any) -> str:
        name = f"K{len(self.names)}"
        self.names[name] = value
        return name

    def build(self, head: str, name: str) -> Any:
        source = head + "\n" + "\n".join("    " + line for line in self.lines)
        exec(compile(source, f"<cdr {name}>", "exec"), self.names)  # generated above from .msg texts
        return self.names["function"]


def _check_fields(name: str, known: frozenset[str], message: Mapping[str, Any]) -> None:
    unknown = set(message) - known
    if unknown:
        raise CdrError(f"{name} has no field {', '.join(sorted(unknown))}; it has {', '.join(sorted(known))}")


def _as_bytes(code: str, values: Any) -> bytes:
    if isinstance(values, array) and values.typecode == code:
        return values.tobytes()
    if hasattr(values, "astype"):  # numpy, without importing it
        return cast(bytes, values.astype("<" + {"q": "i8", "Q": "u8", "d": "f8", "f": "f4", "i": "i4", "I": "u4",
                                                 "h": "i2", "H": "u2", "b": "i1"}[code]).tobytes())  # fmt: skip
    return array(code, values).tobytes()


def _compile_encoder(store: TypeStore, name: str) -> Encoder:
    src = _Source()
    src.names.update(_check=_check_fields, _as_bytes=_as_bytes)
    run_codes: list[str] = []
    run_values: list[str] = []
    depth = 0

    def flush(indent: str) -> None:
        if run_codes:
            structs = src.constant(_run_structs("".join(run_codes)))
            src.lines.append(f"{indent}b += {structs}[len(b) & 7].pack({', '.join(run_values)})")
            run_codes.clear()
            run_values.clear()

    def pad(indent: str, size: int) -> None:
        if size > 1:
            src.lines.append(f"{indent}b += b'\\0' * (-len(b) & {size - 1})")

    def emit_string(indent: str, value: str) -> None:
        flush(indent)
        src.lines.append(f"{indent}s = {value}.encode() + b'\\0'")
        structs = src.constant(_run_structs("I"))
        src.lines.append(f"{indent}b += {structs}[len(b) & 7].pack(len(s)) + s")

    def emit(type_name: str, variable: str, indent: str) -> None:
        nonlocal depth
        definition = store.definition(type_name)
        known = src.constant(frozenset(f.name for f in definition.fields))
        flush(indent)
        src.lines.append(f"{indent}if not {known}.issuperset({variable}): _check({type_name!r}, {known}, {variable})")
        for field in definition.fields:
            get = f"{variable}.get({field.name!r}"
            if field.array is None and field.base in PRIMITIVES:
                run_codes.append(PRIMITIVES[field.base][0])
                run_values.append(f"{get}, 0)")
            elif field.array is None and field.base == "string":
                emit_string(indent, f"{get}, '')")
            elif field.array is None:
                depth += 1
                inner = f"m{depth}"
                flush(indent)
                src.lines.append(f"{indent}{inner} = {get}) or {{}}")
                emit(field.base, inner, indent)
            else:
                flush(indent)
                depth += 1
                items = f"v{depth}"
                default = "()" if field.array == 0 or field.base not in PRIMITIVES else repr((0,) * field.array)
                src.lines.append(f"{indent}{items} = {get}, {default})")
                if field.array:
                    src.lines.append(
                        f"{indent}if len({items}) != {field.array}: "
                        f"raise CdrError('{type_name}.{field.name} wants {field.array} values')"
                    )
                else:
                    structs = src.constant(_run_structs("I"))
                    src.lines.append(f"{indent}b += {structs}[len(b) & 7].pack(len({items}))")
                if field.base in PRIMITIVES:
                    code, size = PRIMITIVES[field.base]
                    if size == 1 and code in "B?":
                        src.lines.append(f"{indent}b += bytes({items})")
                    else:
                        src.lines.append(f"{indent}if len({items}):")
                        pad(indent + "    ", size)
                        src.lines.append(f"{indent}    b += _as_bytes({code!r}, {items})")
                else:
                    src.lines.append(f"{indent}for e{depth} in {items}:")
                    here = depth
                    if field.base == "string":
                        emit_string(indent + "    ", f"e{here}")
                    else:
                        emit(field.base, f"e{here}", indent + "    ")
                        flush(indent + "    ")
        flush(indent)

    emit(name, "m", "")
    src.names["ENCAPSULATION"] = ENCAPSULATION
    src.lines.append("return ENCAPSULATION + b")
    src.lines.insert(0, "b = bytearray()")
    return cast(Encoder, src.build("def function(m):", name))


def _take(data: memoryview, start: int, count: int) -> memoryview:
    if count < 0 or start + count > len(data):
        raise ValueError(f"{count} bytes wanted at {start}, message has {len(data)}")
    return data[start : start + count]


def _numbers(code: str, data: memoryview) -> Any:
    out = array(code)
    out.frombytes(data)
    return out


def _compile_decoder(store: TypeStore, name: str) -> Decoder:
    src = _Source()
    src.names.update(_take=_take, _numbers=_numbers)
    counter = 0

    def fresh(prefix: str) -> str:
        nonlocal counter
        counter += 1
        return f"{prefix}{counter}"

    run: list[tuple[str, str]] = []

    def flush(indent: str) -> None:
        if run:
            structs = src.constant(_run_structs("".join(code for code, _ in run)))
            src.lines.append(f"{indent}k = {structs}[o & 7]")
            src.lines.append(f"{indent}{', '.join(v for _, v in run)}, = k.unpack_from(d, o)")
            src.lines.append(f"{indent}o += k.size")
            run.clear()

    def emit_count(indent: str, variable: str) -> None:
        structs = src.constant(_run_structs("I"))
        src.lines.append(f"{indent}k = {structs}[o & 7]")
        src.lines.append(f"{indent}{variable}, = k.unpack_from(d, o); o += k.size")

    def emit_string(indent: str, variable: str) -> None:
        flush(indent)
        emit_count(indent, "n")
        src.lines.append(f"{indent}{variable} = str(_take(d, o, n)[:-1], 'utf-8'); o += n")

    def emit(type_name: str, indent: str) -> str:
        """Emit the reading of one message; returns the expression that builds its dict."""
        parts: list[str] = []
        for field in store.definition(type_name).fields:
            variable = fresh("x")
            if field.array is None and field.base in PRIMITIVES:
                run.append((PRIMITIVES[field.base][0], variable))
            elif field.array is None and field.base == "string":
                emit_string(indent, variable)
            elif field.array is None:
                variable = emit(field.base, indent)
            else:
                flush(indent)
                count = fresh("n")
                if field.array:
                    src.lines.append(f"{indent}{count} = {field.array}")
                else:
                    emit_count(indent, count)
                if field.base in PRIMITIVES:
                    code, size = PRIMITIVES[field.base]
                    if code == "B":
                        src.lines.append(f"{indent}{variable} = bytes(_take(d, o, {count})); o += {count}")
                    elif code == "?":
                        src.lines.append(f"{indent}{variable} = [c != 0 for c in _take(d, o, {count})]; o += {count}")
                    else:
                        if size > 1:
                            src.lines.append(f"{indent}if {count}: o += -o & {size - 1}")
                        src.lines.append(f"{indent}{variable} = _numbers({code!r}, _take(d, o, {count} * {size}))")
                        src.lines.append(f"{indent}o += {count} * {size}")
                else:
                    # a claimed count larger than the bytes left would loop for ever on a damaged message
                    src.lines.append(f"{indent}_take(d, o, {count})" if not field.array else f"{indent}pass")
                    src.lines.append(f"{indent}{variable} = []")
                    src.lines.append(f"{indent}for _ in range({count}):")
                    item = fresh("i")
                    if field.base == "string":
                        emit_string(indent + "    ", item)
                    else:
                        expression = emit(field.base, indent + "    ")
                        flush(indent + "    ")
                        src.lines.append(f"{indent}    {item} = {expression}")
                    src.lines.append(f"{indent}    {variable}.append({item})")
            parts.append(f"{field.name!r}: {variable}")
        return "{" + ", ".join(parts) + "}"

    src.lines.append("d = memoryview(d)[4:]; o = 0")
    result = emit(name, "")
    flush("")
    src.lines.append(f"return {result}")
    return cast(Decoder, src.build("def function(d):", name))
