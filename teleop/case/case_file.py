"""`CaseFile`: the folder of one case at a hospital: images, labels, landmarks to touch; de-identified, with hashes.

`case.json` beside the images names them with their SHA-256; a file that does not match is refused, so that a plan made
on one series can never meet another.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from teleop.case.surroundings import Surroundings

#: Largest piece of a series in one order (B): a frame on the orders channel stays far below control's priority.
MAX_CHUNK = 192 * 1024


class CaseFileError(ValueError):
    """The case folder cannot be used; the text says what, where and what to do."""


@dataclass(frozen=True)
class CaseFile:
    """One case. landmarks: (name, point (3,) in CT LPS millimetres) that the bedside touches, in order.
    fle_mm: expected RMS localisation error of one touch."""

    folder: Path
    case_id: str
    files: dict[str, Path]
    sha256: dict[str, str]
    landmarks: tuple[tuple[str, NDArray[np.float64]], ...]
    fle_mm: float
    room: Surroundings

    @property
    def ct_sha256(self) -> str:
        return self.sha256["ct"]

    def landmarks_lps_mm(self) -> NDArray[np.float64]:
        """(N,3), CT LPS millimetres."""
        return np.stack([point for _, point in self.landmarks])

    def series(self) -> dict[str, Any]:
        """What the console needs to fetch the images: name -> size and hash."""
        return {
            name: {"file": path.name, "bytes": path.stat().st_size, "sha256": self.sha256[name]}
            for name, path in self.files.items()
        }

    def chunk(self, name: str, offset: int, length: int) -> dict[str, Any]:
        """Bytes [offset, offset+length) of a series' file; a transfer resumes at any offset."""
        if name not in self.files:
            return {"ok": False, "reason": f"no series {name!r}; there are {', '.join(self.files)}"}
        size = self.files[name].stat().st_size
        if not 0 <= offset <= size or not 0 < length <= MAX_CHUNK:
            return {"ok": False, "reason": f"{name}: offset {offset} and length {length} are outside 0..{size}, 1..{MAX_CHUNK}"}
        with self.files[name].open("rb") as file:
            file.seek(offset)
            return {"data": file.read(length), "offset": offset, "size": size}


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_case(
    folder: Path, case_id: str, files: dict[str, Path], landmarks: dict[str, NDArray[np.float64]], fle_mm: float,
    room: Surroundings,
) -> None:
    """Write `case.json` for images that already lie in `folder`."""
    data = {
        "case_id": case_id,
        "files": {name: {"file": path.name, "sha256": sha256_of(path)} for name, path in files.items()},
        "landmarks": [{"name": name, "lps_mm": [float(x) for x in point]} for name, point in landmarks.items()],
        "fle_mm": fle_mm,
        "room": room.to_json(),
    }
    (folder / "case.json").write_text(json.dumps(data, indent=1) + "\n")


def load_case(folder: Path) -> CaseFile:
    """Read and check a case folder. Raises CaseFileError naming the file and the mend."""
    path = folder / "case.json"
    try:
        data = json.loads(path.read_text())
        files = {name: folder / entry["file"] for name, entry in data["files"].items()}
        sha256 = {name: str(entry["sha256"]) for name, entry in data["files"].items()}
        landmarks = tuple(
            (str(item["name"]), np.asarray(item["lps_mm"], dtype=np.float64).reshape(3)) for item in data["landmarks"]
        )
        room = Surroundings.from_json(data["room"])
        case = CaseFile(folder, str(data["case_id"]), files, sha256, landmarks, float(data["fle_mm"]), room)
    except FileNotFoundError:
        raise CaseFileError(f"{path}: no such file; a case folder holds case.json, the images and the labels") from None
    except (KeyError, ValueError, TypeError) as error:
        raise CaseFileError(f"{path}: not a case file: {type(error).__name__}: {error}") from None
    if "ct" not in files:
        raise CaseFileError(f"{path}: names no series called 'ct'")
    for name, file in files.items():
        if not file.exists():
            raise CaseFileError(f"{path}: {name}: {file} is not there")
        if sha256_of(file) != sha256[name]:
            raise CaseFileError(f"{file}: its SHA-256 is not the one in case.json; the image was changed or mixed up")
    return case
