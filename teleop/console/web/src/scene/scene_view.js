// The page's side of the 3-D view: camera by mouse and keys, labels and handles as vectors on top. Says so when WebGL is missing.
import { h, text } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { along, sub, unit } from "../lib/vec.js";
import { COLOUR, marginColour, middle } from "../image/slice_view.js";
import { frame, project, unproject } from "./camera.js";
import { letters } from "../image/planes.js";

export class SceneView {
  constructor(app) {
    this.app = app;
    this.camera = { target: [0, 0, 0], azimuth: 0.38, elevation: 0.3, distance: 420 };
    this.canvas = h("canvas", { class: "scene-gl", "aria-hidden": "true" });
    this.over = h("canvas", { class: "slice-over", "aria-hidden": "true" });
    this.note = h("div", { class: "scene-note", hidden: true, role: "note" });
    this.stale = h("div", { class: "stale", hidden: true });
    this.root = h("div", { class: "scene slice", tabindex: "0", role: "img", "data-view": "scene", label: "3-D view of the plan and the guide" },
      this.canvas, this.over, h("span", { class: "slice-title", t: "3-D plan and guide" }), this.note, this.stale);
    this.up = false; this.drag = null;
    this.start();
    new ResizeObserver(() => this.resize()).observe(this.root);
    this.bind();
  }
  start() {
    const probe = document.createElement("canvas").getContext("webgl2");
    if (!probe || !this.canvas.transferControlToOffscreen) { this.fail(); return; }
    probe.getExtension("WEBGL_lose_context")?.loseContext();
    this.worker = new Worker("/static/scene.worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => { if (data.t === "webgl") this.up = true; else if (data.t === "error" && !this.up) this.fail(); else if (data.t === "bones") this.bones = data.count; };
    const off = this.canvas.transferControlToOffscreen();
    this.worker.postMessage({ t: "canvas", canvas: off, width: 300, height: 200, ratio: 1 }, [off]);
  }
  fail() { this.worker?.terminate(); this.worker = null; this.note.hidden = false; this.note.dataset.t = "3-D off: this browser has no WebGL. Slices, numbers and STOP work."; text(this.note, t(this.note.dataset.t)); }
  resize() {
    const w = Math.max(2, this.root.clientWidth), hgt = Math.max(2, this.root.clientHeight), ratio = Math.min(2, devicePixelRatio || 1);
    this.over.width = w * ratio; this.over.height = hgt * ratio; this.ratio = ratio;
    this.worker?.postMessage({ t: "size", width: w, height: hgt, ratio });
    this.draw();
  }
  labels(buffer) { this.worker?.postMessage({ t: "labels", buffer: buffer?.slice(0) ?? null }); }
  /** Look at the middle of the plan. */
  home() {
    const screws = this.app.store.screws.filter((s) => s.entry_lps_mm);
    if (screws.length) {
      const points = screws.map(middle), n = points.length;
      this.camera.target = [0, 1, 2].map((a) => points.reduce((sum, p) => sum + p[a], 0) / n);
      const spread = Math.max(105, ...points.map((p) => Math.hypot(...sub(p, this.camera.target))));
      this.camera.distance = spread * 3.4;
    } else if (this.app.images.centre) this.camera.target = this.app.images.centre;
    this.draw(true);
  }
  /** Send what changed and draw the overlay. */
  draw(all = false) {
    const { store } = this.app;
    const lines = store.screws.filter((s) => s.entry_lps_mm);
    const list = lines.map((s) => ({ entry: s.entry_lps_mm, tip: s.tip_lps_mm, radius: s.diameter_mm / 2, selected: s.id === store.screwId, colour: s.id === store.screwId ? COLOUR.selected : COLOUR.plan }));
    // To a tenth of a millimetre: an arm that stands still must not be painted 60 times a second because its encoders tremble.
    const round = (p) => p.map((v) => Math.round(v * 10) / 10);
    const tools = (this.app.tool?.() ?? []).map((tool) => ({ from: round(along(tool.tip, tool.axis, -160)), to: round(tool.tip), radius: tool.radius ?? 4, colour: tool.preview ? COLOUR.selected : tool.ghost ? COLOUR.ghost : COLOUR.tool, ghost: tool.ghost }));
    this.send("screws", { list }, all); this.send("tools", { list: tools }, all); this.send("camera", { camera: this.camera }, all);
    const w = this.root.clientWidth, hgt = this.root.clientHeight, c = this.over.getContext("2d");
    c.setTransform(this.ratio ?? 1, 0, 0, this.ratio ?? 1, 0, 0); c.clearRect(0, 0, w, hgt);
    this.handles = []; this.drawnLabels = [];
    for (const screw of lines) {
      const selected = screw.id === store.screwId, e = project(this.camera, w, hgt, screw.entry_lps_mm), p = project(this.camera, w, hgt, screw.tip_lps_mm);
      c.font = `600 ${selected ? 13 : 11}px system-ui, sans-serif`; c.textAlign = "center"; c.fillStyle = selected ? COLOUR.selected : "#a9dcef";
      const out = unit([e.x - p.x, e.y - p.y, 0.001]);
      const lx = e.x + out[0] * 18, ly = e.y + out[1] * 18 + 4;
      c.strokeStyle = "#000b"; c.lineWidth = 3; c.strokeText(screw.name ?? screw.id, lx, ly); c.fillText(screw.name ?? screw.id, lx, ly);
      this.drawnLabels.push({ id: screw.id, x: lx, y: ly });
      if (!this.worker) { c.strokeStyle = selected ? COLOUR.selected : COLOUR.plan; c.lineWidth = Math.max(1.5, screw.diameter_mm * e.scale); c.globalAlpha = 0.7; c.beginPath(); c.moveTo(e.x, e.y); c.lineTo(p.x, p.y); c.stroke(); c.globalAlpha = 1; }
      if (selected && this.app.canEdit()) for (const [part, q] of [["entry", e], ["tip", p]]) {
        c.beginPath(); c.arc(q.x, q.y, 6, 0, 7); c.fillStyle = "#0c1016cc"; c.fill(); c.lineWidth = 1.5; c.strokeStyle = marginColour(screw); c.stroke();
        this.handles.push({ part, ...q });
      }
    }
    const f = frame(this.camera);
    c.font = "700 13px system-ui, sans-serif"; c.fillStyle = "#d9c46c"; c.textAlign = "center";
    c.fillText(letters(f.right), w - 14, hgt / 2 + 4); c.fillText(letters(f.right.map((v) => -v)), 14, hgt / 2 + 4);
    c.fillText(letters(f.up), w / 2, 18); c.fillText(letters(f.up.map((v) => -v)), w / 2, hgt - 8);
  }
  send(t, data, force) { const key = JSON.stringify(data); this.sent ??= {}; if (this.worker && (force || this.sent[t] !== key)) { this.sent[t] = key; this.worker.postMessage({ t, ...data }); if (t === "camera") this.app.onCamera?.(); } }
  setStale(words) { this.root.classList.toggle("is-stale", !!words); this.stale.hidden = !words; text(this.stale, words); }
  bind() {
    const at = (event) => { const r = this.root.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
    this.root.addEventListener("pointerdown", (event) => {
      const [x, y] = at(event);
      this.root.setPointerCapture(event.pointerId); this.root.focus({ preventScroll: true });
      const handle = (this.handles ?? []).find((q) => Math.hypot(q.x - x, q.y - y) < 12);
      this.drag = handle ? { part: handle.part, depth: handle.depth, x, y, screw: { ...this.app.store.screw }, gesture: `${Date.now()}-3d` } : { x, y, part: event.shiftKey || event.button === 1 ? "pan" : "turn", from: { ...this.camera } };
      event.preventDefault();
    });
    this.root.addEventListener("pointermove", (event) => {
      if (!this.drag) return;
      const [x, y] = at(event), d = this.drag, w = this.root.clientWidth, hgt = this.root.clientHeight;
      if (d.part === "turn") { this.camera.azimuth = d.from.azimuth - (x - d.x) * 0.008; this.camera.elevation = Math.max(-1.5, Math.min(1.5, d.from.elevation + (y - d.y) * 0.008)); this.draw(); }
      else if (d.part === "pan") { const by = unproject(d.from, w, hgt, d.x - x, d.y - y, d.from.distance); this.camera.target = d.from.target.map((v, a) => v + by[a]); this.draw(); }
      else this.app.onDrag(d, unproject(this.camera, w, hgt, x - d.x, y - d.y, d.depth), false);
    });
    const end = (event) => {
      const d = this.drag; this.drag = null;
      if (d && ["entry", "tip"].includes(d.part)) { const [x, y] = at(event); this.app.onDrag(d, event.type === "pointercancel" ? [0, 0, 0] : unproject(this.camera, this.root.clientWidth, this.root.clientHeight, x - d.x, y - d.y, d.depth), true); }
    };
    this.root.addEventListener("pointerup", end); this.root.addEventListener("pointercancel", end);
    this.root.addEventListener("wheel", (event) => { event.preventDefault(); this.camera.distance = Math.min(2500, Math.max(60, this.camera.distance * Math.exp(event.deltaY / 600))); this.draw(); }, { passive: false });
    this.root.addEventListener("keydown", (event) => {
      const turn = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
      if (turn) { this.camera.azimuth += turn[0]; this.camera.elevation = Math.max(-1.5, Math.min(1.5, this.camera.elevation + turn[1])); this.draw(); event.preventDefault(); }
      if (event.key === "Home") this.home();
      if (event.key === "+" || event.key === "-") { this.camera.distance *= event.key === "+" ? 0.85 : 1.18; this.draw(); }
    });
  }
}
