// Planes that a surgeon looks at, and the letters that say which way is which.
// A plane is {centre, u, v, n}: patient point in the middle of the view, unit vectors to the right and down the screen, n = u x v.
import { along, cross, dot, lerp, orthogonal, scale, sub, unit } from "../lib/vec.js";

export const VIEWS = ["axial", "sagittal", "coronal", "along_axial", "along_sagittal", "probe"];

/** Radiological display: the patient's right is on the left of the screen, anterior up, head up. LPS: +x left, +y posterior, +z head. */
const FIXED = {
  axial: { u: [1, 0, 0], v: [0, 1, 0] },
  sagittal: { u: [0, 1, 0], v: [0, 0, -1] },
  coronal: { u: [1, 0, 0], v: [0, 0, -1] },
};

/** The plane of a view. screw: {entry, tip} or null; depth: millimetres below the entry for the probe's eye. */
export function planeOf(view, centre, screw, depth = 0) {
  if (FIXED[view] || !screw) {
    const { u, v } = FIXED[view] ?? FIXED[{ along_axial: "axial", along_sagittal: "sagittal", probe: "coronal" }[view]];
    return { centre, u, v, n: cross(u, v) };
  }
  const d = unit(sub(screw.tip, screw.entry));
  const middle = lerp(screw.entry, screw.tip, 0.5);
  if (view === "along_axial") {
    // Contains the axis and the patient's left-right as well as can be; the screw goes up, as on an axial image.
    const v = scale(d, -1), u = orthogonal([1, 0, 0], d, [0, 1, 0]);
    return { centre: middle, u, v, n: cross(u, v) };
  }
  if (view === "along_sagittal") {
    const u = scale(d, -1), v = orthogonal([0, 0, -1], d, [0, 1, 0]);
    return { centre: middle, u, v, n: cross(u, v) };
  }
  // Probe's eye: across the axis at a depth below the entry; the head is up and the patient's right on the left, as everywhere.
  const v = orthogonal([0, 0, -1], d, [0, 1, 0]);
  let u = cross(v, d);
  if (dot(u, [1, 0, 0]) < 0) u = scale(u, -1);
  return { centre: along(screw.entry, d, depth), u, v, n: cross(u, v) };
}

const AXES = [["L", "R"], ["P", "A"], ["S", "I"]];

/** The letters of a patient direction: the largest component first, a second one when it is more than 40 % of it. */
export function letters(direction) {
  const order = [0, 1, 2].sort((a, b) => Math.abs(direction[b]) - Math.abs(direction[a]));
  const letter = (axis) => AXES[axis][direction[axis] > 0 ? 0 : 1];
  const first = Math.abs(direction[order[0]]);
  return letter(order[0]) + (Math.abs(direction[order[1]]) > 0.4 * first ? letter(order[1]) : "");
}

/** Letters at the four edges of a plane. */
export const edgeLetters = (plane) => ({
  right: letters(plane.u), left: letters(scale(plane.u, -1)), bottom: letters(plane.v), top: letters(scale(plane.v, -1)),
});

/** Screen position (pixels) of a patient point in a view {plane, scale (pixels per mm), width, height}, and its distance from the plane. */
export function toScreen(view, point) {
  const d = sub(point, view.plane.centre);
  return {
    x: view.width / 2 + (dot(d, view.plane.u) + (view.pan?.[0] ?? 0)) * view.scale,
    y: view.height / 2 + (dot(d, view.plane.v) + (view.pan?.[1] ?? 0)) * view.scale,
    off: dot(d, view.plane.n),
  };
}

/** Patient point under a screen position, in the plane. */
export function toPatient(view, x, y) {
  const a = (x - view.width / 2) / view.scale - (view.pan?.[0] ?? 0), b = (y - view.height / 2) / view.scale - (view.pan?.[1] ?? 0);
  return along(along(view.plane.centre, view.plane.u, a), view.plane.v, b);
}
