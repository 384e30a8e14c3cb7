// A closed surface around a label, by naive surface nets on a coarse grid: smooth enough to recognise a vertebra, small enough for any machine.
import { transformPoint } from "../lib/vec.js";

/** Mesh of the voxels whose label is in `wanted`: {positions, normals (empty: computed later), indices}. step: voxels per cell. */
export function surfaceNet(labels, wanted, step = 2) {
  const [ni, nj, nk] = labels.shape;
  let low = [ni, nj, nk], high = [-1, -1, -1];
  for (let k = 0; k < nk; k += step) for (let j = 0; j < nj; j += step) for (let i = 0; i < ni; i += step) {
    if (labels.voxels[i + ni * (j + nj * k)] !== wanted) continue;
    if (i < low[0]) low[0] = i; if (j < low[1]) low[1] = j; if (k < low[2]) low[2] = k;
    if (i > high[0]) high[0] = i; if (j > high[1]) high[1] = j; if (k > high[2]) high[2] = k;
  }
  if (high[0] < 0) return null;
  low = low.map((v) => v - 2 * step); high = high.map((v) => v + 2 * step);
  const n = low.map((v, a) => Math.ceil((high[a] - v) / step) + 1), [gx, gy, gz] = n;
  // Occupancy of each cell, averaged over its voxels: this is what makes the surface smooth.
  const value = new Float32Array(gx * gy * gz);
  const at = (i, j, k) => (i < 0 || j < 0 || k < 0 || i >= ni || j >= nj || k >= nk ? 0 : labels.voxels[i + ni * (j + nj * k)] === wanted ? 1 : 0);
  for (let z = 0; z < gz; z++) for (let y = 0; y < gy; y++) for (let x = 0; x < gx; x++) {
    let sum = 0;
    for (let c = 0; c < step; c++) for (let b = 0; b < step; b++) for (let a = 0; a < step; a++) sum += at(low[0] + x * step + a, low[1] + y * step + b, low[2] + z * step + c);
    value[x + gx * (y + gy * z)] = sum / step ** 3 - 0.5;
  }
  const index = new Int32Array(gx * gy * gz).fill(-1), positions = [], indices = [];
  const half = (step - 1) / 2;
  for (let z = 0; z < gz - 1; z++) for (let y = 0; y < gy - 1; y++) for (let x = 0; x < gx - 1; x++) {
    let px = 0, py = 0, pz = 0, count = 0;
    const base = x + gx * (y + gy * z);
    const corner = [0, 1, gx, gx + 1, gx * gy, gx * gy + 1, gx * gy + gx, gx * gy + gx + 1].map((o) => value[base + o]);
    for (let e = 0; e < 12; e++) {
      const [a, b] = EDGES[e], va = corner[a], vb = corner[b];
      if (va > 0 === vb > 0) continue;
      const t = va / (va - vb);
      px += (a & 1) + t * ((b & 1) - (a & 1)); py += ((a >> 1) & 1) + t * (((b >> 1) & 1) - ((a >> 1) & 1)); pz += (a >> 2) + t * ((b >> 2) - (a >> 2));
      count++;
    }
    if (!count) continue;
    index[base] = positions.length / 3;
    positions.push(...transformPoint(labels.ijkToLps, [low[0] + (x + px / count) * step + half, low[1] + (y + py / count) * step + half, low[2] + (z + pz / count) * step + half]));
  }
  const quad = (a, b, c, d, flip) => { if (a < 0 || b < 0 || c < 0 || d < 0) return; flip ? indices.push(a, b, c, a, c, d) : indices.push(a, c, b, a, d, c); };
  for (let z = 1; z < gz - 1; z++) for (let y = 1; y < gy - 1; y++) for (let x = 1; x < gx - 1; x++) {
    const o = x + gx * (y + gy * z), v = value[o] > 0;
    if (v !== value[o + 1] > 0) quad(index[o], index[o - gx], index[o - gx - gx * gy], index[o - gx * gy], v);
    if (v !== value[o + gx] > 0) quad(index[o], index[o - gx * gy], index[o - gx * gy - 1], index[o - 1], v);
    if (v !== value[o + gx * gy] > 0) quad(index[o], index[o - 1], index[o - 1 - gx], index[o - gx], v);
  }
  return { positions: new Float32Array(positions), indices: new Uint32Array(indices) };
}

const EDGES = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 2], [1, 3], [4, 6], [5, 7], [0, 4], [1, 5], [2, 6], [3, 7]];
