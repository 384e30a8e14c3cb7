// What the page must do with the surgeon's devices in servo, against fake hospitals; the real stack is in whole_case.mjs.
import { assert, open, until } from "./kit.mjs";
import { A, CLUTCH, DOWN, SHOULDER, VIEW_AFTER, VIEW_BEFORE, Y, emulatePad, padUse, setPad, tap, walkTo } from "./pad.mjs";
import { ready, stays } from "./scenarios.mjs";

export const handScenarios = {
  async "servo: keys, pointer and gamepad move the arm under their own names, and letting go stops"({ browser, srv }) {
    const page = await servo(browser, srv);
    await emulatePad(page);
    const box = await (await page.$("#stick")).boundingBox();
    const devices = {
      keyboard: [async () => { await page.focus("#servo"); await page.keyboard.down("d"); }, () => page.keyboard.up("d")],
      pointer: [async () => { await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2); await page.mouse.down(); await page.mouse.move(box.x + box.width / 2 + 60, box.y + box.height / 2, { steps: 3 }); }, () => page.mouse.up()],
      gamepad: [() => setPad(page, { held: [SHOULDER], axes: [1, 0, 0, 0] }), () => setPad(page, { held: [] })],
    };
    for (const [name, [down, up]] of Object.entries(devices)) {
      await hold(page, srv, name, down, up);
      assert((await srv.poke()).devices.includes(name), `${name}: the press does not say whose it is`);
      await up();
      await until(`${name}: stops`, async () => { const s = await srv.poke(); return s.state === "PAUSE" && s.hand === 0; });
      await stays(srv, name);
    }
    const said = (await srv.poke()).samples;
    assert(said.some((s) => s.kind === "keyboard") && said.every((s) => s.buttons.length === 0), `a released device says ${JSON.stringify(said)}`);
    assert(page.problems.length === 0, page.problems.join("\n"));
  },

  async "servo: clutch, blur and unplugging let go, and a second device does not take over"({ browser, srv }) {
    const page = await servo(browser, srv);
    await emulatePad(page);
    const down = () => setPad(page, { held: [SHOULDER], axes: [1, 0, 0, 0] }), up = () => setPad(page, { held: [] });
    for (const [name, end] of Object.entries({ clutch: () => setPad(page, { held: [SHOULDER, CLUTCH], axes: [1, 0, 0, 0] }), unplugged: () => setPad(page, { connected: false }), blur: () => page.evaluate(() => window.dispatchEvent(new Event("blur"))) })) {
      await hold(page, srv, name, down, up);
      await end();
      await until(`${name}: stops`, async () => { const s = await srv.poke(); return s.state === "PAUSE" && s.hand === 0; });
      await stays(srv, name);
      await up();
    }
    assert((await srv.poke()).samples.length, "no readings");
    // the pad moves, a key is pressed as well: the press stays the pad's; the pad is let go: the key moves nothing
    await hold(page, srv, "pad again", down, up);
    await page.focus("#servo");
    await page.keyboard.down("w");
    await page.waitForTimeout(150);
    assert((await page.evaluate(() => longhand.deadman.source)) === "gamepad", "the key took the press over");
    assert((await srv.poke()).samples.some((s) => s.kind === "keyboard" && s.buttons.includes("deadman")), "the server does not see the second device");
    await up();
    await until("stops", async () => { const s = await srv.poke(); return s.state === "PAUSE" && s.hand === 0; });
    await stays(srv, "with the key still held");
    await page.keyboard.up("w");
  },

  async "servo: a SpaceMouse over WebHID and a headset over WebXR, both emulated"({ browser, srv }) {
    const page = await servo(browser, srv, { init: emulateHidAndXr });
    await page.click("#connect-spacemouse");
    await page.waitForFunction(() => globalThis.mouse.opened);
    const report = (id, bytes) => page.evaluate(([i, b]) => globalThis.mouse.report(i, b), [id, bytes]);
    const tilt = [0x5e, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]; // x at its end: 350 counts
    await hold(page, srv, "SpaceMouse", async () => { await report(1, tilt); await report(3, [1]); }, () => report(3, [0]));
    assert((await srv.poke()).devices.includes("spacemouse"), "the press is not the SpaceMouse's");
    await page.evaluate(() => globalThis.mouse.unplug());
    await until("unplugged: stops", async () => { const s = await srv.poke(); return s.state === "PAUSE" && s.hand === 0; });
    await stays(srv, "unplugged");
    await page.click("#connect-xr");
    await page.waitForFunction(() => globalThis.headset.running);
    await page.waitForTimeout(100);
    await page.evaluate(() => globalThis.headset.say("selectstart"));
    await until("the headset's press", async () => (await srv.poke()).devices.includes("xr"));
    const pose = (await srv.poke()).samples.findLast((s) => s.kind === "xr").pose;
    assert(pose.length === 7 && Math.abs(pose[2] + 0.4) < 1e-9, `the headset's pose: ${pose}`);
    await page.evaluate(() => globalThis.headset.say("selectend"));
    await until("released", async () => (await srv.poke()).hand === 0);
    await page.evaluate(() => { globalThis.headset.say("selectstart"); });
    await page.evaluate(() => { globalThis.headset.lost = true; });
    await until("a lost headset lets go", async () => (await srv.poke()).hand === 0);
    assert(page.problems.length === 0, page.problems.join("\n"));
  },

  async "the hand's settings go to the hospital and the page shows what is in force there"({ browser, srv }) {
    const page = await servo(browser, srv);
    await page.selectOption("#hand-scale", "0.1");
    await page.selectOption("#hand-tremor", "strong");
    await page.selectOption("#hand-fixture", "axis");
    await page.check("#hand-lock");
    await until("settings arrive", async () => { const s = (await srv.poke()).settings; return s.scale === 0.1 && s.tremor === "strong" && s.fixture === "axis" && s.lock_rotation; });
    await srv.poke({ set: { settings: { scale: 0.5, least: 0.5, tremor: "off", alignment: "guide", fixture: "cone", lock_rotation: false, lock_translation: false } } });
    await page.waitForFunction(() => document.querySelector("#hand-scale").value === "0.5" && document.querySelector("#hand-tremor").value === "off" && document.querySelector("#hand-alignment").value === "guide" && !document.querySelector("#hand-lock").checked);
    await page.click('[data-mode="goal"]');
    await page.waitForFunction(() => longhand.store.events.some((e) => e.text === "mode goal"));
    const before = (await srv.poke()).samples.length;
    await page.waitForTimeout(200);
    const after = (await srv.poke()).samples;
    assert(before === after.length && after.at(-1).connected === false, "devices are still read outside servo");
  },

  async "with a gamepad alone: images, plan, approval, sending, and the first step of the case"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await emulatePad(page);
    await page.bringToFront();
    await padUse(page, "#open");
    await padUse(page, '[data-source="LPS"]');
    await page.waitForFunction(() => longhand.images.ready && longhand.store.desk, null, { timeout: 120000 });
    await padUse(page, "#auto");
    await page.waitForFunction(() => longhand.store.screws.length === 10);
    await padUse(page, "#approve");
    await page.waitForSelector('#approval[data-state="approved"]');
    await padUse(page, "#transfer");
    await until("the plan is at the hospital", () => page.evaluate(() => !!longhand.store.desk.transferred));
    await tap(page, VIEW_AFTER); await tap(page, VIEW_AFTER);
    assert((await page.evaluate(() => longhand.store.view)) === "command", "the trigger does not change the view");
    await tap(page, VIEW_BEFORE);
    await walkTo(page, "article.card .row.wrap button:last-child", 60); // past what lies folded in <details>
    await tap(page, VIEW_AFTER);
    const before = await page.evaluate(() => longhand.store.siteName);
    await tap(page, Y);
    assert((await page.evaluate(() => longhand.store.siteName)) !== before, "Y does not change the hospital");
    for (let n = 0; n < 3 && (await page.evaluate(() => longhand.store.siteName)) !== before; n++) await tap(page, Y);
    await walkTo(page, '#pick [data-screw="L4-R"]');
    await tap(page, DOWN); await tap(page, 12);
    await padUse(page, '#pick [data-screw="L4-R"]');
    await page.waitForSelector("#next:not(:disabled)");
    await tap(page, A);
    await until("registration was asked for", async () => (await srv.poke()).orders.includes("case.register"));
    assert(page.problems.length === 0, page.problems.join("\n"));
  },
};

async function servo(browser, srv, more = {}) {
  const page = await ready(browser, srv, more);
  await page.click('[data-mode="servo"]');
  await page.waitForSelector("#servo:not(.off)");
  return page;
}
/** Press until the arm moves, as `padMoves` does. */
async function hold(page, srv, words, down, up) {
  for (let n = 0; n < 25; n++) {
    await down();
    const start = (await srv.poke()).moved_mm;
    for (let k = 0; k < 12; k++) { const s = await srv.poke(); if (s.state === "ACTIVE" && s.moved_mm > start + 0.1) return; await page.waitForTimeout(40); }
    await up();
    await page.waitForTimeout(200);
  }
  throw new Error(`${words}: the arm does not move`);
}

/** Runs in the page before anything else: a SpaceMouse at `navigator.hid` and a headset at `navigator.xr`. */
function emulateHidAndXr() {
  class Mouse extends EventTarget {
    vendorId = 0x256f; productId = 0xc635; opened = false;
    async open() { this.opened = true; }
    report(reportId, bytes) { const event = new Event("inputreport"); event.reportId = reportId; event.data = new DataView(new Uint8Array(bytes).buffer); this.dispatchEvent(event); }
    unplug() { const event = new Event("disconnect"); event.device = this; hid.dispatchEvent(event); }
  }
  const hid = new EventTarget(), mouse = (globalThis.mouse = new Mouse());
  hid.getDevices = async () => []; hid.requestDevice = async () => [mouse];
  class Session extends EventTarget {
    visibilityState = "visible"; inputSources = [{ handedness: "right", gripSpace: {} }];
    async requestReferenceSpace() { return {}; }
    requestAnimationFrame(f) { headset.running = true; setTimeout(() => f(performance.now(), { getPose: () => (headset.lost ? null : { emulatedPosition: false, transform: { position: { x: 0.1, y: 1.2, z: -0.4 }, orientation: { x: 0, y: 0, z: 0, w: 1 } } }) }), 16); }
    async end() { this.dispatchEvent(new Event("end")); }
  }
  const session = new Session(), headset = (globalThis.headset = { running: false, lost: false, say: (name) => session.dispatchEvent(new Event(name)) });
  Object.defineProperty(navigator, "hid", { value: hid });
  Object.defineProperty(navigator, "xr", { value: { isSessionSupported: async (mode) => mode === "immersive-vr", requestSession: async () => session } });
}
