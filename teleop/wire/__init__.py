"""What crosses the WAN as bytes: command frames (console to site) and state frames (site to console)."""

from safety.command import COMMAND_VERSION
from teleop.wire.state import STATE_VERSION

#: Compared in the link's handshake; ends that differ refuse each other by name.
VERSIONS = {"command": COMMAND_VERSION, "state": STATE_VERSION}
