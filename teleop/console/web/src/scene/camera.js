// One camera for both sides: the worker renders with it, the main thread draws labels and handles with it. LPS millimetres.
import { add, along, cross, dot, scale, sub, unit } from "../lib/vec.js";

export const FOV = 30;
/** Camera {target, azimuth, elevation, distance} -> eye and axes. Azimuth 0 looks from behind (posterior), the head is up. */
export function frame(camera) {
  const ca = Math.cos(camera.azimuth), sa = Math.sin(camera.azimuth), ce = Math.cos(camera.elevation), se = Math.sin(camera.elevation);
  const back = [sa * ce, ca * ce, se]; // from the target to the eye; +y is posterior
  const right = unit(cross([0, 0, 1], back)), up = cross(back, right);
  return { eye: along(camera.target, back, camera.distance), back, right, up };
}
/** Pixel position of a point, and its depth (mm in front of the eye). */
export function project(camera, width, height, point) {
  const f = frame(camera), d = sub(point, f.eye), depth = -dot(d, f.back);
  const k = height / 2 / Math.tan((FOV * Math.PI) / 360) / Math.max(1, depth);
  return { x: width / 2 + dot(d, f.right) * k, y: height / 2 - dot(d, f.up) * k, depth, scale: k };
}
/** Patient vector of a mouse move of (dx, dy) pixels in the plane of the screen at a depth. */
export function unproject(camera, width, height, dx, dy, depth) {
  const f = frame(camera), k = (Math.max(1, depth) * Math.tan((FOV * Math.PI) / 360)) / (height / 2);
  return add(scale(f.right, dx * k), scale(f.up, -dy * k));
}
