// The reviewer's page: one cursor, one range, everything else follows them.
import { get, post, newest, token } from "./api.js";
import { Ribbons } from "./ribbons.js";
import { SitePlots, SIGNALS } from "./plots.js";
import { Inspector } from "./inspector.js";
import { Pictures } from "./pictures.js";
import { element, clock, utc } from "./words.js";

const $ = (id) => document.getElementById(id);
const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 5, 10, 20, 50];

class App {
  constructor(session) {
    this.session = session;
    this.logs = session.logs;
    this.pictures = new Pictures($("pictures"));
    this.site = Math.max(0, this.logs.findIndex((l) => l.governor));
    $("plots").style.gridTemplateColumns = this.logs.map((l) => (l.governor || this.logs.length === 1 ? "minmax(0, 1fr)" : "240px")).join(" ");
    this.whole = [Math.min(...this.logs.map((l) => l.begin)), Math.max(...this.logs.map((l) => l.end))];
    if (this.whole[1] <= this.whole[0]) this.whole[1] = this.whole[0] + 1;
    this.events = this.logs.flatMap((log) => log.events.map((e) => ({ ...e, site: log.site }))).sort((a, b) => a.t - b.t);
    this.range = [...this.whole];
    this.t = this.whole[0];
    this.playing = false;
    this.plans = [];
    const handlers = { onSeek: (t) => this.seek(t), onRange: (r) => this.zoom(r ?? this.whole) };
    this.overview = new Ribbons($("overview"), this.logs, { overview: true, ...handlers });
    this.overview.view = this.whole;
    this.ribbons = new Ribbons($("ribbons"), this.logs, { overview: false, ...handlers });
    this.plots = this.logs.map((log) => new SitePlots($("plots"), log, handlers));
    this.loadSeries = newest(async (range) => {
      const width = Math.max(200, Math.round($("plots").clientWidth / Math.max(1, this.logs.filter((l) => l.governor).length)));
      await Promise.all(this.logs.map(async (log, k) => {
        try {
          const series = await get(`/api/log/${k}/series?names=${SIGNALS.join(",")}&from=${range[0]}&to=${range[1]}&width=${width}`);
          this.plots[k].show(series, this.range);
        } catch (error) { this.say(`site ${log.site}: ${error.message}`, true); }
      }));
      document.body.dataset.drawn = range.join(",");
    });
    this.loadPaths = newest(async (range) => {
      const paths = await get(`/api/log/${this.site}/paths?from=${range[0]}&to=${range[1]}`);
      this.scene?.showPaths(paths);
      document.body.dataset.pathPoints = paths.measured.length;
    });
    this.loadMoment = newest(async (t) => {
      const m = await get(`/api/log/${this.site}/moment?t=${t}`);
      this.moment = m;
      this.scene?.showArm(m.skeleton ?? [], m.arm_state ? xyz(m.arm_state.setpoint) : null);
      this.inspector?.values(m);
    });
    this.loadDecision = newest(async (t) => {
      const d = await get(`/api/log/${this.site}/decision?t=${t}`);
      if (!this.onStep()) this.inspector.decision(d);
    });
    this.inspector = new Inspector(this);
    this.controls();
    this.header();
    this.fromLink();
    addEventListener("hashchange", () => this.fromLink());
    new ResizeObserver(() => this.drawLine()).observe($("line"));
    this.watch();
    this.space();
  }

  async space() {
    try {
      const probe = document.createElement("canvas").getContext("webgl2");
      if (!probe) throw new Error("no WebGL");
      const { Scene } = await import("/static/scene.js");
      this.scene = new Scene($("view"));
      $("legend").append(...[["measured path", "#4cc9f0"], ["commanded path", "#ffb020"], ["planned line", "#5cf0ff"], ["guide as verified", "#5ee38a"]].map(([text, c]) => {
        const s = element("span", { text }); s.style.setProperty("--c", c); return s;
      }));
      await this.chooseSite(this.site);
    } catch (error) { $("space-note").textContent = `3-D off: ${error.message}`; }
  }

  async chooseSite(k) {
    this.site = k;
    if (this.logs.length > 1) $("space-sites").replaceChildren(...this.logs.map((log, n) => element("button", { text: log.site, "aria-pressed": String(n === k), onclick: () => this.chooseSite(n) })));
    if (this.scene) this.scene.framed = false;
    this.loadPaths(this.range);
    this.refresh();
    try {
      this.plans[k] ??= await get(`/api/log/${k}/plans`);
      if (this.site === k) {
        this.scene?.showPlans(this.plans[k], this.t);
        $("space-note").textContent = this.plans[k].vertebrae?.length ? "" : `vertebrae: ${this.plans[k].vertebrae_why}`;
      }
    } catch (error) { $("space-note").textContent = error.message; }
  }

  header() {
    const log = this.logs[this.site], versions = log.details.versions ?? {};
    $("facts").replaceChildren(
      element("b", { text: `session ${log.session.slice(0, 8)}` }), `  case ${log.case_id || "–"}, `,
      this.logs.map((l) => `site ${l.site}${l.complete ? "" : " (cut off)"}`).join(", "),
      `, ${clock(this.whole[1] - this.whole[0], 0)} long, longhand ${versions.longhand ?? "?"} ${(log.details.git ?? "").slice(0, 8)}`);
    $("facts").title = `config ${log.details.config_sha256 ?? "?"}, site key ${log.site_key}`;
    if (log.details.simulated) $("facts").after(element("div", { class: "badge sim", text: "SIMULATED" }));
  }

  controls() {
    for (const s of SPEEDS) $("speed").append(element("option", { value: s, text: `${s}×`, selected: s === 1 }));
    const on = (id, work) => $(id).addEventListener("click", work);
    on("play", () => this.play(!this.playing));
    on("back", () => this.seek(this.t - 1)); on("forward", () => this.seek(this.t + 1));
    on("step", () => this.step(1)); on("step-back", () => this.step(-1));
    on("next-event", () => this.jump(1)); on("previous-event", () => this.jump(-1));
    on("frame", () => {
      if (!this.scene) return;
      this.wide = !this.wide;
      $("frame").textContent = this.wide ? "path" : "arm";
      if (this.wide) this.scene.frame(this.moment?.skeleton?.length ? this.moment.skeleton : [[0, 0, 0], [0.6, 0, 1]], 0.5);
      else this.scene.frame(this.scene.measured ?? [[0, 0, 0]], 0.25);
    });
    on("zoom-all", () => this.zoom(this.whole));
    on("zoom-cursor", () => this.zoom([this.t - 5, this.t + 5]));
    on("zoom-out", () => { const c = (this.range[0] + this.range[1]) / 2, h = this.range[1] - this.range[0]; this.zoom([c - h, c + h]); });
    on("link", async () => {
      this.writeLink();
      try { await navigator.clipboard.writeText(location.href); this.say("link to this moment copied"); } catch { this.say(location.href); }
    });
    on("do-replay", async () => { $("do-replay").disabled = true; for (let k = 0; k < this.logs.length; k++) await post(`/api/log/${k}/replay`); $("replayed").textContent = "replaying …"; this.watch(); });
    on("do-report", () => open(`/api/log/${this.site}/report?token=${encodeURIComponent(token)}`, "_blank"));
    addEventListener("keydown", (e) => {
      if (/INPUT|TEXTAREA|SELECT/.test(e.target.tagName) || e.ctrlKey || e.metaKey || e.altKey) return;
      if (e.target.tagName === "BUTTON" && (e.key === " " || e.key === "Enter")) return;
      const work = { " ": () => this.play(!this.playing), ArrowLeft: () => this.seek(this.t - 1), ArrowRight: () => this.seek(this.t + 1), ",": () => this.step(-1), ".": () => this.step(1), "[": () => this.jump(-1), "]": () => this.jump(1) }[e.key];
      if (work) { e.preventDefault(); work(); }
    });
  }

  seek(t, scroll = false) {
    this.t = Math.min(Math.max(t, this.whole[0]), this.whole[1]);
    if (this.t < this.range[0] || this.t > this.range[1]) {
      const half = (this.range[1] - this.range[0]) / 2;
      this.zoom([this.t - half, this.t + half]);
    }
    this.refresh(scroll);
    if (!this.playing) this.writeLink();
  }

  // Everything that follows the cursor.
  refresh(scroll = false) {
    if (!this.inspector) return;
    for (const p of this.plots) p.cursor(this.t);
    this.drawLine();
    const log = this.logs[this.site];
    $("clock").replaceChildren(clock(this.t, 3), element("span", { text: `   ${utc(log.utc_at_zero + this.t)}` }));
    this.inspector.mark(this.t, scroll || this.playing);
    this.loadMoment(this.t);
    this.pictures.load(this.site, this.t).catch(() => {});
    // A step that was chosen stays on show: others may bear the same stamp.
    if (this.inspector.tab === "Decision" && !this.onStep()) this.loadDecision(this.t);
    const screws = this.plans[this.site];
    if (screws && this.scene) {
      const shown = JSON.stringify([screws.lines.filter((l) => l.t <= this.t).length, screws.achieved.filter((a) => a.t <= this.t).length, this.site]);
      if (shown !== this.shownPlans) { this.shownPlans = shown; this.scene.showPlans(screws, this.t); }
    }
    document.body.dataset.t = this.t;
  }

  drawLine() {
    this.overview.t = this.ribbons.t = this.t;
    this.overview.range = this.range; this.ribbons.view = this.range;
    this.overview.draw(); this.ribbons.draw();
  }

  zoom(range) {
    let [a, b] = range;
    const span = Math.min(Math.max(b - a, 0.02), this.whole[1] - this.whole[0]);
    const middle = (a + b) / 2;
    a = Math.max(this.whole[0], Math.min(middle - span / 2, this.whole[1] - span));
    this.range = [a, a + span];
    for (const p of this.plots) p.zoom(this.range);
    this.drawLine();
    this.loadSeries(this.range);
    this.loadPaths(this.range);
    if (!this.playing) this.writeLink();
  }

  // Is the cursor where the last step left it?
  onStep() { return this.stepped?.site === this.site && Math.abs(this.stepped.t - this.t) < 1e-9; }

  async step(move) {
    this.play(false);
    try {
      const from = this.onStep() ? `&record=${this.stepped.record}` : "";
      const d = await get(`/api/log/${this.site}/decision?t=${this.t}&move=${move}${from}`);
      if (!d) { this.say("no further decision in this log"); return; }
      this.t = d.t; this.stepped = { site: this.site, t: d.t, record: d.record };
      if (this.inspector.tab !== "Decision") this.inspector.choose("Decision");
      this.seek(d.t); this.inspector.decision(d);
    } catch (error) { this.say(error.message, true); }
  }

  jump(move) {
    const near = 1e-4;
    const found = move > 0 ? this.events.find((e) => e.t > this.t + near) : this.events.findLast((e) => e.t < this.t - near);
    if (found) this.seek(found.t, true); else this.say(move > 0 ? "no further event" : "no earlier event");
  }

  play(on) {
    this.playing = on;
    $("play").textContent = on ? "❚❚ pause" : "▸ play";
    if (!on) { this.writeLink(); return; }
    if (this.t >= this.whole[1]) this.t = this.whole[0];
    let last = performance.now();
    const frame = (now) => {
      if (!this.playing) return;
      const t = this.t + ((now - last) / 1000) * Number($("speed").value);
      last = now;
      if (t >= this.whole[1]) { this.seek(this.whole[1]); this.play(false); return; }
      this.seek(t);
      requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
  }

  writeLink() {
    history.replaceState(null, "", `#t=${this.t.toFixed(6)}&r=${this.range.map((x) => x.toFixed(6)).join(",")}&site=${this.site}`);
  }

  fromLink() {
    const words = new URLSearchParams(location.hash.slice(1));
    const site = Number(words.get("site") ?? this.site);
    if (this.logs[site]) this.site = site;
    const range = (words.get("r") ?? "").split(",").map(Number);
    const t = Number(words.get("t"));
    if (words.has("t") && Number.isFinite(t)) this.t = Math.min(Math.max(t, this.whole[0]), this.whole[1]);
    this.zoom(range.length === 2 && range.every(Number.isFinite) && range[1] > range[0] ? range : this.whole);
    this.refresh(true);
  }

  async watch() {
    clearTimeout(this.timer);
    try {
      const s = await get("/api/status");
      if (s.verdict) this.verdict(s.verdict);
      const done = s.replays.filter(Boolean);
      if (done.length === this.logs.length) {
        const bad = done.find((r) => !r.ok);
        const n = done.reduce((sum, r) => sum + (r.decisions ?? 0), 0);
        $("replayed").textContent = bad ? (bad.error ?? `decision ${bad.first_difference.n} differs`) : `${n} decisions, all the same`;
        $("replayed").dataset.level = bad ? "bad" : "ok";
        $("do-replay").disabled = false;
      }
      if (s.busy.length) this.timer = setTimeout(() => this.watch(), 700);
    } catch (error) { this.say(error.message, true); }
  }

  verdict(v) {
    const badge = $("verdict");
    badge.dataset.level = { clean: "ok", unclean: "warn" }[v.end] ?? "bad";
    const pinned = v.files.every((f) => f.key_pinned);
    badge.textContent = { clean: `CLEAN: ${v.records} records${pinned ? "" : ", key not pinned"}`, unclean: "UNCLEAN END: cut off, what was signed holds", tampered: "TAMPERED WITH", error: "NOT VERIFIED" }[v.end];
    badge.title = v.first_bad ? `${v.first_bad.file} byte ${v.first_bad.byte}: ${v.first_bad.what}` : (v.cross ?? []).join("\n") || v.error || "hash chain, signatures, index and summary hold";
  }

  say(text, bad = false) {
    const box = $("message");
    box.textContent = text; box.className = bad ? "bad" : ""; box.hidden = false;
    clearTimeout(this.saying); this.saying = setTimeout(() => { box.hidden = true; }, bad ? 8000 : 2500);
  }
}

const xyz = (pose) => [pose.position.x, pose.position.y, pose.position.z];

try {
  const session = await get("/api/session");
  window.review = new App(session);
  document.body.dataset.ready = "yes";
} catch (error) {
  const box = $("message"); box.textContent = error.message; box.className = "bad"; box.hidden = false;
}
