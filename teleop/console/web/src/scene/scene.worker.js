// The 3-D picture, in a worker so that a slow graphics card never delays a deadman. Only WebGL is here; labels are drawn by the page.
import {
  AmbientLight, BufferAttribute, BufferGeometry, CylinderGeometry, Color, DirectionalLight, DoubleSide, Group, Matrix4, Mesh,
  MeshLambertMaterial, PerspectiveCamera, Quaternion, Scene, Vector3, WebGLRenderer, Line, LineBasicMaterial,
} from "three";
import { parseVolume } from "../image/volume.js";
import { surfaceNet } from "../image/surface.js";
import { FOV, frame } from "./camera.js";

let renderer = null, dirty = true, last = 0, cost = 0;
const scene = new Scene(), camera = new PerspectiveCamera(FOV, 1, 5, 6000);
const bones = new Group(), screws = new Group(), tools = new Group(), robot = new Group(), ghost = new Group();
scene.add(bones, screws, tools, robot, ghost, new AmbientLight(0xffffff, 1.3));
const sun = new DirectionalLight(0xffffff, 2.2);
scene.add(sun);
const boneMaterial = new MeshLambertMaterial({ color: 0xd8cdb8, transparent: true, opacity: 0.92, side: DoubleSide });

self.onmessage = ({ data }) => {
  try { handlers[data.t]?.(data); } catch (error) { self.postMessage({ t: "error", text: error.message }); }
  dirty = true;
};

const handlers = {
  canvas({ canvas, width, height, ratio }) {
    renderer = new WebGLRenderer({ canvas, antialias: true, alpha: true, powerPreference: "low-power" });
    renderer.setClearColor(0x0a0e13, 1);
    handlers.size({ width, height, ratio });
    self.postMessage({ t: "webgl", up: true });
  },
  size({ width, height, ratio }) {
    renderer?.setPixelRatio(ratio); renderer?.setSize(width, height, false);
    camera.aspect = width / Math.max(1, height); camera.updateProjectionMatrix();
  },
  camera({ camera: view }) {
    const f = frame(view);
    camera.matrixAutoUpdate = false;
    camera.matrix.makeBasis(new Vector3(...f.right), new Vector3(...f.up), new Vector3(...f.back)).setPosition(...f.eye);
    camera.matrixWorldNeedsUpdate = true;
    sun.position.set(...f.eye).addScaledVector(new Vector3(...f.up), 200);
    sun.target.position.set(...view.target); sun.target.updateMatrixWorld();
  },
  labels({ buffer }) {
    clear(bones);
    if (!buffer) return;
    const labels = parseVolume(buffer), found = new Set();
    for (let i = 0; i < labels.voxels.length; i += 7) if (labels.voxels[i]) found.add(labels.voxels[i]);
    for (const label of [...found].sort((a, b) => a - b)) {
      if (labels.names && Object.keys(labels.names).length && !labels.names[label]) continue;
      const net = surfaceNet(labels, label, labels.shape[0] > 130 ? 3 : 2);
      if (!net) continue;
      const geometry = new BufferGeometry();
      geometry.setAttribute("position", new BufferAttribute(net.positions, 3));
      geometry.setIndex(new BufferAttribute(net.indices, 1));
      geometry.computeVertexNormals();
      const mesh = new Mesh(geometry, boneMaterial);
      mesh.name = labels.names?.[label] ?? String(label);
      bones.add(mesh);
      dirty = true;
    }
    self.postMessage({ t: "bones", count: bones.children.length });
  },
  clear_bones() { clear(bones); },
  screws({ list }) {
    clear(screws);
    for (const s of list) {
      const mesh = cylinder(s.entry, s.tip, s.radius, new MeshLambertMaterial({ color: s.colour, transparent: !!s.ghost, opacity: s.ghost ? 0.4 : 1 }));
      if (mesh) screws.add(mesh);
    }
    boneMaterial.opacity = list.some((s) => s.selected) ? 0.62 : 0.92;
    boneMaterial.depthWrite = boneMaterial.opacity > 0.9;
  },
  tools({ list }) {
    clear(tools);
    for (const s of list) { const mesh = cylinder(s.from, s.to, s.radius, new MeshLambertMaterial({ color: s.colour, transparent: !!s.ghost, opacity: s.ghost ? 0.35 : 1 })); if (mesh) tools.add(mesh); }
  },
  trail({ points, colour }) {
    clear(ghost);
    if (points?.length > 1) {
      const geometry = new BufferGeometry().setFromPoints(points.map((p) => new Vector3(...p)));
      ghost.add(new Line(geometry, new LineBasicMaterial({ color: colour })));
    }
  },
  robot({ links }) { // [{name, positions (Float32Array triangles), colour}]
    clear(robot);
    for (const link of links) {
      const geometry = new BufferGeometry();
      geometry.setAttribute("position", new BufferAttribute(link.positions, 3));
      geometry.computeVertexNormals();
      const mesh = new Mesh(geometry, new MeshLambertMaterial({ color: new Color(link.colour) }));
      mesh.name = link.name; mesh.matrixAutoUpdate = false;
      robot.add(mesh);
    }
  },
  pose({ matrices }) { // link name -> 16 numbers, column-major, patient mm
    for (const mesh of robot.children) { const m = matrices[mesh.name]; mesh.visible = !!m; if (m) { mesh.matrix.copy(new Matrix4().fromArray(m)); mesh.matrixWorldNeedsUpdate = true; } }
  },
  picture() { render(); },
};

function clear(group) { for (const child of [...group.children]) { group.remove(child); child.geometry?.dispose(); } }
const X = new Vector3(0, 1, 0);
function cylinder(from, to, radius, material) {
  const a = new Vector3(...from), b = new Vector3(...to), length = a.distanceTo(b);
  if (!(length > 1e-6)) return null;
  const mesh = new Mesh(new CylinderGeometry(radius, radius, length, 24), material);
  mesh.position.copy(a).lerp(b, 0.5);
  mesh.quaternion.copy(new Quaternion().setFromUnitVectors(X, b.sub(a).normalize()));
  return mesh;
}
function render() {
  if (!renderer) return;
  const start = performance.now();
  renderer.render(scene, camera);
  renderer.getContext().finish();
  dirty = false; last = performance.now(); cost = last - start;
}
// Software rendering must not eat the machine: at most a quarter of one core goes into pictures.
setInterval(() => { if (dirty && performance.now() - last > Math.max(30, 3 * cost)) render(); }, 16);
