"""Vertebra names and the label schemes that carry them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from teleop.planning.images import ImageError, Volume, _is_nifti, _read_nifti, same_grid

LEVELS: tuple[str, ...] = (
    *(f"C{i}" for i in range(1, 8)),
    *(f"T{i}" for i in range(1, 13)),
    *(f"L{i}" for i in range(1, 6)),
    "S1",
)
"""Cranial to caudal."""
SIDES: tuple[str, str] = ("left", "right")

TOTALSEGMENTATOR: dict[int, str] = {
    26: "S1",
    **{32 - i: f"L{i}" for i in range(1, 6)},
    **{44 - i: f"T{i}" for i in range(1, 13)},
    **{51 - i: f"C{i}" for i in range(1, 8)},
}
"""TotalSegmentator v2 'total' task: 26 S1, 27 L5 ... 31 L1, 32 T12 ... 43 T1, 44 C7 ... 50 C1."""
VERSE: dict[int, str] = {
    **{i: f"C{i}" for i in range(1, 8)},
    **{i + 7: f"T{i}" for i in range(1, 13)},
    **{i + 19: f"L{i}" for i in range(1, 6)},
    26: "S1",
}
"""VerSe / SPINEPS instances: 1..7 C, 8..19 T, 20..24 L1..L5 (25 L6 and 28 T13 exist there and are not planned)."""
TRANSITIONAL: dict[str, dict[int, str]] = {"verse": {25: "L6", 28: "T13"}}
SCHEMES: dict[str, dict[int, str]] = {"totalsegmentator": TOTALSEGMENTATOR, "verse": VERSE}


@dataclass(frozen=True)
class Labels:
    """A label map and what its values mean. structures: optional masks from the same grid ('canal', 'corpus', 'facet_left', 'facet_right')."""

    volume: Volume
    names: dict[int, str]
    scheme: str
    structures: dict[str, np.ndarray] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What a person should know about the values that are no level of ours."""

    @property
    def levels(self) -> tuple[str, ...]:
        """Levels present, cranial to caudal."""
        present = set(self.names.values())
        return tuple(level for level in LEVELS if level in present)

    def value(self, level: str) -> int:
        """The voxel value of a level. Raises ImageError naming what is there."""
        for value, name in self.names.items():
            if name == level:
                return value
        raise ImageError(f"the label map has no {level}; it has {', '.join(self.levels) or 'no vertebra'}")


def detect_scheme(values: list[int]) -> str:
    """Which scheme a set of values belongs to. Values above 28 exist only in TotalSegmentator, vertebrae below 26 only in VerSe; both is an error."""
    if any(v > 28 for v in values):
        return "totalsegmentator"
    if values and all(1 <= v <= 26 or v == 28 for v in values) and any(v < 26 for v in values):
        return "verse"
    if values and all(26 <= v <= 28 for v in values):
        return "totalsegmentator"
    raise ImageError(
        f'label values {values[:12]} fit neither the TotalSegmentator nor the VerSe scheme; give a mapping file {{"L4": value, ...}}'
    )


def parse_mapping(path: str | Path) -> dict[int, str]:
    """Read a JSON mapping file {"L4": 4, ...}. Raises ImageError for unknown names."""
    try:
        raw = json.loads(Path(path).read_text())
        mapping = {int(value): str(name) for name, value in raw.items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ImageError(f"{path}: a mapping file is a JSON object of level names to label values ({error})") from error
    wrong = [name for name in mapping.values() if name not in LEVELS]
    if wrong:
        raise ImageError(f"{path}: unknown levels {wrong}; known are C1..C7, T1..T12, L1..L5, S1")
    return mapping


def load_labels(
    path: str | Path,
    ct: Volume | None = None,
    scheme: str = "auto",
    mapping: dict[int, str] | None = None,
    structures: str | Path | None = None,
) -> Labels:
    """Read a NIfTI label map and interpret it.

    scheme: 'auto', 'totalsegmentator', 'verse'; mapping overrides it. ct: when given, the grids must agree. structures: optional SPINEPS-style sub-region
    map (61 canal, 49/50 corpus, 45/46 left/right superior articular process). Raises ImageError, FileNotFoundError.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if not _is_nifti(path):
        raise ImageError(f"{path}: label maps are read from .nii or .nii.gz")
    volume = _read_nifti(path)
    data = volume.data
    if data.dtype.kind == "f" and not np.array_equal(data, np.rint(data)):
        raise ImageError(f"{path}: label values are not whole numbers; was the label map interpolated?")
    if data.min() < 0 or data.max() > 255:
        raise ImageError(f"{path}: label values run {data.min()}..{data.max()}, expected 0..255")
    volume = Volume(data.astype(np.uint8), volume.lps_T_ijk, volume.frame_of_reference_uid, volume.source)
    if ct is not None:
        same_grid(ct, volume)
    extra: dict[str, np.ndarray] = {}
    if structures is not None:
        sub = _read_nifti(Path(structures))
        same_grid(volume, sub)
        regions = np.asarray(sub.data)
        extra = {
            "canal": regions == 61,
            "corpus": (regions == 49) | (regions == 50),
            "facet_left": regions == 45,
            "facet_right": regions == 46,
        }
        extra = {name: mask for name, mask in extra.items() if mask.any()}
    return interpret(volume, scheme, mapping, extra)


def interpret(
    volume: Volume,
    scheme: str = "auto",
    mapping: dict[int, str] | None = None,
    structures: dict[str, np.ndarray] | None = None,
) -> Labels:
    """Give a uint8 label volume its meaning. Raises ImageError when it is empty or of an unknown scheme."""
    counts = np.zeros(256, dtype=np.int64)
    for k in range(0, volume.data.shape[2], 16):  # bincount makes 8-byte copies
        counts += np.bincount(volume.data[:, :, k : k + 16].ravel(order="K"), minlength=256)
    values = [int(v) for v in np.flatnonzero(counts) if v]
    if not values:
        raise ImageError(f"{volume.source or 'label map'}: the label map is empty")
    if mapping is not None:
        table, name = mapping, "mapping"
    else:
        name = detect_scheme(values) if scheme == "auto" else scheme
        if name not in SCHEMES:
            raise ImageError(f"unknown label scheme {name!r}; known: {', '.join(SCHEMES)}, or give a mapping file")
        table = SCHEMES[name]
    names = {value: table[value] for value in values if value in table}
    if not names:
        raise ImageError(f"none of the label values {values[:12]} is a vertebra in the {name} scheme")
    extra = {value: TRANSITIONAL.get(name, {}).get(value) for value in values if value not in table}
    notes = [
        f"label value {value} is {vertebra}: a transitional spine, whose other levels may be numbered one off; it is not planned, count the levels"
        for value, vertebra in extra.items()
        if vertebra
    ]
    other = [value for value, vertebra in extra.items() if not vertebra]
    if other:
        notes.append(
            f"label values {other[:12]}{' ...' if len(other) > 12 else ''} are no vertebra in the {name} scheme and were left out"
        )
    return Labels(volume, names, name, structures or {}, tuple(notes))
