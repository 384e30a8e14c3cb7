"""The safety kernel: gate, authority, governor, speed law, alarms, and the session log.

Imports nothing of Longhand's other packages, so that a reviewer can read it alone.
"""
