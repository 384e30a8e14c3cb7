"""A small simulation to check passivity with: an operator, a sampled haptic device, a bad line, an arm at a wall. One
axis, SI.

Used by the tests and by `bench/hand.py`; no part of the product's data path. The device is a mass with damping,
sampled with a zero-order hold
every `period` (the model behind Colgate's condition); the operator pulls it through a spring along a slow wave; the
arm follows
the received velocity exactly (the worst case for stability: it adds no damping) and pushes a wall that is a spring.
"""

import random
from dataclasses import dataclass
from math import pi, sin

from teleop.master.passivity import EnergyLedger, PassivityPort


@dataclass(frozen=True, slots=True)
class Line:
    """delay s one way, jitter s (uniform, on top), loss 0..1."""

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0


@dataclass(frozen=True, slots=True)
class Device:
    """mass kg, damping N s/m, period s of the haptic loop; the operator's arm: stiffness N/m, damping N s/m."""

    mass: float = 0.3
    damping: float = 2.0
    period: float = 1e-3
    operator_stiffness: float = 100.0
    operator_damping: float = 3.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """master, arm: ledgers; lowest_observer J over both ports and all steps; released J: the most energy the line had
    given out beyond what
    went in, both ends together; largest_swing m of the device in the last quarter, against the operator's own wave."""

    master: EnergyLedger
    arm: EnergyLedger
    lowest_observer: float
    released: float
    largest_swing: float


def reflect(line: Line, device: Device, control: bool, wall: float = 800.0, seconds: float = 10.0, seed: int = 0,
            budget: float = 0.0) -> Outcome:  # fmt: skip
    """Run the two ends. control: the passivity controllers act; without them only the books are kept."""
    rng, dt = random.Random(seed), device.period
    master, arm = PassivityPort(budget), PassivityPort(budget)
    to_arm: list[tuple[float, int, float, float]] = []
    to_master: list[tuple[float, int, float, float]] = []
    x = v = arm_x = 0.0
    heard_v = heard_f = 0.0
    heard_v_n = heard_f_n = -1
    in_m = out_m = in_a = out_a = 0.0
    lowest, released, swing = 0.0, 0.0, 0.0
    steps = round(seconds / dt)
    for n in range(steps):
        t = n * dt
        for queue, at_arm in ((to_arm, True), (to_master, False)):
            for packet in [p for p in queue if p[0] <= t]:
                queue.remove(packet)
                _, k, value, energy = packet
                (arm if at_arm else master).hear(energy)
                if at_arm and k > heard_v_n:
                    heard_v, heard_v_n = value, k
                elif not at_arm and k > heard_f_n:
                    heard_f, heard_f_n = value, k
        # the arm's end: renders the received velocity against the wall
        f_wall = wall * max(0.0, arm_x - 0.005)
        if control:
            u = arm.velocity((heard_v, 0.0, 0.0), (f_wall, 0.0, 0.0), dt)[0]
        else:
            u = heard_v
        arm_x += u * dt
        p = u * f_wall * dt
        in_a, out_a = in_a + max(0.0, -p), out_a + max(0.0, p)
        # the master's end: renders the received force on the device, one zero-order hold
        wish = -heard_f
        f = master.force((wish, 0.0, 0.0), (v, 0.0, 0.0), dt)[0] if control else wish
        p = f * v * dt
        in_m, out_m = in_m + max(0.0, -p), out_m + max(0.0, p)
        wave = 0.02 * sin(2.0 * pi * 0.3 * t)
        sub_steps = 5
        for _ in range(sub_steps):
            hand = device.operator_stiffness * (wave - x) - device.operator_damping * v
            v += (hand + f - device.damping * v) / device.mass * dt / sub_steps
            x += v * dt / sub_steps
        if control:
            lowest = min(lowest, master.ledger.observer, arm.ledger.observer)
        released = max(released, out_a + out_m - in_a - in_m)
        if n > 0.75 * steps:
            swing = max(swing, abs(x))
        for queue, value, energy in (
            (to_arm, v, master.ledger.into if control else in_m),
            (to_master, f_wall, arm.ledger.into if control else in_a),
        ):
            if rng.random() >= line.loss:
                queue.append((t + line.delay + rng.random() * line.jitter, n, value, energy))
    return Outcome(master.ledger, arm.ledger, lowest, released, swing)


def wall_energy(device: Device, stiffness: float, rendered_damping: float = 0.0, seconds: float = 4.0) -> float:
    """The most energy (J) that a locally rendered wall has given to a device beyond what it took, when the device is
    thrown at it.

    A passive wall gives nothing: the value stays at zero (up to the rounding of one step)."""
    dt, sub_steps = device.period, 10
    x, v, f, energy, most = -0.002, 0.3, 0.0, 0.0, 0.0
    for _ in range(round(seconds / dt)):
        f = -stiffness * x - rendered_damping * v if x > 0.0 else 0.0
        for _ in range(sub_steps):
            # pushed to the wall by a light constant force, as a resting hand does; no damping but the device's
            v += (1.0 + f - device.damping * v) / device.mass * dt / sub_steps
            step = v * dt / sub_steps
            x += step
            energy += f * step - device.damping * v * step
        most = max(most, energy)
    return most
