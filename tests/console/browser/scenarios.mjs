// What a page must do in a real browser. Each scenario gets a fresh server with three fake hospitals; a failure throws with words.
import { emulatePad, setPad } from "./pad.mjs";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { assert, autoPlan, axeSource, launch, open, openCase, server, until } from "./kit.mjs";

export const scenarios = {
  async "a page loads without errors, without foreign requests, and its token leaves the address bar"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    for (const tab of ["sites", "command", "consult", "plan"]) { await page.click(`#tab-${tab}`); await page.waitForTimeout(150); }
    assert(page.problems.length === 0, page.problems.join("\n"));
    assert(!page.url().includes("t="), page.url());
    const answer = await fetch(`${srv.url}/console`);
    assert(answer.headers.get("content-security-policy").startsWith("default-src 'self'"), "no content security policy");
    const inline = await page.evaluate(() => { const s = document.createElement("script"); s.textContent = "globalThis.inline = 1"; document.head.append(s); return globalThis.inline ?? 0; });
    assert(inline === 0, "an inline script ran");
  },

  async "without a token nothing is shown, with a wrong one neither"({ browser, srv }) {
    const page = await (await browser.newContext()).newPage();
    await page.goto(`${srv.url}/console`);
    await page.waitForSelector("#signin:not([hidden])");
    await page.goto(`${srv.url}/console#t=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa`);
    await page.reload();
    await page.waitForSelector("#signin:not([hidden])");
    assert((await fetch(`${srv.url}/images/x`)).status === 401, "images without a token");
  },

  async "a known voxel appears at its place in all six planes, and letters are right, in every orientation of the image"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    for (const orientation of ["LPS", "RAS", "flipped", "permuted", "oblique"]) {
      await openCase(page, orientation); await autoPlan(page);
      const found = await page.evaluate(async (marker) => {
        const { store, block } = longhand;
        const wait = () => new Promise((r) => setTimeout(r, 30));
        const out = {};
        // A screw through the marker makes the oblique planes contain it.
        const axis = [0.2, -0.95, 0.1], k = Math.hypot(...axis), d = axis.map((v) => v / k);
        store.local = { id: store.screwId, entry_lps_mm: marker.map((v, i) => v - d[i] * 15), tip_lps_mm: marker.map((v, i) => v + d[i] * 30) };
        store.cross = marker; store.depth = 15; store.window = "wide";
        for (const [name, view] of Object.entries(block.slices)) {
          view.zoom = 3;
          const before = view.ticket;
          view.request(false);
          for (let n = 0; n < 1500 && view.shown <= before; n++) await wait();
          const { width, height } = view.image, data = view.image.getContext("2d").getImageData(0, 0, width, height).data;
          let sum = 0, squares = 0, best = -1, cx = 0, cy = 0, weight = 0;
          for (let i = 0; i < data.length; i += 4) { sum += data[i]; squares += data[i] * data[i]; if (data[i] > best) best = data[i]; }
          const n = data.length / 4, variance = squares / n - (sum / n) ** 2;
          for (let i = 0; i < data.length; i += 4) if (data[i] > best - 40) { const w = data[i] - best + 40; cx += w * ((i / 4) % width); cy += w * Math.floor(i / 4 / width); weight += w; }
          const g = view.geometry, plane = g.plane, f = marker.map((v, a) => v - plane.centre[a]);
          const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
          const want = [(g.width / 2 + dot(f, plane.u) * g.scale) * view.ratio - 0.5, (g.height / 2 + dot(f, plane.v) * g.scale) * view.ratio - 0.5];
          out[name] = { variance, best, off: Math.hypot(cx / weight - want[0], cy / weight - want[1]) / (g.scale * view.ratio), letters: Object.fromEntries(Object.entries(view.edges).map(([e, el]) => [e, el.textContent])) };
          view.zoom = 1;
        }
        store.local = null; store.window = "bone";
        return out;
      }, [12, 30, -14]);
      for (const [view, r] of Object.entries(found)) {
        assert(r.variance > 4, `${orientation} ${view}: blank (variance ${r.variance})`);
        assert(r.off < 0.5, `${orientation} ${view}: marker ${r.off.toFixed(2)} mm from its place`);
        const want = { axial: { left: "R", right: "L", top: "A", bottom: "P" }, sagittal: { left: "A", right: "P", top: "S", bottom: "I" }, coronal: { left: "R", right: "L", top: "S", bottom: "I" } }[view];
        if (want) assert(JSON.stringify(r.letters, Object.keys(r.letters).sort()) === JSON.stringify(want, Object.keys(want).sort()), `${orientation} ${view}: ${JSON.stringify(r.letters)}`);
      }
      assert(found.along_axial.letters.left.includes("R") && found.probe.letters.left.includes("R"), `${orientation}: the patient's right is not on the left`);
    }
  },

  async "a screw has the same name in the list, on the images and in 3-D"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    for (const id of ["L1-R", "L3-L", "L5-R"]) {
      await page.click(`[data-screw="${id}"]`);
      await page.waitForTimeout(120);
      const seen = await page.evaluate((screw) => ({ axial: longhand.block.slices.axial.labels.map((l) => l.id), probe: longhand.block.slices.probe.labels.map((l) => l.id), scene: longhand.block.scene.drawnLabels.map((l) => l.id), name: document.querySelector("#screw-name").textContent, side: Math.sign(longhand.store.screws.find((s) => s.id === screw).entry_lps_mm[0]) }), id);
      assert(seen.axial.includes(id) && seen.probe.includes(id) && seen.scene.includes(id), `${id}: ${JSON.stringify(seen)}`);
      assert(seen.name === id.replace("-", " "), seen.name);
      assert(seen.side === (id.endsWith("L") ? 1 : -1), `${id} is on the wrong side of the patient`);
    }
  },

  async "the along-screw plane shows entry and tip where the numbers say, and a dragged handle changes the plan until undo"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    await page.click('[data-screw="L3-R"]');
    const at = await page.evaluate(() => {
      const v = longhand.block.slices.along_axial, s = longhand.store.screw, g = v.geometry;
      return { handles: v.handles, length: s.length_mm * g.scale, box: v.root.getBoundingClientRect().toJSON(), tip: s.tip_lps_mm };
    });
    const [entry, tip] = ["entry", "tip"].map((part) => at.handles.find((h) => h.part === part));
    assert(Math.abs(Math.hypot(entry.x - tip.x, entry.y - tip.y) - at.length) < 0.5, "the drawn length is not the screw's");
    assert(Math.abs(entry.x - tip.x) < 0.5, "the axis is not upright in its own plane");
    await page.mouse.move(at.box.x + tip.x, at.box.y + tip.y);
    await page.mouse.down();
    for (let i = 1; i <= 12; i++) await page.mouse.move(at.box.x + tip.x + i * 2, at.box.y + tip.y);
    await page.mouse.up();
    const changed = await until("the server has the new tip", () => page.evaluate((before) => { const s = longhand.store.desk.screws.find((x) => x.id === "L3-R"); return !longhand.store.local && Math.hypot(...s.tip_lps_mm.map((v, i) => v - before[i])) > 2 ? s : null; }, at.tip));
    assert(await page.textContent("#screw-grade"), "no grade");
    assert(changed.min_clearance_mm !== undefined, "no metrics");
    await page.click("#undo");
    await until("undo brings the tip back", () => page.evaluate((before) => longhand.store.desk.screws.find((x) => x.id === "L3-R").tip_lps_mm.every((v, i) => Math.abs(v - before[i]) < 1e-6), at.tip));
    assert(await page.evaluate(() => longhand.store.desk.can_undo), "one drag was more than one undo step, or auto-plan cannot be undone");
    await page.click("#redo");
    await until("redo", () => page.evaluate((tip_) => Math.hypot(...longhand.store.desk.screws.find((x) => x.id === "L3-R").tip_lps_mm.map((v, i) => v - tip_[i])) < 1e-6, changed.tip_lps_mm));
  },

  async "arrow keys nudge the selected screw in the plane of the view that has the focus"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    await page.click('[data-screw="L2-L"]');
    const before = await page.evaluate(() => longhand.store.screw.entry_lps_mm);
    await page.focus('[data-view="axial"]');
    await page.keyboard.press("ArrowRight");
    await until("the screw moved 0.5 mm to the patient's left", () => page.evaluate((b) => Math.abs(longhand.store.desk.screws.find((s) => s.id === "L2-L").entry_lps_mm[0] - b[0] - 0.5) < 1e-6, before));
    await page.keyboard.press("Control+z");
    await until("undo by key", () => page.evaluate((b) => Math.abs(longhand.store.desk.screws.find((s) => s.id === "L2-L").entry_lps_mm[0] - b[0]) < 1e-6, before));
  },

  async "an approval is signed, survives a reload, and any later edit voids it visibly"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    await page.click("#approve");
    await page.waitForSelector('#approval[data-state="approved"]');
    await page.reload();
    await page.waitForSelector('#approval[data-state="approved"]');
    await page.click('[data-screw="L1-R"]');
    await page.selectOption("#diameter", "5.5");
    await page.waitForSelector('#approval[data-state="void"]');
    assert((await page.textContent("#approval")).includes("dr.li"), "nobody is named");
    await page.waitForSelector("#approve:not([hidden])");
  },

  async "STOP by click, Space and Esc reaches the hospital in every view, without holding control"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    let expected = 0;
    for (const tab of ["plan", "sites", "command", "consult"]) {
      await page.click(`#tab-${tab}`);
      const box = await (await page.$("#stop")).boundingBox();
      assert(box.x + box.width > 1599 && box.y < 1, `${tab}: STOP is not in its corner`);
      for (const act of [() => page.click("#stop"), () => page.keyboard.press("Space"), () => page.keyboard.press("Escape")]) {
        await act(); expected++;
        await until(`stop ${expected} in ${tab}`, async () => (await srv.poke()).stops.length >= expected);
      }
    }
    const viewer = await open(browser, srv, "student", { view: "consult" });
    await viewer.keyboard.press("Escape");
    await until("a viewer's stop", async () => (await srv.poke()).stops.some(([, who]) => who === "student"));
  },

  async "STOP works by pointer and key while a dialog is open"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await page.click("#open");
    await page.waitForSelector("#open-dialog[open]");
    await page.click("#open-dialog .dialog-stop", { timeout: 5000 });
    await until("the pointer's stop", async () => (await srv.poke()).stops.length === 1);
    await page.keyboard.press("Escape");
    await until("the key's stop", async () => (await srv.poke()).stops.length === 2);
    await page.click("#open-dialog .end button");
    await openCase(page); await autoPlan(page);
  },

  async "STOP gets through while the websocket's queue is full, and counts once"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    const session = await page.context().newCDPSession(page);
    await session.send("Network.enable");
    const sent = await page.evaluate(() => {
      const big = "x".repeat(2_000_000);
      const calls = Array.from({ length: 25 }, (_, k) => longhand.net.call("plan.import", { case: "none", name: `${k}.json`, text: big }).catch(() => 0));
      globalThis.replies = 0; for (const c of calls) c.then(() => globalThis.replies++);
      return calls.length;
    });
    await page.keyboard.press("Escape");
    await until("the stop is at the hospital", async () => (await srv.poke()).stops.length > 0);
    const answered = await page.evaluate(() => globalThis.replies);
    assert(answered < sent, `the queue was empty before: ${answered} of ${sent}`);
    await until("the queue drains", () => page.evaluate((n) => globalThis.replies === n, sent), 60000);
    assert((await srv.poke()).stops.length === 1, "one press of STOP counted twice");
  },

  async "keys of the page do nothing while somebody types, except Esc"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await page.click("#tab-consult");
    await page.fill("#chat-input", "");
    await page.click("#chat-input");
    await page.keyboard.type("a b");
    assert((await page.inputValue("#chat-input")) === "a b", "a space was lost");
    assert((await srv.poke()).stops.length === 0, "typing stopped the arm");
    await page.keyboard.press("Escape");
    await until("Esc stops while typing", async () => (await srv.poke()).stops.length === 1);
  },

  async "holding moves; release, blur, a hidden page, a lost pointer and an unplugged device stop"({ browser, srv }) {
    const page = await ready(browser, srv);
    const ends = {
      release: () => page.mouse.up(),
      blur: () => page.evaluate(() => window.dispatchEvent(new Event("blur"))),
      hidden: () => page.evaluate(() => { Object.defineProperty(document, "hidden", { value: true, configurable: true }); document.dispatchEvent(new Event("visibilitychange")); }),
      pointercancel: () => page.evaluate(() => document.querySelector("#jog-forward").dispatchEvent(new PointerEvent("pointercancel", { bubbles: true }))),
      unplugged: () => page.evaluate(() => window.dispatchEvent(new Event("gamepaddisconnected"))),
      pagehide: () => page.evaluate(() => window.dispatchEvent(new Event("pagehide"))),
    };
    for (const [name, end] of Object.entries(ends)) {
      await moves(page, srv, name);
      await end();
      await until(`${name}: stops`, async () => { const s = await srv.poke(); return s.state === "PAUSE" && s.hand === 0; });
      await stays(srv, name);
      await page.evaluate(() => { delete document.hidden; });
      await page.mouse.up();
    }
  },

  async "a hanging page, a closed page and a broken connection end the press"({ browser, srv }) {
    let page = await ready(browser, srv);
    await moves(page, srv, "moves");
    const hang = page.evaluate(() => { const end = performance.now() + 1500; while (performance.now() < end); });
    await until("the worker ends the press while the page hangs", async () => { const s = await srv.poke(); return s.hand === 0 && s.state === "PAUSE"; });
    await hang;
    await stays(srv, "after the page woke up with the button still held");
    await page.mouse.up();
    await moves(page, srv, "moves again after release and press");
    await page.evaluate(() => longhand.net.worker.terminate());
    await until("silence ends the press", async () => { const s = await srv.poke(); return s.hand === 0 && s.state === "PAUSE"; });
    await page.close();
    page = await ready(browser, srv);
    await moves(page, srv, "moves from a new page");
    await page.close();
    await until("closing ends the press", async () => { const s = await srv.poke(); return s.hand === 0 && s.state === "PAUSE"; });
  },

  async "after a stop was cleared a held button does nothing until it is released and pressed again"({ browser, srv }) {
    const page = await ready(browser, srv);
    await moves(page, srv, "moves");
    await page.keyboard.press("Escape");
    await until("stopped", async () => (await srv.poke()).state === "STOP");
    await srv.poke({ set: { state: "READY", alarms: [] } });
    await stays(srv, "with the button still held");
    await page.mouse.up();
    await page.waitForTimeout(100);
    await page.waitForSelector("#jog-forward:not(:disabled)");
    await moves(page, srv, "moves after release and press");
    await page.mouse.up();
  },

  async "of two pages only one moves, and nobody without motion rights does"({ browser, srv }) {
    const a = await ready(browser, srv), b = await ready(browser, srv);
    await moves(a, srv, "a moves");
    const seat = await a.evaluate(() => longhand.store.frame.hand.seat);
    await b.evaluate(() => longhand.deadman.begin("test", { site: "tianjin", mode: "jog", jog: { frame: "guide", linear: [0, 0, -0.005], angular: [0, 0, 0] } }));
    await b.waitForTimeout(300);
    assert((await a.evaluate(() => longhand.store.frame.hand.seat)) === seat, "the second page took the seat in the middle of a press");
    await b.evaluate(() => longhand.deadman.release());
    await a.mouse.up();
    await until("released", async () => (await srv.poke()).hand === 0);
    const expert = await open(browser, srv, "dr.chen", { view: "consult" });
    const before = (await srv.poke()).presses;
    await expert.evaluate(() => { for (let i = 0; i < 20; i++) longhand.net.hand({ site: "tianjin", mode: "jog", press: 5 + i, jog: { frame: "guide", linear: [0, 0, 0.005], angular: [0, 0, 0] } }); });
    await expert.waitForTimeout(300);
    assert((await srv.poke()).presses === before, "an expert's sample moved the arm");
    const refused = await expert.evaluate(() => longhand.net.call("site.order", { site: "tianjin", op: "case.request_control" }).then(() => "allowed", (e) => e.message));
    assert(refused.includes("role"), refused);
  },

  async "a reload in the middle of a motion stops it, and nothing moves by itself afterwards"({ browser, srv }) {
    const page = await ready(browser, srv);
    await moves(page, srv, "moves");
    await page.reload();
    await until("stopped", async () => { const s = await srv.poke(); return s.hand === 0 && s.state === "PAUSE"; });
    await page.waitForFunction(() => globalThis.longhand?.store.frame);
    await stays(srv, "after the reload");
  },

  async "when the server freezes or a hospital falls silent, views grey, digits go and motion buttons are off; then all recovers"({ browser, srv }) {
    const page = await ready(browser, srv);
    await page.evaluate(() => { globalThis.seen = []; setInterval(() => { if (!document.querySelector("#banner").hidden) seen.push("banner"); if (document.querySelector("#dev-mm").textContent === "--") seen.push("digits"); if (document.querySelector("#jog-forward").disabled) seen.push("button"); if (document.querySelector(".slice.is-stale")) seen.push("grey"); }, 20); });
    await srv.poke({ do: "block", seconds: 1 });
    const seen = new Set(await page.evaluate(() => seen));
    for (const what of ["banner", "digits", "button", "grey"]) assert(seen.has(what), `not seen while the server was frozen: ${what}`);
    await page.waitForSelector("#jog-forward:not(:disabled)");
    await srv.poke({ set: { frozen: true } });
    await page.waitForSelector("#jog-forward:disabled");
    await until("digits gone", async () => (await page.textContent("#dev-mm")) === "--");
    assert((await page.textContent('[data-view="probe"] .stale')).includes("NO FRESH DATA"), "the views do not say why");
    await srv.poke({ set: { frozen: false } });
    await page.waitForSelector("#jog-forward:not(:disabled)");
    await until("digits back", async () => (await page.textContent("#dev-mm")) !== "--");
  },

  async "a restart of the console server is said, nothing moves, the plan is still there"({ browser }) {
    const first = await server();
    const page = await open(browser, first, "dr.li");
    await openCase(page); await autoPlan(page);
    const port = new URL(first.url).port, rev = await page.evaluate(() => longhand.store.desk.rev);
    await first.close({ keep: true });
    await page.waitForSelector("#banner:not([hidden])");
    assert((await page.textContent("#alarms")).includes("console server"), "no alarm");
    const again = await server(["--port", port, "--dir", first.dir]);
    try {
      const fresh = await open(browser, again, "dr.li");
      await fresh.waitForFunction((r) => longhand.store.desk?.rev === r && longhand.store.screws.length === 10, rev);
      assert((await again.poke()).presses === 0, "something moved");
    } finally { await again.close(); }
  },

  async "three experts see each other's pointer and drawings at the same patient point, also after a reload, with the author in the record"({ browser, srv }) {
    const a = await open(browser, srv, "dr.li");
    await openCase(a); await autoPlan(a);
    const b = await open(browser, srv, "dr.chen", { view: "consult" }), c = await open(browser, srv, "dr.sato", { view: "consult", width: 1280, height: 720 });
    for (const p of [b, c]) await p.waitForFunction(() => longhand.images.ready && longhand.store.screws.length === 10);
    const box = await (await b.$('[data-view="axial"]')).boundingBox();
    await b.mouse.move(box.x + box.width * 0.4, box.y + box.height * 0.55);
    await b.mouse.move(box.x + box.width * 0.42, box.y + box.height * 0.56);
    const pointer = (p) => p.evaluate(() => longhand.store.frame.pointers.find((x) => x.name === "dr.chen")?.at_lps_mm);
    await until("the same point on all three", async () => { const [x, y, z] = [await pointer(a), await pointer(b), await pointer(c)]; return x && y && z && x.every((v, i) => Math.abs(v - y[i]) < 1e-9 && Math.abs(v - z[i]) < 1e-9); });
    await b.click('[data-tool="measure"]');
    await b.mouse.move(box.x + 120, box.y + 120); await b.mouse.down(); await b.mouse.move(box.x + 180, box.y + 150, { steps: 4 }); await b.mouse.up();
    const drawn = await until("the drawing arrives", () => c.evaluate(() => longhand.store.room.drawings[0]));
    assert(drawn.author === "dr.chen" && drawn.points_lps_mm.length === 2, JSON.stringify(drawn));
    await c.reload();
    await c.waitForFunction(() => longhand?.store.room.drawings.length === 1);
    await c.fill("#chat-input", "medial wall looks thin"); await c.press("#chat-input", "Enter");
    await until("chat arrives", () => a.evaluate(() => longhand.store.consult.words.some((l) => l.author === "dr.sato")));
    await b.click("#raise");
    await until("a raised hand", () => a.evaluate(() => longhand.store.room.persons.find((p) => p.name === "dr.chen").hand));
    const journal = readFileSync(join(srv.dir, "journal.jsonl"), "utf8");
    assert(/"who": "dr.chen", "what": "room.draw"/.test(journal) && /"who": "dr.sato", "what": "consult.say"/.test(journal), "the record does not name the authors");
  },

  async "an expert proposes, the surgeon accepts, and only then the plan changes"({ browser, srv }) {
    const a = await open(browser, srv, "dr.li");
    await openCase(a); await autoPlan(a);
    const b = await open(browser, srv, "dr.chen", { view: "consult" });
    await b.waitForFunction(() => longhand.store.screws.length === 10);
    await b.selectOption("#consult-screw", "L4-L");
    await b.selectOption("#propose-d", "5"); await b.selectOption("#propose-l", "40");
    await b.fill("#proposal-text", "shorter is safer here");
    await b.click("#propose");
    await a.click("#tab-consult");
    await a.waitForSelector('.proposal[data-state="open"]');
    assert((await a.evaluate(() => longhand.store.screws.find((s) => s.id === "L4-L").diameter_mm)) === 6, "changed before it was accepted");
    const direct = await b.evaluate(() => longhand.call("plan.edit", { screw: "L4-L", change: { do: "size", diameter_mm: 4, length_mm: 40 } }).then(() => "allowed", (e) => e.message));
    assert(direct.includes("role"), direct);
    await a.click(".proposal .primary");
    await until("the plan has it", () => b.evaluate(() => { const s = longhand.store.screws.find((x) => x.id === "L4-L"); return s.diameter_mm === 5 && s.length_mm === 40; }));
  },

  async "followers see what the presenter looks at"({ browser, srv }) {
    const a = await open(browser, srv, "dr.li");
    await openCase(a); await autoPlan(a);
    const b = await open(browser, srv, "dr.chen", { view: "consult" });
    await b.waitForFunction(() => longhand.store.screws.length === 10);
    await a.click("#tab-consult"); await a.click("#present");
    await b.click("#follow");
    await a.selectOption("#consult-screw", "L5-L");
    await until("the follower looks at L5 L", () => b.evaluate(() => longhand.store.screwId === "L5-L"));
    const [x, y] = await Promise.all([a, b].map((p) => p.evaluate(() => longhand.store.cross)));
    assert(x.every((v, i) => Math.abs(v - y[i]) < 1e-9), "another crosshair");
  },

  async "without WebGL slices, numbers and STOP work and a notice says that 3-D is off"({ srv }) {
    const plain = await launch(["--disable-3d-apis"]);
    try {
      const page = await open(plain, srv, "dr.li");
      await openCase(page); await autoPlan(page);
      await page.waitForSelector(".scene-note:not([hidden])");
      await until("slices are drawn", () => page.evaluate(() => Object.values(longhand.block.slices).every((v) => v.drawn)));
      assert((await page.textContent("#screw-grade")).includes("A"), "no numbers");
      await page.click("#stop");
      await until("stop", async () => (await srv.poke()).stops.length === 1);
      assert(page.problems.filter((p) => !/WebGL|webgl/.test(p)).length === 0, page.problems.join());
    } finally { await plain.close(); }
  },

  async "alarms show priority in words, make a sound that can be paused but not switched off"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await page.mouse.click(700, 400);
    await srv.poke({ set: { alarms: [{ id: "degraded", priority: "MEDIUM", text: "loop age 210 ms", what_to_do: "Prefer goal motions.", since: 1, acked: false }] } });
    await page.waitForSelector('#alarms li[data-priority="medium"]');
    assert((await page.textContent("#alarms")).includes("MEDIUM"), "the priority is colour alone");
    await until("a sound", () => page.evaluate(() => longhand.sound.beeps > 0));
    await page.click("#quiet");
    assert(await page.evaluate(() => longhand.sound.pauseLeft > 100), "not paused");
    await srv.poke({ set: { alarms: [{ id: "hold", priority: "HIGH", text: "no valid command", what_to_do: "Read the reason.", since: 2, acked: false }] } });
    await page.waitForSelector('#alarms li[data-priority="high"]');
    await until("a new high alarm ends the pause", () => page.evaluate(() => longhand.sound.pauseLeft === 0));
  },

  async "the language switch reaches every view and is remembered"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await page.click("#language");
    assert((await page.textContent("#tab-plan")) === "规划", await page.textContent("#tab-plan"));
    for (const tab of ["sites", "command", "consult", "plan"]) {
      await page.click(`#tab-${tab}`); await page.waitForTimeout(150);
      const english = await page.evaluate(() => [...document.querySelectorAll("main [data-t]")].filter((el) => el.offsetParent && /^[A-Za-z ,.]{6,}$/.test(el.textContent)).map((el) => el.textContent));
      assert(english.length === 0, `${tab}: ${english.join(" | ")}`);
    }
    await page.reload();
    await page.waitForFunction(() => document.querySelector("#tab-plan")?.textContent === "规划");
  },

  async "axe finds nothing serious in any view, and nothing scrolls at 1280 x 720 and 1920 x 1080"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    await srv.poke({ do: "register" });
    await page.addScriptTag({ content: "" }).catch(() => {});
    await page.evaluate(readFileSync(axeSource, "utf8"));
    await srv.poke({ set: { holder: "my-key", state: "READY" } });
    for (const view of ["plan", "sites", "command", "command jog", "command servo", "consult"]) {
      const [tab, mode] = view.split(" ");
      await page.click(`#tab-${tab}`);
      if (mode) { await page.click(`[data-mode="${mode}"]`); await page.waitForSelector(mode === "jog" ? "#jog-forward" : "#servo"); }
      await page.waitForTimeout(300);
      const found = await page.evaluate(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120)).join(" || ")}`));
      assert(found.length === 0, `${view}:\n${found.join("\n")}`);
      for (const [width, height] of [[1280, 720], [1920, 1080]]) {
        await page.setViewportSize({ width, height }); await page.waitForTimeout(150);
        const over = await page.evaluate(() => ({ x: document.documentElement.scrollWidth - innerWidth, y: document.documentElement.scrollHeight - innerHeight, stop: document.querySelector("#stop").getBoundingClientRect().right - innerWidth, approve: document.querySelector("#approve")?.getBoundingClientRect().bottom ?? 0 }));
        assert(over.x <= 0 && over.y <= 0 && Math.abs(over.stop) < 1, `${view} at ${width} x ${height}: ${JSON.stringify(over)}`);
        assert(tab !== "plan" || over.approve < height, `approve is cut off at ${width} x ${height}`);
      }
      await page.setViewportSize({ width: 1600, height: 900 });
    }
  },

  async "bad uploads are refused with words: not a CT, a truncated zip, four gigabytes"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await page.click("#open");
    const say = async (words) => until(words, async () => (await page.textContent("#open-status")).includes(words), 5000);
    await page.setInputFiles("#upload-files", { name: "scan.zip", mimeType: "application/zip", buffer: Buffer.from("PK\u0003\u0004 cut short") });
    await say("damaged or incomplete");
    await page.setInputFiles("#upload-files", { name: "holiday.nii", mimeType: "application/octet-stream", buffer: Buffer.from("not an image") });
    await say("not a CT");
    await page.setInputFiles("#upload-files", { name: "big.nii", mimeType: "application/octet-stream", buffer: Buffer.alloc(25_000_000) });
    await until("too large", async () => /too large|at most/.test(await page.textContent("#open-status")), 8000);
    const huge = await page.evaluate(async () => { const begin = await (await longhand.net.fetch("/uploads", { method: "POST" })).json(); return begin.id; });
    assert(huge, "no upload");
    assert((await srv.poke()).state === "READY", "a bad upload moved something");
  },

  async "a viewer whose page is slow or hangs delays nobody, and sees the newest frame when it comes back"({ browser, srv }) {
    const page = await ready(browser, srv), viewer = await open(browser, srv, "student", { view: "consult" });
    const n = (p) => p.evaluate(() => longhand.store.frame.n);
    // What the viewer gets to draw, while its main thread hangs: the acknowledgement of one frame must hold back all others.
    await viewer.evaluate(() => { globalThis.drawn = []; const take = longhand.net.worker.onmessage; longhand.net.worker.onmessage = (event) => { if (event.data.t === "frame") drawn.push([event.data.n, performance.timeOrigin + performance.now() - event.data.at]); take(event); }; });
    await viewer.waitForTimeout(300);
    const before = await n(page);
    const hang = viewer.evaluate(() => { drawn.length = 0; const end = performance.now() + 2500; while (performance.now() < end); });
    await until("the surgeon's frames go on", async () => (await n(page)) > before + 15, 2400);
    await hang;
    const now = await n(page);
    await until("the viewer draws again", () => viewer.evaluate((k) => drawn.some(([m]) => m >= k), now));
    const behind = await viewer.evaluate(() => drawn.map(([k]) => k)), old = behind.filter((k) => k < now - 25);
    assert(now > before + 40 && old.length <= 1, `the frames of the hang were kept for later: ${behind} (before ${before}, now ${now})`);
    assert(behind.every((k, i) => i === 0 || k > behind[i - 1]), `out of order: ${behind}`);
    // six times slower: it skips frames, it does not fall behind
    const session = await viewer.context().newCDPSession(viewer);
    await session.send("Emulation.setCPUThrottlingRate", { rate: 6 });
    const start = await n(page);
    await until("frames under the throttle", async () => (await n(page)) > start + 60, 60000);
    const late = [];
    for (let k = 0; k < 8; k++) { const seen = await n(viewer); late.push((await n(page)) - seen); }
    await session.send("Emulation.setCPUThrottlingRate", { rate: 1 });
    late.sort((a, b) => a - b);
    assert(late[4] < 40, `the throttled viewer falls behind by ${late} frames`);
    await moves(page, srv, "the surgeon moves meanwhile");
    await page.mouse.up();
  },

  async "the age shown is the age imposed: by the line, and by a page that does not draw"({ browser, srv }) {
    const page = await ready(browser, srv);
    const chip = () => page.evaluate(() => parseFloat(document.querySelector("#chip-age b").textContent));
    const median = async () => { const seen = []; for (let k = 0; k < 15; k++) { await page.waitForTimeout(60); const ms = await chip(); if (Number.isFinite(ms)) seen.push(ms); } assert(seen.length > 5, "no age is shown"); return seen.sort((a, b) => a - b)[seen.length >> 1]; };
    await page.waitForTimeout(600);
    const none = await median();
    for (const imposed of [120, 240]) {
      await srv.poke({ set: { delay_ms: imposed } });
      await page.waitForTimeout(900);
      const shown = await median();
      assert(Math.abs(shown - none - imposed) < 45, `${imposed} ms imposed on ${none.toFixed(0)}, shown ${shown.toFixed(0)}`);
    }
    await srv.poke({ set: { delay_ms: 0 } });
    await page.waitForTimeout(600);
    // what was not drawn is not echoed: while the page hangs, the commands grow old by as much
    const echo = async () => { const s = await srv.poke(); return (s.now - s.echo) / 1e6; };
    const fresh = await echo();
    const hang = page.evaluate(() => { const end = performance.now() + 1200; while (performance.now() < end); });
    const grown = await until("the echo grows old", async () => { const ms = await echo(); return ms > fresh + 500 ? ms : null; }, 1500);
    await hang;
    assert(grown > 500, `${grown}`);
    await until("and fresh again", async () => (await echo()) < fresh + 300);
  },

  async "what comes late from before counts no more: a press of an old grant, a second copy of a stop, an old acknowledgement"({ browser, srv }) {
    const page = await ready(browser, srv);
    await moves(page, srv, "moves");
    await srv.poke({ do: "grant" });
    await until("a new grant ends the press of the old one", async () => (await srv.poke()).hand === 0);
    await stays(srv, "with the button held over a new grant");
    await page.mouse.up();
    // one press of STOP through both doors; the second copy is late: after the re-arming, under a new grant
    const once = await page.evaluate(() => { const id = crypto.randomUUID(); longhand.net.worker.postMessage({ t: "stop", site: "tianjin", id: 1, once: id }); return id; });
    await until("stopped", async () => (await srv.poke()).state === "STOP");
    await srv.poke({ do: "grant", set: { alarms: [] } });
    const copy = await page.evaluate(async (id) => (await longhand.net.fetch("/stop", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ site: "tianjin", once: id }) })).status, once);
    assert(copy === 200, `the late copy is answered with ${copy}`);
    await page.evaluate((id) => longhand.net.worker.postMessage({ t: "stop", site: "tianjin", id: 2, once: id }), once);
    await page.waitForTimeout(300);
    let said = await srv.poke();
    assert(said.state === "READY" && said.stops.length === 1, `a late copy of an old stop stopped again: ${said.state}, ${said.stops.length} stops`);
    await page.keyboard.press("Escape");
    await until("a new press of STOP counts", async () => { said = await srv.poke(); return said.state === "STOP" && said.stops.length === 2; });
    await srv.poke({ do: "grant", set: { alarms: [] } });
    // an acknowledgement with a stamp from before, or from the future, is not believed
    const stamp = await page.evaluate(() => longhand.store.site.stamp);
    const refused = async (words, drawn) => {
      const low = (await srv.poke()).echo;
      await page.evaluate((d) => { for (let k = 0; k < 5; k++) longhand.net.worker.postMessage({ t: "ack", n: 1, drawn: { tianjin: d } }); }, drawn);
      for (let k = 0; k < 6; k++) { const s = await srv.poke(); assert(s.echo >= low && s.echo <= s.now, `${words}: echo ${s.echo} after ${low}, now ${s.now}`); await page.waitForTimeout(20); }
    };
    await refused("an old stamp", stamp - 2e9);
    await refused("a stamp of the future", stamp + 60e9);
  },

  async "a whole case through the visible controls: approve, send, register, time-out, control, two screws"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    await page.click("#approve");
    await page.waitForSelector('#approval[data-state="approved"]');
    await page.click("#transfer");
    await until("the plan is at the hospital", () => page.evaluate(() => !!longhand.store.desk.transferred));
    await page.click("#tab-command");
    for (const screw of ["L4-R", "L4-L"]) {
      await page.click(`#pick [data-screw="${screw}"]`);
      await drive(page, async () => (await page.evaluate((id) => longhand.store.site.case.placed.includes(id) && longhand.store.site.case.screw === "", screw)));
    }
    const done = await srv.poke();
    assert(done.orders.filter((o) => o === "case.place").length === 2, done.orders.join());
    await page.click("#tab-sites");
    await page.click('[data-site="tianjin"] button:text("Give back control")');
    await until("released", async () => (await srv.poke()).holder === "");
    assert(page.problems.length === 0, page.problems.join("\n"));
  },
  async "a planned approach is shown along its way before it moves, and not while it moves"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    await page.click("#approve");
    await page.waitForSelector('#approval[data-state="approved"]');
    await page.click("#transfer");
    await until("the plan is at the hospital", () => page.evaluate(() => !!longhand.store.desk.transferred));
    await page.click("#tab-command");
    await page.click('#pick [data-screw="L4-R"]');
    await drive(page, async () => (await page.isVisible("#hold:not(:disabled)")) && (await page.textContent("#hold span")).includes("approach"), 240000);
    const ahead = () => page.evaluate(() => longhand.tool().find((t) => t.preview)?.tip ?? null);
    const first = await until("the way is shown", ahead);
    await until("and goes on", async () => { const now = await ahead(); return now && Math.hypot(...now.map((v, i) => v - first[i])) > 20; });
    await press(page, "#hold");
    await until("it moves", async () => (await srv.poke()).state === "ACTIVE");
    assert((await ahead()) === null, "the preview goes on while the arm moves");
    await page.mouse.up();
    assert(page.problems.length === 0, page.problems.join("\n"));
  },

  async "a press that the governor refuses shows the governor's words"({ browser, srv }) {
    const page = await ready(browser, srv), words = "no feed above 200 ms loop age: wait for a better line";
    await srv.poke({ set: { refuses: `mode: ${words}` } });
    assert((await page.textContent("#hold-why")) === "", "words before the press");
    await until("the page says why", async () => { await press(page, "#jog-forward"); await page.waitForTimeout(400); const said = await page.textContent("#hold-why"); await page.mouse.up(); return said.includes(words); }, 20000);
    assert((await srv.poke()).moved_mm === 0, "it moved");
    await srv.poke({ set: { refuses: "" } });
    await moves(page, srv, "afterwards");
    assert(!(await page.textContent("#hold-why")).includes(words), "the words stay");
    await page.mouse.up();
    assert(page.problems.length === 0, page.problems.join("\n"));
  },
  async "a gamepad jogs while its shoulder is held; letting go, the clutch, B and unplugging stop"({ browser, srv }) {
    const page = await ready(browser, srv);
    await emulatePad(page);
    const ends = { release: { held: [] }, clutch: { held: [5, 4] }, unplugged: { connected: false } };
    for (const [name, after] of Object.entries(ends)) {
      await padMoves(page, srv, name);
      await setPad(page, after);
      await until(`${name}: stops`, async () => { const s = await srv.poke(); return s.state === "PAUSE" && s.hand === 0; });
      await stays(srv, name);
    }
    await padMoves(page, srv, "before B");
    await setPad(page, { held: [5, 1], axes: [0, 0, 0, -1] });
    await until("B stops", async () => (await srv.poke()).state === "STOP");
    await srv.poke({ set: { state: "READY", alarms: [] } });
    await stays(srv, "with the shoulder still held");
  },

  async "a whole case with a gamepad: A for what is offered, the shoulder to move, two screws"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await openCase(page); await autoPlan(page);
    await page.click("#approve");
    await page.waitForSelector('#approval[data-state="approved"]');
    await page.click("#transfer");
    await until("the plan is at the hospital", () => page.evaluate(() => !!longhand.store.desk.transferred));
    await page.click("#tab-command");
    await emulatePad(page);
    for (const screw of ["L4-R", "L4-L"]) {
      await page.click(`#pick [data-screw="${screw}"]`);
      const done = () => page.evaluate((id) => longhand.store.site.case.placed.includes(id) && longhand.store.site.case.screw === "", screw);
      const end = Date.now() + 120000;
      while (!(await done())) {
        if (Date.now() > end) throw new Error(`stuck at (stale ${await page.evaluate(() => longhand.store.stale())}, ages ${await page.evaluate(() => [longhand.store.serverAge(), longhand.store.age()].map(Math.round).join())}): ${await page.textContent("#next")} / ${await page.textContent("#hold")} / ${await page.textContent("#hold-why")}`);
        if (await page.isVisible("#hold:not(:disabled)") && !(await page.isVisible("#time-out-agree"))) {
          await setPad(page, { held: [5] });
          await page.waitForSelector("#hold", { state: "hidden", timeout: 8000 }).catch(() => {});
        } else { await setPad(page, { held: [0] }); await page.waitForTimeout(60); }
        await setPad(page, { held: [] });
        await page.waitForTimeout(60);
      }
    }
    const said = await srv.poke();
    assert(said.orders.filter((o) => o === "case.place").length === 2, said.orders.join());
    assert(page.problems.length === 0, page.problems.join("\n"));
  },
};

/** Hold the shoulder and push the stick until the arm moves; press again as a person would when a busy machine ended the press. */
export async function padMoves(page, srv, words) {
  for (let n = 0; n < 25; n++) {
    await setPad(page, { held: [] });
    await page.waitForTimeout(200);
    await setPad(page, { held: [5], axes: [0, 0, 0, -1] });
    const start = (await srv.poke()).moved_mm;
    for (let k = 0; k < 12; k++) { const s = await srv.poke(); if (s.state === "ACTIVE" && s.moved_mm > start + 0.1) return; await page.waitForTimeout(40); }
  }
  throw new Error(`${words}: the arm does not move`);
}

/** Follow the one next action that the page offers, with pointer and hold, until done(). */
export async function drive(page, done, ms = 60000) {
  const end = Date.now() + ms;
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`stuck at (stale ${await page.evaluate(() => longhand.store.stale())}, ages ${await page.evaluate(() => [longhand.store.serverAge(), longhand.store.age()].map(Math.round).join())}): ${await page.textContent("#next")} / ${await page.textContent("#hold")} / ${await page.textContent("#hold-why")} / ${await page.textContent("#toast")}`);
    if (await page.isVisible("#time-out-agree")) { await page.click("#time-out-agree"); continue; }
    if (await page.isVisible("#hold:not(:disabled)")) {
      const box = await (await page.$("#hold")).boundingBox();
      await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      await page.mouse.down();
      await page.waitForSelector("#hold", { state: "hidden", timeout: 8000 }).catch(() => {});
      await page.mouse.up();
    } else if (await page.isVisible("#next:not(:disabled)")) { await page.click("#next", { timeout: 3000 }).catch(() => {}); }
    await page.waitForTimeout(60);
  }
}
export async function ready(browser, srv, more = {}) {
  const page = await open(browser, srv, "dr.li", more);
  await srv.poke({ do: "register", set: { holder: "my-key", state: "READY" } });
  if (!(await page.evaluate(() => longhand.store.cases.length))) { await openCase(page); await autoPlan(page); }
  await page.waitForFunction(() => longhand.store.screws.length === 10);
  await page.click("#tab-command");
  await page.click('[data-mode="jog"]');
  await page.waitForSelector("#jog-forward:not(:disabled)");
  return page;
}
async function press(page, selector) {
  const box = await (await page.waitForSelector(`${selector}:not(:disabled)`)).boundingBox();
  await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await page.mouse.down();
}
/** Hold the jog button until the arm moves. A machine that is busy may end a press by its age; a person presses again, and so does this. */
async function moves(page, srv, words) {
  for (let n = 0; n < 25; n++) {
    await press(page, "#jog-forward");
    const start = (await srv.poke()).moved_mm;
    for (let k = 0; k < 12; k++) { const s = await srv.poke(); if (s.state === "ACTIVE" && s.moved_mm > start + 0.1) return; await page.waitForTimeout(40); }
    await page.mouse.up();
    await page.waitForTimeout(200);
  }
  throw new Error(`${words}: the arm does not move`);
}
export async function stays(srv, words) {
  const before = await srv.poke();
  await new Promise((r) => setTimeout(r, 350));
  const after = await srv.poke();
  assert(after.presses === before.presses && after.hand === 0 && after.moved_mm === before.moved_mm, `moved ${words}: ${JSON.stringify(after)}`);
}
