// The board: one row a site.
import { attr, h, rebuild, s, text } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { accuracy, direction, level, ms, percent, urgency } from "./figures.js";

const SPAN_S = 120, TOP_MS = 600, W = 220, H = 44, HOLD_MS = 500;
const HEADS = ["Site", "State", "Early warning", "Line: age, last two minutes", "Round trip and loss", "Case", "In use", "Holds", "Accuracy reached"];

export function makeBoard() {
  const body = h("tbody"), rows = new Map();
  const empty = h("p", { class: "empty", t: "No hospital is connected." });
  const root = h("div", { class: "board" }, h("table", {}, h("caption", { class: "sr", t: "All sites" }), h("thead", {}, h("tr", {}, HEADS.map((w) => h("th", { scope: "col", t: w })))), body), empty);
  let by = "urgency", newest = null;
  function place() {
    if (!newest) return;
    const sites = [...newest.sites].sort((a, b) => (by === "urgency" ? urgency(a) - urgency(b) : 0) || a.title.localeCompare(b.title));
    const wanted = sites.map((x) => rows.get(x.name).root);
    if (wanted.some((el, i) => body.children[i] !== el)) body.replaceChildren(...wanted);
  }
  return {
    root,
    order(value) { by = value; place(); },
    update(data) {
      newest = data;
      for (const site of data.sites) { if (!rows.has(site.name)) rows.set(site.name, row(site.name)); rows.get(site.name).update(site, data.horizon_s); }
      empty.hidden = data.sites.length > 0;
      place();
    },
  };
}

function row(name) {
  const title = h("th", { scope: "row" }), state = h("span", { class: "badge state" }), reason = h("small"), warn = h("td", { class: "warning" });
  const trace = s("polyline", { class: "trace" }), age = h("b"), way = h("small"), score = s("polyline", { class: "score" });
  const plot = s("svg", { viewBox: `0 0 ${W} ${H}`, class: "spark", role: "img" }, s("line", { x1: 0, x2: W, y1: y(HOLD_MS), y2: y(HOLD_MS), class: "limit" }), score, trace);
  const trip = h("b"), paths = h("div", { class: "paths" }), watch = h("div"), kase = h("td"), use = h("td", { class: "n" }), holds = h("td", { class: "n" }), acc = h("td", { class: "n" });
  const root = h("tr", { "data-site": name }, title, h("td", {}, state, reason), warn, h("td", { class: "line" }, plot, h("span", { class: "now" }, age, way)), h("td", {}, trip, paths, watch), kase, use, holds, acc);
  return {
    root,
    update(x, horizon) {
      const where = level(x);
      attr(root, "data-level", where); attr(root, "data-fresh", x.fresh); attr(root, "data-mine", x.mine);
      rebuild(title, [x.title, x.mine, x.simulated, x.holder], () => [h("span", {}, x.title), x.simulated ? h("small", { class: "sim", t: "simulated" }) : null, x.mine ? h("small", { class: "mine", t: "in hand" }) : x.holder ? h("small", {}, x.holder) : null]);
      text(state, x.fresh ? t(x.state || "?") : t("no fresh data")); attr(state, "data-state", x.fresh ? x.state : "");
      const alarm = x.alarms.find((a) => a.active);
      text(reason, x.fresh ? [x.reason, alarm && alarm.text !== x.reason ? alarm.text : ""].filter(Boolean).map((w) => t(w)).join(" · ") : x.line.why || (x.frame_age_s === null ? t("never heard") : `${x.frame_age_s.toFixed(0)} s`));
      rebuild(warn, [x.fresh && x.warning.on, Math.floor(x.warning.for_s), x.warning.count, horizon], () => [x.fresh && x.warning.on ? h("b", { class: "soon" }, `▲ ${t("hold likely within {s} s", { s: horizon })}`) : h("span", { class: "calm" }, `● ${t("calm")}`), h("small", {}, x.warning.on ? t("for {s} s", { s: Math.floor(x.warning.for_s) }) : x.warning.count ? t("{n} warnings so far", { n: x.warning.count }) : "")]);
      attr(trace, "points", points(x.trend, (p) => p[1])); attr(score, "points", points(x.trend, (p) => (p[3] > -5 ? 300 + p[3] * 100 : null)));
      const dir = direction(x.trend);
      attr(plot, "aria-label", `${t("Line: age, last two minutes")}: ${ms(x.line.age_ms)} ${t(dir)}`);
      text(age, x.fresh ? ms(x.line.age_ms) : "–"); text(way, dir ? `${{ rising: "↗", falling: "↘", steady: "→" }[dir]} ${t(dir)}` : "");
      text(trip, x.fresh ? `${ms(x.line.rtt_ms)} · ${percent(x.line.loss, 1)}` : "–");
      rebuild(watch, [x.watch], () => (x.watch && x.watch.colour !== "green" ? [h("span", { class: "path watch", "data-colour": x.watch.colour }, x.watch.why)] : []));
      rebuild(paths, [x.line.paths.map((p) => [p.alive, ms(p.p99_ms)]), x.line.carrier], () => [...x.line.paths.map((p, i) => h("span", { class: "path", "data-alive": !!p.alive }, `${i + 1}: ${p.alive ? `p99 ${ms(p.p99_ms)}` : t("down")}`)), x.line.carrier === "tcp" ? h("span", { class: "path", "data-alive": false }, "TCP") : null]);
      rebuild(kase, x.case, () => [h("span", {}, x.case.id || "–"), h("small", {}, [x.case.screw, t(x.case.step ?? ""), x.case.placed.length ? `${t("Placed")} ${x.case.placed.length}` : ""].filter(Boolean).join(" · "))]);
      text(use, percent(x.use)); text(holds, x.holds_per_hour === null ? `${x.holds}` : `${x.holds} (${x.holds_per_hour.toFixed(1)}/h)`);
      text(acc, accuracy(x.accuracy) || "–");
    },
  };
}
function y(value) { return H - 2 - (Math.min(value, TOP_MS) / TOP_MS) * (H - 4); }
function points(trend, of) { return trend.filter((p) => of(p) !== null).map((p) => `${(W + (p[0] / SPAN_S) * W).toFixed(1)},${y(Math.max(0, of(p))).toFixed(1)}`).join(" "); }
