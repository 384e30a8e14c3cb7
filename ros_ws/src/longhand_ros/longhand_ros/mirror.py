"""Read-only mirrors of the governor on ROS: status, alarms, lease, diagnostics. Publishing there moves nothing."""

from typing import Any

import msgpack
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from longhand_msgs.msg import Alarm, GovernorStatus, MotionLease
from rclpy.node import Node

from longhand_ros import qos
from teleop.crtk.session import ArmView

OK, WARN, ERROR, STALE = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)
_LEVEL = {"READY": OK, "ACTIVE": OK, "INIT": WARN, "DEGRADED": WARN, "PAUSE": WARN, "LOCAL": WARN, "HOLD": WARN,
          "STOP": ERROR, "FAULT": ERROR}


class Mirror:
    """Publishes governor/status, governor/alarms, lease and diagnostics from the governor's status maps."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._status = node.create_publisher(GovernorStatus, "governor/status", qos.STATUS_OFFERED)
        self._alarms = node.create_publisher(Alarm, "governor/alarms", qos.EVENTS)
        self._lease = node.create_publisher(MotionLease, "lease", qos.SAMPLES)
        self._diagnostics = node.create_publisher(DiagnosticArray, "diagnostics", qos.ORDER)
        self._known: dict[str, tuple[bool, bool]] = {}
        self._lease_id = 0

    def status(self, s: dict[str, Any]) -> None:
        """One status, and what changed with it."""
        m = GovernorStatus(
            schema_version=GovernorStatus.SCHEMA_VERSION, stamp_mono=s["stamp"], state=s["state"], reason=s["reason"],
            what_to_do=s["what_to_do"], holder=s["holder"], mode=s["mode"], epoch=s["epoch"], rebase=s["rebase"],
            v_cap=s["v_cap"], v_cap_why=s["v_cap_why"], loop_age_ns=s["loop_age_ns"], margin=s["margin"],
            travel_bound=s["travel_bound"], lease_id=s["lease_id"], blockers=s["blockers"],
            registration_epoch=s["registration_epoch"], plan_hash=s["plan_hash"], wire=msgpack.packb(s),
        )  # fmt: skip
        m.header.stamp = self._node.get_clock().now().to_msg()
        self._status.publish(m)
        self._changed_alarms(s)
        if s["lease_id"] != self._lease_id:
            self._lease_id = s["lease_id"]
            self._lease.publish(MotionLease(
                schema_version=MotionLease.SCHEMA_VERSION, lease_id=s["lease_id"], epoch=s["epoch"], seq=s["last_seq"],
                mode=s["mode"], path_hash=s["path_hash"], v_cap=s["v_cap"], w_cap=s["w_cap"], t_k=s["stamp"],
                expiry=s["stamp"] + s["lease_ns"] if s["lease_id"] else s["stamp"],
            ))

    def _changed_alarms(self, s: dict[str, Any]) -> None:
        now = {a["id"]: a for a in s["alarms"]}
        for id_, a in now.items():
            before = self._known.get(id_)
            if a["active"] and (before is None or not before[0]):
                self._alarm(s, a, "enter")
            if a["acked"] and before is not None and not before[1]:
                self._alarm(s, a, "ack")
            if not a["active"] and before is not None and before[0]:
                self._alarm(s, a, "exit")
        for id_, (active, _) in self._known.items():
            if id_ not in now and active:
                self._alarm(s, {"id": id_, "priority": "LOW", "latched": False, "text": "", "what_to_do": ""}, "exit")
        self._known = {id_: (bool(a["active"]), bool(a["acked"])) for id_, a in now.items()}

    def _alarm(self, s: dict[str, Any], a: dict[str, Any], phase: str) -> None:
        self._alarms.publish(Alarm(
            schema_version=Alarm.SCHEMA_VERSION, stamp_mono=s["stamp"], id=a["id"], priority=str(a["priority"]), phase=phase,
            latched=bool(a["latched"]), text=a["text"], what_to_do=a["what_to_do"], who="governor",
        ))

    def diagnostics(self, s: dict[str, Any] | None, arm: ArmView | None, arm_age_s: float, extra: dict[str, str]) -> None:
        """Once a second: governor and arm, for the usual ROS tools."""
        array = DiagnosticArray()
        array.header.stamp = self._node.get_clock().now().to_msg()
        where = self._node.get_namespace().strip("/")
        if s is None:
            array.status.append(_row(f"{where}: governor", where, STALE, "no governor is heard", extra))
        else:
            message = s["state"] + (f": {s['reason']}" if s["reason"] else "")
            array.status.append(_row(f"{where}: governor", where, _LEVEL.get(s["state"], ERROR), message, {
                "holder": s["holder_name"] or "nobody", "epoch": str(s["epoch"]), "v_cap": f"{s['v_cap']:.4f} m/s",
                "blockers": "; ".join(s["blockers"]) or "none", "accepted": str(s["counts"]["accepted"]),
                "rejected": str(sum(s["counts"]["rejected"].values())), **extra,
            }))
        if arm is None or arm_age_s > 1.0:
            array.status.append(_row(f"{where}: arm", where, STALE, "the arm process does not report", {}))
        else:
            level = ERROR if arm.drive == "fault" else OK
            array.status.append(_row(f"{where}: arm", where, level, arm.drive, {"age": f"{arm_age_s * 1e3:.0f} ms"}))
        self._diagnostics.publish(array)


def _row(name: str, hardware: str, level: Any, message: str, values: dict[str, str]) -> DiagnosticStatus:
    pairs = [KeyValue(key=k, value=v) for k, v in values.items()]
    return DiagnosticStatus(level=level, name=name, message=message, hardware_id=hardware, values=pairs)
