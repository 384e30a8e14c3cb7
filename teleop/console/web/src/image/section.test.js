import { test } from "node:test";
import assert from "node:assert/strict";
import { cylinderSection } from "./section.js";
import { edgeLetters, letters, planeOf, toPatient, toScreen } from "./planes.js";
import { reslice } from "./reslice.js";
import { parseVolume } from "./volume.js";
import { add, along, cross, distance, dot, invertAffine, length, orthogonal, scale, sub, transformPoint, unit } from "../lib/vec.js";

let seed = 7;
const random = () => { seed = (seed * 16807) % 2147483647; return seed / 2147483647; };
const randomUnit = () => { for (;;) { const v = [random() * 2 - 1, random() * 2 - 1, random() * 2 - 1]; if (length(v) > 0.1 && length(v) < 1) return unit(v); } };
const area = (p) => Math.abs(p.reduce((s, [x, y], i) => { const [a, b] = p[(i + 1) % p.length]; return s + x * b - a * y; }, 0)) / 2;

test("a plane across the axis cuts a circle of the cylinder's radius", () => {
  const plane = { centre: [0, 0, 10], u: [1, 0, 0], v: [0, 1, 0], n: [0, 0, 1] };
  const polygon = cylinderSection(plane, [3, -2, 0], [3, -2, 40], 3);
  for (const [x, y] of polygon) assert.ok(Math.abs(Math.hypot(x - 3, y + 2) - 3) < 1e-9);
  assert.ok(Math.abs(area(polygon) - Math.PI * 9) < 0.1);
});

test("a plane through the axis cuts a rectangle of length times diameter", () => {
  const plane = { centre: [0, 0, 0], u: [0, 0, 1], v: [1, 0, 0], n: [0, 1, 0] };
  assert.ok(Math.abs(area(cylinderSection(plane, [0, 0, -20], [0, 0, 25], 3.25)) - 45 * 6.5) < 1e-6);
});

test("a plane beside the axis cuts a narrower rectangle and one beyond the radius cuts nothing", () => {
  const at = (y) => ({ centre: [0, y, 0], u: [0, 0, 1], v: [1, 0, 0], n: [0, 1, 0] });
  assert.ok(Math.abs(area(cylinderSection(at(2), [0, 0, 0], [0, 0, 10], 2.5)) - 10 * 3) < 1e-6);
  assert.deepEqual(cylinderSection(at(2.6), [0, 0, 0], [0, 0, 10], 2.5), []);
  const past = { centre: [0, 0, 11], u: [1, 0, 0], v: [0, 1, 0], n: [0, 0, 1] };
  assert.deepEqual(cylinderSection(past, [0, 0, 0], [0, 0, 10], 2.5), []);
});

test("every vertex of a section lies in the plane and on the cylinder's surface, whatever the angle", () => {
  let cut = 0;
  for (let i = 0; i < 3000; i++) {
    const n = randomUnit(), u = orthogonal(randomUnit(), n, [0.3, 0.5, 0.8]), v = cross(n, u);
    const entry = scale(randomUnit(), 20 * random()), d = i % 10 ? randomUnit() : unit(add(u, scale(n, 1e-5 * random())));
    const tip = along(entry, d, 40), r = 1 + 3 * random();
    const plane = { centre: scale(randomUnit(), 10 * random()), u, v, n };
    const polygon = cylinderSection(plane, entry, tip, r);
    if (polygon.length) cut++;
    for (const [a, b] of polygon) {
      const p = along(along(plane.centre, u, a), v, b), f = sub(p, entry), s = dot(f, d);
      const radial = length(sub(f, scale(d, s)));
      assert.ok(s > -1e-6 && s < 40 + 1e-6, `beyond the ends: ${s}`);
      assert.ok(radial < r + 1e-6, `outside: ${radial} > ${r}`);
      assert.ok(radial > r - 1e-3 || s < 1e-3 || s > 40 - 1e-3, `inside the material: ${radial}, ${s}`);
    }
  }
  assert.ok(cut > 500);
});

test("a section's area agrees with counting points of the plane inside the cylinder", () => {
  for (let i = 0; i < 20; i++) {
    const n = randomUnit(), u = orthogonal(randomUnit(), n, [0.3, 0.5, 0.8]), v = cross(n, u);
    const d = randomUnit(), entry = scale(d, -20), tip = scale(d, 20), r = 4;
    const plane = { centre: scale(n, random() * 3), u, v, n };
    let inside = 0; const step = 0.1;
    for (let a = -25; a < 25; a += step) for (let b = -25; b < 25; b += step) {
      const f = sub(along(along(plane.centre, u, a), v, b), entry), s = dot(f, d);
      if (s >= 0 && s <= 40 && length(sub(f, scale(d, s))) <= r) inside++;
    }
    const counted = inside * step * step, computed = area(cylinderSection(plane, entry, tip, r));
    assert.ok(Math.abs(counted - computed) < 0.01 * counted + 0.5, `${counted} ${computed}`);
  }
});

test("letters come from the plane and agree with radiological display", () => {
  assert.deepEqual(edgeLetters(planeOf("axial", [0, 0, 0], null)), { right: "L", left: "R", bottom: "P", top: "A" });
  assert.deepEqual(edgeLetters(planeOf("sagittal", [0, 0, 0], null)), { right: "P", left: "A", bottom: "I", top: "S" });
  assert.deepEqual(edgeLetters(planeOf("coronal", [0, 0, 0], null)), { right: "L", left: "R", bottom: "I", top: "S" });
  assert.equal(letters([0.7, -0.7, 0.1]).length, 2);
  assert.equal(letters([-1, 0.1, 0.1]), "R");
});

test("planes of a screw are orthonormal, contain its axis, and keep the patient's right on the left", () => {
  for (let i = 0; i < 500; i++) {
    const entry = scale(randomUnit(), 50), d = unit([0.9 * (random() - 0.5), -1, 0.9 * (random() - 0.5)]), tip = along(entry, d, 45);
    for (const view of ["along_axial", "along_sagittal", "probe"]) {
      const p = planeOf(view, [0, 0, 0], { entry, tip }, 12);
      assert.ok(Math.abs(dot(p.u, p.v)) < 1e-9 && Math.abs(length(p.u) - 1) < 1e-9 && Math.abs(length(p.v) - 1) < 1e-9);
      if (view === "probe") {
        assert.ok(Math.abs(Math.abs(dot(p.n, d)) - 1) < 1e-9);
        assert.ok(Math.abs(distance(p.centre, entry) - 12) < 1e-9);
      } else assert.ok(Math.abs(dot(p.n, d)) < 1e-9);
      if (view !== "along_sagittal") assert.match(edgeLetters(p).right, /L/);
      assert.match(edgeLetters(p).left, view === "along_sagittal" ? /A/ : /R/);
    }
  }
});

test("screen and patient coordinates undo each other", () => {
  const plane = planeOf("along_axial", [0, 0, 0], { entry: [20, 40, 5], tip: [8, 0, 2] });
  const view = { plane, scale: 3.3, width: 411, height: 297, pan: [3, -7] };
  for (let i = 0; i < 100; i++) {
    const x = random() * 411, y = random() * 297, s = toScreen(view, toPatient(view, x, y));
    assert.ok(Math.abs(s.x - x) < 1e-9 && Math.abs(s.y - y) < 1e-9 && Math.abs(s.off) < 1e-9);
  }
});

function volumeOf(shape, affine, f) {
  const [ni, nj, nk] = shape, voxels = new Int16Array(ni * nj * nk);
  for (let k = 0; k < nk; k++) for (let j = 0; j < nj; j++) for (let i = 0; i < ni; i++) voxels[i + ni * (j + nj * k)] = f(i, j, k);
  return { shape, voxels, ijkToLps: affine, lpsToIjk: invertAffine(affine) };
}

test("a linear field is resliced exactly in every orientation of the volume", () => {
  const affines = [
    [1, 0, 0, -20, 0, 1, 0, -15, 0, 0, 2, -30, 0, 0, 0, 1], // LPS
    [-1, 0, 0, 20, 0, -1, 0, 15, 0, 0, 2, -30, 0, 0, 0, 1], // RAS storage
    [0, 0, 1.5, -20, -1, 0, 0, 15, 0, -1, 0, 20, 0, 0, 0, 1], // permuted
    [0.8, -0.6, 0, -5, 0.6, 0.8, 0, -20, 0, 0, 1, -12, 0, 0, 0, 1], // oblique
  ];
  for (const affine of affines) {
    const volume = volumeOf([40, 30, 32], affine, (i, j, k) => { const p = transformPoint(affine, [i, j, k]); return Math.round(10 * (p[0] + 2 * p[1] - p[2])); });
    const centre = transformPoint(affine, [19, 14, 15]);
    const plane = planeOf("along_axial", centre, { entry: along(centre, [0.3, 0.9, 0.1], 5), tip: along(centre, [0.3, 0.9, 0.1], -5) });
    const out = new Uint8ClampedArray(9 * 9 * 4), origin = along(along(plane.centre, plane.u, -4), plane.v, -4);
    reslice(volume, origin, plane.u, plane.v, 9, 9, { low: -1000, high: 1000 }, out);
    for (let y = 0; y < 9; y++) for (let x = 0; x < 9; x++) {
      const p = along(along(origin, plane.u, x), plane.v, y);
      const want = Math.max(0, Math.min(255, ((10 * (p[0] + 2 * p[1] - p[2]) + 1000) / 2000) * 255));
      assert.ok(Math.abs(out[4 * (x + 9 * y)] - want) <= 1, `${out[4 * (x + 9 * y)]} ${want}`);
    }
  }
});

test("a truncated or foreign image is refused with words", () => {
  assert.throws(() => parseVolume(new ArrayBuffer(64)), /not an image/);
  const header = new TextEncoder().encode(JSON.stringify({ kind: "hu", shape: [4, 4, 4], ijk_to_lps: [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1] }).padEnd(120));
  const bytes = new Uint8Array(8 + header.length + 10);
  bytes.set([76, 72, 86, 49]); new DataView(bytes.buffer).setUint32(4, header.length, true); bytes.set(header, 8);
  assert.throws(() => parseVolume(bytes.buffer), /incomplete/);
});
