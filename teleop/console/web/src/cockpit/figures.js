// What the board says in words and numbers: pure, tested without a browser.

export const RANK = { FAULT: 0, STOP: 1, HOLD: 2, LOCAL: 3, PAUSE: 4, DEGRADED: 5, ACTIVE: 6, READY: 7, INIT: 8 };

/** How urgent a site is: smaller first. Sites without data before those that work, warned ones right behind. */
export function urgency(site) {
  const state = RANK[site.state] ?? 9;
  if (state <= 2 && site.fresh) return state;
  if (!site.fresh) return site.frame_age_s === null ? 50 : 2.5;
  return site.warning.on ? 2.8 : state;
}
/** "warn": a hold is likely within seconds. "bad": it is there, or no data. Else "ok". */
export function level(site) {
  if (!site.fresh || ["FAULT", "STOP", "HOLD"].includes(site.state)) return "bad";
  return site.warning.on || ["PAUSE", "DEGRADED", "LOCAL"].includes(site.state) ? "warn" : "ok";
}
export const ms = (v) => (v === null || v === undefined ? "–" : `${v < 9.95 ? v.toFixed(1) : v.toFixed(0)} ms`);
export const percent = (v, digits = 0) => (v === null || v === undefined ? "–" : `${(v * 100).toFixed(digits)} %`);

/** Direction of the line's age over the trend: median of the last ten points against the ten before. */
export function direction(trend) {
  const ages = trend.map((p) => p[1]).filter((v) => v !== null);
  if (ages.length < 20) return "";
  const median = (list) => [...list].sort((a, b) => a - b)[list.length >> 1];
  const now = median(ages.slice(-10)), before = median(ages.slice(-20, -10));
  if (now > before * 1.25 + 5) return "rising";
  return now < before * 0.8 - 5 ? "falling" : "steady";
}
/** Worst of the accuracies, e.g. "0.61 mm · 0.9° (2)"; "" when nothing was verified. */
export function accuracy(all) {
  const rows = Object.values(all ?? {}).filter((a) => a.lateral_mm !== null);
  if (!rows.length) return "";
  const worst = (key) => Math.max(...rows.map((a) => a[key] ?? 0));
  return `${worst("lateral_mm").toFixed(2)} mm · ${worst("angle_deg").toFixed(1)}° (${rows.length})`;
}
export function summary(data, t) {
  const n = data.sites.length, warned = data.sites.filter((s) => s.fresh && s.warning.on).length, silent = data.sites.filter((s) => !s.fresh).length;
  const held = data.sites.filter((s) => s.fresh && ["HOLD", "STOP", "FAULT"].includes(s.state)).length;
  const busy = data.sites.filter((s) => s.fresh && ["ACTIVE", "DEGRADED", "PAUSE"].includes(s.state)).length;
  return t("{n} sites · {busy} at work · {held} held · {warned} warned · {silent} silent", { n, busy, held, warned, silent });
}
