"""What `longhand doctor` looks at. Each check says what it found and, where something is wrong, how to mend it."""

import importlib.util
import os
import platform
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from teleop.case.site_config import FIRST_PORT, PORTS_PER_SITE
from teleop.launch import shm
from teleop.launch.environment import child_environ
from teleop.site.simulated import state_dir

GOOD, NOTE, BAD = "good", "note", "bad"
#: Modules the main path imports, and the distribution that brings each.
MODULES = {
    "numpy": "numpy", "msgpack": "msgpack", "cryptography": "cryptography", "mcap": "mcap", "zmq": "pyzmq", "numba": "numba",
    "scipy": "scipy", "pinocchio": "pin", "coal": "coal", "ompl": "ompl", "pybullet": "pybullet", "nibabel": "nibabel",
    "pydicom": "pydicom", "skimage": "scikit-image", "trimesh": "trimesh", "pydantic": "pydantic", "starlette": "starlette",
    "uvicorn": "uvicorn", "websockets": "websockets", "typer": "typer", "yaml": "PyYAML",
}  # fmt: skip
NEEDED_DISK_GB = 2.0
NEEDED_SHM_MB = 64.0


@dataclass(frozen=True, slots=True)
class Check:
    """name; level good, note (works, but) or bad (needed); found; mend ("" when good)."""

    name: str
    level: str
    found: str
    mend: str = ""


def run_checks(index: int = 0) -> list[Check]:
    """Every check, in the order in which things are needed."""
    checks: list[Callable[[], Check]] = [
        python, platform_, compiler, libraries, ros, messages, lambda: ports(index), shared_memory, leftovers, real_time,
        cores, disk, sourced,
    ]  # fmt: skip
    return [check() for check in checks]


def python() -> Check:
    found = f"{platform.python_version()} at {sys.executable}"
    if sys.version_info[:2] == (3, 11):
        return Check("python", GOOD, found)
    return Check("python", BAD, found, "Longhand is tested on Python 3.11 only: make PYTHON=/path/to/python3.11")


def platform_() -> Check:
    found = f"{platform.system()} {platform.machine()}"
    if sys.platform == "linux" and platform.machine() == "x86_64":
        return Check("platform", GOOD, found)
    return Check("platform", BAD, found, "the ROS wheels are for Linux x86_64; elsewhere install ROS 2 by apt and colcon")


def compiler() -> Check:
    found = shutil.which("c++") or shutil.which("g++")
    header = Path(__import__("sysconfig").get_paths()["include"]) / "Python.h"
    if found and header.is_file():
        return Check("compiler", GOOD, found)
    what = "no C++ compiler" if not found else f"{header} is missing"
    return Check("compiler", BAD, what, "install g++ and the Python headers (Debian, Ubuntu: apt install g++ python3.11-dev)")


def libraries() -> Check:
    missing = sorted(dist for module, dist in MODULES.items() if importlib.util.find_spec(module) is None)
    if not missing:
        return Check("libraries", GOOD, f"{len(MODULES)} of {len(MODULES)} importable")
    return Check("libraries", BAD, f"missing: {', '.join(missing)}", "run make")


def _imports(*modules: str) -> str:
    """"" when a fresh Python imports them all, else its last line of complaint."""
    done = subprocess.run([sys.executable, "-c", f"import {', '.join(modules)}"], capture_output=True, text=True,
                          env=child_environ(os.environ, {}), check=False, timeout=60)
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["failed"])[-1]


def ros() -> Check:
    wrong = _imports("rclpy")
    if not wrong:
        return Check("ros", GOOD, "rclpy imports")
    return Check("ros", BAD, wrong, "run make (wheels), or source /opt/ros/<distro>/setup.bash (apt)")


def messages() -> Check:
    wrong = _imports("crtk_msgs.msg", "longhand_msgs.msg", "tf2_msgs.msg")
    if not wrong:
        return Check("messages", GOOD, "crtk_msgs, longhand_msgs, tf2_msgs import")
    return Check("messages", BAD, wrong, "run make messages (wheels), or colcon build in ros_ws (apt)")


def ports(index: int) -> Check:
    base = FIRST_PORT + PORTS_PER_SITE * index
    wanted = [(socket.SOCK_STREAM, base), (socket.SOCK_STREAM, base + 1), (socket.SOCK_DGRAM, base + 2),
              (socket.SOCK_DGRAM, base + 3)]
    taken = []
    for kind, port in wanted:
        with socket.socket(socket.AF_INET, kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                taken.append(str(port))
    if not taken:
        return Check("ports", GOOD, f"{base} to {base + 3} are free")
    return Check("ports", NOTE, f"in use: {', '.join(taken)}", "another site runs here? stop it, or start with another index:=N")


def shared_memory() -> Check:
    try:
        free = shutil.disk_usage(shm.SHM).free / 1e6
    except OSError as error:
        return Check("/dev/shm", BAD, str(error), "mount a tmpfs on /dev/shm; in a container give it --shm-size=256m")
    if free >= NEEDED_SHM_MB:
        return Check("/dev/shm", GOOD, f"{free:.0f} MB free")
    return Check("/dev/shm", BAD, f"{free:.0f} MB free", f"needs {NEEDED_SHM_MB:.0f} MB; in a container --shm-size=256m")


def leftovers() -> Check:
    files = shm.leftovers()
    if not files:
        return Check("leftovers", GOOD, "no shared memory of dead processes")
    size = sum(f.stat().st_size for f in files if f.exists()) / 1e6
    return Check("leftovers", NOTE, f"{len(files)} files of dead processes, {size:.0f} MB",
                 "the next `longhand up` removes them")


def real_time() -> Check:
    try:
        pid = os.fork()
    except OSError as error:
        return Check("real-time", NOTE, str(error))
    if pid == 0:  # in a child, so that we ourselves stay as we are
        try:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(10))
            os._exit(0)
        except OSError:
            os._exit(1)
    permitted = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    if permitted:
        return Check("real-time", GOOD, "SCHED_FIFO is permitted")
    return Check("real-time", NOTE, "SCHED_FIFO is not permitted: the arm's loop runs with ordinary priority",
                 "for a real arm: ulimit -r 50 (an `rtprio` line in /etc/security/limits.d), or the capability SYS_NICE")


def cores() -> Check:
    count = len(os.sched_getaffinity(0))
    load = os.getloadavg()[0]
    if count < 2:
        return Check("cores", BAD, f"{count}", "two cores are the least: one for the arm's loop, one for everything else")
    if load > count:
        return Check("cores", NOTE, f"{count}, load {load:.1f}", "the machine is busy: expect more pauses and a slower demo")
    return Check("cores", GOOD, f"{count}, load {load:.1f}")


def disk() -> Check:
    folder = state_dir()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free / 1e9
    if free >= NEEDED_DISK_GB:
        return Check("disk", GOOD, f"{free:.1f} GB free in {folder}")
    return Check("disk", BAD, f"{free:.1f} GB free in {folder}",
                 f"needs {NEEDED_DISK_GB:.0f} GB for logs; free space or set LONGHAND_HOME")


def sourced() -> Check:
    listed = os.environ.get("AMENT_PREFIX_PATH", "") + os.environ.get("LD_LIBRARY_PATH", "")
    wheels = importlib.util.find_spec("ros_wheels_bootstrapper") is not None or (
        Path(sys.prefix) / "share" / "rclpy").is_dir()
    if "/opt/ros/" in listed and wheels:
        return Check("environment", BAD, "a ROS 2 under /opt/ros is sourced, and this environment has the ROS wheels",
                     "use one of the two: open a new shell, or an environment without the wheels")
    return Check("environment", GOOD, "one ROS 2 only")
