"""The patient in the physics: vertebrae as fixed concave meshes that breathe, the table as a box; soft tissue has no
shape.

Meshes come from the phantom's folder `mesh_m` (STL, LPS axes, metres, at most a few thousand triangles: the cost of a
contact grows with the triangles under the tool's box). Without a folder one box per vertebra stands in.
"""

from pathlib import Path

import pybullet as p

from sim.layout import TABLE_HALF, TORSO_HALF, TORSO_MIDDLE_Y
from teleop.geometry import Pose, compose


class SpineBody:
    """Static bodies that follow the patient's pose."""

    def __init__(self, client: int, world_T_ct: Pose, meshes: Path | None) -> None:
        self._client = client
        self._bodies: list[tuple[int, Pose]] = []
        identity = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0)
        files = sorted(meshes.glob("*.stl")) if meshes is not None and meshes.is_dir() else []
        for file in files:
            shape = p.createCollisionShape(
                p.GEOM_MESH, fileName=str(file), flags=p.GEOM_FORCE_CONCAVE_TRIMESH, physicsClientId=client
            )
            self._add(shape, identity, world_T_ct)
        if not files:
            for k in range(5):
                shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=(0.024, 0.03, 0.014), physicsClientId=client)
                self._add(shape, (0.0, 0.0, 0.08 - 0.04 * k, 0.0, 0.0, 0.0, 1.0), world_T_ct)
        table = p.createCollisionShape(p.GEOM_BOX, halfExtents=TABLE_HALF, physicsClientId=client)
        self._add(table, (0.0, TORSO_MIDDLE_Y - TORSO_HALF[1] - TABLE_HALF[1], 0.0, 0.0, 0.0, 0.0, 1.0), world_T_ct)

    def _add(self, shape: int, ct_T_body: Pose, world_T_ct: Pose) -> None:
        pose = compose(world_T_ct, ct_T_body)
        body = p.createMultiBody(
            baseMass=0.0,
            baseCollisionShapeIndex=shape,
            basePosition=pose[:3],
            baseOrientation=pose[3:],
            physicsClientId=self._client,
        )
        self._bodies.append((body, ct_T_body))

    def move(self, world_T_ct: Pose) -> None:
        """Put the bodies where the patient is now."""
        for body, ct_T_body in self._bodies:
            pose = compose(world_T_ct, ct_T_body)
            p.resetBasePositionAndOrientation(body, pose[:3], pose[3:], physicsClientId=self._client)
