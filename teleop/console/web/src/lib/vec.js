// Vectors of three numbers (patient millimetres, LPS, unless said).
export const add = (a, b) => [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
export const sub = (a, b) => [a[0] - b[0], a[1] - b[1], a[2] - b[2]];
export const scale = (a, k) => [a[0] * k, a[1] * k, a[2] * k];
export const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
export const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];
export const length = (a) => Math.hypot(a[0], a[1], a[2]);
export const distance = (a, b) => length(sub(a, b));
export const lerp = (a, b, t) => add(a, scale(sub(b, a), t));
/** a + k d */
export const along = (a, d, k) => [a[0] + d[0] * k, a[1] + d[1] * k, a[2] + d[2] * k];

/** Unit vector. Throws for one without a direction. */
export function unit(a) {
  const n = length(a);
  if (!(n > 1e-9)) throw new Error("a vector of length zero has no direction");
  return scale(a, 1 / n);
}

/** The part of a orthogonal to unit d, normalised; `other` stands in when a is parallel to d. */
export function orthogonal(a, d, other) {
  const rest = sub(a, scale(d, dot(a, d)));
  return length(rest) > 1e-3 ? unit(rest) : unit(sub(other, scale(d, dot(other, d))));
}

/** Inverse of an affine 4x4 in row-major order. Throws when singular. */
export function invertAffine(m) {
  const [a, b, c, x, d, e, f, y, g, h, i, z] = m;
  const det = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g);
  if (!(Math.abs(det) > 1e-12)) throw new Error("the image's affine cannot be inverted");
  const k = 1 / det;
  const r = [
    (e * i - f * h) * k, (c * h - b * i) * k, (b * f - c * e) * k,
    (f * g - d * i) * k, (a * i - c * g) * k, (c * d - a * f) * k,
    (d * h - e * g) * k, (b * g - a * h) * k, (a * e - b * d) * k,
  ];
  return [
    r[0], r[1], r[2], -(r[0] * x + r[1] * y + r[2] * z),
    r[3], r[4], r[5], -(r[3] * x + r[4] * y + r[5] * z),
    r[6], r[7], r[8], -(r[6] * x + r[7] * y + r[8] * z),
    0, 0, 0, 1,
  ];
}
export const transformPoint = (m, p) => [
  m[0] * p[0] + m[1] * p[1] + m[2] * p[2] + m[3],
  m[4] * p[0] + m[5] * p[1] + m[6] * p[2] + m[7],
  m[8] * p[0] + m[9] * p[1] + m[10] * p[2] + m[11],
];
export const transformDirection = (m, p) => [
  m[0] * p[0] + m[1] * p[1] + m[2] * p[2],
  m[4] * p[0] + m[5] * p[1] + m[6] * p[2],
  m[8] * p[0] + m[9] * p[1] + m[10] * p[2],
];

/** Rotate v by a unit quaternion (x, y, z, w). */
export function rotate(q, v) {
  const [x, y, z, w] = q;
  const t = scale(cross([x, y, z], v), 2);
  return add(add(v, scale(t, w)), cross([x, y, z], t));
}
