import { test } from "node:test";
import assert from "node:assert/strict";
import { arrived, nextAction } from "./next_action.js";

const DONE = ["images", "approved", "transferred", "registered", "time_out"];
const site = (gov = {}, c = {}, more = {}) => ({ mine: true, gov: { state: "READY", blockers: [], ...gov }, arm: { s: 0, path_hash: new Uint8Array(8) }, case: { done: DONE, placed: [], screw: "", screw_step: "none", path: null, ...c }, ...more });
const path = (what, kind, s = 0) => ({ path: { path_hash: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]), kind, what, length_m: 0.3, screw: "a" }, arm: { s, path_hash: new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]) } });

test("a case is walked through in order, and nothing is skipped", () => {
  assert.equal(nextAction(site({}, { done: ["images"] }), "a").kind, "wait");
  assert.equal(nextAction(site({}, { done: ["images", "approved", "transferred"] }), "a").op, "case.register");
  assert.equal(nextAction(site({}, { done: DONE.slice(0, 4) }), "a").kind, "time_out");
  assert.equal(nextAction(site({ blockers: ["the line is not qualified: run the network test"] }), "a").op, "case.qualify");
  assert.equal(nextAction(site({}, {}, { mine: false }), "a").op, "case.request_control");
  assert.equal(nextAction(site({ blockers: ["the stop rehearsal has not been passed: rehearse it"] }), "a").op, "case.rehearse");
  assert.equal(nextAction(site(), "a").op, "case.select");
  assert.deepEqual(nextAction(site({}, { screw: "a", screw_step: "selected" }), "a").params, { kind: "approach" });
  assert.equal(nextAction(site({}, { screw: "a", screw_step: "approach" }), "a").op, "case.breath_hold");
  assert.equal(nextAction(site({}, { screw: "a", screw_step: "approach", breath_hold: true }), "a").op, "case.correct");
  assert.deepEqual(nextAction(site({}, { screw: "a", screw_step: "stand_off", last: { on_line: true } }), "a").params, { kind: "advance" });
  assert.equal(nextAction(site({}, { screw: "a", screw_step: "advance", last: { on_line: true, at: "advance" } }), "a").op, "case.verify");
  assert.equal(nextAction(site({}, { screw: "a", screw_step: "advance", last: { on_line: true, at: "stand_off" } }), "a").op, "case.correct");
  assert.equal(nextAction(site({}, { screw: "a", screw_step: "verified" }), "a").op, "case.confirm");
  assert.equal(nextAction(site({}, { screw: "a", screw_step: "confirmed" }), "a").op, "case.place");
  assert.equal(nextAction(site({}, { screw: "a", screw_step: "placed", breath_hold: true }), "a").op, "case.breath_hold");
  assert.deepEqual(nextAction(site({}, { screw: "a", screw_step: "placed" }), "a").params, { kind: "retreat" });
});

test("a stored path is held to run until the arm is at its end, in the path's own mode", () => {
  const p = path("approach", "goal", 0.1), s = site({}, { screw: "a", screw_step: "approach", path: p.path }, { arm: p.arm });
  assert.deepEqual([nextAction(s, "a").kind, nextAction(s, "a").mode, nextAction(s, "a").s_limit], ["hold", "goal", 0.3]);
  assert.equal(arrived(s), false);
  s.arm.s = 0.3;
  assert.equal(arrived(s), true);
  assert.notEqual(nextAction(s, "a").kind, "hold");
  s.arm.path_hash = new Uint8Array(8);
  assert.equal(arrived(s), false, "another path's progress counted");
});

test("a path that begins where the arm no longer stands is planned again, not held to run and refused", () => {
  const p = path("approach", "goal").path, at = (q, path_hash = new Uint8Array(8)) => ({ arm: { s: 0, q, path_hash } });
  const next = (what, arm) => nextAction(site({}, { screw: "a", screw_step: "approach", path: { ...p, what, start: [0.1, 0.2] } }, arm), "a");
  assert.equal(next("approach", at([0.1, 0.21])).kind, "hold", "an arm at the begin has to plan again");
  assert.deepEqual([next("approach", at([0.1, 0.23])).op, next("approach", at([0.1, 0.23])).params], ["case.path", { kind: "approach" }]);
  assert.equal(next("approach", at([0.1, 0.5], p.path_hash)).kind, "hold", "an arm on its way along the path has to plan again");
  assert.equal(next("correction", at([0.3, 0.2])).op, "case.correct");
});

test("a HOLD is acknowledged once and then left by a new press", () => {
  const p = path("approach", "goal"), c = { screw: "a", screw_step: "approach", path: p.path };
  assert.equal(nextAction(site({ state: "HOLD" }, c, { arm: p.arm }), "a").op, "ack");
  assert.equal(nextAction(site({ state: "HOLD", acked: true }, c, { arm: p.arm }), "a").kind, "hold");
  assert.equal(nextAction(site({ state: "STOP" }, c), "a").op, "case.rearm");
});

test("another screw waits until the one in hand is finished or left", () => {
  assert.match(nextAction(site({}, { screw: "b", screw_step: "advance" }), "a").label, /Finish or retreat/);
});
