"""Virtual fixtures: the corridor round the approved axis, keep-outs, and the clearance of the tool. Floats only.

The tool is a capsule from the tip backwards along -z of the tip frame (z: the guide's direction, towards the bone).
Keep-outs: sphere {c, r}, capsule {a, b, r}, half-space {n, d} (forbidden where n.x < d, n a unit vector).
The corridor: `entry`, unit `axis` into the bone, `radius` at the entry, widening by `slope` outwards, open to `depth`
beyond the entry. Round its axis (entry - near .. entry + depth) everything closer than `near` but outside the
corridor is
forbidden, so near bone there is only one way in. All lengths m, base frame. Each distance is 1-Lipschitz in the tip
position, which the proof of the bound needs: max/min of 1-Lipschitz functions.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Any

from safety.decode import Refusal
from safety.states import Reason

Vec = tuple[float, float, float]
_INF = float("inf")
MAX_KEEPOUTS = 64


@dataclass(frozen=True, slots=True)
class Corridor:
    """See the module. sin_tilt: largest sine of the angle between tool and axis inside. bone_from: where bone begins (m
    before the entry).
    """

    entry: Vec
    axis: Vec
    radius: float
    slope: float
    near: float
    depth: float
    sin_tilt: float
    bone_from: float


@dataclass(frozen=True, slots=True)
class KeepOut:
    """kind "sphere" (a = b), "capsule" or "halfspace" (a the unit normal, r the offset d). anatomical: 2 sigma of the
    registration are added. opened: the corridor, lengthened outwards as the cone it is, is the one way through (the
    patient's envelope).
    """

    name: str
    kind: str
    a: Vec
    b: Vec
    r: float
    anatomical: bool
    opened: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """What the case told: the confirmed plan, its registration, its fixtures."""

    plan_hash: bytes
    registration_epoch: int
    confirmed: bool
    sigma_reg: float
    corridor: Corridor | None
    keepouts: tuple[KeepOut, ...]


def dot(a: Vec, b: Vec) -> float:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def sub(a: Vec, b: Vec) -> Vec:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2])


def along(a: Vec, t: float, b: Vec) -> Vec:
    """a + t b"""
    return (a[0] + t * b[0], a[1] + t * b[1], a[2] + t * b[2])


def norm(a: Vec) -> float:
    return sqrt(a[0] * a[0] + a[1] * a[1] + a[2] * a[2])


def tip_of(pose: tuple[float, ...]) -> Vec:
    return (pose[0], pose[1], pose[2])


def axis_of(pose: tuple[float, ...]) -> Vec:
    """z of the frame with unit quaternion (x, y, z, w) at pose[3:7]."""
    x, y, z, w = pose[3], pose[4], pose[5], pose[6]
    return (2.0 * (x * z + w * y), 2.0 * (y * z - w * x), 1.0 - 2.0 * (x * x + y * y))


def turn(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """2 sin(angle/2 .. ) chord of the rotation between two poses: 2 sqrt(1 - <qa, qb>^2), which is the angle (rad) for
    small ones.
    """
    d = a[3] * b[3] + a[4] * b[4] + a[5] * b[5] + a[6] * b[6]
    rest = 1.0 - d * d
    return 2.0 * sqrt(rest) if rest > 0.0 else 0.0


def _clip01(t: float) -> float:
    return 0.0 if t < 0.0 else 1.0 if t > 1.0 else t


def segment_distance(p0: Vec, p1: Vec, q0: Vec, q1: Vec) -> float:
    """Smallest distance between two segments (Ericson, Real-Time Collision Detection 5.1.9)."""
    d1, d2, r = sub(p1, p0), sub(q1, q0), sub(p0, q0)
    a, e, f = dot(d1, d1), dot(d2, d2), dot(d2, r)
    if a <= 1e-18 and e <= 1e-18:
        return norm(r)
    if a <= 1e-18:
        s, t = 0.0, _clip01(f / e)
    else:
        c = dot(d1, r)
        if e <= 1e-18:
            s, t = _clip01(-c / a), 0.0
        else:
            b = dot(d1, d2)
            denominator = a * e - b * b
            s = _clip01((b * f - c * e) / denominator) if denominator > 1e-18 else 0.0
            t = (b * s + f) / e
            if t < 0.0:
                s, t = _clip01(-c / a), 0.0
            elif t > 1.0:
                s, t = _clip01((b - c) / a), 1.0
    return norm(sub(along(p0, s, d1), along(q0, t, d2)))


def keepout_distance(k: KeepOut, tip: Vec, back: Vec) -> float:
    """From the segment tip..back (without the tool's radius) to the keep-out; negative inside."""
    if k.kind == "halfspace":
        d_tip, d_back = dot(k.a, tip) - k.r, dot(k.a, back) - k.r
        return d_tip if d_tip < d_back else d_back
    return segment_distance(tip, back, k.a, k.b) - k.r


def depth_lateral(c: Corridor, tip: Vec) -> tuple[float, float]:
    """(depth beyond the entry along the axis, distance from the axis)."""
    r = sub(tip, c.entry)
    t = dot(r, c.axis)
    return t, norm(along(r, -t, c.axis))


def channel_distance(c: Corridor, tip: Vec) -> float:
    """Lower bound of the distance of a tip inside the corridor's cone, however far out, to its wall or end; negative outside."""
    t, lateral = depth_lateral(c, tip)
    widening = -t * c.slope if t < 0.0 else 0.0
    wall = (c.radius + widening - lateral) / sqrt(1.0 + c.slope * c.slope)
    return c.depth - t if c.depth - t < wall else wall


def corridor_distance(c: Corridor, tip: Vec) -> float:
    """Lower bound of the distance to what the corridor forbids; negative inside the forbidden."""
    wall = channel_distance(c, tip)
    lo, hi = along(c.entry, -c.near, c.axis), along(c.entry, c.depth, c.axis)
    outside = segment_distance(tip, tip, lo, hi) - c.near
    return wall if wall > outside else outside


def in_corridor_region(c: Corridor, tip: Vec) -> bool:
    """Is the tip where the corridor rules (closer than `near` to its axis)?"""
    lo, hi = along(c.entry, -c.near, c.axis), along(c.entry, c.depth, c.axis)
    return segment_distance(tip, tip, lo, hi) <= c.near


def tilt_ok(c: Corridor, pose: tuple[float, ...]) -> bool:
    """Is the tool parallel to the axis within `sin_tilt`?"""
    z = axis_of(pose)
    cos = dot(z, c.axis)
    return cos > 0.0 and 1.0 - cos * cos <= c.sin_tilt * c.sin_tilt


def clearance(
    scene: Scene | None, pose: tuple[float, ...], tool_length: float, tool_radius: float
) -> tuple[float, str]:
    """(distance of the tool to the nearest forbidden place less 2 sigma where anatomical, its name); (inf, "") without
    a scene.
    """
    best, name = _INF, ""
    if scene is None:
        return best, name
    tip = tip_of(pose)
    back = along(tip, -tool_length, axis_of(pose))
    way_in = channel_distance(scene.corridor, tip) if scene.corridor is not None else -_INF
    for k in scene.keepouts:
        d = keepout_distance(k, tip, back) - tool_radius - (2.0 * scene.sigma_reg if k.anatomical else 0.0)
        if k.opened and way_in > d:
            d = way_in
        if d < best:
            best, name = d, k.name
    if scene.corridor is not None:
        d = corridor_distance(scene.corridor, tip)
        if d < best:
            best, name = d, "corridor"
    return best, name


def zone_of(scene: Scene | None, pose: tuple[float, ...], clear: float, near_keepout: float) -> str:
    """ "free", "near" or "bone" at this pose, whose clearance is `clear`."""
    if scene is not None and scene.corridor is not None:
        tip = tip_of(pose)
        if in_corridor_region(scene.corridor, tip):
            return "bone" if depth_lateral(scene.corridor, tip)[0] >= -scene.corridor.bone_from else "near"
    return "near" if clear < near_keepout else "free"


def clamp_target(
    scene: Scene,
    now_at: tuple[float, ...],
    target: tuple[float, ...],
    tool_length: float,
    tool_radius: float,
    keep: float,
) -> tuple[tuple[float, ...], str]:
    """The nearest permitted target and the name of the fixture that changed it ("" where nothing did).

    Inside the corridor a target beyond the wall slides along it; elsewhere the way from `now_at` is cut where the
    clearance would fall below `keep`. A tool that is already too close may only move away. Only ever shortens: never
    motion of its own.
    """
    why = ""
    c = scene.corridor
    here, _ = clearance(scene, now_at, tool_length, tool_radius)
    if c is not None and in_corridor_region(c, tip_of(target)):
        if not tilt_ok(c, target) and tilt_ok(c, now_at):
            target, why = (*target[:3], *now_at[3:]), "corridor tilt"
        if corridor_distance(c, tip_of(target)) < 0.0 <= corridor_distance(c, tip_of(now_at)):
            target, why = (*_into_corridor(c, tip_of(target)), *target[3:]), "corridor"
    there, name = clearance(scene, target, tool_length, tool_radius)
    floor = keep if name != "corridor" else 0.0
    if there >= floor or there > here + 1e-9:
        return target, why
    if here <= floor:
        return now_at, name
    good, bad = 0.0, 1.0
    for _ in range(20):
        f = 0.5 * (good + bad)
        if clearance(scene, _between(now_at, target, f), tool_length, tool_radius)[0] >= floor:
            good = f
        else:
            bad = f
    return _between(now_at, target, good), name


def _into_corridor(c: Corridor, tip: Vec) -> Vec:
    t, lateral = depth_lateral(c, tip)
    if t > c.depth:
        t = c.depth
    allowed = c.radius + (-t * c.slope if t < 0.0 else 0.0)
    foot = along(c.entry, t, c.axis)
    r = sub(tip, c.entry)
    sideways = along(r, -dot(r, c.axis), c.axis)
    scale = allowed / lateral * (1.0 - 1e-9) if lateral > allowed else 1.0
    return along(foot, scale, sideways)


def _between(a: tuple[float, ...], b: tuple[float, ...], f: float) -> tuple[float, ...]:
    """Straight in position, normalised-linear in rotation, the short way."""
    sign = 1.0 if a[3] * b[3] + a[4] * b[4] + a[5] * b[5] + a[6] * b[6] >= 0.0 else -1.0
    q = [a[i] + f * (sign * b[i] - a[i]) for i in range(3, 7)]
    n = sqrt(q[0] * q[0] + q[1] * q[1] + q[2] * q[2] + q[3] * q[3])
    return (*(a[i] + f * (b[i] - a[i]) for i in range(3)), q[0] / n, q[1] / n, q[2] / n, q[3] / n)


def _number(m: dict[str, Any], key: str, low: float, high: float, default: float | None = None) -> float:
    value: Any = m.get(key, default)
    if type(value) not in (int, float) or not low <= float(value) <= high:
        raise Refusal(Reason.FIELDS, f"scene: {key} = {value!r}, needs a number {low} .. {high}")
    return float(value)


def _vector(m: dict[str, Any], key: str, unit: bool = False) -> Vec:
    value: Any = m.get(key)
    if (
        type(value) not in (list, tuple)
        or len(value) != 3
        or any(type(x) not in (int, float) or not abs(x) < 10.0 for x in value)
    ):
        raise Refusal(Reason.FIELDS, f"scene: {key} needs three numbers, m")
    x, y, z = (float(e) for e in value)
    if unit:
        n = sqrt(x * x + y * y + z * z)
        if not 0.999 < n < 1.001:
            raise Refusal(Reason.FIELDS, f"scene: {key} needs a unit vector, has length {n:.4f}")
        return (x / n, y / n, z / n)
    return (x, y, z)


def scene_from(order: dict[str, Any]) -> Scene:
    """From the `scene` order (docs/orders.md). Raises `Refusal(FIELDS)` naming the field."""
    plan_hash, epoch, confirmed = order.get("plan_hash"), order.get("registration_epoch"), order.get("confirmed", False)
    if type(plan_hash) is not bytes or len(plan_hash) != 8:
        raise Refusal(Reason.FIELDS, "scene: plan_hash needs 8 bytes")
    if type(epoch) is not int or epoch < 0:
        raise Refusal(Reason.FIELDS, "scene: registration_epoch needs an integer >= 0")
    if type(confirmed) is not bool:
        raise Refusal(Reason.FIELDS, "scene: confirmed needs a boolean")
    corridor = None
    c = order.get("corridor")
    if c is not None:
        if type(c) is not dict:
            raise Refusal(Reason.FIELDS, "scene: corridor needs a map")
        corridor = Corridor(
            _vector(c, "entry"), _vector(c, "axis", unit=True), _number(c, "radius", 1e-4, 0.05),
            _number(c, "slope", 0.0, 2.0, 0.2), _number(c, "near", 0.001, 0.2, 0.03),
            _number(c, "depth", 0.0, 0.2, 0.0),
            _number(c, "sin_tilt", 0.001, 0.5, 0.05),
            _number(c, "bone_from", 0.0, 0.05, 0.001),
        )  # fmt: skip
    keepouts = order.get("keepouts") or []
    if type(keepouts) not in (list, tuple) or len(keepouts) > MAX_KEEPOUTS:
        raise Refusal(Reason.FIELDS, f"scene: keepouts needs a list of at most {MAX_KEEPOUTS}")
    return Scene(plan_hash, epoch, confirmed, _number(order, "sigma_reg", 0.0, 0.01, 0.0005), corridor,
                 tuple(_keepout(k) for k in keepouts))  # fmt: skip


def _keepout(k: Any) -> KeepOut:
    if type(k) is not dict:
        raise Refusal(Reason.FIELDS, "scene: a keep-out needs a map")
    name, anatomical, opened = k.get("name", ""), k.get("anatomical", True), k.get("opened", False)
    if type(name) is not str or len(name) > 64 or type(anatomical) is not bool or type(opened) is not bool:
        raise Refusal(Reason.FIELDS, "scene: keep-out name (text), anatomical or opened (boolean) is wrong")
    kind = k.get("kind")
    if kind == "sphere":
        c = _vector(k, "c")
        return KeepOut(name, kind, c, c, _number(k, "r", 0.0, 5.0), anatomical, opened)
    if kind == "capsule":
        return KeepOut(name, kind, _vector(k, "a"), _vector(k, "b"), _number(k, "r", 0.0, 5.0), anatomical, opened)
    if kind == "halfspace":
        n = _vector(k, "n", unit=True)
        return KeepOut(name, kind, n, n, _number(k, "d", -10.0, 10.0), anatomical, opened)
    raise Refusal(Reason.FIELDS, f"scene: keep-out kind {kind!r}, known: sphere, capsule, halfspace")
