"""A small software renderer: triangles, a depth buffer, one lamp. PyBullet's TinyRenderer costs about as much for the arm alone
(bench/media.py), but it belongs to the arm process, whose loop it would hold up; this runs in a process of its own, lets
go of the interpreter, and draws what the physics does not have (drape, wound, an endoscope's light).

Camera frame: +z forward, +x right, +y down; metres. Colours 0..255.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

Points = NDArray[np.float32]


@dataclass(frozen=True)
class Mesh:
    """vertices (n, 3) metres; faces (m, 3) int32; colours (m, 3) 0..255; shine 0..1."""

    vertices: Points
    faces: NDArray[np.int32]
    colours: Points
    shine: float = 0.2


@dataclass(frozen=True)
class Lens:
    """Pinhole: size in pixels, focal length in pixels. lamp: light falls from the camera itself (an endoscope) or from above."""

    width: int
    height: int
    focal: float
    lamp_at_camera: bool = False
    near: float = 0.005


@njit(cache=True, nogil=True)
def _draw(
    v: NDArray[np.float32], faces: NDArray[np.int32], colours: NDArray[np.float32], shine: float, lamp: NDArray[np.float32], at_camera: bool,
    focal: float, near: float, image: NDArray[np.float32], depth: NDArray[np.float32],
) -> None:  # fmt: skip
    h, w = depth.shape
    cx, cy = w / 2.0, h / 2.0
    for n in range(faces.shape[0]):
        a, b, c = v[faces[n, 0]], v[faces[n, 1]], v[faces[n, 2]]
        if a[2] < near or b[2] < near or c[2] < near:
            continue
        ux, uy, uz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
        wx, wy, wz = c[0] - a[0], c[1] - a[1], c[2] - a[2]
        nx, ny, nz = uy * wz - uz * wy, uz * wx - ux * wz, ux * wy - uy * wx
        size = np.sqrt(nx * nx + ny * ny + nz * nz)
        if size < 1e-14:
            continue
        nx, ny, nz = nx / size, ny / size, nz / size
        mx, my, mz = (a[0] + b[0] + c[0]) / 3, (a[1] + b[1] + c[1]) / 3, (a[2] + b[2] + c[2]) / 3
        if nx * mx + ny * my + nz * mz > 0:  # both sides are lit: meshes come from many hands
            nx, ny, nz = -nx, -ny, -nz
        if at_camera:
            r = np.sqrt(mx * mx + my * my + mz * mz)
            lx, ly, lz = -mx / r, -my / r, -mz / r
            power = min(1.3, 0.055 / (r * r + 0.012))
        else:
            lx, ly, lz = lamp[0] - mx, lamp[1] - my, lamp[2] - mz
            r = np.sqrt(lx * lx + ly * ly + lz * lz)
            lx, ly, lz = lx / r, ly / r, lz / r
            power = 1.0
        lit = nx * lx + ny * ly + nz * lz
        light = power * (0.30 + 0.70 * max(0.0, lit)) if at_camera else 0.34 + 0.66 * max(0.0, lit)
        gloss = shine * power * max(0.0, lit) ** 24 * 160.0
        red, green, blue = colours[n, 0] * light + gloss, colours[n, 1] * light + gloss, colours[n, 2] * light + gloss
        ax, ay = a[0] / a[2] * focal + cx, a[1] / a[2] * focal + cy
        bx, by = b[0] / b[2] * focal + cx, b[1] / b[2] * focal + cy
        qx, qy = c[0] / c[2] * focal + cx, c[1] / c[2] * focal + cy
        area = (bx - ax) * (qy - ay) - (by - ay) * (qx - ax)
        if abs(area) < 1e-6:
            continue
        x0, x1 = max(0, int(min(ax, bx, qx))), min(w - 1, int(max(ax, bx, qx)) + 1)
        y0, y1 = max(0, int(min(ay, by, qy))), min(h - 1, int(max(ay, by, qy)) + 1)
        ia, ib, ic = 1 / a[2], 1 / b[2], 1 / c[2]
        for y in range(y0, y1 + 1):
            py = y + 0.5
            for x in range(x0, x1 + 1):
                px = x + 0.5
                s = ((px - ax) * (qy - ay) - (py - ay) * (qx - ax)) / area
                t = ((bx - ax) * (py - ay) - (by - ay) * (px - ax)) / area
                if s >= 0 and t >= 0 and s + t <= 1:
                    inverse = ia + s * (ib - ia) + t * (ic - ia)
                    if inverse > depth[y, x]:
                        depth[y, x] = inverse
                        image[y, x, 0], image[y, x, 1], image[y, x, 2] = red, green, blue


class Canvas:
    """One picture under construction: clear, draw meshes, finish."""

    def __init__(self, lens: Lens) -> None:
        self.lens = lens
        self.image = np.zeros((lens.height, lens.width, 3), dtype=np.float32)
        self.depth = np.zeros((lens.height, lens.width), dtype=np.float32)

    def clear(self, top: tuple[float, float, float], bottom: tuple[float, float, float]) -> None:
        ramp = np.linspace(0, 1, self.lens.height, dtype=np.float32)[:, None, None]
        self.image[:] = np.array(top, dtype=np.float32) * (1 - ramp) + np.array(bottom, dtype=np.float32) * ramp
        self.depth[:] = 0

    def draw(self, mesh: Mesh, camera_T_mesh: NDArray[np.float64], lamp_camera: NDArray[np.float64]) -> None:
        """camera_T_mesh: (4, 4), metres. lamp_camera: (3,) place of the lamp in the camera's frame."""
        m = camera_T_mesh.astype(np.float32)
        v = np.ascontiguousarray(mesh.vertices @ m[:3, :3].T + m[:3, 3])
        _draw(v, mesh.faces, mesh.colours, mesh.shine, lamp_camera.astype(np.float32), self.lens.lamp_at_camera,
              self.lens.focal, self.lens.near, self.image, self.depth)  # fmt: skip

    def finish(self, noise: float, seed: int) -> NDArray[np.uint8]:
        """(height, width, 3) RGB with the sensor's noise: two pictures of a living camera are never the same."""
        rng = np.random.default_rng(seed)
        # One table of noise, shifted by chance: cheaper than half a million random numbers per picture.
        table = _noise_table(self.image.shape[0] + 64, self.image.shape[1] + 64)
        y, x = int(rng.integers(0, 64)), int(rng.integers(0, 64))
        grain = table[y : y + self.image.shape[0], x : x + self.image.shape[1], None] * noise
        return np.clip(self.image + grain, 0, 255).astype(np.uint8)


_TABLES: dict[tuple[int, int], NDArray[np.float32]] = {}


def _noise_table(h: int, w: int) -> NDArray[np.float32]:
    if (h, w) not in _TABLES:
        _TABLES[h, w] = np.random.default_rng(7).standard_normal((h, w), dtype=np.float32)
    return _TABLES[h, w]


def look_at(eye: tuple[float, ...], target: tuple[float, ...], up: tuple[float, ...] = (0.0, 0.0, 1.0)) -> NDArray[np.float64]:
    """world_T_camera (4, 4) of a camera at `eye` that looks at `target`."""
    e, t = np.asarray(eye, dtype=float), np.asarray(target, dtype=float)
    z = (t - e) / np.linalg.norm(t - e)
    x = np.cross(z, np.asarray(up, dtype=float))
    x /= np.linalg.norm(x)
    m = np.eye(4)
    m[:3, 0], m[:3, 1], m[:3, 2], m[:3, 3] = x, np.cross(z, x), z, e
    return m
