// The page at the table: what is asked, in one sentence and a picture; confirm, hold, stop, take over. Large targets, no WAN.
import { attr, disable, h, rebuild, retranslate, show, text } from "./lib/dom.js";
import { getLanguage, setLanguage, t } from "./lib/i18n.js";
import { Deadman } from "./input/deadman.js";
import { Sound } from "./lib/sound.js";
import { Net } from "./net/net.js";
import { Images } from "./image/images.js";
import { SliceView } from "./image/slice_view.js";
import { askExpert } from "./views/ask_expert.js";
import { tableJog } from "./views/table_jog.js";
import { along, sub, unit } from "./lib/vec.js";

const state = { frame: null, at: 0, up: false, me: {}, answering: 0 };
const sound = new Sound();
setLanguage(getLanguage());
document.body.classList.add("bedside");
const net = new Net(receive);
const now = () => performance.timeOrigin + performance.now();
// What was drawn is what is echoed: the age of a press is measured from the status that the doctor had before the eyes.
const deadman = new Deadman((sample) => net.hand({ t: "hand", ...sample, echo: state.drawn ?? 0, name: name.value }), () => paint());
globalThis.bedside = { state, net, sound, deadman };

const say = (words, bad) => { text(toast, words); toast.hidden = false; toast.classList.toggle("bad", !!bad); clearTimeout(say.timer); say.timer = setTimeout(() => { toast.hidden = true; }, 6000); };
const order = async (op, params = {}) => {
  try { const reply = await net.call("order", { op, name: name.value, ...params }); if (!reply.ok) say(reply.reason || t("refused"), true); return reply; } catch (error) { say(error.message, true); return { ok: false }; }
};
const stopNow = () => { net.stop(null); say(t("STOP sent"), true); };

const language = h("button", { class: "quiet", onclick: () => { setLanguage(getLanguage() === "en" ? "zh" : "en"); retranslate(document.body); paint(true); } });
const name = h("input", { id: "name", label: "Your name", maxlength: "40", placeholder: "Dr. …" });
const badge = h("div", { class: "badge state big", id: "state" }), control = h("div", { class: "badge control", id: "control" }), site = h("b", { id: "site" });
const stop = h("button", { id: "stop", class: "stop", title: t("STOP the arm") }, h("span", { t: "STOP" }), h("small", { "aria-hidden": "true" }, "Space · Esc"));
stop.addEventListener("pointerdown", (event) => { event.preventDefault(); stopNow(); });
stop.addEventListener("click", (event) => { if (event.detail === 0) stopNow(); });
const header = h("header", {}, h("div", { class: "brand" }, h("span", { class: "mark", "aria-hidden": "true" }), h("span", { t: "Bedside" })), site, h("div", { class: "facts" }, badge, control), h("label", {}, h("span", { class: "hint", t: "You are" }), " ", name), language, stop);
const heading = h("h2");
const banner = h("div", { id: "banner", role: "alert", hidden: true });
const sentence = h("p", { class: "sentence", id: "sentence", role: "status", "aria-live": "assertive" });
const readback = h("dl", { class: "readback", id: "readback", hidden: true });
const yes = h("button", { class: "yes", id: "yes", onclick: () => answer(true) }), no = h("button", { class: "no", id: "no", onclick: () => answer(false) });
const answers = h("div", { class: "answers", hidden: true }, yes, no);
const next = h("p", { class: "hint", id: "next" });
const jog = tableJog(deadman);
// the picture: the plane through the planned line, from the hospital's own images
const look = { cross: [0, 0, 0], zoom: 1, window: "bone", depth: 10, screws: [], screwId: "", desk: null, room: { drawings: [] }, frame: null, axis() { const s = this.screws.find((x) => x.id === this.screwId); return s ? { entry: s.entry_lps_mm, tip: s.tip_lps_mm } : null; } };
const images = new Images(net, () => { view.request(); view.draw(); });
const view = new SliceView({ store: look, images, canEdit: () => false, redraw() { view.request(); view.draw(); }, onCross() {}, tool: () => [] }, "along_axial");
images.views.set("along_axial", view);
const picture = h("div", { class: "picture", id: "picture", hidden: true }, view.root);
view.root.style.height = "100%";
const hold = h("button", { id: "hold", t: "Hold", onclick: () => order("hold") });
const take = h("button", { id: "take", class: "take", t: "Take over", onclick: () => order("take_over") });
const give = h("button", { id: "give", t: "Give back to remote", onclick: () => order("return_local") });
const rearm = h("button", { id: "rearm", t: "Re-arm after stop", onclick: () => order("rearm") });
const register = h("button", { id: "register", t: "Register the patient", onclick: () => order("case.register") });
const breath = h("button", { id: "breath", t: "Breath-hold on / off", onclick: () => order("case.breath_hold", { on: (state.breath = !state.breath) }) });
const expert = askExpert(order);
const facts = h("dl", { class: "live" }), blockers = h("ul", { class: "blockers" });
const hands = h("aside", { class: "hands" }, facts, h("div", { class: "pair" }, hold, take), h("div", { class: "pair" }, give, rearm), register, breath, expert.root, h("h3", { t: "What blocks it" }), blockers);
const alarmList = h("ul", { id: "alarms", "aria-live": "assertive", label: "Alarms" }), quiet = h("button", { class: "quiet", onclick: () => sound.pause() });
const toast = h("div", { id: "toast", role: "status", hidden: true });
const signin = h("div", { id: "signin", hidden: true }, h("h1", { t: "Sign in" }), h("p", { t: "Open the address that the bedside server printed: it carries your token." }));
document.body.replaceChildren(header, banner, h("main", {}, h("div", { class: "table-side" }, h("section", { class: "ask" }, heading, sentence, readback, jog.root, picture, answers, next), hands)),
  h("footer", {}, h("section", { class: "alarms" }, h("h2", { t: "Alarms" }), quiet, alarmList)), toast, signin);
signin.hidden = !!net.token;

const NEXT = { none: "Nothing is planned to move.", selected: "The remote surgeon will plan the approach to {screw}.", approach: "The arm will move to the stand-off of {screw}, 100 mm back on its axis.", stand_off: "The arm will advance along the axis of {screw} to the bone.", advance: "The guide is being corrected and verified on {screw}.", verified: "The guide stands on {screw}. You will be asked to confirm.", confirmed: "Place the screw {screw} through the guide. The arm stands still.", placed: "The arm will retreat along the axis of {screw}." };
const QUESTIONS = { read_back: "Time-out. Read aloud with the remote side, tick each line, then agree.", grant: "The remote surgeon asks for control of the arm.", confirm: "The guide is verified on {screw}. Confirm and place the screw?", placed: "Say when {screw} is in.", rearm: "The remote surgeon asks to go on after a stop.", rehearse: "Rehearsal of stop and take-over: the arm will move slowly in free air." };
const YES = { read_back: "All agree", grant: "Grant control", confirm: "Confirm", placed: "Screw placed", rearm: "Re-arm", rehearse: "Allow the rehearsal" };

async function answer(ok) {
  const q = current();
  if (!q) return;
  state.answering = q.id;
  try { await net.call("answer", { id: q.id, ok, name: name.value, why: ok ? "" : t("refused at the bedside") }); } catch (error) { say(error.message, true); }
}
const words_ = (id) => String(id).replace("_left", " L").replace("_right", " R");
const current = () => state.frame?.questions?.find((q) => q.id !== state.answering) ?? null;

function receive(message) {
  if (message.t === "link") { state.up = message.up; signin.hidden = message.code !== 4401 && !!net.token; }
  else if (message.t === "welcome") state.me = message;
  else if (message.t === "frame") { state.frame = message; state.at = message.at; state.fresh = message.n; }
  else if (message.t === "stopped" && !message.doors) say(t("STOP could not be delivered: use the red button on the robot"), true);
}
function paint(force) {
  const f = state.frame, s = f?.status ?? {}, c = f?.case ?? {}, age = f ? (f.age_ms ?? Infinity) + now() - state.at : Infinity, stale = age > 1000 || !state.up;
  text(site, f?.site ?? ""); text(language, getLanguage() === "en" ? "中文" : "English");
  text(badge, stale ? "--" : t(s.state ?? "?")); attr(badge, "data-state", stale ? "" : s.state);
  text(control, `${t("CONTROL")}: ${stale ? "--" : s.holder ? t(s.holder_role === "local" ? "local" : "remote surgeon") : s.state === "LOCAL" ? t("you") : t("nobody")}`); attr(control, "data-who", s.holder ? "other" : s.state === "LOCAL" ? "you" : "nobody");
  const words = !state.up ? t("NO CONNECTION to the bedside server. Use the red button on the robot.") : !f?.governor_up ? t("The governor of the arm is not running: the arm is at rest.") : !f?.desk_up ? t("The case desk is not running: only STOP works from here.") : stale ? `${t("NO FRESH DATA")} ${(age / 1000).toFixed(1)} s` : "";
  text(banner, words); show(banner, words);
  const q = current(), screw = q?.detail?.screw ?? c.screw ?? "";
  const mine = s.state === "LOCAL" && !q;
  sentence.classList.toggle("calm", !q && !mine);
  text(sentence, q ? t(QUESTIONS[q.kind] ?? q.sentence, { screw: words_(screw) }) : mine ? t("You have the arm. Hold a button: the guide moves slowly; let go: it stops.") : t("Nothing is asked of you."));
  text(heading, t(mine ? "Move the guide away" : "What the remote side asks"));
  show(answers, q); if (q) { text(yes, t(YES[q.kind] ?? "Yes")); text(no, t("No")); }
  show(readback, q?.kind === "read_back");
  if (q?.kind === "read_back") {
    const d = q.detail;
    rebuild(readback, [q.id, getLanguage()], () => [["Case", d.case_id], ["Levels and sides", [d.screws].flat().map(words_).join(", ")], ["Plan", String(d.plan_hash ?? "").slice(0, 16)], ["CT", String(d.ct_sha256 ?? "").slice(0, 16)]].flatMap(([k, v]) => [h("dt", { t: k }), h("dd", {}, h("label", {}, h("input", { type: "checkbox", label: k }), String(v)))]));
    const all = [...readback.querySelectorAll("input")].every((box) => box.checked);
    disable(yes, !all, t("Tick every line first"));
  } else disable(yes, false);
  text(next, mine ? "" : t(NEXT[c.screw_step] ?? NEXT.none, { screw: words_(c.screw ?? "") }));
  const shown = c.lines?.[screw] ? screw : Object.keys(c.lines ?? {})[0] ?? "", line = c.lines?.[shown];
  show(picture, line && f?.picture && !mine);
  if (line && f?.picture && !mine) {
    images.open(f.picture);
    if (look.screwId !== shown || look.screws[0]?.tip_lps_mm?.join() !== line.tip_lps_mm.join()) { look.screws = [{ id: shown, name: words_(shown), status: "OK", min_clearance_mm: 2, ...line }]; look.screwId = shown; look.cross = along(line.entry_lps_mm, unit(sub(line.tip_lps_mm, line.entry_lps_mm)), 15); view.request(); view.draw(); }
  }
  const rows = [["State", t(s.state ?? "–")], ["Speed cap", `${((s.v_cap ?? 0) * 1000).toFixed(1)} mm/s`], ["Loop age", s.loop_age_ns ? `${(s.loop_age_ns / 1e6).toFixed(0)} ms` : "–"], ["Registration", (c.done ?? []).includes("registered") ? `${t("epoch")} ${c.registration_epoch}` : t("none")], ["Case", c.case_id ?? "–"], ["Placed", (c.placed ?? []).join(", ") || "–"]];
  rebuild(facts, [stale ? 0 : rows, getLanguage()], () => rows.map(([k, v]) => h("div", {}, h("dt", { t: k }), h("dd", {}, stale ? "--" : v))));
  rebuild(blockers, [s.blockers ?? [], getLanguage()], () => ((s.blockers ?? []).length ? s.blockers.map((b) => h("li", {}, t(String(b)))) : [h("li", { class: "none", t: "nothing" })]));
  const dead = stale || !f?.desk_up || !f?.governor_up;
  expert.update(f, stale || !f?.desk_up);
  jog.update({ on: s.state === "LOCAL", dead, status: s, hand: f?.jog ?? {} });
  state.drawn = stale ? 0 : s.stamp;
  disable(hold, dead || ["HOLD", "STOP", "FAULT"].includes(s.state)); disable(take, dead || s.state === "LOCAL" || s.state === "FAULT"); disable(give, dead || s.state !== "LOCAL"); disable(rearm, dead || !(["STOP", "INIT"].includes(s.state) || (s.state === "LOCAL" && s.table_blocked))); disable(register, dead || !(c.done ?? []).includes("transferred")); disable(breath, dead);
  const alarms = [...(s.alarms ?? [])].map((a) => ({ ...a, priority: String(a.priority).toLowerCase() }));
  rebuild(alarmList, [alarms.map((a) => [a.id, a.priority, a.acked, a.text]), getLanguage()], () => (alarms.length ? alarms.map((a) => h("li", { "data-priority": a.priority, class: a.acked ? "acked" : "" }, h("strong", { t: { high: "HIGH", medium: "MEDIUM", low: "LOW" }[a.priority] ?? "LOW" }), h("span", { class: "words" }, t(a.text)), h("span", { class: "todo" }, t(a.what_to_do ?? "")))) : [h("li", { class: "none", t: "No alarms" })]));
  const asking = q ? [{ id: `question-${q.id}`, priority: "low" }] : [];
  sound.tick([...alarms, ...asking]);
  text(quiet, sound.pauseLeft ? `${t("Sound paused")} ${sound.pauseLeft} s` : t("Pause sound")); show(quiet, alarms.length || q);
  void force;
}
let last = 0;
(function loop() { requestAnimationFrame(loop); if (state.fresh || performance.now() - last > 100) { last = performance.now(); paint(); if (state.fresh) { net.drawn(state.fresh, {}); state.fresh = 0; } } })();
addEventListener("keydown", (event) => { sound.unlock(); const typing = event.target === name || event.target === expert.question; if (event.key === "Escape" || (event.code === "Space" && !typing)) { event.preventDefault(); stopNow(); } }, true);
addEventListener("pointerdown", () => sound.unlock(), true);
