"""Our CDR against the two decoders everybody else uses."""

from array import array
from contextlib import suppress
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap_ros2._dynamic import generate_dynamic
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from safety.log.cdr import SCHEMA_DIR, CdrError, TypeStore, parse_definition

REPO = Path(__file__).parents[2]
STORE = TypeStore()
OURS = sorted(p.stem for p in (SCHEMA_DIR / "longhand_msgs/msg").glob("*.msg"))
FLOATS = st.floats(allow_nan=False, width=64)
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=12)
LIMITS = {"bool": (0, 1), "byte": (0, 255), "char": (0, 255)}


def values(base: str, array_length: int | None):
    if base == "string":
        one = TEXTS
    elif base in ("float64", "float32"):
        one = FLOATS if base == "float64" else st.floats(allow_nan=False, width=32)
    elif "/" in base:
        one = messages(base)
    else:
        bits = int("".join(c for c in base if c.isdigit()) or 8)
        low, high = LIMITS.get(base, (0, 2**bits - 1) if base.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
        one = st.booleans() if base == "bool" else st.integers(low, high)
    if array_length is None:
        return one
    if base == "uint8" and array_length == 0:
        return st.binary(max_size=9)
    return st.lists(one, min_size=array_length, max_size=array_length or 5)


def messages(name: str):
    definition = STORE.definition(name)
    return st.fixed_dictionaries({f.name: values(f.base, f.array) for f in definition.fields})


def plain(value):
    """To compare: arrays and numpy to lists, objects to dicts."""
    if isinstance(value, (bytes, array)):
        return list(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "__slots__"):
        return {k: plain(getattr(value, k)) for k in value.__slots__ if not k.startswith("_")}
    if hasattr(value, "__dict__") and not isinstance(value, (int, float, str)):
        return {k: plain(v) for k, v in vars(value).items() if not k.startswith("_")}
    return value


ROSBAGS = get_typestore(Stores.ROS2_KILTED)
for _name in OURS:
    ROSBAGS.register(get_types_from_msg(STORE.text(f"longhand_msgs/msg/{_name}"), f"longhand_msgs/msg/{_name}"))


@cache
def mcap_ros2_decoder(full: str):
    return generate_dynamic(full, STORE.bundle(full))[full.replace("/msg/", "/")]


@pytest.mark.parametrize("name", OURS)
@settings(max_examples=40)
@given(data=st.data())
def test_every_message_of_ours_reads_back_the_same_here_in_rosbags_and_in_mcap_ros2(name, data):
    full = f"longhand_msgs/msg/{name}"
    message = data.draw(messages(full))
    encoded = STORE.encode(full, message)
    assert plain(STORE.decode(full, encoded)) == plain(message)
    assert bytes(ROSBAGS.serialize_cdr(ROSBAGS.deserialize_cdr(encoded, full), full)) == encoded
    assert plain(mcap_ros2_decoder(full)(encoded)) == plain(message)


def test_a_field_the_type_does_not_have_is_refused_by_name():
    with pytest.raises(CdrError, match=r"no field spede.*speed"):
        STORE.encode("longhand_msgs/msg/ArmState", {"spede": 1.0})


def test_fields_left_out_are_zero():
    assert STORE.decode("longhand_msgs/msg/Heartbeat", STORE.encode("longhand_msgs/msg/Heartbeat", {"pid": 7})) == {
        "schema_version": 0, "stamp_mono": 0, "process": "", "pid": 7, "note": "",
    }  # fmt: skip


@given(cut=st.integers(0, 200), noise=st.binary(max_size=64))
def test_damaged_bytes_raise_a_plain_error_or_decode_but_never_anything_else(cut, noise):
    data = STORE.encode("longhand_msgs/msg/SecondSummary", {"names": ["a", "b"], "low": [1.0, 2.0], "state": "READY"})
    for damaged in (data[:cut], data[: min(cut, len(data))] + noise):
        with suppress(CdrError):
            STORE.decode("longhand_msgs/msg/SecondSummary", damaged)


def test_an_unknown_type_says_where_it_was_looked_for():
    with pytest.raises(CdrError, match="no definition of nobody/msg/Nothing in"):
        STORE.text("nobody/msg/Nothing")


def test_an_unreadable_definition_names_its_line():
    with pytest.raises(CdrError, match="line 3"):
        parse_definition("x/msg/Y", "int32 a\nwhat is this\n??\n")


@pytest.mark.parametrize("name", OURS)
def test_the_kept_copy_of_a_definition_is_the_one_ros_builds(name):
    built = REPO / "ros_ws/src/longhand_msgs/msg" / f"{name}.msg"
    assert built.read_text() == STORE.text(f"longhand_msgs/msg/{name}")


def test_every_definition_that_ros_builds_is_kept():
    assert sorted(p.stem for p in (REPO / "ros_ws/src/longhand_msgs/msg").glob("*.msg")) == OURS


def test_every_recorded_message_of_ours_carries_a_schema_version():
    for name in OURS:
        assert STORE.definition(f"longhand_msgs/msg/{name}").fields[0].name == "schema_version", name
