"""A recorded step of the governor in plain values: its inputs (a command taken apart), its outputs, its state."""

from dataclasses import asdict
from typing import Any

import msgpack

from safety.inputs import CommandIn, decode_input, decode_outputs
from safety.log.steps import Step


def explain(step: Step) -> dict[str, Any]:
    """A step in words: input fields (a command decoded), outputs, state."""
    out: dict[str, Any] = {"n": step.n, "at": step.stamp, "kind": step.kind, "state": step.state, "summary": step.summary,
                           "record": step.record, "bytes": len(step.input)}  # fmt: skip
    if step.kind == "snapshot":
        return {**out, "input": "the governor's whole memory, from which a replay can begin", "outputs": []}
    try:
        i = decode_input(step.input)
        fields = {name: getattr(i, name) for name in i.__slots__}
        if isinstance(i, CommandIn):
            fields["data"] = msgpack.unpackb(i.data, raw=False)
            fields["loop_age_ms"] = (i.now - fields["data"]["echo_state"]) / 1e6
        out["input"] = plain(fields)
        out["outputs"] = [{"kind": type(o).__name__, **plain(asdict(o))} for o in decode_outputs(step.outputs)]
    except (ValueError, KeyError, TypeError) as error:
        out["input"] = f"cannot be read: {error}"
        out["outputs"] = []
    return out


def plain(value: Any) -> Any:
    """JSON-able copy: bytes as hex, arrays as lists, infinities in words."""
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).hex()
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)) or hasattr(value, "typecode"):
        return [plain(v) for v in value]
    if hasattr(value, "__slots__") and not isinstance(value, (str, int, float)):
        return {k: plain(getattr(value, k)) for k in value.__slots__}
    if isinstance(value, float) and value - value != 0:
        return str(value)
    return value


def in_words(step: dict[str, Any], length: int = 200) -> str:
    """The inputs of an explained step in one line."""
    fields = step["input"]
    if not isinstance(fields, dict):
        return f"{step['kind']}: {fields}"[:length]
    return f"{step['kind']}: " + ", ".join(f"{k} {v}" for k, v in fields.items())[:length]
