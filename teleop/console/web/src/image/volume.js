// The transport form of an image (teleop/console/volume.py): "LHV1" | u32 header length | JSON header | voxels.
import { invertAffine, transformPoint } from "../lib/vec.js";

/** Parse an ArrayBuffer. Throws with words when it is not an image or is cut short. */
export function parseVolume(buffer) {
  const bytes = new Uint8Array(buffer, 0, Math.min(8, buffer.byteLength));
  if (String.fromCharCode(...bytes.slice(0, 4)) !== "LHV1") throw new Error("this is not an image of this server");
  const length = new DataView(buffer).getUint32(4, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const [ni, nj, nk] = header.shape;
  const n = ni * nj * nk;
  const size = header.kind === "label" ? 1 : 2;
  if (buffer.byteLength < 8 + length + n * size) throw new Error("the image arrived incomplete: load it again");
  const voxels = header.kind === "label" ? new Uint8Array(buffer, 8 + length, n) : new Int16Array(buffer, 8 + length, n);
  const ijkToLps = header.ijk_to_lps;
  return { ...header, voxels, ijkToLps, lpsToIjk: invertAffine(ijkToLps) };
}

/** Centre of the volume and its bounding box in patient millimetres. */
export function extent(volume) {
  const [ni, nj, nk] = volume.shape;
  const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
  for (const i of [0, ni - 1]) for (const j of [0, nj - 1]) for (const k of [0, nk - 1]) {
    const p = transformPoint(volume.ijkToLps, [i, j, k]);
    for (let a = 0; a < 3; a++) { low[a] = Math.min(low[a], p[a]); high[a] = Math.max(high[a], p[a]); }
  }
  return { low, high, centre: [0, 1, 2].map((a) => (low[a] + high[a]) / 2), size: [0, 1, 2].map((a) => high[a] - low[a]) };
}
