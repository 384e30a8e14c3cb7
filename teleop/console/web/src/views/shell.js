// The frame around every view: top bar with STOP in its corner, tabs, alarms and events at the bottom, messages, sign-in, stale banner.
import { attr, className, disable, h, rebuild, retranslate, show, text } from "../lib/dom.js";
import { getLanguage, setLanguage, t } from "../lib/i18n.js";

export const TABS = [["plan", "Plan"], ["sites", "Sites"], ["command", "Command"], ["consult", "Consult"]];
const WORD = { high: "HIGH", medium: "MEDIUM", low: "LOW" };

export function makeShell(app) {
  const { store } = app;
  const tab = Object.fromEntries(TABS.map(([id, name], i) => [id, h("button", { role: "tab", id: `tab-${id}`, "aria-controls": "main", "data-key": `${i + 1}`, t: name, onclick: () => app.show(id) })]));
  const site = h("select", { id: "site", label: "Hospital", onchange: () => app.chooseSite(site.value) });
  const chip = (id, label) => { const value = h("b"), el = h("div", { class: "chip", id: `chip-${id}` }, h("span", { t: label }), value); return { el, value }; };
  const sim = h("div", { class: "badge sim", id: "badge-sim" });
  const control = h("div", { class: "badge control", id: "badge-control" });
  const mode = chip("mode", "Mode"), age = chip("age", "Loop age"), net = chip("net", "Line"), reg = chip("reg", "Reg. TRE95");
  const state = h("div", { class: "badge state", id: "badge-state" });
  const language = h("button", { id: "language", class: "quiet", onclick: () => { setLanguage(getLanguage() === "en" ? "zh" : "en"); retranslate(document.body); app.language(); } });
  const who = h("div", { class: "who", id: "who" });
  const stop = h("button", { id: "stop", class: "stop", title: t("STOP every arm in motion and the one shown (Space or Esc)") }, h("span", { t: "STOP" }), h("small", { "aria-hidden": "true" }, "Space · Esc"));
  // pointerdown, not click: a stop must not wait for a finger to be lifted.
  stop.addEventListener("pointerdown", (event) => { event.preventDefault(); app.stop("button"); });
  stop.addEventListener("click", (event) => { if (event.detail === 0) app.stop("button"); });
  const header = h("header", {},
    h("div", { class: "brand" }, h("span", { class: "mark", "aria-hidden": "true" }), "Longhand"),
    h("nav", { role: "tablist", label: "Views" }, ...Object.values(tab)),
    h("div", { class: "facts" }, site, sim, control, state, mode.el, age.el, net.el, reg.el),
    h("div", { class: "person" }, language, who), stop);
  const alarmList = h("ul", { id: "alarms", "aria-live": "assertive", label: "Alarms" });
  const quiet = h("button", { id: "quiet", class: "quiet", onclick: () => { app.sound.unlock(); app.sound.pause(); } });
  const eventList = h("ul", { id: "events", "aria-live": "off", label: "Events" });
  const footer = h("footer", {}, h("section", { class: "alarms", "aria-label": "Alarms" }, h("h2", { t: "Alarms" }), quiet, alarmList), h("section", { class: "events" }, h("h2", { t: "Events" }), eventList));
  const toast = h("div", { id: "toast", role: "status", "aria-live": "polite", hidden: true });
  const banner = h("div", { id: "banner", role: "alert", hidden: true });
  const signinWhy = h("p", { id: "signin-why", class: "status" });
  const signin = h("div", { id: "signin", hidden: true }, h("h1", { t: "Sign in" }), signinWhy, h("p", { t: "Open the address that the console server printed: it carries your token. A token names you, your role and your key." }));
  const main = h("main", { id: "main", role: "tabpanel", tabindex: "-1" });
  document.body.replaceChildren(header, banner, main, footer, toast, signin);

  let toastTimer = 0;
  return {
    main, stop, toast(words, bad = false) {
      text(toast, words); toast.hidden = false; className(toast, "bad", bad);
      clearTimeout(toastTimer); toastTimer = setTimeout(() => { toast.hidden = true; }, bad ? 9000 : 4000);
    },
    signin(on, why = "") { show(signin, on); text(signinWhy, why); },
    update() {
      for (const [id, el] of Object.entries(tab)) { attr(el, "aria-selected", id === store.view ? "true" : "false"); show(el, id === "consult" || app.page === "console"); }
      rebuild(site, [Object.keys(store.sites), Object.values(store.sites).map((s) => s.title)], () => Object.entries(store.sites).map(([name, s]) => h("option", { value: name }, s.title)));
      if (site.value !== store.siteName) site.value = store.siteName;
      show(site, Object.keys(store.sites).length);
      const s = store.site, gov = s?.gov ?? {}, stale = store.stale(s);
      show(sim, !!s); className(sim, "live", s && !s.sim); text(sim, s ? (s.sim ? t("SIMULATED") : t("LIVE PATIENT")) : "");
      const holder = s?.mine ? t("you") : gov.holder_name || (gov.holder ? (gov.holder === "local" || gov.holder === "bedside" ? t(gov.holder) : `${gov.holder_role || t("another console")}`) : t("nobody"));
      text(control, `${t("CONTROL")}: ${holder}`); attr(control, "data-who", s?.mine ? "you" : gov.holder ? "other" : "nobody"); show(control, !!s);
      text(state, s ? t(gov.state ?? "?") : ""); attr(state, "data-state", gov.state ?? ""); show(state, !!s);
      text(mode.value, gov.mode ? t(gov.mode) : "–");
      text(age.value, stale || !gov.loop_age_ns ? "--" : `${(gov.loop_age_ns / 1e6).toFixed(0)} ms`); attr(age.el, "data-level", stale ? "bad" : level(gov.loop_age_ns / 1e6, 180, 300));
      const link = s?.link ?? {};
      text(net.value, !s ? "–" : `${num(link.rtt_ms, 0)} ms · ${num((link.loss ?? 0) * 100, 1)} %`); attr(net.el, "data-level", level((link.loss ?? 0) * 100, 2, 8));
      const r = s?.case?.registration;
      text(reg.value, r?.tre95_mm !== undefined && r?.tre95_mm !== null ? `${r.tre95_mm.toFixed(2)} mm` : t("none")); attr(reg.el, "data-level", r ? level(r.tre95_mm, 1, 1.5) : "warn");
      text(language, getLanguage() === "en" ? "中文" : "English");
      text(who, store.me.name ? `${store.me.name} · ${t(store.me.role)}` : "");
      const banners = [];
      if (!store.link.up && store.me.name) banners.push(t("NO CONNECTION to the console server. Nothing can be commanded from here."));
      else if (store.serverAge() > 250 && store.me.name) banners.push(`${t("NO FRESH DATA")} ${(store.serverAge() / 1000).toFixed(1)} s`);
      text(banner, banners.join(" ")); show(banner, banners.length);
      const alarms = store.alarms();
      rebuild(alarmList, [alarms.map((a) => [a.key, a.priority, a.acked, a.latched, a.text]), getLanguage()], () => (alarms.length ? alarms.map(alarmRow) : [h("li", { class: "none" }, t("No alarms"))]));
      for (const a of alarms) { const el = alarmList.querySelector(`[data-key="${CSS.escape(a.key)}"] time`); if (el && a.since && s) text(el, sinceWords(a, store)); }
      app.sound.tick([...alarms, ...(app.wantedSound?.() ?? [])]);
      show(quiet, alarms.length); text(quiet, app.sound.pauseLeft ? `${t("Sound paused")} ${app.sound.pauseLeft} s` : t("Pause sound"));
      rebuild(eventList, [store.events.length, store.events.at(-1)?.when, getLanguage()], () => store.events.slice(-30).reverse().map((e) => h("li", { "data-priority": e.priority }, h("time", {}, new Date(e.when * 1000).toLocaleTimeString([], { hour12: false })), " ", e.site ? h("i", {}, e.site) : null, " ", t(e.text), e.who ? h("em", {}, ` ${e.who}`) : null)));
    },
  };
  function alarmRow(a) {
    return h("li", { "data-priority": a.priority, "data-key": a.key, class: a.acked ? "acked" : "" },
      h("strong", {}, `${t(WORD[a.priority] ?? "LOW")}`), a.site ? h("i", {}, app.store.sites[a.site]?.title ?? a.site) : null,
      h("span", { class: "words" }, t(a.text)), h("span", { class: "todo" }, t(a.what_to_do ?? "")), h("time", {}));
  }
}
const num = (v, n) => (v === undefined || v === null || Number.isNaN(v) ? "–" : v.toFixed(n));
const level = (v, warn, bad) => (!(v > -1) ? "" : v >= bad ? "bad" : v >= warn ? "warn" : "ok");
function sinceWords(alarm, store) {
  const site = store.sites[alarm.site];
  const seconds = site && alarm.since > 1e6 ? Math.max(0, (site.stamp - alarm.since) / 1e9) : 0;
  return seconds < 90 ? `${seconds.toFixed(0)} s` : `${(seconds / 60).toFixed(0)} min`;
}
export { num, level, disable };
