// Any plane through a volume, by trilinear interpolation at voxel centres.
import { transformDirection, transformPoint } from "../lib/vec.js";

/**
 * Fill `out` (RGBA, width x height) with the plane's grey values.
 * origin: patient point of the centre of pixel (0, 0); du, dv: patient vectors of one pixel to the right and down.
 * window: {low, high} in Hounsfield units. Outside the volume is a dark blue that is no grey of an image.
 */
export function reslice(volume, origin, du, dv, width, height, window, out) {
  const { voxels, shape: [ni, nj, nk], lpsToIjk } = volume;
  const o = transformPoint(lpsToIjk, origin), a = transformDirection(lpsToIjk, du), b = transformDirection(lpsToIjk, dv);
  const row = ni, slab = ni * nj;
  const gain = 255 / (window.high - window.low), low = window.low;
  const words = new Uint32Array(out.buffer, out.byteOffset, width * height);
  const outside = 0xff16100c; // little-endian ABGR of #0c1016
  const maxI = ni - 1, maxJ = nj - 1, maxK = nk - 1;
  for (let y = 0, w = 0; y < height; y++) {
    let fi = o[0] + b[0] * y, fj = o[1] + b[1] * y, fk = o[2] + b[2] * y;
    for (let x = 0; x < width; x++, w++, fi += a[0], fj += a[1], fk += a[2]) {
      if (fi < -0.5 || fj < -0.5 || fk < -0.5 || fi > maxI + 0.5 || fj > maxJ + 0.5 || fk > maxK + 0.5) { words[w] = outside; continue; }
      // Half a voxel around the outermost centres belongs to the outermost voxels.
      const ci = fi < 0 ? 0 : fi > maxI ? maxI : fi, cj = fj < 0 ? 0 : fj > maxJ ? maxJ : fj, ck = fk < 0 ? 0 : fk > maxK ? maxK : fk;
      let i = ci | 0, j = cj | 0, k = ck | 0;
      if (i === maxI) i--; if (j === maxJ) j--; if (k === maxK) k--;
      const ti = ci - i, tj = cj - j, tk = ck - k;
      const p = i + j * row + k * slab, q = p + slab;
      const v00 = voxels[p] + (voxels[p + 1] - voxels[p]) * ti;
      const v10 = voxels[p + row] + (voxels[p + row + 1] - voxels[p + row]) * ti;
      const v01 = voxels[q] + (voxels[q + 1] - voxels[q]) * ti;
      const v11 = voxels[q + row] + (voxels[q + row + 1] - voxels[q + row]) * ti;
      const v0 = v00 + (v10 - v00) * tj, v1 = v01 + (v11 - v01) * tj;
      let g = (v0 + (v1 - v0) * tk - low) * gain;
      g = g < 0 ? 0 : g > 255 ? 255 : (g + 0.5) | 0;
      words[w] = 0xff000000 | (g << 16) | (g << 8) | g;
    }
  }
}

/** The label at a patient point (nearest voxel), 0 outside. */
export function labelAt(labels, point) {
  if (!labels) return 0;
  const [i, j, k] = transformPoint(labels.lpsToIjk, point).map(Math.round);
  const [ni, nj, nk] = labels.shape;
  return i < 0 || j < 0 || k < 0 || i >= ni || j >= nj || k >= nk ? 0 : labels.voxels[i + ni * (j + nj * k)];
}

export const WINDOWS = { bone: { low: -200, high: 1300 }, soft: { low: -110, high: 240 }, wide: { low: -1000, high: 2000 } };
