import { test } from "node:test";
import assert from "node:assert/strict";
import { bindGamepad, readPad, shape } from "./gamepad.js";

const pad = (held = [], axes = [0, 0, 0, 0]) => ({ connected: true, mapping: "standard", index: 0, axes, buttons: Array.from({ length: 16 }, (_, i) => ({ pressed: held.includes(i) })) });
const wait = () => new Promise((r) => setTimeout(r, 60));

function rig() {
  const log = [], state = { pad: null };
  const deadman = {
    press: 0, source: "",
    begin(source) { if (this.press) return false; this.press = 1; this.source = source; log.push("begin"); return true; },
    update() { if (log.at(-1) !== "update") log.push("update"); },
    release(why = "released") { if (this.press) { this.press = 0; this.source = ""; log.push(why); } },
  };
  const off = bindGamepad(deadman, (s) => ({ jog: s.linear }), () => log.push("stop"), () => log.push("next"), (what) => log.push(what), () => [state.pad]);
  return { log, state, deadman, off };
}

test("a stick at rest, worn or broken asks for nothing, and a corner is no faster than an edge", () => {
  assert.equal(shape(0.11), 0); assert.equal(shape(NaN), 0); assert.equal(shape(-1), -1); assert.equal(shape(7), 1);
  assert.ok(Math.hypot(...readPad(pad([], [1, 1, 0, 1])).linear) <= 1 + 1e-12);
  assert.deepEqual(readPad(pad([5, 4])).deadman, false, "clutched");
});

test("a shoulder that was down before does nothing, and one that the page ended wants a release", async () => {
  const { log, state, deadman, off } = rig();
  state.pad = pad([5]); await wait();
  assert.deepEqual(log, []);
  state.pad = pad(); await wait(); state.pad = pad([5]); await wait();
  assert.deepEqual(log, ["begin", "update"]);
  deadman.release("focus"); await wait();
  assert.deepEqual(log, ["begin", "update", "focus"]);
  off();
});

test("the cross walks through the page only while the shoulder is up", async () => {
  const { log, state, off } = rig();
  state.pad = pad(); await wait(); state.pad = pad([13]); await wait(); state.pad = pad([13, 2]); await wait();
  assert.deepEqual(log, ["after"], "held is one step");
  state.pad = pad(); await wait(); state.pad = pad([2]); await wait(); state.pad = pad(); await wait(); state.pad = pad([5]); await wait(); state.pad = pad([5, 13]); await wait();
  assert.deepEqual(log.filter((x) => !["begin", "update", "released"].includes(x)), ["after", "use"]);
  off();
});

test("what the server's hand gets is unshaped, in its axes, and a broken axis is nothing", () => {
  assert.deepEqual(readPad(pad([4, 5], [0.1, -1, NaN, 0.5])).raw.map((v) => v + 0), [0.1, 1, -0.5, 0, 0, 0]);
  assert.deepEqual(readPad(pad([4, 5])).buttons, ["deadman", "clutch"]);
});

test("unplugging releases and B stops once", async () => {
  const { log, state, off } = rig();
  state.pad = pad(); await wait(); state.pad = pad([5]); await wait(); state.pad = null; await wait();
  assert.equal(log.at(-1), "unplugged");
  state.pad = pad([0, 1]); await wait();
  assert.deepEqual(log.filter((x) => x === "stop" || x === "next"), [], "held when it was plugged in");
  state.pad = pad(); await wait(); state.pad = pad([1]); await wait();
  assert.deepEqual(log.filter((x) => x === "stop"), ["stop"]);
  state.pad = pad([0]); await wait();
  assert.deepEqual(log.filter((x) => x === "next"), ["next"]);
  off();
});
