"""Which arm, which tool: a serial chain read from a URDF and a small YAML file beside it, so that another arm is
configuration.

The YAML file (see `models/iiwa7.yaml`) names the URDF, the two links of the chain, the tool's URDF, and what a URDF
does not say or says loosely: joint speed and torque limits of the real machine, home posture, tool radius. URDF
parsing is our own 30 lines of the standard library, because the servo loop needs plain arrays; pinocchio reads the
same files in the tests and has to agree.
"""

import importlib.util
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from teleop.geometry import Pose, check_pose, matrix_to_pose, pose_to_matrix

Array = NDArray[np.float64]
MODELS = Path(__file__).parent / "models"


class ModelError(ValueError):
    """The arm's description is unusable: says which file, which element, what to do."""


@dataclass(frozen=True, slots=True)
class ArmModel:
    """A serial chain with a tool. Arrays as `teleop.arm.kernels` wants them; limits in SI.

    lower/upper (n,) rad, v_max (n,) rad/s, effort (n,) N m; home (n,) rad; flange_T_tip from the tool's URDF, +z the
    direction of drilling; tool_radius (m): every tool point that may touch the patient lies within it of the tip;
    base_spheres, link_spheres (one tuple per joint), tool_spheres: (x, y, z, r) covering the collision meshes, in the
    base
    frame, the frame behind each joint, the tip frame."""

    name: str
    joint_names: tuple[str, ...]
    link_names: tuple[str, ...]
    pre: Array
    axis: Array
    prismatic: NDArray[np.int64]
    tool: Array
    lower: Array
    upper: Array
    v_max: Array
    effort: Array
    home: Array
    flange_T_tip: Pose
    tool_radius: float
    urdf: Path
    tool_urdf: Path
    base_link: str
    flange_link: str
    last_link_T_flange: Pose
    base_spheres: tuple[tuple[float, ...], ...]
    link_spheres: tuple[tuple[tuple[float, ...], ...], ...]
    tool_spheres: tuple[tuple[float, ...], ...]

    @property
    def n(self) -> int:
        return len(self.joint_names)


def _numbers(text: str | None, count: int, where: str) -> list[float]:
    values = [float(v) for v in (text or " ".join(["0"] * count)).split()]
    if len(values) != count:
        raise ModelError(f"{where}: expected {count} numbers, found {text!r}")
    return values


def _rpy_matrix(rpy: list[float]) -> Array:
    """URDF: fixed-axis roll, pitch, yaw."""
    r, p, y = rpy
    cr, sr, cp, sp, cy, sy = np.cos(r), np.sin(r), np.cos(p), np.sin(p), np.cos(y), np.sin(y)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def _origin(joint: ET.Element, where: str) -> Array:
    m = np.eye(4)
    origin = joint.find("origin")
    if origin is not None:
        m[:3, 3] = _numbers(origin.get("xyz"), 3, where)
        m[:3, :3] = _rpy_matrix(_numbers(origin.get("rpy"), 3, where))
    return m


def _joints_between(urdf: Path, base: str, tip: str) -> list[ET.Element]:
    """The URDF's joints from link `base` to link `tip`, in order."""
    try:
        root = ET.parse(urdf).getroot()
    except (OSError, ET.ParseError) as error:
        raise ModelError(f"{urdf}: cannot be read as URDF ({error})") from error
    by_child: dict[str, ET.Element] = {}
    for joint in root.findall("joint"):
        child = joint.find("child")
        if child is not None:
            by_child[child.get("link", "")] = joint
    names = {link.get("name") for link in root.findall("link")}
    for link in (base, tip):
        if link not in names:
            raise ModelError(f"{urdf}: no link {link!r}; the file has {', '.join(sorted(n for n in names if n))}")
    chain: list[ET.Element] = []
    link = tip
    while link != base:
        found = by_child.get(link)
        if found is None:
            raise ModelError(f"{urdf}: no chain of joints leads from {base!r} to {tip!r} (it ends at {link!r})")
        chain.append(found)
        parent = found.find("parent")
        link = parent.get("link", "") if parent is not None else ""
    return chain[::-1]


def fixed_transform(urdf: Path, base: str, tip: str) -> Pose:
    """base_T_tip of a URDF whose joints between the two are all fixed (a tool)."""
    m = np.eye(4)
    for joint in _joints_between(urdf, base, tip):
        if joint.get("type") != "fixed":
            raise ModelError(f"{urdf}: joint {joint.get('name')!r} of a tool must be fixed, is {joint.get('type')!r}")
        m = m @ _origin(joint, f"{urdf}: joint {joint.get('name')}")
    return matrix_to_pose(m)


def resolve(path: str, beside: Path) -> Path:
    """A path of a YAML file: `pybullet_data:...` finds that package's data without importing it, else relative to the
    file."""
    if path.startswith("pybullet_data:"):
        spec = importlib.util.find_spec("pybullet_data")
        if spec is None or spec.origin is None:
            raise ModelError(f"{beside}: {path} needs the package pybullet (pip install pybullet)")
        return Path(spec.origin).parent / path.split(":", 1)[1]
    return (beside.parent / path).resolve()


def load_model(name_or_path: str | Path = "iiwa7") -> ArmModel:
    """The model of a YAML file, or of a name in `teleop/arm/models`. Raises ModelError for whatever does not fit
    together."""
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = MODELS / f"{name_or_path}.yaml"
    try:
        config: dict[str, Any] = yaml.safe_load(path.read_text())
    except OSError as error:
        known = ", ".join(sorted(p.stem for p in MODELS.glob("*.yaml")))
        raise ModelError(f"no arm model {str(name_or_path)!r}: give a YAML file or one of {known}") from error
    try:
        return build_model(config, path)
    except KeyError as error:
        raise ModelError(f"{path}: key {error} is missing") from error


def _spheres(rows: list[list[float]], path: Path) -> tuple[tuple[float, ...], ...]:
    for row in rows:
        if len(row) != 4 or row[3] <= 0.0:
            raise ModelError(f"{path}: a sphere is x, y, z, r with r > 0, found {row}")
    return tuple(tuple(float(v) for v in row) for row in rows)


def build_model(config: dict[str, Any], path: Path) -> ArmModel:
    """ArmModel of a configuration already read; `path` anchors relative paths and names the file in errors."""
    urdf = resolve(config["urdf"], path)
    tool_urdf = resolve(config["tool"]["urdf"], path)
    elements = _joints_between(urdf, config["base_link"], config["last_link"])
    pre, axis, prismatic, names, links, lower, upper, v_max, effort = [], [], [], [], [], [], [], [], []
    pending = np.eye(4)
    for joint in elements:
        name = joint.get("name", "?")
        where = f"{urdf}: joint {name}"
        pending = pending @ _origin(joint, where)
        kind = joint.get("type")
        if kind == "fixed":
            continue
        if kind not in ("revolute", "continuous", "prismatic"):
            raise ModelError(f"{where}: joints of type {kind!r} are not supported")
        element = joint.find("axis")
        a = np.array(_numbers(element.get("xyz") if element is not None else "1 0 0", 3, where))
        limit = joint.find("limit")
        if limit is None and kind != "continuous":
            raise ModelError(f"{where}: has no <limit>")
        attributes = limit.attrib if limit is not None else {}
        child = joint.find("child")
        pre.append(pending)
        axis.append(a / np.linalg.norm(a))
        prismatic.append(1 if kind == "prismatic" else 0)
        names.append(name)
        links.append(child.get("link", "") if child is not None else "")
        lower.append(float(attributes.get("lower", -2 * np.pi)))
        upper.append(float(attributes.get("upper", 2 * np.pi)))
        v_max.append(float(attributes.get("velocity", 1.0)))
        effort.append(float(attributes.get("effort", 100.0)))
        pending = np.eye(4)
    n = len(names)
    for key, target in (("velocity", v_max), ("effort", effort), ("lower", lower), ("upper", upper)):
        if key in config:
            if len(config[key]) != n:
                raise ModelError(f"{path}: {key} has {len(config[key])} values, the chain has {n} joints")
            target[:] = [float(v) for v in config[key]]
    home = np.array([float(v) for v in config["home"]])
    if home.shape != (n,):
        raise ModelError(f"{path}: home has {home.size} values, the chain has {n} joints")
    if np.any(home < lower) or np.any(home > upper):
        raise ModelError(f"{path}: home lies outside the joint limits")
    last_T_flange = check_pose(config.get("last_link_T_flange", (0, 0, 0, 0, 0, 0, 1)), f"{path}: last_link_T_flange")
    flange_T_tip = fixed_transform(tool_urdf, config["tool"]["base_link"], config["tool"]["tip_link"])
    return ArmModel(
        name=str(config["name"]),
        joint_names=tuple(names),
        link_names=tuple(links),
        pre=np.ascontiguousarray(pre),
        axis=np.ascontiguousarray(axis),
        prismatic=np.array(prismatic, dtype=np.int64),
        tool=np.ascontiguousarray(pending @ pose_to_matrix(last_T_flange) @ pose_to_matrix(flange_T_tip)),
        lower=np.array(lower),
        upper=np.array(upper),
        v_max=np.array(v_max),
        effort=np.array(effort),
        home=home,
        flange_T_tip=flange_T_tip,
        tool_radius=float(config["tool"]["radius"]),
        urdf=urdf,
        tool_urdf=tool_urdf,
        base_link=str(config["base_link"]),
        flange_link=str(config["last_link"]),
        last_link_T_flange=last_T_flange,
        base_spheres=_spheres(config.get("spheres", {}).get("base", []), path),
        link_spheres=tuple(_spheres(link, path) for link in config.get("spheres", {}).get("links", [])),
        tool_spheres=_spheres(config["tool"].get("spheres", []), path),
    )
