"""`bmode(map, lps_T_probe, settings) -> image`: an ultrasound B-mode picture from tissue maps at the probe's pose.

Physics-inspired, after Burger et al., Real-time GPU-based ultrasound simulation using deformable mesh models (IEEE TMI
2013) and Salehi et al., Patient-specific 3D ultrasound simulation based on convolutional ray-tracing (MICCAI 2015): each
scan line is followed into the body; at every step the change of impedance reflects (more when struck at right angles), the
rest goes on attenuated, so bone is bright and dark behind; scatterers fixed to the tissue, blurred by a pulse and a beam
that widens with depth, give speckle that moves with the tissue; gain by depth, logarithm, fan. Left out: refraction, echoes between
interfaces, thickness of the slice. It looks like the thing; it measures nothing.

Probe frame: origin in the middle of the transducer's face, +z into the body, +x to the right of the picture, mm.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import NDArray

from sim.pictures.acoustics import AcousticMap
from teleop.media import geometry


@dataclass(frozen=True)
class Probe:
    """A convex probe and its settings. Lengths mm, angles rad, frequency MHz, image pixels."""

    radius_mm: float = geometry.RADIUS_MM
    field_rad: float = geometry.FIELD_RAD
    depth_mm: float = geometry.DEPTH_MM
    frequency_mhz: float = 4.0
    lines: int = 144
    samples: int = 400
    focus_mm: float = 35.0
    gain_db: float = 2.0
    tgc_db_cm_mhz: float = 0.75  # one way, what the depth gain makes good
    range_db: float = 62.0
    width: int = geometry.WIDTH
    height: int = geometry.HEIGHT


@njit(cache=True, nogil=True)
def _hash_normal(i: int, j: int, k: int, seed: int) -> float:
    """An approximately normal number (sum of four uniforms) that belongs to cell (i, j, k) of space."""
    h = np.uint32(i * 73856093) ^ np.uint32(j * 19349663) ^ np.uint32(k * 83492791) ^ np.uint32(seed * 2654435761)
    total = 0.0
    for _ in range(4):
        h = np.uint32(h ^ np.uint32(h >> np.uint32(16)))
        h = np.uint32(h * np.uint32(0x45D9F3B))
        h = np.uint32(h ^ np.uint32(h >> np.uint32(15)))
        total += np.float64(h) / 4294967296.0
    return (total - 2.0) * 1.7320508


@njit(cache=True, nogil=True)
def _tissue(t: NDArray[np.float32], x: float, y: float, z: float, out: NDArray[np.float64]) -> None:
    """Trilinear; outside the image it is air."""
    i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
    if i < 0 or j < 0 or k < 0 or i >= t.shape[0] - 1 or j >= t.shape[1] - 1 or k >= t.shape[2] - 1:
        out[0], out[1], out[2] = 0.0004, 40.0, 0.0
        return
    u, v, w = x - i, y - j, z - k
    for c in range(3):
        a = (t[i, j, k, c] * (1 - u) + t[i + 1, j, k, c] * u) * (1 - v) + (t[i, j + 1, k, c] * (1 - u) + t[i + 1, j + 1, k, c] * u) * v
        b = (t[i, j, k + 1, c] * (1 - u) + t[i + 1, j, k + 1, c] * u) * (1 - v) + (
            t[i, j + 1, k + 1, c] * (1 - u) + t[i + 1, j + 1, k + 1, c] * u
        ) * v
        out[c] = a * (1 - w) + b * w


@njit(cache=True, nogil=True)
def _lines(
    tissue: NDArray[np.float32], m: NDArray[np.float64], p: NDArray[np.float64], radius: float, field: float, depth: float, mhz: float,
    n_lines: int, n_samples: int, field_out: NDArray[np.complex128],
) -> None:  # fmt: skip
    """m: ijk_T_lps, p: lps_T_probe (4, 4). Fills (lines, samples) with the complex echo field before blurring."""
    here, probe_a, probe_b = np.zeros(3), np.zeros(3), np.zeros(3)
    q = m @ p
    step = depth / n_samples
    # In contact there is gel between face and skin: what lies there as air is gel (a thick layer of it).
    gel_mm = 9.0
    cell = 0.42
    for line in range(n_lines):
        angle = (line / (n_lines - 1) - 0.5) * field
        dx, dz = np.sin(angle), np.cos(angle)
        amplitude, z_before, started = 1.0, 1.55, False
        for s in range(n_samples):
            r = (s + 0.5) * step
            px, pz = (radius + r) * dx, (radius + r) * dz - radius
            vx = q[0, 0] * px + q[0, 2] * pz + q[0, 3]
            vy = q[1, 0] * px + q[1, 2] * pz + q[1, 3]
            vz = q[2, 0] * px + q[2, 2] * pz + q[2, 3]
            _tissue(tissue, vx, vy, vz, here)
            if not started:
                if here[0] < 1.2 and r < gel_mm:
                    continue
                started = True
                z_before = here[0] if here[0] > 1.2 else 1.55
            reflect = (here[0] - z_before) / (here[0] + z_before)
            specular = 0.0
            if abs(reflect) > 1e-3:
                # How squarely the interface is struck: the impedance gradient along the beam against that across it.
                e = 1.2
                ax, az = px + dz * e, pz - dx * e
                bx, bz = px - dz * e, pz + dx * e
                _tissue(tissue, q[0, 0] * ax + q[0, 2] * az + q[0, 3], q[1, 0] * ax + q[1, 2] * az + q[1, 3], q[2, 0] * ax + q[2, 2] * az + q[2, 3], probe_a)
                _tissue(tissue, q[0, 0] * bx + q[0, 2] * bz + q[0, 3], q[1, 0] * bx + q[1, 2] * bz + q[1, 3], q[2, 0] * bx + q[2, 2] * bz + q[2, 3], probe_b)
                across = (probe_a[0] - probe_b[0]) / (2 * e)
                along = (here[0] - z_before) / step
                cos2 = along * along / (along * along + across * across + 1e-12)
                specular = reflect * cos2
            lx = p[0, 0] * px + p[0, 2] * pz + p[0, 3]
            ly = p[1, 0] * px + p[1, 2] * pz + p[1, 3]
            lz = p[2, 0] * px + p[2, 2] * pz + p[2, 3]
            i, j, k = int(np.floor(lx / cell)), int(np.floor(ly / cell)), int(np.floor(lz / cell))
            re, im = _hash_normal(i, j, k, 1), _hash_normal(i, j, k, 2)
            # Fibres and sheets of muscle: scatterers come in bands of a few millimetres.
            band = 1.0 + 0.45 * _hash_normal(int(np.floor(lx / 7.0)), int(np.floor(ly / 1.9)), int(np.floor(lz / 12.0)), 3)
            strength = 0.010 * here[2] * max(0.15, band)
            field_out[line, s] = amplitude * (strength * complex(re, im) + 1.6 * specular)
            amplitude *= np.sqrt(max(0.0, 1.0 - reflect * reflect)) * 10.0 ** (-here[1] * mhz * step / 10.0 / 20.0 * 2.0)
            if amplitude < 1e-6:
                break
            z_before = here[0]


@njit(cache=True, nogil=True)
def _blur(f: NDArray[np.complex128], step: float, radius: float, field: float, focus: float, mhz: float) -> NDArray[np.complex128]:
    """Pulse (along) and beam (across, widest far from the focus) as Gaussians. (lines, samples) -> same."""
    n, m = f.shape
    sigma = 0.6 / mhz / step  # two cycles of the carrier, in samples
    half = int(3 * sigma) + 1
    kernel = np.exp(-0.5 * (np.arange(-half, half + 1) / sigma) ** 2)
    out = np.zeros_like(f)
    for i in range(n):
        for s in range(m):
            a = 0.0 + 0.0j
            for d in range(-half, half + 1):
                if 0 <= s + d < m:
                    a += f[i, s + d] * kernel[d + half]
            out[i, s] = a
    final = np.zeros_like(f)
    for s in range(m):
        r = (s + 0.5) * step
        width_mm = 0.75 + 0.9 * abs(r - focus) / focus
        sigma_l = max(0.6, width_mm / ((radius + r) * field / (n - 1)))
        reach = min(12, int(2.5 * sigma_l) + 1)
        weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma_l) ** 2)
        norm = np.sqrt((weights**2).sum())
        for i in range(n):
            a = 0.0 + 0.0j
            for d in range(-reach, reach + 1):
                if 0 <= i + d < n:
                    a += out[i + d, s] * weights[d + reach]
            final[i, s] = a / norm
    return final


@lru_cache(maxsize=8)
def _fan(p: Probe) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
    """For every pixel its scan line and sample (fractions), and whether it lies in the fan."""
    x, z = pixel_grid(p)
    r = np.hypot(x, z + p.radius_mm)
    line = (np.arctan2(x, z + p.radius_mm) / p.field_rad + 0.5) * (p.lines - 1)
    sample = (r - p.radius_mm) / p.depth_mm * p.samples - 0.5
    inside = (line >= 0) & (line <= p.lines - 1.001) & (sample >= 0) & (sample <= p.samples - 1.001)
    return line.astype(np.float32), sample.astype(np.float32), inside


def mm_per_pixel(p: Probe) -> float:
    """Size of a (square) pixel."""
    return geometry.mm_per_pixel(p.radius_mm, p.field_rad, p.depth_mm, p.width, p.height)


def pixel_grid(p: Probe) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and z (mm, probe frame) of every pixel's centre, each (height, width)."""
    size = mm_per_pixel(p)
    x = (np.arange(p.width) - (p.width - 1) / 2) * size
    z = (np.arange(p.height) + 0.5) * size - p.radius_mm * (1 - np.cos(p.field_rad / 2)) - 1.0
    return np.broadcast_to(x, (p.height, p.width)).copy(), np.repeat(z[:, None], p.width, axis=1)


def probe_T_pixel(p: Probe) -> NDArray[np.float64]:
    """(4, 4): (column, row, 0, 1) of a pixel -> probe frame, mm. Row and column as in the picture, top left is 0, 0."""
    size = mm_per_pixel(p)
    m = np.zeros((4, 4))
    m[0, 0], m[0, 3] = size, -(p.width - 1) / 2 * size
    m[2, 1], m[2, 3] = size, 0.5 * size - p.radius_mm * (1 - np.cos(p.field_rad / 2)) - 1.0
    m[1, 2], m[3, 3] = 1.0, 1.0
    return m


def bmode(maps: AcousticMap, lps_T_probe: NDArray[np.float64], p: Probe = Probe(), noise_seed: int = 0) -> NDArray[np.uint8]:
    """The picture, (height, width) grey. Same arguments, same picture. noise_seed: the receiver's own noise (frame number)."""
    field = np.zeros((p.lines, p.samples), dtype=np.complex128)
    _lines(
        maps.tissue, maps.ijk_T_lps, np.ascontiguousarray(lps_T_probe, dtype=float), p.radius_mm, p.field_rad, p.depth_mm,
        p.frequency_mhz, p.lines, p.samples, field,
    )  # fmt: skip
    step = p.depth_mm / p.samples
    envelope = np.abs(_blur(field, step, p.radius_mm, p.field_rad, p.focus_mm, p.frequency_mhz))
    rng = np.random.default_rng(noise_seed)
    envelope += np.abs(rng.standard_normal(envelope.shape, dtype=np.float32)) * 2e-5
    depth_cm = (np.arange(p.samples) + 0.5) * step / 10.0
    db = 20.0 * np.log10(envelope + 1e-9) + p.gain_db + 2.0 * p.tgc_db_cm_mhz * p.frequency_mhz * depth_cm[None, :]
    grey = np.clip((db + p.range_db - 6.0) / p.range_db, 0.0, 1.0) * 255.0
    line, sample, inside = _fan(p)
    return _scan_convert(grey.astype(np.float32), line, sample, inside)


@njit(cache=True, nogil=True)
def _scan_convert(
    grey: NDArray[np.float32], line: NDArray[np.float32], sample: NDArray[np.float32], inside: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    out = np.zeros(line.shape, dtype=np.uint8)
    for y in range(line.shape[0]):
        for x in range(line.shape[1]):
            if inside[y, x]:
                i, s = int(line[y, x]), int(sample[y, x])
                u, v = line[y, x] - i, sample[y, x] - s
                a = grey[i, s] * (1 - u) + grey[i + 1, s] * u
                b = grey[i, s + 1] * (1 - u) + grey[i + 1, s + 1] * u
                out[y, x] = np.uint8(a * (1 - v) + b * v)
    return out
