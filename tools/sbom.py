"""Writes a software bill of materials (CycloneDX 1.5 JSON) of everything installed beside Longhand.

    .venv/bin/python tools/sbom.py > out/sbom.json
"""

import json
import re
from importlib.metadata import Distribution, distributions, version
from typing import Any


def licence(dist: Distribution) -> str:
    """The licence as the distribution states it: expression, short text, or its classifiers."""
    meta = dist.metadata
    if meta.get("License-Expression"):
        return str(meta["License-Expression"])
    classifiers = [c.split("::")[-1].strip() for c in meta.get_all("Classifier") or [] if c.startswith("License ::")]
    if classifiers:
        return " AND ".join(classifiers)
    text = str(meta.get("License") or "").strip().splitlines()
    return text[0][:80] if text else "not stated"


def component(dist: Distribution) -> dict[str, Any]:
    name = re.sub(r"[-_.]+", "-", dist.name).lower()
    return {
        "type": "library",
        "name": name,
        "version": dist.version,
        "purl": f"pkg:pypi/{name}@{dist.version}",
        "licenses": [{"license": {"name": licence(dist)}}],
    }


def bill() -> dict[str, Any]:
    wheels = {d.name.lower(): d for d in distributions() if d.read_text("WHEEL") and d.name.lower() != "longhand"}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "longhand", "version": version("longhand")}},
        "components": [component(wheels[name]) for name in sorted(wheels)],
    }


if __name__ == "__main__":
    print(json.dumps(bill(), indent=1))
