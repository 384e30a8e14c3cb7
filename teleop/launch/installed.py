"""Where ROS packages and their executables are: in an ament prefix (colcon, apt) or in this environment (pip)."""

import os
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from teleop.launch.environment import child_environ
from teleop.launch.plan import Installed

COMMAND_TIMEOUT_S = 60.0


def ament_prefixes() -> list[Path]:
    """AMENT_PREFIX_PATH, then this environment's own prefix."""
    listed = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    own = Path(sys.prefix)
    return listed if own in listed else [*listed, own]


def package_prefix(package: str) -> str | None:
    """The prefix where the ament index knows `package`, or None."""
    for prefix in ament_prefixes():
        if (prefix / "share" / "ament_index" / "resource_index" / "packages" / package).is_file():
            return str(prefix)
    return None


def executable(package: str, name: str) -> str | None:
    """`<prefix>/lib/<package>/<name>`, else a console script that the pip distribution of that name declares."""
    for prefix in ament_prefixes():
        path = prefix / "lib" / package / name
        if path.is_file() and os.access(path, os.X_OK):
            return str(path)
    try:
        scripts = {e.name for e in distribution(package).entry_points if e.group == "console_scripts"}
    except PackageNotFoundError:
        return None
    script = Path(sys.prefix) / "bin" / name
    return str(script) if name in scripts and os.access(script, os.X_OK) else None


def command(line: str) -> str:
    """What a program printed, its last newline included, as in ROS. Raises ValueError when it fails."""
    try:
        done = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=COMMAND_TIMEOUT_S,
                              env=child_environ(os.environ, {}), check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ValueError(str(error)) from None
    if done.returncode != 0:
        raise ValueError(f"exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def here() -> Installed:
    """This machine, this environment."""
    return Installed(package_prefix=package_prefix, executable=executable, environ=dict(os.environ),
                     command=command)
