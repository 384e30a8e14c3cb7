"""The case's images for the picture on the bedside page, in the console's transport form."""

from pathlib import Path
from typing import Any

import numpy as np

from teleop.console.volume import pack, store


def prepare_images(case_dir: Path, out: Path) -> dict[str, Any] | None:
    """Pack the CT of a case folder; {"id", "volume", "ct_sha256"}, or None when there is none that can be read."""
    from teleop.case.case_file import CaseFileError, load_case
    from teleop.planning.images import ImageError, load_ct

    try:
        case = load_case(case_dir)
        ct = load_ct(case.files["ct"])
    except (CaseFileError, ImageError, KeyError):
        return None
    out.mkdir(parents=True, exist_ok=True, mode=0o700)
    name = f"ct{ct.hash()[:16]}"
    store(out / f"{name}.lhv.gz", pack(np.asarray(ct.data, dtype=np.int16), ct.lps_T_ijk, sha256=ct.hash()))
    return {"id": name, "volume": name, "ct_sha256": ct.hash()}
