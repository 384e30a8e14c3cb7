// Sites: every hospital at a glance, what blocks it, who can clear that; control, qualification, registration.
import { attr, disable, h, rebuild, show, text } from "../lib/dom.js";
import { getLanguage, t } from "../lib/i18n.js";
import { drawRolling } from "./plots.js";
import { level, num } from "./shell.js";

/** A blocker is "what: who does what about it". */
const parts = (words) => { const i = words.indexOf(": "); return i < 0 ? [words, ""] : [words.slice(0, i), words.slice(i + 2)]; };

export function makeSites(app) {
  const { store } = app;
  const cards = h("div", { class: "cards" });
  const root = h("div", { class: "view sites" }, cards);
  const made = new Map();
  return {
    root, enter() {},
    update() {
      rebuild(cards, [Object.keys(store.sites), getLanguage()], () => { made.clear(); return Object.keys(store.sites).length ? Object.keys(store.sites).map((name) => { const c = card(name); made.set(name, c); return c.root; }) : [h("p", { class: "empty", t: "No hospital is connected. Start the console with hospitals, or plan without them." })]; });
      for (const [name, c] of made) c.update(store.sites[name]);
    },
  };

  function card(name) {
    const title = h("h2"), state = h("div", { class: "badge state big" }), reason = h("p", { class: "reason" });
    const facts = h("dl", { class: "facts-list" }), plot = h("canvas", { class: "spark", role: "img", label: "Loop age, last 20 seconds" });
    const paths = h("div", { class: "paths" }), blockers = h("ul", { class: "blockers" });
    const why = { request: "", release: "" };
    const order = (op, params = {}) => app.busy(null, () => app.call("site.order", { site: name, op, params })).catch(() => {});
    const request = h("button", { class: "primary", t: "Request control", onclick: () => order("case.request_control") });
    const release = h("button", { t: "Give back control", "data-do": "release", onclick: () => order("release") });
    const hold = h("button", { t: "Hold", onclick: () => order("hold") });
    const ack = h("button", { class: "primary", t: "Acknowledge", onclick: () => order("ack") });
    const rearm = h("button", { t: "Ask the bedside to re-arm", onclick: () => order("case.rearm", { why: store.sites[name]?.gov?.reason ?? "" }) });
    const go = h("button", { t: "Show", onclick: () => { app.chooseSite(name); app.show("command"); } });
    const qualify = h("details", { class: "qualify" }, h("summary", { t: "Line qualification" })), qualifyBody = h("div");
    qualify.append(qualifyBody);
    const register = h("details", { class: "register" }, h("summary", { t: "Registration" })), registerBody = h("div");
    register.append(registerBody);
    const timeOut = h("button", { t: "Time-out: read back", onclick: () => app.timeOut(name) });
    const rootEl = h("article", { class: "card", "data-site": name, "aria-label": name }, h("div", { class: "row head" }, title, state), reason, plot, facts, paths, h("h3", { t: "What blocks it" }), blockers, qualify, register, h("div", { class: "row wrap" }, request, release, hold, ack, rearm, timeOut, go));
    return {
      root: rootEl,
      update(s) {
        if (!s) return;
        const gov = s.gov ?? {}, stale = store.stale(s), c = s.case ?? {};
        text(title, s.title); text(state, t(gov.state ?? "?")); attr(state, "data-state", gov.state ?? "");
        attr(rootEl, "data-stale", stale); attr(rootEl, "data-mine", s.mine);
        text(reason, stale ? (Number.isFinite(store.age(s)) ? `${t("NO FRESH DATA")} ${(store.age(s) / 1000).toFixed(1)} s` : t("NO CONNECTION") + (s.link?.why ? `: ${s.link.why}` : "")) : [gov.reason ? t(gov.reason) : "", gov.what_to_do ? t(gov.what_to_do) : ""].filter(Boolean).join(" · "));
        const holder = s.mine ? t("you") : gov.holder ? gov.holder_name || gov.holder_role || gov.holder.slice(0, 8) : t("nobody");
        const reg = c.registration;
        const rows = [["Control", holder], ["Case", c.case_id ?? "–"], ["Step", c.screw ? `${c.screw} · ${t(c.screw_step ?? "")}` : t(lastStep(c))],
          ["Placed", (c.placed ?? []).join(", ") || "–"],
          ["Loop age", stale || !gov.loop_age_ns ? "--" : `${(gov.loop_age_ns / 1e6).toFixed(0)} ms`], ["Round trip", `${num(s.link?.rtt_ms, 0)} ms`], ["Loss", `${num((s.link?.loss ?? 0) * 100, 1)} %`],
          ["Registration", reg ? `TRE95 ${num(reg.tre95_mm, 2)} mm${reg.age_s !== undefined ? ` · ${duration(reg.age_s)}` : ""}` : t("none")], ["Carrier", t(s.link?.carrier ?? "–")]];
        rebuild(facts, [rows, getLanguage()], () => rows.flatMap(([k, v]) => [h("dt", { t: k }), h("dd", {}, v)]));
        drawRolling(plot, store.history[name] ?? [], { limits: [200], unit: "ms", top: 400 });
        rebuild(paths, [(s.link?.paths ?? []).map((p) => [p.alive, num(p.rtt_ms, 0), num((p.loss ?? 0) * 100, 1)]), getLanguage()], () => (s.link?.paths ?? []).map((p, i) => h("span", { class: "path", "data-level": p.alive ? level((p.loss ?? 0) * 100, 2, 8) : "bad" }, `${t("Path")} ${i + 1}: ${p.alive ? `${num(p.rtt_ms, 0)} ms · ${num((p.loss ?? 0) * 100, 1)} %` : t("down")}`)));
        rebuild(blockers, [gov.blockers ?? [], getLanguage()], () => ((gov.blockers ?? []).length ? gov.blockers.map((b) => { const [what, who] = parts(String(b)); return h("li", {}, h("span", {}, t(what)), h("em", {}, t(who))); }) : [h("li", { class: "none", t: "nothing" })]));
        const surgeon = store.me.role === "surgeon";
        show(request, !s.mine && !["HOLD"].includes(gov.state)); disable(request, !surgeon || stale, surgeon ? t("No fresh data from this hospital") : t("Your role has no motion rights"));
        show(release, s.mine); show(hold, s.mine && !["HOLD", "STOP", "FAULT"].includes(gov.state));
        show(ack, s.mine && gov.state === "HOLD" && !gov.acked); show(rearm, ["STOP", "FAULT", "HOLD"].includes(gov.state)); disable(rearm, !surgeon);
        show(timeOut, surgeon && (c.done ?? []).includes("transferred") && !(c.done ?? []).includes("time_out"));
        updateQualify(s); updateRegister(reg, c);
      },
    };
    function updateQualify(s) {
      const q = s.case?.qualification ?? {}, gov = s.gov ?? {}, left = gov.qualified_until ? (gov.qualified_until - s.stamp) / 1e9 : null;
      rebuild(qualifyBody, [q, left === null ? null : Math.floor(left / 30), getLanguage(), s.mine], () => [
        h("p", {}, left === null ? t("Not qualified yet: network test, stop rehearsal and take-over rehearsal, 30 minutes valid.") : left > 0 ? `${t("Qualified for another")} ${duration(left)}` : t("The qualification has expired.")),
        ...[["network", "Network test"], ["stop", "Stop rehearsal"], ["take_over", "Take-over rehearsal"]].map(([k, name_]) => h("p", { class: "step", "data-level": q[k]?.ok ? "ok" : q[k] ? "bad" : "" }, `${q[k]?.ok ? "✓" : q[k] ? "✗" : "○"} ${t(name_)}${q[k]?.text ? `: ${q[k].text}` : ""}`)),
        h("div", { class: "row" }, h("button", { t: "Run the network test", disabled: store.me.role !== "surgeon", onclick: () => order("case.qualify") })),
      ]);
    }
    function updateRegister(reg, c) {
      rebuild(registerBody, [reg, getLanguage(), c.done], () => {
        if (!reg) return [h("p", { t: "Not registered. The bedside touches the landmarks; the numbers appear here." }), h("div", { class: "row" }, h("button", { t: "Ask for registration", disabled: store.me.role !== "surgeon" || !(c.done ?? []).includes("transferred"), onclick: () => order("case.register") }))];
        return [h("p", {}, `FRE ${num(reg.fre_mm, 2)} mm · TRE95 ${num(reg.tre95_mm, 2)} mm · ${t("epoch")} ${reg.epoch ?? "–"}`),
          (reg.fiducials ?? []).length ? h("table", {}, h("tr", {}, h("th", { t: "Fiducial" }), h("th", {}, "FRE mm"), h("th", {}, "TRE mm")), ...reg.fiducials.map((f) => h("tr", {}, h("td", {}, f.name), h("td", {}, num(f.fre_mm, 2)), h("td", {}, num(f.tre_mm, 2))))) : null,
          h("div", { class: "row" }, h("button", { t: "Register again", disabled: store.me.role !== "surgeon", onclick: () => order("case.register") }))];
      });
    }
  }
}
const ORDER = ["images", "approved", "transferred", "registered", "time_out"];
export const lastStep = (c) => [...ORDER].reverse().find((s) => (c.done ?? []).includes(s)) ?? "–";
export const duration = (s) => (s < 90 ? `${Math.max(0, s).toFixed(0)} s` : `${(s / 60).toFixed(0)} min`);
