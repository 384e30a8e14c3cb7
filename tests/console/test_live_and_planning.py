"""The adapters to the real link and the real planner, without either running."""

import asyncio
import json

import numpy as np
import pytest

from safety.states import Mode
from teleop.console.contracts import ConsoleError, Intent
from teleop.console.live_sites import LinkSite, lps_from_base
from teleop.console.plan_lines import read_markup, slicer_line
from teleop.console.planning_worker import PlanningWorker, number, point
from teleop.master.command_maker import CommandMaker, Intention


class Link:
    """A link that carries nothing."""

    def stats(self):
        path = {"alive": True, "rtt_ms_p50": 40.0, "rtt_ms_p99": 60.0, "loss": 0.01, "jitter_ms": 2.0}
        return {
            "paths": [path, path | {"alive": False, "rtt_ms_p50": None}],
            "combined": {"loss": 0.001},
            "transport": "udp",
        }


class Session:
    """What LinkSite uses of a ConsoleSession; orders are answered from `replies`."""

    def __init__(self) -> None:
        self.name, self.key, self.link, self.up, self.why_down = "a", "me", Link(), True, ""
        self.frame, self.frame_at, self.status, self.holding = (
            {"t": 5, "arm": {"pose": [0] * 7}},
            1,
            {"state": "READY"},
            True,
        )
        self.intention, self.maker = Intention(), CommandMaker()
        self.replies, self.asked, self.stopped = {}, [], 0

    def send(self, op, timeout_s, **params):
        self.asked.append((op, params))
        return type("P", (), {"op": op, "reply": self.replies.get(op, {"ok": True})})()

    def stop(self):
        self.stopped += 1


def answer(site: LinkSite, op: str, **params):
    """Give an order and let the pump's resolving part run once."""

    async def run():
        task = asyncio.ensure_future(site.order(op, **params))
        for _ in range(20):
            await asyncio.sleep(0)
            for pending, future in site._waiting:
                if not future.done():
                    future.set_result(pending.reply)
            site._waiting = [w for w in site._waiting if not w[1].done()]
        return await task

    return asyncio.run(run())


def test_an_intent_becomes_the_makers_intention_with_the_plan_that_the_surgeon_has_in_front_of_him():
    site = LinkSite(Session())
    site.plan_hash, site.case["registration_epoch"] = b"12345678", 3
    site.send(Intent("advance", 4, False, 77, s_limit=0.1, path_hash=b"abcdefgh"))
    got = site.session.intention
    assert (got.mode, got.pressed, got.s_goal, got.path_hash) == (Mode.ADVANCE, True, 0.1, b"abcdefgh")
    assert (got.plan_hash, got.registration_epoch, got.echo_state) == (b"12345678", 3, 77)
    site.send(Intent("jog", 0, False, 0, jog=(0, 0, 0.01, 0, 0, 0)))
    assert not site.session.intention.pressed and site.session.intention.echo_state == 0
    site.send(Intent("servo", 5, False, 78, device="gamepad"))
    assert site.hand.source == "gamepad" and site.session.intention.pressed and site.session.intention.target is None
    site.send(Intent("servo", 0, False, 79, device="gamepad"))
    assert site.hand.source == "", "no press, no device"


def test_the_planned_line_of_the_screw_in_work_is_told_to_the_hand_in_the_base_frame():
    site = LinkSite(Session())
    base_T_ct = np.eye(4)
    base_T_ct[:3, :3], base_T_ct[:3, 3] = [[-1, 0, 0], [0, 0, 1], [0, 1, 0]], (0.55, 0.0, 0.10)
    site.bind_plan(b"12345678", {"L4_left": ([10.0, 60.0, 0.0], [5.0, 20.0, 0.0])})
    site._take_description({"ok": True, "screw": "L4_left", "base_T_ct": base_T_ct.ravel().tolist()})
    entry, along = site.hand.line
    assert np.allclose(entry, (0.54, 0.0, 0.16)) and np.allclose(along, (0.005, 0.0, -0.04))
    site._take_description({"ok": True, "screw": "", "base_T_ct": base_T_ct.ravel().tolist()})
    assert site.hand.line is None and site.hand.turn is not None
    with pytest.raises(ConsoleError, match="scale"):
        site.configure({"scale": 7})
    assert site.configure({"scale": 0.1})["scale"] == 0.1


def test_the_path_in_force_and_the_last_measurement_are_remembered_from_replies():
    site = LinkSite(Session())
    site.case["screw"] = "L4_left"
    site.session.replies["case.path"] = {"ok": True, "path_hash": b"12345678", "kind": "goal", "length_m": 0.4, "start": [0.1, 0.2]}
    answer(site, "case.path", kind="approach")
    assert site.case["path"] == {
        "path_hash": b"12345678", "kind": "goal", "length_m": 0.4, "start": [0.1, 0.2], "what": "approach", "screw": "L4_left",
    }  # fmt: skip
    site.session.replies["case.correct"] = {"ok": True, "lateral_mm": 0.1, "angle_deg": 0.05, "on_line": True}
    answer(site, "case.correct")
    assert site.case["last"]["on_line"] and site.case["last"]["screw"] == "L4_left"
    site.session.replies["case.retreat"] = {"ok": True}
    answer(site, "case.retreat")
    assert site.case["path"] is None


def test_a_refused_path_leaves_the_old_one_and_a_lost_connection_is_said():
    site = LinkSite(Session())
    site.session.replies["case.path"] = {"ok": False, "reason": "blocked by the table"}
    assert answer(site, "case.path", kind="approach")["reason"] == "blocked by the table"
    assert site.case["path"] is None
    site.session.up, site.session.why_down = False, "silent for 2 s"
    assert "silent for 2 s" in answer(site, "hold")["reason"]


def test_the_lines_health_is_that_of_the_best_path():
    health = LinkSite(Session()).snapshot().link
    assert (
        health["rtt_ms"] == 40.0 and health["loss"] == 0.001 and [p["alive"] for p in health["paths"]] == [True, False]
    )


def test_where_the_base_lies_in_the_images():
    base_T_ct = np.eye(4)
    base_T_ct[:3, :3] = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
    base_T_ct[:3, 3] = [0.1, 0.2, 0.3]
    m = np.array(lps_from_base([float(x) for x in base_T_ct.ravel()])).reshape(4, 4)
    lps_mm = np.array([12.0, -30.0, 45.0, 1.0])
    base_m = base_T_ct @ np.append(lps_mm[:3] / 1e3, 1.0)
    assert np.allclose(m @ np.append(base_m[:3] * 1e3, 1.0), lps_mm)


ROW = {
    "id": "L3_left", "kind": "pedicle_screw", "level": "L3", "side_name": "left", "diameter_mm": 6.5, "length_mm": 45.0,
    "entry_lps_mm": [20.0, 30.0, 5.0], "tip_lps_mm": [20.0, -15.0, 5.0],
}  # fmt: skip


@pytest.mark.parametrize("system", ["LPS", "RAS"])
def test_a_line_goes_to_slicer_and_back_in_both_coordinate_systems(system):
    line = json.loads(json.dumps(slicer_line(ROW)))
    if system == "RAS":
        line["coordinateSystem"] = "RAS"
        for p in line["controlPoints"]:
            p["position"] = [-p["position"][0], -p["position"][1], p["position"][2]]
    got = read_markup(line, 0)
    assert (got.id, got.level, got.side, got.diameter_mm) == ("L3_left", "L3", "left", 6.5)
    assert np.allclose(got.entry_lps_mm, ROW["entry_lps_mm"]) and np.allclose(got.tip_lps_mm, ROW["tip_lps_mm"])


@pytest.mark.parametrize("bad", [None, [1, 2], [1, 2, float("inf")], "abc", [1, 2, 1e9]])
def test_points_that_are_none_are_refused(bad):
    with pytest.raises(ConsoleError):
        point(bad)


@pytest.mark.parametrize("bad", [None, True, 0.1, 99, float("nan")])
def test_sizes_that_are_none_are_refused(bad):
    with pytest.raises(ConsoleError):
        number(bad, 0.5, 15)


def test_a_plan_is_exported_as_a_sheet_for_paper_as_json_and_for_slicer(tmp_path):
    import nibabel

    folder = tmp_path / "ct"
    folder.mkdir()
    voxels = np.random.default_rng(1).normal(40.0, 100.0, (60, 60, 60)).astype(np.int16)
    voxels[20:40, 20:40, 10:50] = 700
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1.0, 1.0, 1.0, 1.0])), folder / "ct.nii.gz")
    worker = PlanningWorker(tmp_path, {"ct": folder})
    image = worker.open({"kind": "folder", "id": "ct"})
    c = np.array(image["centre_lps_mm"])
    needle = {"kind": "needle", "entry_lps_mm": list(c - [0, 0, 15]), "target_lps_mm": list(c - [0, -5, -10])}
    document = {"image": image, "screws": [worker.add(image["id"], needle)]}
    name, mime, data = worker.export(document, "pdf")
    assert (name, mime) == ("plan.pdf", "application/pdf") and data.startswith(b"%PDF") and len(data) > 10_000
    again = worker.import_plan(image["id"], worker.export(document, "json")[2], "plan.json")
    assert [s["id"] for s in again] == [s["id"] for s in document["screws"]]
    assert b"markups" in worker.export(document, "slicer")[2]
    with pytest.raises(ConsoleError, match="docx"):
        worker.export(document, "docx")


def test_a_page_that_wants_to_draw_a_path_orders_nothing():
    """Whoever looks may ask; a look must not plan the path anew under a surgeon who is running it."""
    from types import SimpleNamespace

    from teleop.console import calls

    ordered = []

    class Site:
        way = (b"12345678", [[0.0] * 8])

        async def order(self, *words, **more):
            ordered.append((words, more))
            return {"ok": True}

    hub = SimpleNamespace(sites={"a": Site()})
    page = SimpleNamespace(who=SimpleNamespace(name="n", role=SimpleNamespace(value="observer")))
    assert asyncio.run(calls.CALLS["site.path"](hub, page, {"site": "a"})) == {"path_hash": b"12345678", "way": [[0.0] * 8]}
    assert ordered == []


def test_two_functions_for_one_call_are_refused_when_they_are_made():
    from teleop.console import calls

    with pytest.raises(ValueError, match=r"two functions answer 'site\.path'"):
        calls.call("site.path")(lambda hub, page, args: None)
