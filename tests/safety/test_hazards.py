"""The hazard file has no missing edge: each cause is controlled, required, tested by a test that exists, and the matrix is covered."""

import ast
from pathlib import Path
from typing import Any

import yaml

from sim.campaign.faults import ELSEWHERE, FAULTS

ROOT = Path(__file__).resolve().parents[2]
FILE: dict[str, Any] = yaml.safe_load((ROOT / "safety" / "hazards.yaml").read_text(encoding="utf-8"))


def causes(file: dict[str, Any]) -> list[dict[str, Any]]:
    return [c for h in file["hazards"].values() for c in h["causes"]]


def names_in(path: Path) -> set[str]:
    """Functions, classes and top-level names that a test id may point to."""
    out = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            out.add(node.name)
        elif isinstance(node, ast.Assign):
            out |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return out


def missing_edges(file: dict[str, Any]) -> list[str]:
    """What is wrong with a hazard file, in words."""
    wrong = []
    required: set[str] = set()
    struck: set[str] = set()
    for id_, hazard in file["hazards"].items():
        if not hazard.get("text") or hazard.get("severity") not in ("minor", "serious", "critical") or not hazard.get("causes"):
            wrong.append(f"{id_}: needs text, severity and causes")
    for c in causes(file):
        where = c.get("cause", "a cause")
        if not c.get("cause") or not c.get("control") or not c.get("requirements") or not c.get("tests"):
            wrong.append(f"{where}: needs cause, control, requirements and tests")
        required |= set(c.get("requirements", []))
        struck |= set(c.get("faults", []))
        for test in c.get("tests", []):
            path, _, name = test.partition("::")
            if not (ROOT / path).is_file() or name not in names_in(ROOT / path):
                wrong.append(f"{where}: no test {test}")
    known = set(file["requirements"])
    wrong += [f"unknown requirement {r}" for r in sorted(required - known)]
    wrong += [f"requirement {r} has no hazard" for r in sorted(known - required)]
    matrix = set(FAULTS) | set(ELSEWHERE)
    wrong += [f"unknown fault {f}" for f in sorted(struck - matrix)]
    wrong += [f"fault {f} belongs to no hazard" for f in sorted(matrix - struck)]
    return wrong


def test_no_edge_is_missing() -> None:
    assert missing_edges(FILE) == []


def test_a_missing_edge_is_found() -> None:
    import copy

    def spoiled(act: Any) -> list[str]:
        file = copy.deepcopy(FILE)
        act(file)
        return missing_edges(file)

    first = lambda f: f["hazards"]["H01"]["causes"][0]  # noqa: E731
    assert spoiled(lambda f: first(f).update(tests=[]))
    assert spoiled(lambda f: first(f).update(tests=["tests/safety/test_states.py::test_nothing"]))
    assert spoiled(lambda f: first(f).update(control=""))
    assert spoiled(lambda f: first(f).update(requirements=["R99"]))
    assert spoiled(lambda f: f["requirements"].update(R99={"text": "idle"}))
    assert spoiled(lambda f: first(f).update(faults=[]))
    assert spoiled(lambda f: f["hazards"].update(H99={"text": "x", "severity": "critical", "causes": []}))
