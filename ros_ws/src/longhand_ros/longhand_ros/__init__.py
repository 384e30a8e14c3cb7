"""The ROS 2 nodes of Longhand, thin: what they do lives in `teleop`, `safety` and `sim`. Nobody imports it."""

import os
import sys

# The ROS wheels do not set it, and get_package_share_directory raises without it.
os.environ.setdefault("AMENT_PREFIX_PATH", sys.prefix)
