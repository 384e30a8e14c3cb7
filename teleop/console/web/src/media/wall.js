// The hospital's live pictures: tiles with title, age and state, marks and pointers on top. One wall, moved between the views.
import { attr, h, show, text } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { STRIP } from "./stamp.js";

export const TITLES = { room: "Room camera", guide: "Guide camera", ultrasound: "Ultrasound" };
const STREAMS = Object.keys(TITLES), OLD_MS = 400, KEY = "longhand.live";

export class Wall {
  /** app: {store, player, call, fail, drawTool()}. */
  constructor(app) {
    this.app = app;
    this.one = "guide"; this.layout = "one";
    this.start = h("button", { id: "live-start", t: "Show live pictures", onclick: () => this.open() });
    this.note = h("p", { class: "hint", id: "live-note", role: "status" });
    this.pick = h("div", { class: "segmented", role: "group", label: "Live pictures" }, ...STREAMS.map((s) => h("button", { t: TITLES[s], "data-live": s, onclick: () => { this.one = s; this.app.dirty = true; this.choose(); } })));
    this.figures = Object.fromEntries(STREAMS.map((s) => [s, this.figure(s)]));
    this.bar = h("div", { class: "live-bar" }, this.start, this.pick, this.note);
    this.root = h("section", { class: "wall", id: "wall", "aria-label": "Live pictures" }, this.bar, h("div", { class: "tiles" }, ...Object.values(this.figures).map((f) => f.root)));
    try { this.wanted = sessionStorage.getItem(KEY) === "on"; } catch { this.wanted = false; }
  }
  figure(stream) {
    const over = h("canvas", { class: "live-over" }), age = h("b", { class: "live-age", "data-age": stream }), trouble = h("div", { class: "live-trouble", hidden: true, role: "alert" });
    const root = h("figure", { class: "live-tile", "data-stream": stream }, h("div", { class: "live-frame" }), over, h("figcaption", {}, h("span", { t: TITLES[stream] }), age), trouble);
    const figure = { stream, root, over, age, trouble, frame: root.firstChild, stroke: null };
    this.bind(figure);
    return figure;
  }
  mount(parent, layout) { this.layout = layout; attr(this.root, "data-layout", layout); parent.append(this.root); this.choose(); if (this.wanted && this.app.player.state === "off" && this.app.net.up) this.open(); }
  get visible() { return this.root.isConnected ? (this.layout === "one" ? [this.one] : STREAMS) : []; }
  async open() {
    this.wanted = true;
    try { sessionStorage.setItem(KEY, "on"); } catch { /* storage may be off */ }
    this.site = this.app.store.siteName;
    for (const s of STREAMS) { const { video } = this.app.player.tile(s); if (!video.isConnected) this.figures[s].frame.append(video); }
    this.app.player.site = this.site; this.app.player.wanted = this.visible;
    await this.app.player.open().catch(this.app.fail);
    this.app.dirty = true;
  }
  /** Ask for what is on the page: the hospital shown, the tiles visible. */
  choose() {
    const { player, store } = this.app;
    const site = store.siteName, streams = this.visible;
    if (["open", "connecting"].includes(player.state) && (site !== player.site || streams.join() !== player.wanted.join())) player.watch(site, streams).catch(this.app.fail);
  }
  update() {
    const { app } = this, { player, store } = app;
    this.choose();
    const on = ["open", "connecting"].includes(player.state);
    show(this.start, !on); show(this.pick, this.layout === "one" && on);
    for (const b of this.pick.children) attr(b, "aria-pressed", b.dataset.live === this.one ? "true" : "false");
    const told = store.frame?.media?.sites?.[store.siteName];
    text(this.note, !on ? player.words : told ? `${t("Picture quality")}: ${t(told.rung)}${player.joined ? "" : ` · ${t("connecting")}`}` : t("connecting"));
    for (const f of Object.values(this.figures)) {
      const seen = on && this.visible.includes(f.stream);
      show(f.root, seen);
      if (!seen) continue;
      const age = player.age(f.stream), why = player.trouble(f.stream);
      text(f.age, age === null ? "--" : `${Math.max(0, age).toFixed(0)} ms`);
      attr(f.age, "data-level", age === null || why ? "bad" : age > OLD_MS ? "warn" : "ok");
      const words = { hung: t("CAMERA HUNG: the same picture again and again"), frozen: `${t("FROZEN")} ${age === null ? "" : `${(age / 1000).toFixed(1)} s`}`, waiting: t("waiting for a picture"), "control comes first": t("Pictures paused: control comes first") }[why] ?? why;
      text(f.trouble, words); show(f.trouble, !!why); attr(f.root, "data-trouble", why || null);
      this.draw(f);
    }
  }
  /** Marks fade in twenty seconds; pointers follow at once. */
  draw(f) {
    const { store } = this.app, w = f.root.clientWidth, hgt = f.root.clientHeight, ratio = Math.min(2, devicePixelRatio || 1);
    if (f.over.width !== Math.round(w * ratio) || f.over.height !== Math.round(hgt * ratio)) { f.over.width = Math.round(w * ratio); f.over.height = Math.round(hgt * ratio); }
    const c = f.over.getContext("2d"), box = this.picture(f), now = Date.now() / 1000, colours = Object.fromEntries(store.room.persons.map((p) => [p.name, p.colour]));
    c.setTransform(ratio, 0, 0, ratio, 0, 0); c.clearRect(0, 0, w, hgt);
    const at = ([x, y]) => [box.x + x * box.w, box.y + y * box.h], mine = (m) => m.site === this.app.player.site && m.stream === f.stream;
    f.drawn = [];
    for (const m of (store.consult?.marks ?? []).filter(mine)) {
      c.globalAlpha = Math.max(0.15, 1 - (now - m.utc) / 20); c.strokeStyle = c.fillStyle = colours[m.author] ?? "#fff"; c.lineWidth = 3;
      c.beginPath(); m.points.map(at).forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y))); c.stroke();
      const [x, y] = at(m.points.at(-1)); c.font = "600 13px system-ui, sans-serif"; c.fillText(`${m.text} · ${m.author}`, x + 6, y - 4);
      f.drawn.push({ id: m.id, author: m.author });
    }
    c.globalAlpha = 1;
    if (f.stroke) { c.strokeStyle = "#fff"; c.lineWidth = 3; c.beginPath(); f.stroke.map(at).forEach(([x, y], i) => (i ? c.lineTo(x, y) : c.moveTo(x, y))); c.stroke(); }
    for (const m of (store.frame?.media?.pointers ?? []).filter(mine)) {
      const [x, y] = at(m.points[0]);
      c.strokeStyle = c.fillStyle = colours[m.author] ?? "#fff"; c.lineWidth = 2.5;
      c.beginPath(); c.arc(x, y, 9, 0, 7); c.moveTo(x - 15, y); c.lineTo(x - 4, y); c.moveTo(x + 4, y); c.lineTo(x + 15, y); c.stroke();
      c.font = "600 13px system-ui, sans-serif"; c.fillText(m.author, x + 13, y - 11);
      f.drawn.push({ pointer: true, author: m.author, x, y });
    }
  }
  /** Where the picture (without its strip) lies in the tile, CSS pixels. */
  picture(f) {
    const { video } = this.app.player.tile(f.stream), w = f.root.clientWidth, hgt = f.root.clientHeight;
    const vw = video.videoWidth || 4, vh = (video.videoHeight || 3 + STRIP) - STRIP, k = Math.min(w / vw, hgt / vh);
    const box = { w: vw * k, h: vh * k, x: (w - vw * k) / 2, y: (hgt - vh * k) / 2 };
    const style = `left:${box.x}px;top:${box.y}px;width:${box.w}px;height:${(vh + STRIP) * k}px`;
    if (video.__style !== style) { video.__style = style; Object.assign(video.style, { left: `${box.x}px`, top: `${box.y}px`, width: `${box.w}px`, height: `${(vh + STRIP) * k}px` }); f.frame.style.clipPath = `inset(0 0 ${Math.max(0, hgt - box.y - box.h) + 2 * k}px 0)`; }
    return box;
  }
  bind(f) {
    const share = (event) => { const r = f.root.getBoundingClientRect(), b = this.picture(f); return [(event.clientX - r.left - b.x) / b.w, (event.clientY - r.top - b.y) / b.h]; };
    const may = () => this.app.store.view === "consult" && ["surgeon", "mentor", "expert", "bedside"].includes(this.app.store.me.role);
    const where = () => ({ site: this.app.player.site, stream: f.stream, frame: this.app.player.tiles[f.stream]?.shown?.id ?? 0 });
    let sent = 0;
    f.over.addEventListener("pointerdown", (event) => { if (may() && this.app.drawTool()) { f.over.setPointerCapture(event.pointerId); f.stroke = [share(event)]; event.preventDefault(); } });
    f.over.addEventListener("pointermove", (event) => {
      if (!may()) return;
      const p = share(event);
      if (f.stroke) { f.stroke.push(p); this.draw(f); }
      if (performance.now() - sent > 45) { sent = performance.now(); this.app.call("consult.point", { ...where(), points: [p] }).catch(() => {}); }
    });
    f.over.addEventListener("pointerleave", () => { if (may() && !f.stroke) this.app.call("consult.point", { points: null }).catch(() => {}); });
    f.over.addEventListener("pointerup", () => { const stroke = f.stroke; f.stroke = null; if (stroke?.length > 1) this.app.call("consult.mark", { ...where(), kind: "line", points: stroke.filter((_, i) => i % Math.ceil(stroke.length / 300) === 0 || i === stroke.length - 1), text: "" }).catch(this.app.fail); });
    f.over.addEventListener("pointercancel", () => { f.stroke = null; });
  }
}
