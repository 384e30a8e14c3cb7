// Milliseconds per view of the page's own reslice on a 512 x 512 x 400 volume; JSON on standard output (bench/console.py reads it).
import { reslice } from "../../../teleop/console/web/src/image/reslice.js";
import { cross, invertAffine, orthogonal, scale, unit } from "../../../teleop/console/web/src/lib/vec.js";

const shape = [512, 512, 400], voxels = new Int16Array(512 * 512 * 400);
for (let i = 0; i < voxels.length; i++) voxels[i] = (i * 2654435761) >> 20;
const affine = [0.7, 0, 0, -180, 0, 0.7, 0, -180, 0, 0, 1, -200, 0, 0, 0, 1];
const volume = { shape, voxels, ijkToLps: affine, lpsToIjk: invertAffine(affine) };
const out = [];
for (const [plane, n] of [["axial", [0, 0, 1]], ["sagittal", [1, 0, 0]], ["oblique", unit([0.3, 0.8, 0.4])]]) for (const size of [400, 800]) {
  const u = orthogonal([1, 0.2, 0.1], n, [0, 1, 0]), v = cross(n, u), px = 200 / size, pixels = new Uint8ClampedArray(size * size * 4), times = [];
  const origin = [0, 1, 2].map((a) => -100 * u[a] - 100 * v[a]);
  for (let k = 0; k < 24; k++) { const t = performance.now(); reslice(volume, origin, scale(u, px), scale(v, px), size, size, { low: -200, high: 1300 }, pixels); times.push(performance.now() - t); }
  times.splice(0, 4); times.sort((a, b) => a - b);
  out.push({ plane, size, p50: times[10], p95: times[18] });
}
console.log(JSON.stringify(out));
