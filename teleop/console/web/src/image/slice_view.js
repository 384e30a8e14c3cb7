// One image plane: grey values from the worker below, outlines as vectors above, and the hands on it.
//
// Mouse: drag a handle to move entry, tip or the whole screw; drag elsewhere moves the crosshair; wheel goes through the slices;
// Ctrl+wheel zooms; Shift+drag pans. Keys (when the view has the focus): arrows nudge the screw (Shift: 0.1 mm), PageUp/PageDown slices, +/- zoom.
import { h, text } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { add, along, distance, dot, lerp, scale, sub, unit } from "../lib/vec.js";
import { edgeLetters, planeOf, toPatient, toScreen } from "./planes.js";
import { axisInPlane, cylinderSection } from "./section.js";
import { WINDOWS } from "./reslice.js";

export const TITLES = {
  axial: "Axial", sagittal: "Sagittal", coronal: "Coronal",
  along_axial: "Screw axial", along_sagittal: "Screw sagittal", probe: "Probe's eye",
};
const DASH = { axial: "#ef6461", sagittal: "#ffd166", coronal: "#63d471" };
const HANDLE_PX = 9;
export const COLOUR = { plan: "#4cc9f0", selected: "#ffd166", tool: "#5ee38a", ghost: "#e8eef4", ok: "#5ee38a", warn: "#ffb020", bad: "#ff5d5d" };

/** Colour of a screw by its margin, as the surgeon reads it everywhere. */
export function marginColour(screw) {
  if (!["OK", "ok"].includes(screw.status)) return COLOUR.bad;
  const clear = screw.min_clearance_mm, need = screw.required_mm ?? 1;
  if (clear === null || clear === undefined) return COLOUR.warn;
  return clear >= need ? COLOUR.ok : clear > 0 ? COLOUR.warn : COLOUR.bad;
}

export class SliceView {
  /** app: {store, images, canEdit(), onDrag(change), onCross(point), onPointer(point|null), tool()} */
  constructor(app, view, options = {}) {
    Object.assign(this, { app, view, pan: [0, 0], zoom: 1, ticket: 0, shown: 0, drag: null, hover: null, options });
    this.image = h("canvas", { class: "slice-image", "aria-hidden": "true" });
    this.over = h("canvas", { class: "slice-over", "aria-hidden": "true" });
    this.title = h("span", { class: "slice-title" });
    this.edges = Object.fromEntries(["left", "right", "top", "bottom"].map((e) => [e, h("span", { class: `edge edge-${e}` })]));
    this.value = h("span", { class: "slice-value" });
    this.stale = h("div", { class: "stale", hidden: true });
    this.root = h("div", { class: "slice", tabindex: "0", role: "img", "data-view": view }, this.image, this.over, this.title, ...Object.values(this.edges), this.value, this.stale);
    this.scaleBar = 0;
    new ResizeObserver(() => this.resize()).observe(this.root);
    this.bind();
  }
  resize() {
    const ratio = Math.min(2, devicePixelRatio || 1), w = Math.max(2, this.root.clientWidth), hgt = Math.max(2, this.root.clientHeight);
    this.ratio = ratio;
    for (const canvas of [this.image, this.over]) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(hgt * ratio); }
    this.request(); this.draw();
  }
  get plane() {
    const { store } = this.app;
    const screw = store.axis();
    return planeOf(this.view, store.cross, screw, store.depth);
  }
  /** Geometry of the view in CSS pixels. */
  get geometry() {
    const width = this.root.clientWidth, height = this.root.clientHeight;
    const base = ["axial", "sagittal", "coronal"].includes(this.view) ? (this.options.fieldMm ?? 120) : this.view === "probe" ? 60 : 80;
    return { plane: this.plane, scale: (Math.min(width, height) / base) * this.zoom * this.app.store.zoom, width, height, pan: this.pan };
  }
  /** Ask the worker for the grey values of the present plane (half resolution while something is dragged). */
  request(coarse = false) {
    if (!this.app.images.ready || this.root.clientWidth < 4) return;
    const g = this.geometry, step = coarse ? 2 : 1, px = step / (g.scale * this.ratio);
    const width = Math.ceil(this.image.width / step), height = Math.ceil(this.image.height / step);
    // Canvas pixel (x, y) has its centre at (x + 0.5) / ratio CSS pixels.
    const corner = toPatient(g, (0.5 * step) / this.ratio, (0.5 * step) / this.ratio);
    this.app.images.slice({ view: this.root.dataset.key ?? this.view, ticket: ++this.ticket, origin: corner, du: scale(g.plane.u, px), dv: scale(g.plane.v, px), width, height, window: WINDOWS[this.app.store.window] });
    this.coarse = coarse;
  }
  /** Grey values arrived. */
  put({ ticket, width, height, pixels, ms }) {
    if (ticket < this.shown) return;
    this.shown = ticket; this.ms = ms;
    const image = new ImageData(pixels, width, height), context = this.image.getContext("2d");
    if (width === this.image.width && height === this.image.height) context.putImageData(image, 0, 0);
    else {
      const buffer = (this.buffer ??= document.createElement("canvas"));
      buffer.width = width; buffer.height = height;
      buffer.getContext("2d").putImageData(image, 0, 0);
      context.drawImage(buffer, 0, 0, this.image.width, this.image.height);
    }
    this.drawn = true;
  }
  /** Outlines, handles, letters: on the main thread, in this very frame. */
  draw() {
    const { store } = this.app, g = this.geometry, c = this.over.getContext("2d");
    c.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    c.clearRect(0, 0, g.width, g.height);
    const letters = edgeLetters(g.plane);
    for (const [edge, el] of Object.entries(this.edges)) text(el, letters[edge]);
    text(this.title, t(TITLES[this.view]) + (this.view === "probe" && store.axis() ? ` ${store.depth >= 0 ? "+" : ""}${store.depth.toFixed(0)}` : ""));
    this.root.setAttribute("aria-label", `${t(TITLES[this.view])}: ${t("left")} ${letters.left}, ${t("right")} ${letters.right}, ${t("top")} ${letters.top}, ${t("bottom")} ${letters.bottom}`);
    if (!this.app.images.ready) return;
    this.drawCross(c, g);
    const labels = [];
    this.handles = [];
    for (const screw of store.screws) this.drawScrew(c, g, screw, screw.id === store.screwId, labels);
    this.drawTool(c, g);
    this.drawNotes(c, g);
    this.drawScale(c, g);
    this.labels = labels;
  }
  drawCross(c, g) {
    const p = toScreen(g, this.app.store.cross);
    c.lineWidth = 1; c.globalAlpha = 0.55; c.setLineDash([5, 5]); c.strokeStyle = DASH[this.view] ?? "#7c8b9a";
    c.beginPath(); c.moveTo(0, p.y); c.lineTo(g.width, p.y); c.moveTo(p.x, 0); c.lineTo(p.x, g.height); c.stroke();
    c.globalAlpha = 1; c.setLineDash([]);
  }
  toPx(g, [a, b]) { return [g.width / 2 + (a + g.pan[0]) * g.scale, g.height / 2 + (b + g.pan[1]) * g.scale]; }
  path(c, g, polygon) { c.beginPath(); polygon.forEach((p, i) => { const [x, y] = this.toPx(g, p); i ? c.lineTo(x, y) : c.moveTo(x, y); }); c.closePath(); }
  drawScrew(c, g, screw, selected, labels) {
    if (!screw.entry_lps_mm) return; // a refusal has no line
    const colour = selected ? COLOUR.selected : COLOUR.plan;
    const polygon = cylinderSection(g.plane, screw.entry_lps_mm, screw.tip_lps_mm, screw.diameter_mm / 2);
    const [e, p] = axisInPlane(g.plane, screw.entry_lps_mm, screw.tip_lps_mm);
    const near = Math.min(Math.abs(e[2]), Math.abs(p[2])) < 15 || e[2] * p[2] < 0;
    if (polygon.length) {
      this.path(c, g, polygon);
      c.fillStyle = colour; c.globalAlpha = selected ? 0.12 : 0.08; c.fill(); c.globalAlpha = 1;
      c.strokeStyle = colour; c.lineWidth = selected ? 2 : 1.5; c.stroke();
      if (selected && this.view !== "probe") { c.strokeStyle = marginColour(screw); c.lineWidth = 1; c.setLineDash([2, 3]); c.stroke(); c.setLineDash([]); }
    }
    if (near && (selected || polygon.length)) {
      const [x1, y1] = this.toPx(g, e), [x2, y2] = this.toPx(g, p);
      if (selected) { c.strokeStyle = colour; c.lineWidth = 1; c.setLineDash([6, 4]); c.globalAlpha = 0.8; c.beginPath(); c.moveTo(x1, y1); c.lineTo(x2, y2); c.stroke(); c.setLineDash([]); c.globalAlpha = 1; }
      if (polygon.length) {
        const [lx, ly] = this.toPx(g, polygon.reduce((m, q) => (q[1] > m[1] ? q : m)));
        labels.push({ id: screw.id, x: lx, y: ly });
        c.font = "600 12px var(--font, system-ui), sans-serif"; c.fillStyle = colour; c.textAlign = "center";
        c.strokeStyle = "#000a"; c.lineWidth = 3; c.strokeText(screw.name ?? screw.id, lx, ly + 14); c.fillText(screw.name ?? screw.id, lx, ly + 14);
      }
      if (selected && this.app.canEdit() && this.view !== "probe") this.drawHandles(c, x1, y1, x2, y2);
      else if (selected && this.app.canEdit()) { const [x, y] = this.toPx(g, [0, 0]); this.dot(c, x, y, "both"); this.handles = [{ part: "both", x, y }]; }
    }
  }
  drawHandles(c, x1, y1, x2, y2) {
    this.handles = [{ part: "entry", x: x1, y: y1 }, { part: "tip", x: x2, y: y2 }, { part: "both", x: (x1 + x2) / 2, y: (y1 + y2) / 2 }];
    for (const handle of this.handles) this.dot(c, handle.x, handle.y, handle.part);
  }
  dot(c, x, y, part) {
    const hot = (this.drag?.part ?? this.hover) === part;
    c.beginPath();
    if (part === "both") c.rect(x - 5, y - 5, 10, 10); else c.arc(x, y, 6, 0, 7);
    c.fillStyle = hot ? COLOUR.selected : "#0c1016cc"; c.fill(); c.strokeStyle = COLOUR.selected; c.lineWidth = 1.5; c.stroke();
  }
  drawTool(c, g) {
    for (const tool of this.app.tool?.() ?? []) {
      const from = along(tool.tip, tool.axis, -60), polygon = cylinderSection(g.plane, from, tool.tip, tool.radius ?? 3);
      const [a, b] = axisInPlane(g.plane, from, tool.tip), [x1, y1] = this.toPx(g, a), [x2, y2] = this.toPx(g, b);
      c.strokeStyle = tool.preview ? COLOUR.selected : tool.ghost ? COLOUR.ghost : COLOUR.tool; c.lineWidth = tool.ghost ? 1 : 2;
      c.setLineDash(tool.ghost ? [3, 3] : []);
      if (polygon.length) { this.path(c, g, polygon); c.stroke(); }
      // where the guide points to
      const ahead = axisInPlane(g.plane, tool.tip, along(tool.tip, tool.axis, 60)), [x3, y3] = this.toPx(g, ahead[1]);
      c.globalAlpha = 0.7; c.setLineDash([2, 4]); c.lineWidth = 1; c.beginPath(); c.moveTo(x1, y1); c.lineTo(x2, y2); c.lineTo(x3, y3); c.stroke(); c.setLineDash([]); c.globalAlpha = 1;
      c.beginPath(); c.arc(x2, y2, 4, 0, 7); c.fillStyle = tool.preview ? COLOUR.selected : tool.ghost ? COLOUR.ghost : COLOUR.tool; c.fill();
      // how far the guide may be from where it is drawn: speed cap times loop age
      if (tool.halo > 0.2) { c.beginPath(); c.arc(x2, y2, 4 + tool.halo * g.scale, 0, 7); c.globalAlpha = 0.5; c.lineWidth = 1.5; c.strokeStyle = COLOUR.warn; c.stroke(); c.globalAlpha = 1; }
    }
  }
  drawNotes(c, g) {
    const { store } = this.app;
    for (const note of store.room.drawings) {
      if (note.case !== store.desk?.id) continue;
      const points = note.points_lps_mm.map((p) => toScreen(g, p));
      const off = Math.min(...points.map((p) => Math.abs(p.off)));
      if (off > 4) continue;
      c.globalAlpha = off < 1.5 ? 1 : 0.45; c.strokeStyle = note.colour; c.fillStyle = note.colour; c.lineWidth = 2;
      c.beginPath(); points.forEach((p, i) => (i ? c.lineTo(p.x, p.y) : c.moveTo(p.x, p.y))); c.stroke();
      const last = points[points.length - 1];
      const words = note.kind === "measure" ? `${distance(note.points_lps_mm[0], note.points_lps_mm[1]).toFixed(1)} mm` : note.text;
      c.font = "600 12px system-ui, sans-serif"; c.textAlign = "left"; c.fillText(`${words} · ${note.author}`, last.x + 6, last.y - 4);
      c.globalAlpha = 1;
    }
    if (this.stroke?.length) { c.strokeStyle = "#fff"; c.lineWidth = 2; c.beginPath(); this.stroke.map((p) => toScreen(g, p)).forEach((p, i) => (i ? c.lineTo(p.x, p.y) : c.moveTo(p.x, p.y))); c.stroke(); }
    for (const pointer of store.frame?.pointers ?? []) {
      if (pointer.case !== store.desk?.id) continue;
      const p = toScreen(g, pointer.at_lps_mm), far = Math.abs(p.off) > 3;
      c.globalAlpha = far ? 0.4 : 1; c.strokeStyle = pointer.colour; c.fillStyle = pointer.colour; c.lineWidth = 2;
      c.beginPath(); c.arc(p.x, p.y, 8, 0, 7); c.moveTo(p.x - 13, p.y); c.lineTo(p.x - 4, p.y); c.moveTo(p.x + 4, p.y); c.lineTo(p.x + 13, p.y); c.stroke();
      c.font = "600 12px system-ui, sans-serif"; c.textAlign = "left";
      c.fillText(pointer.name + (far ? ` (${p.off > 0 ? "+" : ""}${p.off.toFixed(0)} mm)` : ""), p.x + 12, p.y - 10);
      c.globalAlpha = 1;
    }
  }
  drawScale(c, g) {
    const mm = [5, 10, 20, 50].find((v) => v * g.scale > 40) ?? 100, w = mm * g.scale, x = 10, y = g.height - 12;
    c.strokeStyle = "#9fb0bf"; c.lineWidth = 1.5; c.beginPath(); c.moveTo(x, y - 4); c.lineTo(x, y); c.lineTo(x + w, y); c.lineTo(x + w, y - 4); c.stroke();
    c.font = "11px system-ui, sans-serif"; c.fillStyle = "#9fb0bf"; c.textAlign = "left"; c.fillText(`${mm} mm`, x + w + 5, y + 1);
  }
  setStale(words) { this.root.classList.toggle("is-stale", !!words); if (this.stale.hidden === !!words) this.stale.hidden = !words; text(this.stale, words); }

  bind() {
    const at = (event) => { const r = this.root.getBoundingClientRect(); return [event.clientX - r.left, event.clientY - r.top]; };
    this.root.addEventListener("pointerdown", (event) => {
      if (event.button > 1) return;
      const [x, y] = at(event);
      const tool = this.app.drawTool?.();
      this.root.setPointerCapture(event.pointerId); this.root.focus({ preventScroll: true });
      const handle = this.app.canEdit() && !tool ? this.hit(x, y) : null;
      if (event.button === 1 || event.shiftKey) this.drag = { part: "pan", x, y, pan: [...this.pan] };
      else if (tool) { this.drag = { part: "draw" }; this.stroke = [toPatient(this.geometry, x, y)]; }
      else if (handle) this.drag = { part: handle, start: toPatient(this.geometry, x, y), geometry: this.geometry, screw: { ...this.app.store.screw }, gesture: `${Date.now()}-${this.view}` };
      else { this.drag = { part: "cross" }; this.moveCross(x, y); }
      event.preventDefault();
    });
    this.root.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      this.app.onPointer?.(toPatient(this.geometry, x, y));
      if (!this.drag) { const hot = this.app.canEdit() ? this.hit(x, y) : null; if (hot !== this.hover) { this.hover = hot; this.root.style.cursor = hot ? "grab" : ""; this.draw(); } return; }
      const d = this.drag;
      if (d.part === "pan") { const g = this.geometry; this.pan = [d.pan[0] + (x - d.x) / g.scale, d.pan[1] + (y - d.y) / g.scale]; this.request(true); this.draw(); }
      else if (d.part === "draw") { const p = toPatient(this.geometry, x, y); if (this.app.drawTool() === "measure") this.stroke[1] = p; else if (distance(p, this.stroke[this.stroke.length - 1]) > 0.6) this.stroke.push(p); this.draw(); }
      else if (d.part === "cross") this.moveCross(x, y);
      else this.app.onDrag(d, sub(toPatient(d.geometry, x, y), d.start), false);
    });
    const end = (event) => {
      const d = this.drag;
      if (!d) return;
      this.drag = null;
      if (d.part === "draw") { const stroke = this.stroke; this.stroke = null; if (event.type === "pointerup") this.app.onStroke(stroke); }
      else if (["entry", "tip", "both"].includes(d.part)) { const [x, y] = at(event); this.app.onDrag(d, event.type === "pointercancel" ? [0, 0, 0] : sub(toPatient(d.geometry, x, y), d.start), true); }
      else { this.request(); }
      this.draw();
    };
    this.root.addEventListener("pointerup", end);
    this.root.addEventListener("pointercancel", end);
    this.root.addEventListener("pointerleave", () => { this.app.onPointer?.(null); if (this.hover) { this.hover = null; this.draw(); } });
    this.root.addEventListener("wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey) { this.zoom = Math.min(12, Math.max(0.3, this.zoom * Math.exp(-event.deltaY / 400))); this.request(); this.draw(); }
      else this.scroll(Math.sign(event.deltaY));
    }, { passive: false });
    this.root.addEventListener("keydown", (event) => {
      const step = event.shiftKey ? 0.1 : 0.5;
      const move = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] }[event.key];
      if (move && this.app.store.screw && this.app.canEdit()) {
        const p = this.plane;
        this.app.onNudge(add(scale(p.u, move[0]), scale(p.v, move[1])));
        event.preventDefault();
      } else if (event.key === "PageUp" || event.key === "PageDown") { this.scroll(event.key === "PageUp" ? -1 : 1); event.preventDefault(); }
      else if (event.key === "+" || event.key === "-") { this.zoom = Math.min(12, Math.max(0.3, this.zoom * (event.key === "+" ? 1.25 : 0.8))); this.request(); this.draw(); }
    });
  }
  scroll(steps) {
    const { store } = this.app;
    if (this.view === "probe" && store.axis()) { store.depth = Math.min(90, Math.max(-40, store.depth + steps)); this.app.redraw(); return; }
    if (!["axial", "sagittal", "coronal"].includes(this.view)) return;
    this.app.onCross(along(store.cross, this.plane.n, steps * 0.7));
  }
  moveCross(x, y) { const g = this.geometry; if (["axial", "sagittal", "coronal"].includes(this.view) || !this.app.store.axis()) this.app.onCross(toPatient(g, x, y)); }
  hit(x, y) {
    let best = null, near = HANDLE_PX + 3;
    for (const handle of this.handles ?? []) { const d = Math.hypot(handle.x - x, handle.y - y); if (d < near) { near = d; best = handle.part; } }
    return best;
  }
}

/** A screw with a part moved by `by` (mm): what the page shows until the server's answer. Entry and tip keep the length. */
export function moved(screw, part, by) {
  if (part === "both") return { ...screw, entry_lps_mm: add(screw.entry_lps_mm, by), tip_lps_mm: add(screw.tip_lps_mm, by) };
  if (part === "entry") { const entry = add(screw.entry_lps_mm, by); return { ...screw, entry_lps_mm: entry, tip_lps_mm: along(entry, unit(sub(screw.tip_lps_mm, entry)), screw.length_mm) }; }
  const towards = unit(sub(add(screw.tip_lps_mm, by), screw.entry_lps_mm));
  return { ...screw, tip_lps_mm: along(screw.entry_lps_mm, towards, screw.length_mm) };
}
export const middle = (screw) => lerp(screw.entry_lps_mm, screw.tip_lps_mm, 0.5);
export const depthAlong = (screw, point) => dot(sub(point, screw.entry_lps_mm), unit(sub(screw.tip_lps_mm, screw.entry_lps_mm)));
