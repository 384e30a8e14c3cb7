"""Prints the shell file that lets anyone talk ROS 2 to Longhand: `source .venv/ros.sh`, then `import rclpy` works.

    python tools/write_ros_sh.py .venv > .venv/ros.sh
"""

import sys
from pathlib import Path

TEMPLATE = """\
# Written by make. Source it in bash or zsh: . .venv/ros.sh [ROS_DOMAIN_ID]
# Afterwards `python` is the project's, and `import rclpy, crtk_msgs, longhand_msgs` work.
case "${{AMENT_PREFIX_PATH:-}}:${{LD_LIBRARY_PATH:-}}" in
  */opt/ros/*)
    echo "ros.sh: a ROS 2 under /opt/ros is sourced here; it does not mix with the wheels. Open a new shell." >&2
    return 1 2>/dev/null || exit 1 ;;
esac
export VIRTUAL_ENV="{prefix}"
case ":$PATH:" in *":{prefix}/bin:"*) ;; *) export PATH="{prefix}/bin:$PATH" ;; esac
export AMENT_PREFIX_PATH="{prefix}"
export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
export ROS_AUTOMATIC_DISCOVERY_RANGE=LOCALHOST
export FASTDDS_DEFAULT_PROFILES_FILE="{profile}"
[ -n "${{1:-}}" ] && export ROS_DOMAIN_ID="$1"
unset _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH  # each python start sets them itself
true
"""


def main() -> None:
    prefix = Path(sys.argv[1]).resolve()
    root = Path(__file__).resolve().parent.parent
    print(TEMPLATE.format(prefix=prefix, profile=root / "teleop" / "launch" / "fastdds.xml"), end="")


if __name__ == "__main__":
    main()
