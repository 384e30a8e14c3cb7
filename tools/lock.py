"""Writes constraints.txt: the exact versions of everything installed from wheels in this environment, no addresses.

Left out: our own packages and the metadata that compiled ROS packages leave behind (they are not on any index).

    .venv/bin/python tools/lock.py > constraints.txt
"""

import re
from importlib.metadata import distributions

OURS = re.compile(r"^(longhand|crtk|tf2)([-_].*)?$")


def pins() -> list[str]:
    """`name==version` of every distribution that came as a wheel, sorted."""
    found = {}
    for dist in distributions():
        wheel = (dist.read_text("WHEEL") or "").strip()
        name = re.sub(r"[-_.]+", "-", dist.name).lower()
        if wheel and name != "pip" and not OURS.match(name):
            found[name] = dist.version
    return [f"{name}=={version}" for name, version in sorted(found.items())]


if __name__ == "__main__":
    print("# The set that was tested (Python 3.11, x86_64), written by `make lock`, read by `make` as constraints.")
    print("\n".join(pins()))
