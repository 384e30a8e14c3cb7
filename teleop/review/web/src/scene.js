// The space: measured and commanded path, the arm, vertebrae, planned lines, guides that were verified. Base frame, metres.
import * as THREE from "three";
import { OrbitControls } from "three/examples/jsm/controls/OrbitControls.js";

export class Scene {
  constructor(canvas) {
    this.renderer = new THREE.WebGLRenderer({ canvas, antialias: true, alpha: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.canvas = canvas;
    this.scene = new THREE.Scene();
    this.camera = new THREE.PerspectiveCamera(40, 1, 0.005, 20);
    this.camera.up.set(0, 0, 1);
    this.camera.position.set(1.4, -1.4, 1.1);
    this.controls = new OrbitControls(this.camera, canvas);
    this.controls.addEventListener("change", () => this.draw());
    this.scene.add(new THREE.HemisphereLight(0xffffff, 0x334455, 2.2));
    const sun = new THREE.DirectionalLight(0xffffff, 1.4); sun.position.set(1, -2, 3); this.scene.add(sun);
    const grid = new THREE.GridHelper(2, 20, 0x2a3a4a, 0x18222d); grid.rotation.x = Math.PI / 2; this.scene.add(grid);
    this.paths = new THREE.Group(); this.arm = new THREE.Group(); this.fixed = new THREE.Group();
    this.scene.add(this.paths, this.arm, this.fixed);
    this.framed = false;
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
    this.resize();
  }

  resize() {
    const { clientWidth: w, clientHeight: h } = this.canvas.parentElement;
    if (!w || !h) return;
    this.renderer.setSize(w, h, false);
    this.camera.aspect = w / h; this.camera.updateProjectionMatrix();
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => { this.waiting = 0; this.renderer.render(this.scene, this.camera); });
  }

  static clear(group) {
    for (const child of [...group.children]) { group.remove(child); child.geometry?.dispose(); child.material?.dispose(); }
  }

  showPaths(paths) {
    Scene.clear(this.paths);
    for (const [points, colour] of [[paths.commanded, 0xffb020], [paths.measured, 0x4cc9f0]]) {
      if (points.length < 2) continue;
      const geometry = new THREE.BufferGeometry().setAttribute("position", new THREE.Float32BufferAttribute(points.flat(), 3));
      this.paths.add(new THREE.Line(geometry, new THREE.LineBasicMaterial({ color: colour })));
    }
    this.measured = paths.measured;
    if (!this.framed && paths.measured.length > 1) { this.framed = true; this.frame(paths.measured, 0.25); }
    this.draw();
  }

  frame(points, least) {
    const box = new THREE.Box3();
    for (const p of points) box.expandByPoint(new THREE.Vector3(...p));
    const centre = box.getCenter(new THREE.Vector3()), size = Math.max(box.getSize(new THREE.Vector3()).length(), least);
    this.controls.target.copy(centre);
    this.camera.position.copy(centre).add(new THREE.Vector3(1.0, -1.1, 0.75).normalize().multiplyScalar(size * 2.2));
    this.controls.update();
  }

  showPlans(plans, t) {
    Scene.clear(this.fixed);
    for (const bone of plans.vertebrae ?? []) {
      const geometry = new THREE.BufferGeometry().setAttribute("position", new THREE.Float32BufferAttribute(bone.vertices, 3));
      geometry.setIndex(bone.faces); geometry.computeVertexNormals();
      this.fixed.add(new THREE.Mesh(geometry, new THREE.MeshStandardMaterial({ color: 0xe9dcc3, roughness: 0.8, transparent: true, opacity: 0.72, side: THREE.DoubleSide })));
    }
    for (const k of plans.keepouts ?? []) {
      const material = new THREE.MeshStandardMaterial({ color: 0xff6b6b, transparent: true, opacity: 0.22, depthWrite: false });
      const at = k.c ?? k.a;
      if (!at || !k.r || k.kind === "halfspace") continue;
      if (k.b && k.kind === "capsule") this.fixed.add(tube(k.a, k.b, k.r, material));
      else { const ball = new THREE.Mesh(new THREE.SphereGeometry(k.r, 20, 14), material); ball.position.set(...at); this.fixed.add(ball); }
    }
    const line = [...(plans.lines ?? [])].filter((l) => l.t <= t).pop() ?? plans.lines?.[0];
    if (line) {
      const a = new THREE.Vector3(...line.entry), d = new THREE.Vector3(...line.axis);
      const out = a.clone().addScaledVector(d, -0.12), tip = a.clone().addScaledVector(d, 0.045);
      this.fixed.add(tube(out.toArray(), tip.toArray(), 0.0012, new THREE.MeshBasicMaterial({ color: 0x5cf0ff })));
      const entry = new THREE.Mesh(new THREE.SphereGeometry(0.003, 14, 10), new THREE.MeshBasicMaterial({ color: 0x5cf0ff }));
      entry.position.copy(a); this.fixed.add(entry);
    }
    for (const reached of plans.achieved ?? []) {
      if (reached.t > t) continue;
      const [x, y, z, qx, qy, qz, qw] = reached.pose;
      const d = new THREE.Vector3(0, 0, 1).applyQuaternion(new THREE.Quaternion(qx, qy, qz, qw)), a = new THREE.Vector3(x, y, z);
      this.fixed.add(tube(a.clone().addScaledVector(d, -0.1).toArray(), a.clone().addScaledVector(d, 0.05).toArray(), 0.0016, new THREE.MeshBasicMaterial({ color: 0x5ee38a })));
    }
    this.draw();
  }

  showArm(points, setpoint) {
    Scene.clear(this.arm);
    const material = () => new THREE.MeshStandardMaterial({ color: 0xb9c6d3, metalness: 0.25, roughness: 0.55 });
    for (let k = 0; k + 1 < points.length; k++) {
      const last = k + 2 === points.length;
      this.arm.add(tube(points[k], points[k + 1], last ? 0.008 : 0.045 - 0.003 * k, material()));
      if (last) continue;
      const joint = new THREE.Mesh(new THREE.SphereGeometry(0.052 - 0.003 * k, 18, 12), material());
      joint.position.set(...points[k + 1]); this.arm.add(joint);
    }
    if (points.length) {
      const tip = new THREE.Mesh(new THREE.SphereGeometry(0.004, 14, 10), new THREE.MeshBasicMaterial({ color: 0x4cc9f0 }));
      tip.position.set(...points.at(-1)); this.arm.add(tip);
    }
    if (setpoint) {
      const aim = new THREE.Mesh(new THREE.SphereGeometry(0.004, 14, 10), new THREE.MeshBasicMaterial({ color: 0xffb020, wireframe: true }));
      aim.position.set(...setpoint); this.arm.add(aim);
    }
    this.draw();
  }
}

function tube(a, b, radius, material) {
  const from = new THREE.Vector3(...a), to = new THREE.Vector3(...b), along = to.clone().sub(from);
  const length = along.length();
  const mesh = new THREE.Mesh(new THREE.CylinderGeometry(radius, radius, Math.max(length, 1e-6), 16), material);
  mesh.position.copy(from).addScaledVector(along, 0.5);
  if (length > 1e-9) mesh.quaternion.setFromUnitVectors(new THREE.Vector3(0, 1, 0), along.normalize());
  return mesh;
}
