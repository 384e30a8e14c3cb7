"""Longhand's teleoperation: geometry, wire format, link, master devices, arm, planning, case workflow, console, command line."""
