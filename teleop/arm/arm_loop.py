"""The arm process without its clock: one `tick(now)` reads encoders, takes leases, runs the drive, writes the
reference.

The owner (the ROS node, a test, a campaign) calls `tick` every `period_ns`, or every `PARKED_PERIOD_NS` while
`parked` is
true, with its clock as argument. Everything that came over arm.sock since the last tick is applied in order; of several
leases the drive keeps the newest valid one. Reports go to the governor at 100 Hz (10 Hz parked) and at once when the
drive
changes its word.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import msgpack

from safety.lease import ArmReport, MotionLease
from teleop.arm.drive import DriveParams, DriveState, accept_path, clear_paths, initial, step
from teleop.arm.driver import ArmDriver, DriverError, EncoderSample
from teleop.arm.messages import MessageError, lease_from, path_from, report_packet

REPORT_NS = 10_000_000
PARKED_REPORT_NS = 100_000_000
PARKED_PERIOD_NS = 20_000_000


class Door(Protocol):
    """Where messages come from (`GovernorDoor`, or a list in a test)."""

    def poll(self, *, accept: bool = True) -> Sequence[dict[str, Any]]: ...

    def send(self, packet: bytes) -> bool: ...


class ArmLoop:
    """One arm: driver, drive and the governor's door."""

    def __init__(self, driver: ArmDriver, params: DriveParams, door: Door, now: int) -> None:
        self.driver = driver
        self.params = params
        self.door = door
        self.sample: EncoderSample = driver.read(now)
        self.state: DriveState = initial(self.sample, params)
        self.report: ArmReport | None = None
        self.malformed = 0
        self.last_error = ""
        self._next_report = now
        self._word = ""
        self._ticks = 0
        self._driver_fault = ""
        driver.brakes(True)
        self._brakes = True

    @property
    def parked(self) -> bool:
        """Nothing moves and nothing is permitted to: the owner may tick slowly."""
        return self._brakes

    @property
    def period_ns(self) -> int:
        """When the owner should tick next."""
        return PARKED_PERIOD_NS if self._brakes else self.params.period_ns

    def tick(self, now: int) -> ArmReport:
        """One period. Never raises for anything that came over the socket; a driver that lost its robot is a fault."""
        self._ticks += 1
        newest: MotionLease | None = None
        waiting: list[MotionLease] = []
        halt, clear, fault = False, False, ""
        for message in self.door.poll(accept=self._brakes or self._ticks % 25 == 0):
            try:
                kind = message["t"]
                if kind == "lease":
                    waiting.append(lease_from(message))
                elif kind == "halt":
                    # what was permitted before the halt is void
                    halt, waiting = True, []
                elif kind == "fault":
                    fault = f"governor: {message.get('why', 'no reason given')}"
                elif kind == "clear":
                    clear = True
                elif kind == "clear_paths":
                    self.state = clear_paths(self.state)
                elif kind == "path":
                    self._path(message)
                elif kind != "hello":
                    raise MessageError(f"unknown message {kind!r}")
            except MessageError as error:
                self.malformed += 1
                self.last_error = str(error)
        if waiting:
            newest = max(waiting, key=lambda lease: (lease.epoch, lease.lease_id))
        try:
            self.sample = self.driver.read(now)
        except DriverError as error:
            # the last sample stays: what is not known is not invented, and a drive at fault stands
            fault = fault or f"driver: {error}"
        fault, self._driver_fault = fault or self._driver_fault, ""
        self.state, q_ref, dq_ref, report = step(
            self.state, now, newest, self.sample, self.params, halt=halt, clear=clear, fault=fault
        )
        if self.state.brakes != self._brakes:
            self._brakes = self.state.brakes
            self.driver.brakes(self._brakes)
        try:
            self.driver.write(q_ref, dq_ref)
        except DriverError as error:
            self._driver_fault = f"driver: {error}"
        self.report = report
        if now >= self._next_report or report.drive != self._word:
            self._word = report.drive
            self._next_report = now + (PARKED_REPORT_NS if self._brakes else REPORT_NS)
            self.door.send(report_packet(report))
        return report

    def _path(self, message: dict[str, Any]) -> None:
        """Store a path and answer; a malformed one is answered too, if it has a hash at all."""
        key = message.get("path_hash")
        ok, reason = False, ""
        try:
            self.state, ok, reason = accept_path(self.state, path_from(message), self.params)
        except MessageError as error:
            reason = str(error)
        if isinstance(key, bytes):
            answer = {"t": "path_ok", "path_hash": key, "ok": ok, "reason": reason}
            self.door.send(msgpack.packb(answer, use_bin_type=True))
