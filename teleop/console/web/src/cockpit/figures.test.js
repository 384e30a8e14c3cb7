import { test } from "node:test";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { accuracy, direction, level, ms, percent, summary, urgency } from "./figures.js";
import { WORDS_ZH } from "./words_zh.js";
import { ZH } from "../lib/zh.js";
import { WORDS } from "../lib/words.js";

const site = (more = {}) => ({ name: "a", title: "A", fresh: true, frame_age_s: 0.1, state: "ACTIVE", warning: { on: false }, ...more });

test("a fault comes before a hold, a hold before silence, silence before a warning, a warning before quiet work", () => {
  const order = [site({ state: "FAULT" }), site({ state: "HOLD" }), site({ fresh: false, frame_age_s: 4 }), site({ warning: { on: true } }), site()].map(urgency);
  assert.deepEqual(order, [...order].sort((a, b) => a - b));
  assert.equal(new Set(order).size, 5);
});
test("a site that was never heard is no emergency, an old HOLD that nobody refreshes is not shown as a hold", () => {
  assert.equal(urgency(site({ fresh: false, frame_age_s: null })), 50);
  assert.equal(urgency(site({ fresh: false, state: "HOLD", frame_age_s: 9 })), 2.5);
});
test("the level of a site without fresh data is bad whatever its last state was", () => {
  assert.equal(level(site({ fresh: false })), "bad");
  assert.equal(level(site({ warning: { on: true } })), "warn");
  assert.equal(level(site()), "ok");
});
test("a line that gets slower is rising, one spike is not", () => {
  const trend = (ages) => ages.map((a, i) => [i - ages.length, a, 0, 0]);
  assert.equal(direction(trend([...Array(10).fill(40), ...Array(10).fill(90)])), "rising");
  assert.equal(direction(trend([...Array(10).fill(90), ...Array(10).fill(40)])), "falling");
  assert.equal(direction(trend([...Array(19).fill(40), 400])), "steady");
  assert.equal(direction(trend([40, 90])), "");
});
test("numbers that were not measured are a dash", () => { assert.equal(ms(null), "–"); assert.equal(percent(undefined), "–"); assert.equal(ms(4.25), "4.3 ms"); });
test("the accuracy shown is the worst reached", () => {
  assert.equal(accuracy({ L3: { lateral_mm: 0.3, angle_deg: 1.2 }, L4: { lateral_mm: 0.6, angle_deg: 0.4 } }), "0.60 mm · 1.2° (2)");
  assert.equal(accuracy({}), "");
});
test("the summary counts each site once a column", () => {
  const words = summary({ sites: [site(), site({ state: "HOLD" }), site({ fresh: false })] }, (w, v) => w.replace(/\{(\w+)\}/g, (_, k) => v[k]));
  assert.equal(words, "3 sites · 1 at work · 1 held · 0 warned · 1 silent");
});
test("every word of the cockpit exists in Chinese", () => {
  const here = dirname(fileURLToPath(import.meta.url)), missing = [];
  for (const file of ["board.js", "figures.js", "../cockpit.js"]) for (const pattern of [/\bt\("((?:[^"\\]|\\.)+)"/g, /\bt: "((?:[^"\\]|\\.)+)"/g, /label: "((?:[^"\\]|\\.)+)"/g]) for (const [, w] of readFileSync(join(here, file), "utf8").matchAll(pattern)) if (!WORDS_ZH[w] && !ZH[WORDS[w] ?? w]) missing.push(w);
  for (const w of [...readFileSync(join(here, "board.js"), "utf8").match(/HEADS = \[(.*?)\]/)[1].matchAll(/"([^"]+)"/g)].map((m) => m[1])) if (!WORDS_ZH[w] && !ZH[w]) missing.push(w);
  assert.deepEqual(missing, []);
});
