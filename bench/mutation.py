"""Mutation score of the safety kernel: small faults are written into a copy of `safety/`, one at a time; its tests must notice.

    .venv/bin/python bench/mutation.py                              # 200 mutants, all kernel files
    .venv/bin/python bench/mutation.py --count 20 --seed 3 --files gate.py decode.py --json out.json --budget 600

Mutants: a comparison turned or its border moved, + and - (or * and /) exchanged, `and` and `or` exchanged, a `not` dropped, a
number changed, a True for a False. A mutant is killed when the fast tests of its file fail or run out of time; survivors are
listed with their line, for a test to be written or the equivalence to be seen. Seeded; works on a copy, never in place.
"""

import argparse
import ast
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
T = "tests/safety/"
#: Kernel file -> its fast tests (the ones that a developer runs while working on it).
TESTS: dict[str, list[str]] = {
    "stopping.py": [T + "test_stopping.py"],
    "speed_law.py": [T + "test_stopping.py"],
    "params.py": [T + "test_params.py"],
    "decode.py": [T + "test_decode.py"],
    "authority.py": [T + "test_authority.py", T + "test_states.py"],
    "epochs.py": [T + "test_authority.py"],
    "fixtures.py": [T + "test_fixtures.py", T + "test_states.py"],
    "alarms.py": [T + "test_alarms.py", T + "test_states.py"],
    "estimators.py": [T + "test_states.py", T + "test_gate.py"],
    "conditions.py": [T + "test_states.py"],
    "gate.py": [T + "test_gate.py", T + "test_states.py"],
    "admission.py": [T + "test_gate.py", T + "test_states.py"],
    "transitions.py": [T + "test_states.py", T + "test_gate.py"],
    "supervision.py": [T + "test_states.py"],
    "orders.py": [T + "test_states.py"],
    "governor.py": [T + "test_states.py"],
}
_COMPARE = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
            ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In}  # fmt: skip
_BINARY = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}


def places(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(index in ast.walk order, kind) of everything that can be mutated; words for people and defaults of ids are left alone."""
    inside = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef) for n in ast.walk(f)}
    for k, node in enumerate(ast.walk(tree)):
        if id(node) not in inside:
            continue  # tables and defaults are data, not decisions
        if isinstance(node, ast.Compare) and type(node.ops[0]) in _COMPARE:
            yield k, "compare"
        elif (
            isinstance(node, ast.BinOp)
            and type(node.op) in _BINARY
            and not isinstance(node.left, ast.Constant | ast.JoinedStr)
        ):
            yield k, "binary"
        elif isinstance(node, ast.BoolOp):
            yield k, "bool"
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            yield k, "not"
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float, bool):
            yield k, "number"


def mutate(tree: ast.Module, index: int, kind: str) -> tuple[ast.Module, int, str]:
    """(mutated copy, line, description)."""
    new = copy.deepcopy(tree)
    node = list(ast.walk(new))[index]
    before = ast.unparse(node)
    if kind == "compare":
        assert isinstance(node, ast.Compare)
        node.ops[0] = _COMPARE[type(node.ops[0])]()
    elif kind == "binary":
        assert isinstance(node, ast.BinOp)
        node.op = _BINARY[type(node.op)]()
    elif kind == "bool":
        assert isinstance(node, ast.BoolOp)
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif kind == "not":
        assert isinstance(node, ast.UnaryOp)
        node.op = ast.UAdd()
        node.operand = ast.Call(ast.Name("bool", ast.Load()), [node.operand], [])
    else:
        assert isinstance(node, ast.Constant)
        node.value = (
            (not node.value)
            if type(node.value) is bool
            else node.value + 1
            if type(node.value) is int
            else node.value * 2 + 1e-3
        )
    return ast.fix_missing_locations(new), getattr(node, "lineno", 0), f"{before}  ->  {ast.unparse(node)}"


def main() -> None:
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("--count", type=int, default=200)
    a.add_argument("--seed", type=int, default=1)
    a.add_argument("--files", nargs="*", default=list(TESTS))
    a.add_argument("--budget", type=float, default=1e9, help="seconds")
    a.add_argument("--timeout", type=float, default=600.0, help="seconds for the tests of one mutant")
    a.add_argument("--json", default="")
    args = a.parse_args()
    rng = random.Random(args.seed)
    trees = {f: ast.parse((ROOT / "safety" / f).read_text(encoding="utf-8")) for f in args.files}
    everything = [(f, k, kind) for f, tree in trees.items() for k, kind in places(tree)]
    chosen = rng.sample(everything, min(args.count, len(everything)))
    rows, begun = [], time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for name in ("safety", "sim", "teleop", "tests", "pyproject.toml"):
            source = ROOT / name
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, Path(folder) / name, ignore=ignore) if source.is_dir() else shutil.copy(
                source, folder
            )
        sane = sorted({t for f in args.files for t in TESTS[f]})
        if not _passes(Path(folder), sane, 10 * args.timeout):
            raise SystemExit("the tests fail without any mutant: nothing can be said")
        for file, index, kind in chosen:
            if time.monotonic() - begun > args.budget:
                break
            tree, line, what = mutate(trees[file], index, kind)
            place = Path(folder) / "safety" / file
            original = place.read_text(encoding="utf-8")
            place.write_text(ast.unparse(tree), encoding="utf-8")
            killed = not _passes(Path(folder), TESTS[file], args.timeout)
            place.write_text(original, encoding="utf-8")
            rows.append({"file": file, "line": line, "what": what, "killed": killed})
            print(f"{'killed  ' if killed else 'SURVIVED'} {file}:{line}  {what}", flush=True)
    dead = sum(r["killed"] for r in rows)
    print(
        f"{dead} of {len(rows)} mutants killed ({100 * dead / max(1, len(rows)):.0f} %), of {len(everything)} possible; seed {args.seed}"
    )
    if args.json:
        Path(args.json).write_text(
            json.dumps({"seed": args.seed, "possible": len(everything), "killed": dead, "rows": rows}, indent=1)
        )


def _passes(folder: Path, tests: list[str], timeout: float) -> bool:
    env = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_MAX_EXAMPLES": "50"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", *tests],
            cwd=folder, env=env, capture_output=True, timeout=timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    main()
