"""The environment children start with."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

#: The Fast DDS profile of fast liveliness (see the file).
FASTDDS_PROFILE = Path(__file__).with_name("fastdds.xml")


def child_environ(base: Mapping[str, str], changes: Mapping[str, str | None]) -> dict[str, str]:
    """`base` made fit for ROS children of this environment, then `changes` (None: unset).

    The bootstrapper of the ROS wheels marks the environment as prepared and prepends its libraries. A child that is
    another Python, or a browser, must inherit neither; a child that is our Python prepares itself again (20 ms).
    """
    env = dict(base)
    env.pop("_ROS_WHEELS_BOOTSTRAP_COMPLETE", None)
    paths = [p for p in env.pop("LD_LIBRARY_PATH", "").split(":") if p and not p.startswith(sys.prefix)]
    if paths:
        env["LD_LIBRARY_PATH"] = ":".join(paths)
    bin_dir = str(Path(sys.executable).parent)
    if bin_dir not in env.get("PATH", "").split(":"):
        env["PATH"] = f"{bin_dir}:{env.get('PATH', os.defpath)}"
    env.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    env.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    env.setdefault("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    env.setdefault("FASTDDS_DEFAULT_PROFILES_FILE", str(FASTDDS_PROFILE))
    env.setdefault("PYTHONUNBUFFERED", "1")
    for key, value in changes.items():
        if value is None:
            env.pop(key, None)
        else:
            env[key] = value
    return env
