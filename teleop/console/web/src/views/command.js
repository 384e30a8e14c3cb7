// Command: one next action, hold to run, big digits, why limited, ghost and solid, jog and servo.
import { attr, className, disable, h, rebuild, show, text } from "../lib/dom.js";
import { getLanguage, t } from "../lib/i18n.js";
import { cross, dot, length, scale, sub, unit } from "../lib/vec.js";
import { liveTool } from "../store.js";
import { bindGamepad } from "../input/gamepad.js";
import { use, walk } from "../input/pad_focus.js";
import { makeServo } from "./servo.js";
import { drawRolling } from "./plots.js";
import { arrived, nextAction } from "./next_action.js";
import { num } from "./shell.js";

const STEPS = ["selected", "approach", "stand_off", "advance", "verified", "confirmed", "placed"];
const LIMIT_MM = 0.5, LIMIT_DEG = 0.5;
const JOG = [["jog-forward", "Along +", [0, 0, 1], [0, 0, 0]], ["jog-back", "Along −", [0, 0, -1], [0, 0, 0]], ["jog-roll-left", "Roll −", [0, 0, 0], [0, 0, -1]], ["jog-roll-right", "Roll +", [0, 0, 0], [0, 0, 1]]];
export const JOG_SPEED = 0.005, TURN_SPEED = 0.05;

export function makeCommand(app) {
  const { store } = app;
  const list = h("div", { class: "pick", id: "pick", role: "listbox", label: "Screws" });
  const steps = h("ol", { class: "steps", id: "steps" });
  const action = h("button", { id: "next", class: "primary huge", onclick: () => run() });
  const hold = h("button", { id: "hold", class: "hold huge" }, h("span", {}), h("small", { t: "keep pressed · release stops" }));
  const retreat = h("button", { id: "retreat", t: "Retreat along the axis", onclick: () => app.order("case.path", { kind: "retreat" }) });
  const breath = h("button", { id: "breath", onclick: () => app.order("case.breath_hold", { on: !store.site?.case?.breath_hold }) });
  const bar = h("progress", { id: "progress", max: "1", value: "0", label: "Way along the path" });
  const holdWhy = h("p", { class: "hold-why", id: "hold-why", role: "status" });
  app.deadman.bind(hold, () => { const n = nextAction(store.site, store.screwId); return n.kind === "hold" && !blocked() ? { site: store.siteName, mode: n.mode, path: n.path, s_limit: n.s_limit } : null; });
  const modes = h("div", { class: "segmented", role: "group", label: "Mode" }, ...[["goal", "Goal"], ["jog", "Jog"], ["servo", "Servo"]].map(([id, name]) => h("button", { t: name, "data-mode": id, onclick: () => { app.setMode(id); } })));
  const jog = h("div", { class: "jog", id: "jog" }, ...JOG.map(([id, name, linear, angular]) => { const b = h("button", { id, t: name }); app.deadman.bind(b, () => (blocked() ? null : { site: store.siteName, mode: "jog", jog: { frame: "guide", linear: scale(linear, JOG_SPEED), angular: scale(angular, TURN_SPEED) } })); return b; }), h("p", { class: "hint", t: "Along and about the guide axis, 5 mm/s and 3°/s at most. Hold to move." }));
  const servo = makeServo(app, blocked);
  const lines = [...servo.devices, ["Master device", () => (store.frame?.hand?.native ?? []).some((d) => d.there), null]].map(([name, there, button]) => ({ there, button, dd: h("dd", {}, h("span", { class: "off", t: "NOT CONNECTED" }), button), dt: h("dt", { t: name }) }));
  const devices = h("dl", { class: "devices" }, ...lines.flatMap(({ dt, dd }) => [dt, dd]));
  // A pad's right shoulder is the same deadman as the button: in goal it holds the path, in jog and servo the sticks steer.
  bindGamepad(app.deadman, (pad) => {
    if (blocked() || store.view !== "command" || document.querySelector("dialog[open]")) return null;
    if (app.mode === "goal") { const n = nextAction(store.site, store.screwId); return n.kind === "hold" ? { site: store.siteName, mode: n.mode, path: n.path, s_limit: n.s_limit } : null; }
    if (app.mode === "servo") return { site: store.siteName, mode: "servo", device: "gamepad" };
    // jog is along and about the guide's axis only
    const only = (v) => [0, 0, v[2]];
    return { site: store.siteName, mode: "jog", jog: { frame: "guide", linear: scale(only(pad.linear), JOG_SPEED), angular: scale(only(pad.angular), TURN_SPEED) } };
  }, () => app.stop("gamepad"), () => {
    const agree = document.querySelector("#time-out-agree");
    if (agree?.offsetParent && !agree.disabled) agree.click();
    else if (action.offsetParent && !action.disabled && !document.querySelector("dialog[open]")) action.click();
  }, (what) => {
    const views = ["plan", "sites", "command", "consult"], names = Object.keys(store.sites);
    if (what === "before" || what === "after") walk(what === "after" ? 1 : -1);
    else if (what === "use") use();
    else if (what === "hospital" && names.length) app.chooseSite(names[(names.indexOf(store.siteName) + 1) % names.length]);
    else if (what.startsWith("view") && !document.querySelector("dialog[open]")) app.show(views[(views.indexOf(store.view) + (what === "view_after" ? 1 : 3)) % 4]);
  });
  const left = h("aside", { class: "left" }, list, steps, h("div", { class: "row" }, modes), h("div", { class: "goal-box" }, action, hold, bar), jog, servo.root, holdWhy, h("div", { class: "row wrap" }, retreat, breath), devices);

  const head = h("h2", { id: "target" }), devMm = h("b", { id: "dev-mm", class: "digits" }), devDeg = h("b", { id: "dev-deg", class: "digits" });
  const source = h("p", { class: "hint", id: "dev-source" }), verdict = h("p", { class: "verdict", id: "verdict" });
  const plot = h("canvas", { class: "spark tall", role: "img", label: "Guide deviation, last 20 seconds" });
  const why = h("p", { id: "why", class: "why", role: "status" });
  const grid = h("dl", { class: "live", id: "live" });
  const video = h("div", { id: "video" });
  const right = h("aside", { class: "right" }, head,
    h("div", { class: "pairs" }, h("div", {}, devMm, h("span", {}, "mm")), h("div", {}, devDeg, h("span", {}, "°"))), verdict, source, plot,
    h("h3", { t: "Speed and why" }), why, grid);
  const middle = h("div", { class: "middle" });
  const root = h("div", { class: "view command" }, left, middle, right);
  const deviation = [];
  const refusals = (gov) => Object.values(gov.counts?.rejected ?? {}).reduce((a, b) => a + b, 0);
  let refusedBefore = 0;

  async function run() {
    const n = nextAction(store.site, store.screwId);
    if (n.kind === "time_out") { app.timeOut(store.siteName); return; }
    if (n.kind === "order") await app.busy(action, () => app.order(n.op, n.params)).catch(() => {});
  }
  function blocked() { return store.stale() || !store.site?.mine || store.me.role !== "surgeon" || ["STOP", "FAULT", "LOCAL", "INIT"].includes(store.site.gov?.state) || (store.site.gov?.state === "HOLD" && !store.site.gov.acked); }
  const planned = () => store.screws.find((s) => s.id === (store.site?.case?.screw || store.screwId)) ?? null;
  /** Guide against line by encoders and registration, in the patient's frame: {mm at the entry plane, deg, stand_off}. */
  function byEncoders() {
    const tool = liveTool(store.site), screw = planned();
    if (!tool || !screw) return null;
    const d = unit(sub(screw.tip_lps_mm, screw.entry_lps_mm)), f = sub(tool.tip, screw.entry_lps_mm), along = dot(f, d), run = dot(tool.axis, d);
    if (Math.abs(run) < 0.05) return { mm: length(sub(f, scale(d, along))), deg: 90, stand_off: -along };
    // where the guide's axis meets the plane across the screw at its entry
    const hit = sub(f, scale(tool.axis, along / run));
    return { mm: length(sub(hit, scale(d, dot(hit, d)))), deg: (Math.atan2(length(cross(tool.axis, d)), run) * 180) / Math.PI, stand_off: -along };
  }

  return {
    root, enter() { app.block.mount(middle, "live"); middle.append(video); app.wall.mount(video, "one"); },
    leave() { app.deadman.release("changed"); },
    update() {
      app.wall.update();
      const s = store.site, gov = s?.gov ?? {}, c = s?.case ?? {}, arm = s?.arm ?? {}, stale = store.stale(), screw = planned();
      rebuild(list, [store.screws.map((x) => [x.id, x.name, x.diameter_mm, x.length_mm]), store.screwId, c.placed, c.screw, getLanguage()], () => store.screws.map((x) => h("button", { role: "option", "aria-selected": String(x.id === store.screwId), "data-screw": x.id, onclick: () => app.select(x.id) }, h("b", {}, x.name ?? x.id), h("span", {}, `${x.diameter_mm?.toFixed(1)} × ${x.length_mm?.toFixed(0)}`), (c.placed ?? []).includes(x.id) ? h("i", {}, "✓") : c.screw === x.id ? h("i", {}, "●") : null)));
      const at = c.screw === store.screwId ? STEPS.indexOf(c.screw_step) : (c.placed ?? []).includes(store.screwId) ? STEPS.length : -1;
      rebuild(steps, [at, getLanguage()], () => STEPS.map((name, i) => h("li", { "data-state": i < at ? "done" : i === at ? "now" : "" }, t(name))));
      const n = nextAction(s, store.screwId), isHold = n.kind === "hold";
      const goal = app.mode === "goal";
      const asked = n.kind === "time_out" && app.readingBack.has(store.siteName);
      show(action, goal && !isHold); text(action, asked ? t("Waiting for the table's answer") : t(n.label, { screw: store.screw?.name ?? store.screwId, ...n.values }));
      disable(action, stale || asked || n.kind === "wait" || action.dataset.busy || store.me.role !== "surgeon", stale ? t("No fresh data from this hospital") : store.me.role !== "surgeon" ? t("Your role has no motion rights") : "");
      show(hold, goal && isHold); if (isHold) text(hold.firstChild, t(n.label)); disable(hold, blocked());
      const pressed = !!app.deadman.press, spent = pressed && store.frame?.hand && store.frame.hand.spent >= app.deadman.press;
      attr(hold, "data-pressed", pressed && !spent ? "yes" : null);
      show(bar, goal && isHold); if (c.path) bar.value = c.path.length_m ? Math.min(1, samePath(s) ? (arm.s ?? 0) / c.path.length_m : 0) : 0;
      show(jog, app.mode === "jog"); servo.update(stale);
      for (const b of jog.querySelectorAll("button")) disable(b, blocked());
      for (const el of modes.children) attr(el, "aria-pressed", el.dataset.mode === app.mode ? "true" : "false");
      // pressed, and the governor says no to every frame: its words, not a button that does nothing
      const no = refusals(gov);
      if (!pressed) refusedBefore = no;
      const refused = pressed && no > refusedBefore && !["ACTIVE", "DEGRADED"].includes(gov.state) && gov.last_reject;
      const wait = spent ? `${t("The press is over")} (${t(store.frame.hand.why)}): ${t("release, then press again")}` : store.frame?.hand?.pressed && store.frame.hand.by && !pressed ? `${t("Another window holds the deadman")}: ${store.frame.hand.by}` : refused ? `${t("Refused")}: ${t(gov.last_reject.replace(/^\w+: /, ""))}` : c.phase && pressed ? t(c.phase) : app.deadman.why && app.deadman.why !== "released" ? `${t("Released")}: ${t(app.deadman.why)}` : "";
      text(holdWhy, wait); attr(holdWhy, "data-level", spent || refused ? "warn" : null);
      disable(retreat, blocked() || !c.screw); disable(breath, stale || !s?.mine); text(breath, c.breath_hold ? t("Breathing: HELD. Resume") : t("Hold the breath"));
      for (const { there, button, dd } of lines) { const on = there(); className(dd.firstChild, "off", !on); text(dd.firstChild, on ? t("connected") : t("NOT CONNECTED")); if (button) text(button, t(button.id === "connect-xr" ? (on ? "End" : "Use") : "Connect")); if (button?.id === "connect-spacemouse") show(button, !on); }
      // numbers
      text(head, screw ? `${screw.name ?? screw.id}  ${screw.diameter_mm.toFixed(1)} × ${screw.length_mm.toFixed(0)}` : t("No screw"));
      const enc = stale ? null : byEncoders(), last = c.last && c.last.lateral_mm !== undefined && c.last.screw === c.screw ? c.last : null;
      const fresh = last && !(arm.drive === "moving") && (s.stamp - (last.stamp ?? 0)) / 1e9 < 120 && last.motion === c.motion;
      const show_ = stale ? null : fresh ? { mm: last.lateral_mm, deg: last.angle_deg } : enc;
      text(devMm, show_ ? (show_.mm < 9.995 ? show_.mm.toFixed(2) : show_.mm < 99.5 ? show_.mm.toFixed(1) : ">99") : "--"); text(devDeg, show_ ? show_.deg < 9.995 ? show_.deg.toFixed(2) : show_.deg < 45 ? show_.deg.toFixed(1) : ">45" : "--");
      attr(devMm.parentElement, "data-level", show_ ? (show_.mm <= LIMIT_MM ? "ok" : "warn") : null); attr(devDeg.parentElement, "data-level", show_ ? (show_.deg <= LIMIT_DEG ? "ok" : "warn") : null);
      const onLine = show_ && show_.mm <= LIMIT_MM && show_.deg <= LIMIT_DEG;
      text(verdict, stale ? t("NO FRESH DATA") : !show_ ? t("No registered line yet") : onLine ? (fresh ? t("ON LINE") : t("ON LINE by encoders: measure to be sure")) : t("OFF LINE")); attr(verdict, "data-level", onLine ? (fresh ? "ok" : "") : "warn");
      text(source, stale ? "" : fresh ? `${t("by tracker")}, ${Math.max(0, (s.stamp - last.stamp) / 1e9).toFixed(0)} s ${t("ago")} · ${t("limits")} ${LIMIT_MM} mm, ${LIMIT_DEG}°` : enc ? `${t("by encoders and registration")} · ${t("limits")} ${LIMIT_MM} mm, ${LIMIT_DEG}°` : "");
      deviation.push({ at: performance.now(), v: stale || !enc ? null : enc.mm }); if (deviation.length > 1500) deviation.splice(0, 300);
      drawRolling(plot, deviation, { limits: [LIMIT_MM], unit: "mm", top: Math.max(1.5, Math.min(20, enc?.mm ? enc.mm * 1.3 : 2)), colour: "#5ee38a" });
      const limited = gov.v_cap_why || "";
      text(why, stale ? "--" : limited ? `${t("Limited")}: ${t(limited)}` : gov.state === "ACTIVE" ? t("Full speed permitted") : gov.reason ? t(gov.reason) : "–"); attr(why, "data-level", limited ? "warn" : null);
      const rows = [["Speed cap", stale ? "--" : `${num((gov.v_cap ?? 0) * 1000, 1)} mm/s`], ["Speed", stale ? "--" : `${num((arm.speed ?? 0) * 1000, 1)} mm/s`], ["To keep-out", stale || gov.margin === null || gov.margin === undefined ? "--" : `${num(gov.margin * 1000, 1)} mm`], ["Force", stale ? "--" : `${num(arm.force, 1)} N`], ["Stand-off", enc ? `${num(enc.stand_off, 1)} mm` : "--"], ["Travel bound", stale ? "--" : `${num((gov.travel_bound ?? 0) * 1000, 1)} mm`], ["Drive", stale ? "--" : t(arm.drive ?? "–")], ["Refused", String(no)]];
      rebuild(grid, [rows, getLanguage()], () => rows.map(([k, v]) => h("div", {}, h("dt", { t: k }), h("dd", {}, v))));
    },
  };
  function samePath(s) { return s.case?.path && s.arm?.path_hash && arrived({ case: { path: { ...s.case.path, length_m: -1 } }, arm: s.arm }); }
}
