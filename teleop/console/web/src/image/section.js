// What a plane cuts out of a finite cylinder, as a polygon: the true section, never the silhouette.
//
// Cylinder: entry E, unit axis d, length L, radius r. Plane: centre C, orthonormal u, v, normal n. Choose e in the plane along the
// projected axis and m = n x e in the plane. Along e (coordinate t) the distance of the line {t = const} from the cylinder's axis,
// measured across m, is h(t) = h0 + t (e.k) with k = d x m; the section's half-width there is sqrt(r^2 - h^2), and the position along
// the axis is s(t) = s0 + t (e.d), which must lie within 0..L. One formula for circles, ellipses, clipped ellipses and strips.
import { cross, dot, length, scale, sub, unit } from "../lib/vec.js";

const STEPS = 48;

/** Polygon [[a, b], ...] in plane coordinates (mm along u and v from the plane's centre); empty when the plane misses the cylinder. */
export function cylinderSection(plane, entry, tip, radius) {
  const axis = sub(tip, entry), total = length(axis);
  if (!(total > 1e-6) || !(radius > 0)) return [];
  const d = scale(axis, 1 / total), n = plane.n;
  const flat = sub(d, scale(n, dot(d, n)));
  const e = length(flat) > 1e-9 ? unit(flat) : plane.u;
  const m = cross(n, e), k = cross(d, m);
  const from = sub(plane.centre, entry);
  // Base point of the line t = 0: where the plane's centre line along e passes nearest to the axis across m.
  const across = dot(from, m);
  const h0 = dot(from, k), s0 = dot(from, d), hk = dot(e, k), sk = dot(e, d);
  // d is orthogonal to m, so m, d, k are an orthonormal frame: offset^2 = across^2 + h^2.
  let low = -1e4, high = 1e4;
  const clip = (value, slope, min, max) => {
    if (Math.abs(slope) < 1e-12) { if (value < min || value > max) high = low - 1; return; }
    const a = (min - value) / slope, b = (max - value) / slope;
    low = Math.max(low, Math.min(a, b)); high = Math.min(high, Math.max(a, b));
  };
  clip(h0, hk, -radius, radius);
  clip(s0, sk, 0, total);
  if (!(high > low)) return [];
  const right = [], left = [];
  for (let i = 0; i <= STEPS; i++) {
    const t = low + (high - low) * (1 - Math.cos((Math.PI * i) / STEPS)) / 2; // dense at the round ends
    const h = h0 + t * hk;
    const w = Math.sqrt(Math.max(0, radius * radius - h * h));
    // The axis itself passes at -across along m from the line through the plane's centre.
    right.push([t, -across + w]); left.push([t, -across - w]);
  }
  const eu = dot(e, plane.u), ev = dot(e, plane.v), mu = dot(m, plane.u), mv = dot(m, plane.v);
  return [...right, ...left.reverse()].map(([t, w]) => [t * eu + w * mu, t * ev + w * mv]);
}

/** The axis projected into the plane: two points in plane coordinates, with their distances from the plane. */
export function axisInPlane(plane, entry, tip) {
  return [entry, tip].map((p) => {
    const f = sub(p, plane.centre);
    return [dot(f, plane.u), dot(f, plane.v), dot(f, plane.n)];
  });
}
