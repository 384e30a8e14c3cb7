"""The images on the planner's desk: what can be opened, opened once, and written as pages fetch it.

A source is a folder with a CT (NIfTI, DICOM folder or zip) and, beside it, labels; images for pages go to CACHE/images.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from teleop.console.contracts import ConsoleError
from teleop.console.volume import crop_box, pack, store
from teleop.planning.images import ImageError, Volume, load_ct
from teleop.planning.levels import Labels, load_labels


@dataclass
class Opened:
    """One opened image. case_id: of the hospital's case ("" for uploads); file_sha256: of the file as received."""

    ct: Volume
    labels: Labels | None
    info: dict[str, Any]
    case_id: str = ""
    frames: dict[str, Any] = field(default_factory=dict)


class OpenedImages:
    """`folders`: title -> folder that can be opened at any time; CACHE/series/<site> come by themselves."""

    def __init__(self, cache: Path, folders: dict[str, Path]) -> None:
        self.cache = cache
        self.images = cache / "images"
        self.images.mkdir(parents=True, exist_ok=True)
        self.folders = folders
        self._open: dict[str, Opened] = {}

    def sources(self) -> list[dict[str, Any]]:
        """What can be opened."""
        found = [
            {"kind": "series", "id": p.name, "title": p.name, "note": "series received from the hospital"}
            for p in sorted((self.cache / "series").glob("*"))
            if (p / "complete").exists()
        ]
        return found + [
            {"kind": "folder", "id": title, "title": title, "note": "on this machine"} for title in self.folders
        ]

    def open(self, source: dict[str, Any]) -> dict[str, Any]:
        """Read an image (once), write what pages fetch, return its description."""
        kind, name = str(source.get("kind")), str(source.get("id", ""))
        folder = {
            "series": self.cache / "series" / name, "upload": self.cache / "uploads" / name, "folder": self.folders.get(name),
        }.get(kind)  # fmt: skip
        if folder is None or "/" in name or name.startswith(".") or not folder.is_dir():
            raise ConsoleError("these images are not here any more: choose them again, or send them once more")
        for opened in self._open.values():
            if opened.info["source"] == {"kind": kind, "id": name}:
                return opened.info
        try:
            ct = load_ct(find_image(folder))
            label_file = find_labels(folder)
            labels = load_labels(label_file, ct) if label_file else None
        except (ImageError, ValueError, OSError, EOFError) as error:
            raise ConsoleError(f"this is not a CT that can be planned on: {error}") from None
        about: dict[str, Any] = {}
        if (folder / "series.json").exists():
            about = json.loads((folder / "series.json").read_text())
        info = self._publish(ct, labels) | {
            "source": {"kind": kind, "id": name}, "title": about.get("title") or title_of(kind, name, ct),
            "site": name if kind == "series" else "", "case_id": about.get("case_id", ""),
        }  # fmt: skip
        self._open[info["id"]] = Opened(ct, labels, info, info["case_id"])
        return info

    def _publish(self, ct: Volume, labels: Labels | None) -> dict[str, Any]:
        name = ct.hash()[:16]
        mask = labels.volume.data if labels else np.zeros((0, 0, 0), dtype=np.uint8)
        sx, sy, sz = (float(v) for v in ct.spacing_mm)
        box = crop_box(mask, (sx, sy, sz)) if labels else tuple(slice(0, n) for n in ct.data.shape)
        low = np.array([b.start for b in box])
        affine = ct.lps_T_ijk.copy()
        affine[:3, 3] = ct.to_lps(low[None].astype(float))[0]
        voxels = np.clip(ct.data[box], -32768, 32767).astype(np.int16)
        store(self.images / f"{name}.lhv.gz", pack(voxels, affine, sha256=ct.hash()))
        centre = affine[:3, :3] @ ((np.array(voxels.shape) - 1) / 2) + affine[:3, 3]
        info = {
            "id": name, "volume": name, "labels": "", "ct_sha256": ct.hash(), "levels": [], "centre_lps_mm": centre.tolist(),
            "shape": list(ct.data.shape), "spacing_mm": [sx, sy, sz],
        }  # fmt: skip
        if labels is not None:
            # The 3-D view needs no more than about 1.4 mm: a quarter to an eighth of the bytes.
            step = [max(1, round(1.4 / s)) for s in (sx, sy, sz)]
            coarse = np.ascontiguousarray(mask[box][:: step[0], :: step[1], :: step[2]]).astype(np.uint8)
            shown = affine.copy()
            shown[:3, :3] = affine[:3, :3] * np.array(step)
            store(self.images / f"{name}-labels.lhv.gz", pack(coarse, shown, names=labels.names, sha256=ct.hash()))
            info |= {"labels": f"{name}-labels", "levels": [v for v in labels.levels if v[0] != "C"]}
            hit = np.argwhere(coarse)
            if len(hit):
                info["centre_lps_mm"] = (shown[:3, :3] @ hit.mean(axis=0) + shown[:3, 3]).tolist()
        return info

    def _image(self, image: str) -> Opened:
        if image not in self._open:
            raise ConsoleError("the images are not open any more: choose the case again")
        return self._open[image]

    def _labels(self, image: str) -> tuple[Opened, Labels]:
        opened = self._image(image)
        if opened.labels is None:
            raise ConsoleError(
                "this CT came without vertebra labels: upload the label map beside it, or place lines by hand"
            )
        return opened, opened.labels


def title_of(kind: str, name: str, ct: Volume) -> str:
    """A title without anything of a file's name when it was uploaded."""
    return f"CT {ct.hash()[:6]}" if kind == "upload" else name


def find_image(folder: Path) -> Path:
    """The CT in a folder: a NIfTI called ct or image, a DICOM series in `dicom` or `series`, or the folder itself."""
    for pattern in ("ct.nii.gz", "ct.nii", "*_ct.nii.gz", "image-*.nii.gz", "image-*.nii", "series/*.nii.gz"):
        found = [p for p in sorted(folder.glob(pattern)) if "label" not in p.name and "seg" not in p.name]
        if found:
            return found[0]
    for name in ("dicom", "series"):
        if (folder / name).is_dir():
            return folder / name
    zips = sorted(folder.glob("*.zip"))
    return zips[0] if zips else folder


def find_labels(folder: Path) -> Path | None:
    """The label map beside a CT, or None."""
    for pattern in (
        "labels*.nii.gz",
        "labels*.nii",
        "*_vert.nii.gz",
        "*label*.nii.gz",
        "*vertebrae*.nii.gz",
        "*seg*.nii.gz",
    ):
        found = sorted(folder.glob(pattern))
        if found:
            return found[0]
    return None
