// Servo: the page's devices as a hand. A field for keys and a field for the pointer, what the hand does, and how it is set.
import { attr, className, disable, h, rebuild, show, text } from "../lib/dom.js";
import { getLanguage, t } from "../lib/i18n.js";
import { readPad } from "../input/gamepad.js";
import { SpaceMouse } from "../input/spacemouse.js";
import { XrHand } from "../input/xr.js";
import { MasterPort } from "../input/master.js";

/** Key -> which axis (x right, y up in the picture, z back; then turns about them) and its sign. */
export const KEYS = { d: [0, 1], a: [0, -1], w: [1, 1], s: [1, -1], r: [2, 1], f: [2, -1], i: [3, -1], k: [3, 1], j: [4, -1], l: [4, 1], u: [5, 1], o: [5, -1] };
/** The pointer's full deflection, pixels. */
const REACH = 70;

/** Six deflections of the keys that are held. */
export function twistOf(held) {
  const twist = [0, 0, 0, 0, 0, 0];
  for (const k of held) { const [axis, sign] = KEYS[k]; twist[axis] = Math.max(-1, Math.min(1, twist[axis] + sign)); }
  return twist;
}

export function makeServo(app, blocked) {
  const { store, deadman } = app;
  const inUse = () => (store.view === "command" && app.mode === "servo" && store.me.role === "surgeon" && !document.hidden && document.hasFocus() ? store.siteName : "");
  const port = new MasterPort((m) => app.net.master(m), inUse);
  const begin = (kind) => {
    const began = !blocked() && app.mode === "servo" && deadman.begin(kind, { site: store.siteName, mode: "servo", device: kind });
    port.flush();
    return began;
  };
  const end = (kind, why) => { if (deadman.source === kind) deadman.release(why); port.flush(); };

  // keys
  const held = new Set();
  let clutch = false;
  const keys = h("div", { class: "servo-pad", id: "servo", tabindex: "0", role: "application", label: "Servo: hold a key to move" }, h("p", { t: "Click here, then hold W A S D (up, left, down, right in the picture), R F (back, ahead), I K J L U O (turn). Releasing the key or leaving this field stops." }), h("div", { class: "pad-state", id: "pad-state" }));
  keys.addEventListener("keydown", (event) => {
    const k = event.key.toLowerCase();
    if (k === "c") { event.preventDefault(); clutch = true; port.flush(); return; }
    if (!KEYS[k] || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    if (event.repeat || app.mode !== "servo") return;
    held.add(k);
    begin("keyboard");
  });
  keys.addEventListener("keyup", (event) => { const k = event.key.toLowerCase(); if (k === "c") clutch = false; held.delete(k); if (!held.size) end("keyboard"); else port.flush(); });
  const letGo = (why) => { held.clear(); clutch = false; end("keyboard", why); };
  keys.addEventListener("blur", () => letGo("focus"));
  addEventListener("blur", () => letGo("focus"));
  document.addEventListener("visibilitychange", () => letGo("hidden"));
  port.add("keyboard", () => ({ twist: twistOf(held), buttons: [...(held.size ? ["deadman"] : []), ...(clutch ? ["clutch"] : [])] }));

  // pointer: a stick that is where it was pressed; with Shift it goes along the guide
  let from = null, at = [0, 0], along = false;
  const knob = h("i", { class: "knob" }), stick = h("div", { class: "stick", id: "stick", role: "application", label: "Servo: press and drag to move" }, knob, h("span", { t: "Press and drag. With Shift: along the guide." }));
  const drop = (why) => { from = null; at = [0, 0]; end("pointer", why); };
  stick.addEventListener("pointerdown", (event) => { if (event.button !== 0) return; event.preventDefault(); stick.setPointerCapture(event.pointerId); from = [event.clientX, event.clientY]; at = [0, 0]; along = event.shiftKey; if (!begin("pointer")) from = null; });
  stick.addEventListener("pointermove", (event) => { if (from) at = [event.clientX - from[0], event.clientY - from[1]].map((v) => Math.max(-1, Math.min(1, v / REACH))); });
  stick.addEventListener("pointerup", () => drop("released"));
  for (const name of ["pointercancel", "lostpointercapture"]) stick.addEventListener(name, () => { if (from) drop("pointer"); });
  port.add("pointer", () => ({ twist: along ? [0, 0, at[1], 0, 0, 0] : [at[0], -at[1], 0, 0, 0, 0], buttons: from ? ["deadman"] : [] }));

  // gamepad: its shoulder holds the page's deadman (bindGamepad); here only what it says
  const pads = () => [...(navigator.getGamepads?.() ?? [])].find((p) => p?.connected && p.mapping === "standard");
  port.add("gamepad", () => { const pad = pads(); return pad ? { twist: readPad(pad).raw, buttons: readPad(pad).buttons } : null; });

  // a device with its own deadman button: the page's press follows it
  const follow = (kind, device) => () => {
    const down = device.read()?.buttons.includes("deadman");
    if (down && !deadman.press) begin(kind); else if (!down) end(kind, device.read() ? "released" : "unplugged");
    app.dirty = true;
  };
  const mouse = new SpaceMouse(() => follow("spacemouse", mouse)()), xr = new XrHand(() => follow("xr", xr)());
  port.add("spacemouse", () => mouse.read());
  port.add("xr", () => xr.read());
  // a tracker that lost its target, a mouse that was pulled out: what falls silent is let go here too
  setInterval(() => { if (["spacemouse", "xr"].includes(deadman.source) && !(deadman.source === "xr" ? xr : mouse).read()) end(deadman.source, "unplugged"); }, 50);
  const connectMouse = h("button", { id: "connect-spacemouse", t: "Connect", onclick: () => mouse.ask().catch(app.fail) });
  const connectXr = h("button", { id: "connect-xr", t: "Use", onclick: () => (xr.session ? xr.stop() : xr.start().catch(app.fail)) });

  // what the hand does, and how it is set
  const state = h("p", { id: "hand-state", class: "hand-state", role: "status" }), changes = h("ul", { id: "hand-changes", class: "changes" });
  const set = (name, read) => (event) => app.call("hand.settings", { site: store.siteName, settings: { [name]: read(event.target) } }).catch((error) => { app.fail(error); shown = ""; });
  const choice = (name, label, options, read = (el) => el.value) => h("label", {}, h("span", { t: label }), h("select", { id: `hand-${name}`, onchange: set(name, read) }, ...options.map(([value, words]) => h("option", { value, ...(words ? { t: words } : {}) }, ...(words ? [] : [String(value)])))));
  const lock = h("input", { type: "checkbox", id: "hand-lock", onchange: set("lock_rotation", (el) => el.checked) });
  const reflect = h("input", { type: "checkbox", id: "hand-reflect", onchange: set("reflect", (el) => el.checked) }), energy = h("output", { id: "hand-energy" });
  const align = h("input", { type: "checkbox", id: "hand-align", onchange: set("align", (el) => el.checked) });
  const aligned = h("label", { class: "check" }, align, h("span", { t: "Turn the grip as the guide lies first" }));
  const feel = h("label", { class: "check" }, reflect, h("span", { t: "Feel the guide" }), energy);
  const settings = h("div", { class: "hand-settings" },
    choice("scale", "Motion scale", [["0.05"], ["0.1"], ["0.2"], ["0.3"], ["0.5"], ["1"]], (el) => Number(el.value)),
    choice("tremor", "Tremor filter", [["off", "Off"], ["light", "Light"], ["normal", "Normal"], ["strong", "Strong"]]),
    choice("fixture", "Guided by", [["none", "Nothing"], ["cone", "The cone to the entry"], ["axis", "The planned axis"], ["push", "A push along the planned axis"]]),
    choice("alignment", "The hand's axes", [["picture", "As in the probe's eye"], ["guide", "As the guide lies"]]),
    h("label", { class: "check" }, lock, h("span", { t: "Keep the direction" })), aligned, feel);
  let shown = "";
  const pressedBefore = new Set();
  const root = h("div", { class: "servo-box" }, keys, stick, state, changes, settings);
  return {
    root, port, inUse,
    /** Devices at the console's own machine: the page's press follows their deadman, as it follows a SpaceMouse here. */
    native() {
      const all = store.frame?.hand?.native ?? [];
      for (const { name, deadman: down } of all) {
        if (!down) { if (deadman.source === name) end(name, "released"); pressedBefore.delete(name); } else if (!pressedBefore.has(name)) { pressedBefore.add(name); if (inUse() && !deadman.press) begin(name); }
      }
      return all;
    },
    devices: [["Gamepad", () => !!pads(), null], ["SpaceMouse", () => !!mouse.device, mouse.possible ? connectMouse : null], ["Headset or phone", () => !!xr.session, xr.possible ? connectXr : null]],
    update(stale) {
      this.native();
      show(root, app.mode === "servo");
      className(keys, "off", blocked()); className(stick, "off", blocked());
      const hand = store.site?.hand ?? {}, pressed = deadman.press && app.mode === "servo";
      knob.style.transform = `translate(${at[0] * REACH}px, ${at[1] * REACH}px)`;
      text(keys.querySelector("#pad-state"), pressed ? t("moving") : "");
      if (app.mode !== "servo") return;
      const parts = stale ? [] : [hand.state && t(hand.state), hand.device && pressed ? t(hand.device) : "", hand.scale ? `${t("Scale")} ${hand.scale.toFixed(2)}` : "", hand.delay_ms ? `${t("filter")} ${hand.delay_ms.toFixed(0)} ms` : "", hand.error_rms_mm !== null && hand.error_rms_mm !== undefined ? `${t("prediction")} ±${hand.error_rms_mm.toFixed(2)} mm` : ""];
      text(state, parts.filter(Boolean).join(" · ") + (!stale && hand.why && pressed ? `: ${hand.why}` : "")); attr(state, "data-state", stale ? null : hand.state);
      const list = stale ? [] : (hand.changes ?? []).filter(([, m, r]) => m > 2e-5 || r > 2e-3);
      rebuild(changes, [list.map(([what, m, r]) => [what, (m * 1e3).toFixed(1), (r * 57.3).toFixed(1)]), getLanguage()], () => list.map(([what, m, r]) => h("li", {}, `${t(what)} ${(m * 1e3).toFixed(1)} mm${r > 2e-3 ? ` ${(r * 57.3).toFixed(1)}°` : ""}`)));
      const now = JSON.stringify(hand.settings ?? {});
      if (hand.settings && now !== shown) {
        shown = now;
        for (const name of ["tremor", "fixture", "alignment"]) settings.querySelector(`#hand-${name}`).value = hand.settings[name];
        settings.querySelector("#hand-scale").value = String(hand.settings.scale);
        lock.checked = hand.settings.lock_rotation;
        align.checked = !!hand.settings.align;
        reflect.checked = !!hand.settings.reflect;
      }
      const felt = hand.reflected;
      show(feel, !!felt);
      text(energy, felt?.left_mj === undefined || stale ? "" : `${felt.force.toFixed(1)} N · ${t("energy left")} ${felt.left_mj.toFixed(1)} / ${felt.budget_mj.toFixed(0)} mJ`);
      for (const el of settings.querySelectorAll("select, input")) disable(el, stale || store.me.role !== "surgeon");
    },
  };
}
