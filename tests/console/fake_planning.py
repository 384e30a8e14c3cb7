"""Planning for page tests: a small made-up spine with one bright marker voxel, and arithmetic that answers at once."""

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from teleop.console.contracts import ConsoleError
from teleop.console.volume import pack, store

#: Patient millimetres of the marker voxel (the centre of a voxel), HU 3000.
MARKER = (12.0, 30.0, -14.0)
LEVELS = ("L1", "L2", "L3", "L4", "L5")
ORIENTATIONS = {
    "LPS": np.diag([1.0, 1.0, 1.0]),
    "RAS": np.diag([-1.0, -1.0, 1.0]),
    "flipped": np.diag([1.0, -1.0, -1.0]),
    "permuted": np.array([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "oblique": np.array([[0.8, -0.6, 0], [0.6, 0.8, 0], [0, 0, 1.0]]),
}


def make(cache: str) -> "FakePlanning":
    return FakePlanning(Path(cache))


def spine(orientation: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[int, str]]:
    """(HU int16 [i,j,k], labels uint8, ijk_to_lps 4x4, names). 1 mm voxels."""
    axes = ORIENTATIONS[orientation]
    shape = np.array([110, 110, 190])
    affine = np.eye(4)
    affine[:3, :3] = axes
    centre = np.array([0.0, 20.0, 0.0])
    if orientation == "permuted":
        shape = np.array([110, 190, 110])
    affine[:3, 3] = np.round(centre - axes @ ((shape - 1) / 2))
    # the marker must lie on a voxel centre
    ijk = np.linalg.solve(axes, np.array(MARKER) - affine[:3, 3])
    affine[:3, 3] += np.array(MARKER) - (axes @ np.round(ijk) + affine[:3, 3])
    i, j, k = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in shape], indexing="ij")
    p = [affine[a, 0] * i + affine[a, 1] * j + affine[a, 2] * k + affine[a, 3] for a in range(3)]
    x, y, z = p
    rng = np.random.default_rng(3)
    hu = np.full(shape, -1000, dtype=np.float32)
    hu[(x / 52) ** 2 + ((y - 20) / 50) ** 2 < 1] = 40
    labels = np.zeros(shape, dtype=np.uint8)
    for n, _ in enumerate(LEVELS):
        zc = 72 - 36 * n
        body = ((x / 23) ** 2 + ((y + 2) / 16) ** 2 < 1) & (np.abs(z - zc) < 13)
        pedicle = (np.abs(np.abs(x) - 15) < 6) & (y > 8) & (y < 30) & (np.abs(z - zc - 3) < 8)
        lamina = (np.abs(x) < 20) & (y > 28) & (y < 34) & (np.abs(z - zc + 2) < 10)
        spinous = (np.abs(x) < 3.5) & (y > 32) & (y < 58) & (np.abs(z - zc + 6) < 8)
        wings = (np.abs(x) > 18) & (np.abs(x) < 42) & (np.abs(y - 26) < 4) & (np.abs(z - zc) < 5)
        bone = body | pedicle | lamina | spinous | wings
        labels[bone] = n + 1
        hu[bone] = 650
        hu[((x / 20) ** 2 + ((y + 2) / 13) ** 2 < 1) & (np.abs(z - zc) < 11)] = 210
    hu += rng.normal(0, 18, shape).astype(np.float32)
    m = np.round(np.linalg.solve(axes, np.array(MARKER) - affine[:3, 3])).astype(int)
    hu[m[0], m[1], m[2]] = 3000
    return np.rint(hu).astype(np.int16), labels, affine, {n + 1: level for n, level in enumerate(LEVELS)}


class FakePlanning:
    """See the module."""

    def __init__(self, cache: Path) -> None:
        self.cache = cache / "images"
        self.cache.mkdir(parents=True, exist_ok=True)
        self.images: dict[str, dict[str, Any]] = {}

    def sources(self) -> list[dict[str, Any]]:
        return [{"kind": "fake", "id": o, "title": f"Test spine, {o}", "note": "made up"} for o in ORIENTATIONS]

    def open(self, source: dict[str, Any]) -> dict[str, Any]:
        if source.get("kind") == "series":  # a hospital's images, once they are here
            source = {"kind": "fake", "id": "LPS"}
        if source.get("kind") != "fake" or source.get("id") not in ORIENTATIONS:
            raise ConsoleError("this is not a CT: the files are something else; choose a CT series")
        o = source["id"]
        if o not in self.images:
            hu, labels, affine, names = spine(o)
            sha = hashlib.sha256(hu.tobytes()).hexdigest()
            store(self.cache / f"{sha[:16]}.lhv.gz", pack(hu, affine, sha256=sha))
            store(self.cache / f"{sha[:16]}-labels.lhv.gz", pack(labels, affine, names=names, sha256=sha))
            self.images[o] = {
                "id": o,
                "title": f"Test spine {o}",
                "ct_sha256": sha,
                "volume": sha[:16],
                "labels": f"{sha[:16]}-labels",
                "site": "",
                "levels": list(LEVELS),
                "centre_lps_mm": [0.0, 10.0, 0.0],
                "source": source,
            }
        return self.images[o]

    def _graded(self, s: dict[str, Any]) -> dict[str, Any]:
        e, t = s["entry_lps_mm"], s["tip_lps_mm"]
        zc = 72 - 36 * LEVELS.index(s["level"]) if s["level"] in LEVELS else 0
        middle = [(a + b) / 2 for a, b in zip(e, t, strict=True)]
        side = -1 if s["side"] == "R" else 1
        clear = round(
            6.0 - abs(middle[0] - side * 12.5) - 0.3 * abs(middle[2] - zc - 3) - s["diameter_mm"] / 2 + 1.2, 3
        )
        d = [(b - a) / s["length_mm"] for a, b in zip(e, t, strict=True)]
        s = dict(s)
        s.update(
            name=f"{s['level']} {s['side']}",
            status="OK",
            reasons=[],
            min_clearance_mm=clear,
            required_mm=1.0,
            grade="A" if clear > 0 else "B" if clear > -2 else "C",
            p_grade_a=max(0.0, min(0.999, 0.5 + clear / 3)),
            margins_mm={
                "medial": clear + 0.6,
                "lateral": clear,
                "cranial": clear + 2.1,
                "caudal": clear + 1.4,
                "canal": clear + 1.9,
                "anterior": 8.2,
            },
            tpa_deg=math.degrees(math.atan2(abs(d[0]), -d[1])),
            spa_deg=math.degrees(math.atan2(d[2], -d[1])),
            hu_mean=312.0,
            hu_profile=[[k, 250 + 380 * math.exp(-(((k - 12) / 7) ** 2))] for k in range(int(s["length_mm"]) + 1)],
        )
        return s

    def _screw(self, level: str, side: str) -> dict[str, Any]:
        zc = 72 - 36 * LEVELS.index(level)
        sign = -1 if side == "R" else 1
        e, aim = [sign * 19.0, 34.0, zc + 5.0], [sign * 6.0, -8.0, zc + 1.0]
        length = 45.0
        n = math.dist(e, aim)
        t = [e[i] + (aim[i] - e[i]) / n * length for i in range(3)]
        s = {
            "id": f"{level}-{side}",
            "level": level,
            "side": side,
            "kind": "pedicle_screw",
            "entry_lps_mm": e,
            "tip_lps_mm": t,
            "diameter_mm": 6.0,
            "length_mm": length,
            "order": 2 * LEVELS.index(level) + (side == "L"),
        }
        s = self._graded(s)
        s["alternatives"] = [
            {"diameter_mm": 5.5, "length_mm": 45.0, "min_clearance_mm": s["min_clearance_mm"] + 0.25, "note": "thinner"}
        ]
        return s

    def auto_plan(self, image: str, levels: list[str] | None, kind: str) -> list[dict[str, Any]]:
        return [self._screw(level, side) for level in levels or LEVELS for side in "RL"]

    def add(self, image: str, what: dict[str, Any]) -> dict[str, Any]:
        if what.get("level") not in LEVELS:
            raise ConsoleError("unknown level")
        return self._screw(what["level"], what["side"])

    def choose(self, image: str, screw: dict[str, Any], n: int) -> dict[str, Any]:
        return self.edit(
            image, screw, {"do": "size", **{k: screw["alternatives"][n][k] for k in ("diameter_mm", "length_mm")}}
        )

    def edit(self, image: str, screw: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
        s = dict(screw)
        e, t = s["entry_lps_mm"], s["tip_lps_mm"]
        if change["do"] == "both":
            e, t = change["entry_lps_mm"], change["tip_lps_mm"]
        elif change["do"] == "entry":
            e = change["to_lps_mm"]
        elif change["do"] == "tip":
            t = change["to_lps_mm"]
        elif change["do"] == "size":
            s["diameter_mm"], s["length_mm"] = change["diameter_mm"], change["length_mm"]
        else:
            raise ConsoleError(f"unknown change {change['do']!r}")
        n = math.dist(e, t)
        s["entry_lps_mm"] = list(e)
        s["tip_lps_mm"] = [e[i] + (t[i] - e[i]) / n * s["length_mm"] for i in range(3)]
        return self._graded(s)

    def plan_hash(self, document: dict[str, Any]) -> str:
        keep = [
            {k: s[k] for k in ("id", "entry_lps_mm", "tip_lps_mm", "diameter_mm", "length_mm")}
            for s in document["screws"]
        ]
        return hashlib.sha256(json.dumps(keep, sort_keys=True).encode()).hexdigest()

    def plan_file(self, document: dict[str, Any]) -> dict[str, Any]:
        data = json.dumps({"screws": document["screws"]}).encode()
        return {"data": data, "hash": self.plan_hash(document), "screws": sorted(s["id"] for s in document["screws"])}

    def export(self, document: dict[str, Any], form: str) -> tuple[str, str, bytes]:
        return "plan.json", "application/json", json.dumps({"screws": document["screws"]}).encode()

    def import_plan(self, image: str, data: bytes, name: str) -> list[dict[str, Any]]:
        try:
            return [self._graded(s) for s in json.loads(data)["screws"]]
        except (ValueError, KeyError, TypeError):
            raise ConsoleError(
                f"{name} is not a plan file that is understood here (plan.json, .mrk.json, .fcsv, .ros)"
            ) from None
