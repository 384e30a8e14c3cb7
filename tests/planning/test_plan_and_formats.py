"""Plans keep their hash, refuse nonsense, and travel to and from other programs without turning left into right."""

from __future__ import annotations

import json
import math
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from teleop.planning import formats
from teleop.planning.plan import (
    SCHEMA_FILE,
    ImageRef,
    LinearTrajectory,
    Plan,
    PlanError,
    load_plan,
    plan_hash,
    save_plan,
    trajectory,
)

CT = ImageRef("ab" * 32, "1.2.3", (10, 10, 10), tuple(tuple(float(i == j) for j in range(4)) for i in range(4)))


def screw(id: str = "L4_left", **changes) -> LinearTrajectory:
    values = {
        "entry_lps_mm": (20.0, 40.0, 5.0),
        "axis": (-0.3, -1.0, 0.05),
        "length_mm": 45.0,
        "diameter_mm": 6.5,
        "level": "L4",
        "side": "left",
        "status": "OK",
    } | changes
    return trajectory(id, "pedicle_screw", **values)


def test_a_saved_plan_loads_equal_with_the_same_hash(tmp_path):
    plan = Plan(
        CT, (screw(), screw("L4_right", side="right", entry_lps_mm=(-20, 40, 5), axis=(0.3, -1, 0))), case="demo"
    )
    digest = save_plan(plan, tmp_path / "plan.json")
    again = load_plan(tmp_path / "plan.json")
    assert again == plan and again.hash == digest == plan_hash(plan)


def test_approving_does_not_change_the_hash_and_moving_a_screw_by_a_hundredth_of_a_millimetre_does():
    plan = Plan(CT, (screw(),))
    signed = Plan(CT, (screw(),), approvals=({"who": "lin"},))
    assert signed.hash == plan.hash
    assert plan.with_trajectory(screw(entry_lps_mm=(20.01, 40.0, 5.0))).hash != plan.hash
    assert signed.with_trajectory(screw(diameter_mm=7.0)).approvals == ()


def test_a_plan_changed_after_it_was_saved_is_refused(tmp_path):
    path = tmp_path / "plan.json"
    save_plan(Plan(CT, (screw(),)), path)
    path.write_text(path.read_text().replace('"diameter_mm": 6.5', '"diameter_mm": 7.5'))
    with pytest.raises(PlanError, match="changed after it was saved"):
        load_plan(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length_mm": 50.0}, "apart"),
        ({"diameter_mm": 0.0}, "diameter"),
        ({"diameter_mm": float("nan")}, "diameter"),
        ({"entry_lps_mm": (20.0, float("nan"), 5.0)}, "not a point"),
        ({"entry_lps_mm": (0.02, 0.04, 12000.0)}, "not a point"),
        ({"tip_lps_mm": None}, "both"),
        ({"status": "FINE"}, "status"),
        ({"kind": "nail"}, "kind"),
        ({"id": ""}, "id"),
    ],
)
def test_an_inconsistent_trajectory_is_refused_with_the_field_named(change, message):
    raw = screw().to_json() | change
    with pytest.raises(PlanError, match=message):
        LinearTrajectory.from_json(raw)


def test_unknown_fields_schemas_and_json_constants_are_refused(tmp_path):
    path = tmp_path / "plan.json"
    good = Plan(CT, (screw(),)).to_json()
    for bad, message in (
        ({**good, "schema": "srt-plan/1"}, "schema"),
        ({**good, "extra": 1}, "unknown"),
        ({**good, "trajectories": [{**good["trajectories"][0], "x": 1}]}, "unknown"),
    ):
        path.write_text(json.dumps(bad))
        with pytest.raises(PlanError, match=message):
            load_plan(path)
    path.write_text('{"schema": NaN}')
    with pytest.raises(PlanError, match="NaN"):
        load_plan(path)
    path.write_text("not json")
    with pytest.raises(PlanError, match="not JSON"):
        load_plan(path)


def test_a_trajectory_without_a_line_says_why_when_asked_for_it():
    item = LinearTrajectory("L1_left", "pedicle_screw", "L1", "left", "NO_SAFE_SCREW", ("pedicle 4.0 mm wide",))
    with pytest.raises(PlanError, match=r"4\.0 mm wide"):
        item.line()


def test_two_trajectories_with_one_id_are_refused():
    with pytest.raises(PlanError, match="L4_left"):
        Plan(CT, (screw(), screw()))


def test_the_shipped_schema_names_every_field_and_status():
    schema = json.loads(SCHEMA_FILE.read_text())
    plan = Plan(CT, (screw(),)).to_json()
    assert set(plan) <= set(schema["properties"])
    assert set(plan["trajectories"][0]) == set(schema["$defs"]["trajectory"]["properties"])
    from teleop.planning.plan import KINDS, STATUSES

    assert set(schema["$defs"]["trajectory"]["properties"]["status"]["enum"]) == set(STATUSES)
    assert set(schema["$defs"]["trajectory"]["properties"]["kind"]["enum"]) == set(KINDS)


@settings(max_examples=60, deadline=None)
@given(
    entry=st.tuples(*[st.floats(-300, 300)] * 3),
    axis=st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda a: math.hypot(*a) > 0.1),
    length=st.floats(10, 90),
    system=st.sampled_from(["LPS", "RAS"]),
)
def test_markups_written_in_either_coordinate_system_come_back_as_the_same_line(
    tmp_path_factory, entry, axis, length, system
):
    item = screw(entry_lps_mm=entry, axis=axis, length_mm=length)
    path = tmp_path_factory.mktemp("markups") / "a.mrk.json"
    formats.write_markups(Plan(CT, (item,)), path, system)
    (back,) = formats.read_markups(path)
    assert np.allclose(back.line(), item.line(), atol=2e-3)
    assert (back.level, back.side, back.diameter_mm, back.status) == ("L4", "left", 6.5, "DRAFT")


def test_ras_markups_are_mirrored_exactly_once(tmp_path):
    path = tmp_path / "a.mrk.json"
    path.write_text(
        json.dumps(
            {
                "markups": [
                    {
                        "type": "Line",
                        "name": "L3 R",
                        "coordinateSystem": "RAS",
                        "controlPoints": [
                            {"label": "entry", "position": [20, -40, 5]},
                            {"label": "tip", "position": [10, 0, 5]},
                        ],
                    }
                ]
            }
        )
    )
    (line,) = formats.read_markups(path)
    assert line.entry_lps_mm == (-20.0, 40.0, 5.0) and line.side == "right" and line.level == "L3"


def test_swapped_point_labels_are_put_right_and_a_single_point_is_refused(tmp_path):
    path = tmp_path / "a.mrk.json"
    points = [{"label": "target", "position": [1, 2, 3]}, {"label": "entry", "position": [10, 20, 30]}]
    path.write_text(
        json.dumps({"markups": [{"type": "Line", "name": "n", "coordinateSystem": "LPS", "controlPoints": points}]})
    )
    assert formats.read_markups(path)[0].entry_lps_mm == (10.0, 20.0, 30.0)
    path.write_text(json.dumps({"markups": [{"type": "Line", "name": "n", "controlPoints": points[:1]}]}))
    with pytest.raises(PlanError, match="entry and tip"):
        formats.read_markups(path)
    path.write_text(
        json.dumps({"markups": [{"type": "Line", "name": "n", "coordinateSystem": "IJK", "controlPoints": points}]})
    )
    with pytest.raises(PlanError, match="IJK"):
        formats.read_markups(path)


FCSV = """# Markups fiducial file version = 4.11
# CoordinateSystem = {system}
# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID
1,20.0,40.0,5.0,0,0,0,1,1,1,0,L4 left,,
2,10.0,0.0,5.0,0,0,0,1,1,1,0,tip,,
"""


def test_fcsv_is_read_by_its_header_and_refused_without_one(tmp_path):
    path = tmp_path / "a.fcsv"
    for system, x in (("0", -20.0), ("RAS", -20.0), ("1", 20.0), ("LPS", 20.0)):
        path.write_text(FCSV.format(system=system))
        assert formats.read_fcsv(path)[0].entry_lps_mm[0] == x
    path.write_text("\n".join(FCSV.splitlines()[2:]))
    with pytest.raises(PlanError, match="refusing to guess"):
        formats.read_fcsv(path)


def test_rosa_rows_are_lps_lines(tmp_path):
    path = tmp_path / "case.ros"
    path.write_text(
        "[VERSION]\n3.1\n[TRAJECTORY]\n2\nOFG 0 255 1 30.5 -40.25 50.0 1 10.0 -20.5 30.0 35.00 0.80\nUNSET 0 255 1 1.0 2.0 3.0 0 0.0 0.0 0.0 35.0 0.8\n[END]\n"
    )
    (line,) = formats.read_rosa(path)
    assert (
        line.entry_lps_mm == (30.5, -40.25, 50.0)
        and line.tip_lps_mm == (10.0, -20.5, 30.0)
        and line.diameter_mm == 0.8
        and line.kind == "electrode"
    )
    path.write_text("[TRAJECTORY]\n0\n[END]\n")
    with pytest.raises(PlanError, match="no \\[TRAJECTORY\\]"):
        formats.read_rosa(path)


def test_an_unknown_ending_is_refused(tmp_path):
    path = tmp_path / "plan.xyz"
    path.write_text("")
    with pytest.raises(PlanError, match=r"\.fcsv"):
        formats.read_any(path)


def test_traj_bytes_have_the_checksum_and_layout_of_the_reference_implementation():
    """The OpenIGTLink library ships a TRAJ test message (three elements, 508 bytes); its stored CRC-64 is a fingerprint of all 450 body bytes."""
    igtl = pytest.importorskip("teleop.planning.igtl")
    elements = [
        (
            f"TRAJECTORY_DESCRIPTION_{n}",
            "TRAJECTORY",
            igtl.ENTRY_TARGET,
            colour,
            (10.0 + 30 * n, 15.0 + 30 * n, 20.0 + 30 * n),
            (25.0 + 30 * n, 30.0 + 30 * n, 35.0 + 30 * n),
            radius,
            "IMAGE_0",
        )
        for n, (colour, radius) in enumerate(
            (((255, 0, 0, 255), 5.0), ((0, 255, 0, 255), 2.5), ((0, 0, 255, 255), 0.0))
        )
    ]
    data = igtl.TrajectoryMessage(elements, timestamp=0.0, device_name="DeviceName").pack()
    assert len(data) == 508 and igtl.ELEMENT.size == 150
    assert data[:2] == b"\x00\x01" and data[2:14].rstrip(b"\0") == b"TRAJ" and int.from_bytes(data[42:50], "big") == 450
    assert data[50:58].hex() == "6205a36618577630"


def test_lines_arrive_over_a_real_socket_in_ras_millimetres():
    igtl = pytest.importorskip("teleop.planning.igtl")
    received = bytearray()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def listen():
            connection, _ = server.accept()
            with connection:
                while chunk := connection.recv(4096):
                    received.extend(chunk)

        thread = threading.Thread(target=listen)
        thread.start()
        sent = igtl.send(
            [screw(), LinearTrajectory("L1_left", "pedicle_screw", status="NO_PEDICLE", reasons=("none",))],
            "127.0.0.1",
            server.getsockname()[1],
        )
        thread.join(10)
    assert len(received) == sent == 58 + 150
    message = igtl.TrajectoryMessage()
    message.unpack(igtl.TrajectoryMessage.parse_header(bytes(received[:58])), bytes(received[58:]))
    (element,) = message.elements
    assert element[0] == "L4_left" and element[4] == (-20.0, -40.0, 5.0) and element[6] == 3.25 and element[7] == "RAS"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("L4_left", ("L4", "left")),
        ("L4 R", ("L4", "right")),
        ("screw-T12-l", ("T12", "left")),
        ("OFG", ("", "")),
        ("S1 right", ("S1", "right")),
        ("L", ("", "left")),
    ],
)
def test_level_and_side_are_read_from_names(name, expected):
    assert formats.guess_level_side(name) == expected


def test_the_plan_file_of_this_format_is_plain_json(tmp_path):
    save_plan(Plan(CT, (screw(),)), tmp_path / "p.json")
    raw = json.loads(Path(tmp_path / "p.json").read_text())
    assert raw["ct"]["coordinate_system"] == "LPS" and raw["trajectories"][0]["entry_lps_mm"] == [20.0, 40.0, 5.0]
