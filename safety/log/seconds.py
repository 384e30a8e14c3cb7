"""The overview that the recorder writes along: state changes as they happen, and each signal's range once a second.

Both are made from what is recorded in full anyway; they let a reviewer's page open hours of log in a moment. Pure: stamps come
in, message dicts go out.
"""

from collections.abc import Mapping
from typing import Any

CHANGE_TOPIC, CHANGE_TYPE = "governor/change", "longhand_msgs/msg/GovernorChange"
ALARM_TOPIC, ALARM_TYPE = "governor/alarm", "longhand_msgs/msg/Alarm"
SECOND_TOPIC, SECOND_TYPE = "log/second", "longhand_msgs/msg/SecondSummary"
PERIOD_NS = 1_000_000_000

#: name of a signal -> (key in the governor's status, factor to SI). Units: s, m/s, rad/s, m.
STATUS_SIGNALS = {
    "loop_age": ("loop_age_ns", 1e-9),
    "v_cap": ("v_cap", 1.0),
    "margin": ("margin", 1.0),
    "travel_bound": ("travel_bound", 1.0),
}
#: name -> field of ArmState. m/s, N, m, s.
ARM_SIGNALS = {
    "speed": ("speed", 1.0),
    "force": ("force", 1.0),
    "tracking_error": ("tracking_error", 1.0),
    "lateness": ("late_ns", 1e-9),
}
#: name -> field of LinkStats; the path's number is appended ("loss.0").
LINK_SIGNALS = {"loss": ("loss", 1.0), "rtt_p50": ("rtt_ms_p50", 1e-3), "rtt_p99": ("rtt_ms_p99", 1e-3)}


class Overview:
    """Feed it; take `change` when it gives one, and `second` once a second."""

    def __init__(self, mono: int) -> None:
        self._from = mono
        self._signals: dict[str, list[float]] = {}  # low, high, sum, count
        self._now: dict[str, Any] = {}
        self._alarms: dict[str, dict[str, Any]] = {}

    def add(self, name: str, value: object) -> None:
        """One sample of a signal. Anything but a finite number is left out (a status may say None)."""
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value - value != 0:
            return
        entry = self._signals.get(name)
        if entry is None:
            self._signals[name] = [value, value, value, 1]
        else:
            entry[0] = min(entry[0], value)
            entry[1] = max(entry[1], value)
            entry[2] += value
            entry[3] += 1

    def add_fields(self, table: Mapping[str, tuple[str, float]], fields: Mapping[str, Any], suffix: str = "") -> None:
        """All signals of a table from one message."""
        for name, (key, factor) in table.items():
            value = fields.get(key)
            if isinstance(value, (int, float)):
                self.add(name + suffix, value * factor)

    def alarms(self, status: Mapping[str, Any], mono: int) -> list[dict[str, Any]]:
        """Fields of an Alarm for each that entered, was acknowledged, or left since the status before."""
        now = {str(a["id"]): a for a in status.get("alarms") or ()}
        found: list[tuple[str, Mapping[str, Any]]] = []
        for id_, alarm in now.items():
            old = self._alarms.get(id_)
            if old is None or old["since"] != alarm["since"]:
                found.append(("enter", alarm))
            elif alarm["acked"] and not old["acked"]:
                found.append(("ack", alarm))
        found += [("exit", alarm) for id_, alarm in self._alarms.items() if id_ not in now]
        self._alarms = now
        stamp = int(status.get("stamp") or mono)
        return [
            {
                "schema_version": 1, "stamp_mono": stamp, "id": str(a["id"]), "priority": str(a["priority"]),
                "phase": phase, "latched": bool(a["latched"]), "text": str(a["text"]),
                "what_to_do": str(a["what_to_do"]), "who": "governor",
            }
            for phase, a in found
        ]  # fmt: skip

    def status(self, status: Mapping[str, Any], n: int, mono: int) -> dict[str, Any] | None:
        """Take in a governor status; the fields of a GovernorChange when something changed."""
        self.add_fields(STATUS_SIGNALS, status)
        now = {
            "state": str(status.get("state") or ""), "holder": str(status.get("holder") or ""),
            "holder_name": str(status.get("holder_name") or ""),
            "holder_role": str(status.get("holder_role") or ""), "mode": str(status.get("mode") or ""),
            "epoch": int(status.get("epoch") or 0),
        }  # fmt: skip
        if now == self._now:
            return None
        old, self._now = self._now, now
        return {
            "schema_version": 1, "stamp_mono": int(status.get("stamp") or mono), "n": max(0, n),
            "old_state": old.get("state", ""), "reason": str(status.get("reason") or ""),
            "what_to_do": str(status.get("what_to_do") or ""), **now,
        }  # fmt: skip

    def second(self, mono: int) -> dict[str, Any] | None:
        """The fields of a SecondSummary when one is due."""
        if mono - self._from < PERIOD_NS:
            return None
        items = sorted(self._signals.items())
        fields = {
            "schema_version": 1, "stamp_mono": mono, "from_mono": self._from, "state": self._now.get("state", ""),
            "holder": self._now.get("holder", ""), "names": [name for name, _ in items],
            "low": [e[0] for _, e in items], "high": [e[1] for _, e in items],
            "mean": [e[2] / e[3] for _, e in items], "count": [int(e[3]) for _, e in items],
        }  # fmt: skip
        self._from, self._signals = mono, {}
        return fields
