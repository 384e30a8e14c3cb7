"""Uploads, bounded before they are believed: total bytes, number of files, unpacked size, and no paths.

File names stay on the surgeon's machine: a folder name often is a patient's name, so files are stored by number.
"""

import io
import secrets
import shutil
import zipfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from teleop.console.contracts import ConsoleError

MAX_BYTES = 1 << 30  # 1 GiB: a whole-spine CT at 0.5 mm is 0.6 GiB
MAX_FILES = 5000
#: Unpacked to packed; a CT series packs 2 to 4 times, a zip bomb a thousand times.
MAX_RATIO = 50


class TooLarge(ConsoleError):
    """More than this server takes; nothing of it is kept."""


@dataclass(slots=True)
class Upload:
    """One upload in progress: a folder of numbered files."""

    id: str
    folder: Path
    bytes: int = 0
    files: int = 0


class Intake:
    """Uploads under one folder. Not more than two at a time."""

    def __init__(self, folder: Path, max_bytes: int = MAX_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._open: dict[str, Upload] = {}

    def begin(self) -> Upload:
        if len(self._open) >= 2:
            oldest = next(iter(self._open))
            self.abandon(oldest)
        upload = Upload(secrets.token_hex(8), self._folder / "uploads")
        upload.folder = upload.folder / upload.id
        upload.folder.mkdir(parents=True, mode=0o700)
        self._open[upload.id] = upload
        return upload

    async def add(self, upload_id: str, name: str, length: int | None, chunks: AsyncIterator[bytes]) -> None:
        """Store one file. Raises TooLarge as soon as the limit is passed (a declared length is refused unread)."""
        upload = self._get(upload_id)
        limit = self._max_bytes - upload.bytes
        words = (
            f"an upload has at most {self._max_bytes / 2**20:.0f} MiB and {MAX_FILES} files: "
            "send the spine's series alone"
        )
        if (length is not None and length > limit) or upload.files >= MAX_FILES:
            self.abandon(upload_id)
            raise TooLarge(words)
        suffix = ".nii.gz" if name.lower().endswith(".nii.gz") else Path(name).suffix.lower()
        if suffix not in (".dcm", ".zip", ".nii", ".nii.gz", ".ima", ""):
            suffix = ".bin"
        kind = "labels" if "label" in name.lower() or "seg" in name.lower() or "vert" in name.lower() else "image"
        path = upload.folder / f"{kind}-{upload.files:05d}{suffix}"
        upload.files += 1
        with path.open("wb") as out:
            async for chunk in chunks:
                upload.bytes += len(chunk)
                if upload.bytes > self._max_bytes:
                    out.close()
                    self.abandon(upload_id)
                    raise TooLarge(words)
                out.write(chunk)
        if suffix == ".zip":
            self._unzip(upload, path)

    def _unzip(self, upload: Upload, path: Path) -> None:
        try:
            with zipfile.ZipFile(path) as archive:
                entries = [e for e in archive.infolist() if not e.is_dir()]
                total = sum(e.file_size for e in entries)
                packed = max(1, sum(e.compress_size for e in entries))
                if len(entries) > MAX_FILES or total > self._max_bytes or total > MAX_RATIO * packed + 2**20:
                    self.abandon(upload.id)
                    raise TooLarge(
                        f"this zip unpacks to {total / 2**20:.0f} MiB in {len(entries)} files, more than is taken here"
                    )
                folder = upload.folder / "series"
                folder.mkdir(exist_ok=True)
                for n, entry in enumerate(entries):
                    data = archive.read(entry)
                    suffix = (
                        ".nii.gz" if entry.filename.lower().endswith(".nii.gz") else Path(entry.filename).suffix.lower()
                    )
                    (folder / f"{n:05d}{suffix if suffix in ('.nii', '.nii.gz') else '.dcm'}").write_bytes(data)
        except (zipfile.BadZipFile, EOFError, io.UnsupportedOperation, NotImplementedError, RuntimeError) as error:
            self.abandon(upload.id)
            raise ConsoleError(
                f"this zip is damaged or incomplete ({error}): copy it again and upload it once more"
            ) from None
        path.unlink()

    def finish(self, upload_id: str) -> Upload:
        upload = self._get(upload_id)
        if upload.files == 0:
            raise ConsoleError("the upload is empty: choose a DICOM folder, a zip of it, or a NIfTI file")
        return self._open.pop(upload_id)

    def abandon(self, upload_id: str) -> None:
        upload = self._open.pop(upload_id, None)
        if upload is not None:
            shutil.rmtree(upload.folder, ignore_errors=True)

    def _get(self, upload_id: str) -> Upload:
        if upload_id not in self._open:
            raise ConsoleError("this upload is not open any more: begin again")
        return self._open[upload_id]
