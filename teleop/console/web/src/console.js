// The surgeon's and the experts' page.
import { stopButton } from "./views/stop_button.js";
import { h, text } from "./lib/dom.js";
import { setLanguage, getLanguage, t } from "./lib/i18n.js";
import { add } from "./lib/vec.js";
import { Sound } from "./lib/sound.js";
import { Net } from "./net/net.js";
import { Deadman } from "./input/deadman.js";
import { Images } from "./image/images.js";
import { moved } from "./image/slice_view.js";
import { Store, liveTool } from "./store.js";
import { Block } from "./views/block.js";
import { makeShell } from "./views/shell.js";
import { makePlan } from "./views/plan.js";
import { makeSites } from "./views/sites.js";
import { makeCommand } from "./views/command.js";
import { makeConsult } from "./views/consult.js";
import { arrived } from "./views/next_action.js";
import { Player } from "./media/player.js";
import { Wall } from "./media/wall.js";

const store = new Store();
const app = { store, sound: new Sound(), mode: "goal", pending: false, page: location.pathname.startsWith("/consult") ? "consult" : "console" };
globalThis.longhand = app; // for tests and for the curious: read-only use
setLanguage(getLanguage());

app.net = new Net(receive, "/stop");
app.call = (name, args = {}) => app.net.call(name, { case: store.desk?.id, ...args });
app.fail = (error) => app.say(error.message, true);
app.say = (words, bad = false) => app.shell.toast(words, bad);
app.canEdit = () => store.me.role === "surgeon" && store.view === "plan";
app.busy = async (button, work) => {
  if (button) { button.disabled = true; button.dataset.busy = "1"; }
  try { return await work(); } catch (error) { app.fail(error); throw error; } finally { if (button) { button.disabled = false; delete button.dataset.busy; } }
};
app.order = async (op, params = {}) => {
  const reply = await app.net.call("site.order", { site: store.siteName, op, params });
  if (!reply.ok) app.say(reply.reason || t("refused"), true);
  return reply;
};
app.stop = (source) => { app.deadman.release("stop"); app.net.stop(store.siteName || null); app.say(`${t("STOP sent")}`, true); app.lastStop = { source, at: performance.timeOrigin + performance.now() }; };
app.setMode = (mode) => {
  if (mode === app.mode) return;
  app.deadman.release("changed"); app.mode = mode; app.dirty = true;
  if (store.siteName && store.me.role === "surgeon") app.net.call("hand.mode", { site: store.siteName, mode }).catch(app.fail);
};
app.chooseSite = (name) => { if (name !== store.siteName) { app.deadman.release("changed"); store.siteName = name; const desk = store.cases.find((c) => c.site === name); if (desk && desk.id !== store.desk?.id) app.openCase(desk.id); app.redraw(); robot(name); } };
app.select = (id) => { store.select(id); store.depth = Math.min(15, (store.screw?.length_mm ?? 30) * 0.4); app.redraw(true); look(); };
app.onCross = (point) => { store.cross = point; app.redraw(true); look(); };
app.redraw = (images = true) => { app.dirty = true; if (images) app.dirtyImages = true; };
app.tool = () => {
  if (store.stale()) return [];
  // the ghost is where the guide is asked to be: the hand's newest target, or what the hospital's drive is at
  const hand = store.site?.hand ?? {}, solid = liveTool(store.site), ghost = liveTool(store.site, hand.ghost ?? store.site?.arm?.setpoint);
  const ahead = app.preview();
  return [...(ahead ? [{ ...ahead, ghost: true, preview: true, radius: 4 }] : []), ...(ghost ? [{ ...ghost, ghost: true, radius: 4 }] : []), ...(solid ? [{ ...solid, radius: 4, halo: (hand.halo_m ?? 0) * 1000 }] : [])];
};
// The way of a planned path, shown by a ghost that goes along it again and again until the arm moves.
const SWEEP_MS = 2600, PAUSE_MS = 700;
app.preview = () => {
  const s = store.site, path = s?.case?.path, now = path && [...path.path_hash].join();
  if (!now || store.stale() || store.view !== "command" || app.mode !== "goal") return null;
  if (app.wayOf !== `${store.siteName}/${now}`) {
    app.wayOf = `${store.siteName}/${now}`; app.way = null;
    app.net.call("site.path", { site: store.siteName }).then((r) => { if ([...r.path_hash].join() === now) { app.way = r.way; app.wayAt = performance.now(); } }).catch(() => {});
  }
  if (!app.way?.length || app.deadman.press || ["moving", "stopping"].includes(s.arm?.drive) || arrived(s)) return null;
  const u = Math.min(1, ((performance.now() - app.wayAt) % (SWEEP_MS + PAUSE_MS)) / SWEEP_MS), want = u * app.way.at(-1)[0];
  const k = Math.max(1, app.way.findIndex((row) => row[0] >= want)), a = app.way[k - 1], b = app.way[k], f = b[0] > a[0] ? (want - a[0]) / (b[0] - a[0]) : 1;
  return liveTool(s, a.slice(1).map((v, i) => v + (b[i + 1] - v) * Math.max(0, Math.min(1, f))));
};
app.entryGuess = () => add(store.cross, [0, 60, 0]);

// -- the plan: drags are shown at once and sent newest-first ------------------------------------------------------
let editing = null, waiting = null;
app.onDrag = (drag, by, last) => {
  const local = moved(drag.screw, drag.part, by);
  store.local = { id: drag.screw.id, entry_lps_mm: local.entry_lps_mm, tip_lps_mm: local.tip_lps_mm, pending: true };
  const change = drag.part === "both" ? { do: "both", entry_lps_mm: local.entry_lps_mm, tip_lps_mm: local.tip_lps_mm } : { do: drag.part, to_lps_mm: drag.part === "entry" ? local.entry_lps_mm : add(drag.screw.tip_lps_mm, by) };
  queueEdit({ screw: drag.screw.id, change, gesture: drag.gesture, last });
  app.redraw(true);
};
app.onNudge = (by) => { const s = store.screw; app.onDrag({ screw: s, part: "both", gesture: "" }, by, true); };
app.edit = (change) => queueEdit({ screw: store.screwId, change, gesture: "", last: true });
function queueEdit(ask) {
  if (editing) { if (!waiting || !waiting.last || waiting.screw !== ask.screw || ask.gesture === waiting.gesture) waiting = ask; return; }
  editing = ask;
  app.pending = true;
  app.call("plan.edit", ask).catch(app.fail).finally(() => {
    editing = null;
    if (waiting) { const next = waiting; waiting = null; queueEdit(next); } else { app.pending = false; store.local = null; app.redraw(true); }
  });
}
app.export = async (format) => {
  try {
    const { name, mime, data } = await app.call("plan.export", { format });
    const link = h("a", { href: URL.createObjectURL(new Blob([data], { type: mime })), download: name });
    link.click(); setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  } catch (error) { app.fail(error); }
};
app.openCase = async (id) => {
  if (!id) return;
  try { const document_ = await app.net.call("cases.show", { case: id }); takeDesk(document_); if (document_.site && store.sites[document_.site]) app.chooseSite(document_.site); } catch (error) { app.fail(error); }
};
function takeDesk(desk, gesture = "") {
  const fresh = store.desk?.id !== desk.id;
  store.desk = desk;
  if (fresh) { store.screwId = ""; store.local = null; }
  if (!desk.screws.some((s) => s.id === store.screwId)) { if (desk.screws[0]) store.select(desk.screws[0].id); else if (desk.image.centre_lps_mm) store.cross = desk.image.centre_lps_mm; else store.screwId = ""; }
  app.images.centre = desk.image.centre_lps_mm;
  app.images.open(desk.image);
  if (fresh) app.block.scene.home();
  void gesture;
  app.redraw(true);
}
/** Time-out on the surgeon's side: read case, plan hash, CT hash and screws aloud, then send them to be compared. */
app.readingBack = new Set(); // hospitals whose read-back waits for the table's answer: asking again would only make a queue there
app.timeOut = (name) => {
  if (app.readingBack.has(name) || document.querySelector("#time-out")) return;
  const desk = store.desk, c = store.sites[name]?.case ?? {};
  if (!desk?.approval) { app.say(t("Open the approved plan of this hospital first"), true); return; }
  const screws = desk.screws.map((s) => s.name ?? s.id).join(", ");
  const done = () => { dialog.close(); dialog.remove(); };
  const dialog = h("dialog", { id: "time-out", label: "Time-out" }, h("h2", { t: "Time-out: read aloud with the bedside" }), h("dl", { class: "readback" },
    h("dt", { t: "Hospital" }), h("dd", {}, store.sites[name].title), h("dt", { t: "Case" }), h("dd", {}, c.case_id ?? "–"), h("dt", { t: "Levels and sides" }), h("dd", {}, screws),
    h("dt", { t: "Plan" }), h("dd", {}, desk.approval.hash.slice(0, 16)), h("dt", {}, "CT"), h("dd", {}, (desk.image.ct_sha256 ?? "").slice(0, 16))),
    h("div", { class: "row end" }, h("button", { t: "Not right", onclick: done }), h("button", { id: "time-out-agree", class: "primary big", t: "All agree", onclick: async () => { done(); app.readingBack.add(name); const reply = await app.net.call("site.order", { site: name, op: "case.read_back", params: { case_id: c.case_id, plan_hash: desk.approval.hash, ct_sha256: desk.image.ct_sha256, screws: desk.transferred?.screws ?? desk.screws.map((s) => s.id).sort() } }).catch(app.fail); app.readingBack.delete(name); app.dirty = true; if (reply && !reply.ok) app.say(reply.reason, true); } })), stopButton(app));
  document.body.append(dialog); dialog.showModal();
};

// -- looking together ---------------------------------------------------------------------------------------------
let lookTimer = 0, pointerAt = 0;
function look() {
  if (!store.room.persons.find((p) => p.name === store.me.name)?.presents || lookTimer) return;
  lookTimer = setTimeout(() => { lookTimer = 0; app.call("room.look", { look: { case: store.desk?.id, cross: store.cross, screw: store.screwId, window: store.window, depth: store.depth, camera: app.block.scene.camera } }).catch(() => {}); }, 50);
}
app.applyLook = async (l) => {
  if (!store.follow || !l?.case) return;
  if (l.case !== store.desk?.id) await app.openCase(l.case);
  if (l.screw !== store.screwId) store.screwId = l.screw;
  Object.assign(store, { cross: l.cross, window: l.window, depth: l.depth });
  if (l.camera && Array.isArray(l.camera.target)) app.block.scene.camera = { ...l.camera };
  app.redraw(true);
};
app.onPointer = (point) => {
  if (!["surgeon", "mentor", "expert", "bedside"].includes(store.me.role) || store.view !== "consult" || (point && performance.now() - pointerAt < 40)) return;
  pointerAt = performance.now();
  app.call("room.pointer", { at: point }).catch(() => {});
};
async function robot(name) { void name; }

// -- messages -------------------------------------------------------------------------------------------------------
function receive(message) {
  switch (message.t) {
    case "link":
      store.link = message;
      if (!message.up) {
        app.deadman.release("network"); app.shell.signin(message.code === 4401 || message.code === 4403 || message.code === 4429, message.reason);
        app.player?.lost("the connection broke"); // the server's end is gone: it has forgotten this page
      }
      break;
    case "welcome":
      store.me = { name: message.name, role: message.role, page: message.page };
      for (const words of message.complaints) app.say(words, true);
      break;
    case "frame": {
      store.frame = message; store.frameAt = message.at;
      if (!store.siteName || !message.sites[store.siteName]) store.siteName = Object.keys(message.sites)[0] ?? "";
      for (const [name, s] of Object.entries(message.sites)) {
        const list = (store.history[name] ??= []);
        if (s.gov?.loop_age_ns) { list.push({ at: performance.now(), v: s.gov.loop_age_ns / 1e6 }); if (list.length > 1500) list.splice(0, 300); }
      }
      app.fresh = message;
      break;
    }
    case "cases": store.cases = message.cases; if (!store.desk && store.cases.length === 1) app.openCase(store.cases[0].id); break;
    case "desk": if (store.desk?.id === message.id) takeDesk(message, message.gesture); break;
    case "room": store.room = message; app.redraw(false); break;
    case "look": app.applyLook(message.look); break;
    case "consult": store.consult = message; app.redraw(false); break;
    case "wanted": app.onWanted(message); break;
    case "media": app.player.ended(message.closed); app.say(message.closed, true); break;
    case "event": store.events.push(message); store.events.splice(0, store.events.length - 200); break;
    case "progress": app.say(`${t("Images")} ${store.sites[message.site]?.title ?? message.site}: ${(message.share * 100).toFixed(0)} %`); break;
    case "stopped": app.lastStopReply = { ...message, at: performance.timeOrigin + performance.now() }; break;
  }
  if (message.t !== "frame") app.dirty = true;
}

// -- drawing: once per animation frame, then the acknowledgement ----------------------------------------------------
app.images = new Images(app.net, () => { if (app.images.labels && app.images.labels !== app.sentLabels) { app.sentLabels = app.images.labels; app.block.scene.labels(app.images.labels); } app.redraw(true); });
app.deadman = new Deadman((sample) => app.net.hand(sample), () => { app.dirty = true; });
app.block = new Block(app);
app.shell = makeShell(app);
app.onCamera = () => look();
app.player = new Player(app);
app.wall = new Wall(app);
app.views = { plan: makePlan(app), sites: makeSites(app), command: makeCommand(app), consult: makeConsult(app) };
app.show = (view) => {
  if (!app.views[view]) return;
  app.views[store.view]?.leave?.();
  store.view = view;
  app.shell.main.replaceChildren(app.views[view].root);
  app.views[view].enter();
  app.dirty = true;
};
app.language = () => { for (const root of [...Object.values(app.views).map((v) => v.root), app.wall.root]) root.querySelectorAll("[data-t]").forEach((el) => text(el, t(el.dataset.t))); app.redraw(false); };
app.show(app.page === "consult" ? "consult" : "plan");
app.shell.signin(!app.net.token);

let live = 0, outlinesAt = 0, called = 0, gap = 16;
function paint() {
  requestAnimationFrame(paint);
  // How far apart the browser can draw frames here: a machine that is short of time draws outlines less often, so that the age of what is shown stays low.
  const at = performance.now();
  gap += 0.1 * (Math.min(500, at - called) - gap);
  called = at;
  const fresh = app.fresh;
  app.fresh = null;
  if (fresh || app.dirty || performance.now() - live > 120) {
    live = performance.now();
    const wanted = app.dirty;
    app.dirty = false;
    app.shell.update();
    app.block.update();
    app.views[store.view].update();
    app.updateWanted();
    const liveView = store.view === "command";
    const stale = liveView && store.siteName && store.stale() ? `${t("NO FRESH DATA")} ${Number.isFinite(store.age()) ? `${(store.age() / 1000).toFixed(1)} s` : ""}` : "";
    app.block.setStale(stale);
    // Numbers and states are drawn with every frame; outlines of a moving guide 25 times a second, or at a fifth of the frames where those come late.
    const outlines = wanted || performance.now() - outlinesAt > (gap < 25 ? 40 : 5 * gap);
    if (app.dirtyImages) { app.dirtyImages = false; outlinesAt = live; const dragging = Object.values(app.block.slices).some((s) => s.drag); app.block.redraw(true, dragging); } else if (outlines) { outlinesAt = live; app.block.redraw(false); }
  }
  // What was put on the screen in this frame is what the next command may echo.
  if (fresh) app.net.drawn(fresh.n, Object.fromEntries(Object.entries(fresh.sites).filter(([, s]) => s.stamp).map(([name, s]) => [name, s.stamp])), app.player.views());
}
requestAnimationFrame(paint);

// -- keys: STOP works always; everything else not while somebody types ----------------------------------------------
addEventListener("keydown", (event) => {
  app.sound.unlock();
  const typing = event.target.closest?.("input:not([type=range]):not([type=file]), textarea, select, [contenteditable]");
  if (event.key === "Escape" || (event.code === "Space" && !(typing && typing.tagName === "INPUT"))) { event.preventDefault(); event.stopPropagation(); app.stop(event.key === "Escape" ? "esc" : "space"); return; }
  if (typing) return;
  if (event.ctrlKey && event.key.toLowerCase() === "z" && app.canEdit()) { event.preventDefault(); app.call(event.shiftKey ? "plan.redo" : "plan.undo").catch(app.fail); }
  if (event.ctrlKey && event.key.toLowerCase() === "y" && app.canEdit()) { event.preventDefault(); app.call("plan.redo").catch(app.fail); }
  if (event.altKey && /^[1-4]$/.test(event.key)) { event.preventDefault(); app.show(["plan", "sites", "command", "consult"][Number(event.key) - 1]); }
}, true);
addEventListener("pointerdown", () => app.sound.unlock(), true);
