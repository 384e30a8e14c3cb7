// A whole case on N simulated hospitals through the visible controls: console page, and each hospital's own bedside page in a second browser context.
//   node whole_case.mjs N [--shots DIR] [--driver kinematic|pybullet] [--screws K] [--own N] [--gamepad] [--servo] [--flat]
// --gamepad: the surgeon uses nothing but an emulated gamepad. --servo: before the first approach the guide is moved by keys, pointer and pad.
// --flat: a browser without WebGL, whose page has slices, numbers and STOP (software drawing of the 3-D view takes much of two cores).
// --own: so many hospitals have processes of their own, the others share one (two cores bear three hospitals and five browser pages only so).
// Real hospitals (longhand console): real governor, link, case desk, planner. Prints one JSON object at the end.
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readFileSync } from "node:fs";
import { assert, launch, root, until } from "./kit.mjs";
import { A, B, SHOULDER, VIEW_AFTER, VIEW_BEFORE, emulatePad, padUse, setPad, tap } from "./pad.mjs";

const argument = (name, other) => { const i = process.argv.indexOf(name); return i < 0 ? other : process.argv[i + 1]; };
const count = Number(process.argv[2] ?? 1), shots = argument("--shots", ""), driver = argument("--driver", "pybullet"), perSite = Number(argument("--screws", "1"));
const gamepad = process.argv.includes("--gamepad"), servo = process.argv.includes("--servo");
const dir = argument("--dir", mkdtempSync(join(tmpdir(), "longhand-whole-")));
const log = (...words) => console.error(new Date().toISOString().slice(11, 19), ...words);

const child = argument("--attach", "") ? null : spawn(process.env.LONGHAND_BIN ?? join(root, ".venv/bin/longhand"), ["console", "--sites", String(count), "--json", "--no-open", "--port", "0", "--no-cameras", "--driver", driver, "--own-processes", argument("--own", "3"), "--out", dir, "--expert", "dr.chen", "--surgeon", "dr.li"], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
const told = child
  ? JSON.parse(await new Promise((resolve, reject) => { createInterface({ input: child.stdout }).once("line", resolve); child.once("exit", (code) => reject(new Error(`longhand console ended with ${code}`))); }))
  : JSON.parse((await import("node:fs")).readFileSync(argument("--attach", ""), "utf8").trim());
log("console and hospitals are up");
const result = { sites: [], ok: false, input: gamepad ? "gamepad" : "pointer and keys" };
child?.once("exit", (code, signal) => { if (!result.over) { console.error(`longhand console ended by itself: ${code ?? signal}`); process.exit(1); } });

process.on("exit", () => child?.kill("SIGINT"));
for (const name of ["SIGTERM", "SIGINT"]) process.on(name, () => process.exit(130));
const browser = await launch(process.argv.includes("--flat") ? ["--disable-3d-apis"] : []);
const taken = new Set();
const shot = async (page, name) => { if (shots && !taken.has(name) && taken.add(name)) await page.screenshot({ path: join(shots, `${name}.png`) }); };
const problems = [];

try {
  const context = await browser.newContext({ viewport: { width: 1600, height: 900 } });
  const page = await context.newPage();
  page.setDefaultTimeout(120000);
  page.on("console", (m) => { if (m.type() === "error") problems.push(m.text()); });
  page.on("pageerror", (e) => problems.push(e.message));
  await page.goto(told.console["dr.li"] ?? Object.values(told.console)[0]);
  await page.waitForFunction(() => globalThis.longhand?.store.frame && Object.values(longhand.store.sites).length > 0);
  if (gamepad || servo) await emulatePad(page);
  /** Use a control: with the pointer, or by walking there with the cross of the pad. */
  const use = (selector, options) => (gamepad ? padUse(page, selector) : page.click(selector, options));
  /** Show a view: by its tab, or with the triggers. */
  const view = async (name) => {
    if (!gamepad) { await page.click(`#tab-${name}`); return; }
    const order = ["plan", "sites", "command", "consult"];
    for (let n = 0; n < 8 && (await page.evaluate(() => longhand.store.view)) !== name; n++) {
      const at = order.indexOf(await page.evaluate(() => longhand.store.view));
      await tap(page, order.indexOf(name) > at ? VIEW_AFTER : VIEW_BEFORE);
    }
  };
  const table = await browser.newContext({ viewport: { width: 1280, height: 800 }, hasTouch: true });
  // The doctor comes to the table when it is this hospital's turn, and goes when control was given back.
  const bedsides = {};
  const comes = async (site) => {
    const side = await table.newPage();
    side.setDefaultTimeout(120000);
    side.on("pageerror", (e) => problems.push(`${site} bedside: ${e.message}`));
    await side.goto(told.bedside[site]);
    await side.waitForFunction(() => globalThis.bedside?.state.frame);
    await side.fill("#name", `Dr. ${site}`);
    bedsides[site] = side;
  };
  const goes = async (site) => { const side = bedsides[site]; delete bedsides[site]; await side.close(); };
  // The person at the table: reads, ticks every line, says yes.
  let working = true;
  const atTheTable = (async () => {
    while (working) {
      for (const [site, side] of Object.entries(bedsides)) {
        try {
          if (await side.isVisible(".answers")) {
            const kind = await side.evaluate(() => bedside.state.frame.questions[0]?.kind);
            for (const box of await side.$$("#readback:not([hidden]) input")) if (!(await box.isChecked())) await box.check();
            await side.waitForTimeout(150);
            await shot(side, `bedside-${kind}`);
            if (await side.isEnabled("#yes")) { log(site, "bedside says yes to", kind); await side.tap("#yes"); await side.waitForTimeout(400); }
          }
        } catch (error) { if (working && bedsides[site]) log("bedside:", error.message.slice(0, 120)); }
      }
      await new Promise((r) => setTimeout(r, 250));
    }
  })();

  /** Choose a screw in the plan's table: with the pointer, or one after the other with X on the table. */
  async function choose(id) {
    if (!gamepad) { await page.click(`#screws [data-screw="${id}"]`); return; }
    for (let n = 0; n < 40 && (await page.evaluate(() => longhand.store.screwId)) !== id; n++) { await padUse(page, "#screws"); await page.waitForTimeout(60); }
    assert((await page.evaluate(() => longhand.store.screwId)) === id, `the table never comes to ${id}`);
  }
  for (const site of Object.keys(told.bedside)) {
    const started = Date.now();
    await comes(site);
    const gov = () => page.evaluate((n) => { const s = longhand.store.sites[n]; return { state: s.gov.state, up: s.age_ms !== null, case: s.case, speed: s.arm.speed ?? 0, mine: s.mine, blockers: s.gov.blockers ?? [] }; }, site);
    await until(`${site} is connected`, async () => (await gov()).case?.case_id, 120000);
    // images from the hospital -> plan -> approve -> send
    await view("plan");
    await use("#open");
    await use(`[data-source="${site}"]`);
    await page.waitForFunction((n) => longhand.images.ready && longhand.store.desk?.site === n, site, { timeout: 240000 });
    log(site, "images are here");
    await until(`${site} is the hospital shown`, () => page.evaluate((n) => longhand.store.siteName === n, site));
    await use("#auto", { timeout: 60000 });
    await page.waitForFunction(() => longhand.store.desk.screws.length > 0 && !document.querySelector("#auto").dataset.busy, null, { timeout: 240000 });
    // keep the screws with the widest margins; the others leave the plan by the visible button
    const keep = await page.evaluate((k) => longhand.store.screws.filter((s) => s.status === "OK").sort((a, b) => b.min_clearance_mm - a.min_clearance_mm).slice(0, k).map((s) => s.id), perSite);
    assert(keep.length === perSite, `${site}: no verified screw`);
    await page.waitForTimeout(1500);
    await choose(keep[0]);
    await page.waitForTimeout(1500);
    await shot(page, "plan");
    const odd = await page.evaluate((ids) => longhand.store.screws.filter((s) => !ids.includes(s.id)).map((s) => s.id), keep);
    for (const id of odd) {
      await choose(id);
      await use("#remove");
      await page.waitForFunction((i) => !longhand.store.desk.screws.some((s) => s.id === i), id);
    }
    await choose(keep[0]);
    await use("#approve");
    await page.waitForSelector('#approval[data-state="approved"]', { timeout: 60000 });
    await use("#transfer");
    await page.waitForFunction(() => !!longhand.store.desk.transferred, null, { timeout: 60000 });
    await shot(page, "plan-approved");
    log(site, "plan approved and sent:", keep.join());
    await view("command");
    for (const screw of keep) {
      await use(`#pick [data-screw="${screw}"]`);
      await follow(page, bedsides[site], gov, async () => { const g = await gov(); return g.case.placed?.includes(screw) && !g.case.screw; }, site);
      log(site, screw, "placed and left");
    }
    await view("sites");
    await shot(page, "sites");
    await use(`[data-site="${site}"] [data-do="release"]`);
    await until(`${site} released`, async () => !(await gov()).mine, 20000);
    await goes(site);
    const end = await gov();
    result.sites.push({ site, placed: end.case.placed, last: end.case.last, seconds: (Date.now() - started) / 1000 });
  }
  working = false;
  await atTheTable;
  assert(problems.length === 0, problems.join("\n"));
  result.ok = true;
} catch (error) { result.error = error.message; log("FAILED", error.message); } finally {
  result.over = true;
  await browser.close();
  if (child && child.exitCode === null) { const ended = new Promise((r) => child.once("exit", r)); child.kill("SIGINT"); result.exit = await ended; 
    // the same judge and the same table as the demo's
    try { result.outcome = JSON.parse(readFileSync(join(dir, "outcome.json"), "utf8")); } catch (error) { result.error ??= `no outcome: ${error.message}`; }
    if (result.ok && !result.outcome?.ok) { result.ok = false; result.error ??= (result.outcome?.problems ?? []).join("; "); }
    if (result.ok && !argument("--dir", "")) rmSync(dir, { recursive: true, force: true });
  }
}
result.folder = dir;
console.log(JSON.stringify(result));
process.exit(result.ok ? 0 : 1);

/** Press what the page offers next until done(): click, or hold; in the rehearsals STOP, or let the table take over. */
async function follow(page, side, gov, done, site) {
  const end = Date.now() + 600000;
  let told_ = "";
  while (!(await done())) {
    if (Date.now() > end) throw new Error(`${site} stuck: ${await page.textContent("#next")} | ${await page.textContent("#hold")} | ${await page.textContent("#hold-why")} | ${await page.textContent("#toast")} | ${JSON.stringify((await gov()).blockers)}`);
    if (await page.isVisible("#time-out-agree")) { await shot(page, "time-out"); if (gamepad) await tap(page, A); else await page.click("#time-out-agree"); await page.waitForTimeout(500); continue; }
    if (servo && !result.servo && (await page.isVisible("#next:not(:disabled)")) && (await page.textContent("#next")).includes("approach")) { result.servo = {}; await servoPart(page, gov, site); continue; }
    if (await page.isVisible("#hold:not(:disabled)")) {
      const label = await page.textContent("#hold span");
      if (label !== told_) { log(site, label); told_ = label; }
      const box = await (await page.$("#hold")).boundingBox();
      if (!box) continue; // the page has gone on between the look and the grip
      if (!gamepad) await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
      const down = () => (gamepad ? setPad(page, { held: [SHOULDER] }) : page.mouse.down()), up = () => (gamepad ? setPad(page, { held: [] }) : page.mouse.up());
      const take = await (await side.$("#take")).boundingBox(); // looked up before: the table's finger must be quick
      await down();
      if (label.includes("STOP") || label.includes("takes over")) {
        const moving = await until("moves", async () => (await gov()).speed > 0.003, 15000).catch(() => false);
        if (moving) {
          if (label.includes("STOP")) { if (gamepad) await setPad(page, { held: [SHOULDER, B] }); else await page.keyboard.press("Escape"); await shot(page, "stop"); }
          else { await side.touchscreen.tap(take.x + take.width / 2, take.y + take.height / 2); await until("LOCAL", async () => (await gov()).state === "LOCAL", 10000).catch(() => {}); await shot(side, "bedside-local"); }
        }
        await up();
        await page.waitForTimeout(700);
        if (await side.isEnabled("#give").catch(() => false)) { await side.tap("#give"); await page.waitForTimeout(500); }
      } else {
        await page.waitForTimeout(1200);
        if (label.includes("approach")) await shot(page, "command-approach");
        if (label.includes("advance")) await shot(page, "command-advance");
        const until_ = Date.now() + 30000;
        while (Date.now() < until_ && (await page.isVisible("#hold")) && !(await page.textContent("#hold-why")) && (await page.textContent("#hold span")) === label) await page.waitForTimeout(100);
        await up();
        await page.waitForTimeout(500);
      }
    } else if (await page.isVisible("#next:not(:disabled)")) {
      const label = await page.textContent("#next");
      if (label !== told_) { log(site, label); told_ = label; }
      if (label.includes("confirm")) await shot(page, "command-verified");
      if (gamepad) await tap(page, A); else await page.click("#next", { timeout: 3000 }).catch(() => {});
      await page.waitForTimeout(300);
    } else if ((await gov()).state === "LOCAL" && (await side.isEnabled("#give").catch(() => false))) await side.tap("#give");
    await page.waitForTimeout(100);
  }
}

/** The guide by hand through the real stack: each device moves it, the ghost leads, letting go stops it, and the way is what the hand asked for. */
async function servoPart(page, gov, site) {
  const touch = async (selector) => (gamepad ? padUse(page, selector) : page.click(selector));
  await touch('[data-mode="servo"]');
  await page.waitForSelector("#servo:not(.off)");
  const tip = () => page.evaluate(() => ({ at: longhand.store.site.arm.pose, hand: longhand.store.site.hand, state: longhand.store.site.gov.state, reason: longhand.store.site.gov.reason, why: document.querySelector("#hold-why").textContent }));
  const away = (a, b) => Math.hypot(a[0] - b[0], a[1] - b[1], a[2] - b[2]) * 1000;
  const stick = await (await page.$("#stick")).boundingBox(), x = stick.x + stick.width / 2, y = stick.y + stick.height / 2;
  const devices = {
    gamepad: [() => setPad(page, { held: [SHOULDER], axes: [0.9, 0, 0, 0] }), () => setPad(page, { held: [] })],
    ...(gamepad ? {} : {
      keyboard: [async () => { await page.focus("#servo"); await page.keyboard.down("a"); }, () => page.keyboard.up("a")],
      pointer: [async () => { await page.mouse.move(x, y); await page.mouse.down(); await page.mouse.move(x, y - 60, { steps: 3 }); }, () => page.mouse.up()],
    }),
  };
  for (const [name, [down, up]] of Object.entries(devices)) {
    let lead = 0, moved = 0, from;
    for (let n = 0; n < 10 && moved < 2; n++) { // a person presses again when a busy machine ended the press
      from = (await tip()).at;
      await down();
      const end = Date.now() + 4000;
      while (Date.now() < end && moved < 4) {
        const now = await tip();
        moved = away(now.at, from);
        if (now.hand.ghost && now.hand.state === "engaged") lead = Math.max(lead, away(now.hand.ghost, now.at));
        if (moved > 1) await shot(page, `servo-${name}`);
        await page.waitForTimeout(20);
      }
      await up();
      await page.waitForTimeout(900);
    }
    const said = await tip();
    assert(moved >= 2, `${site}: ${name} does not move the guide: ${JSON.stringify(said)}`);
    const rest = (await tip()).at;
    await page.waitForTimeout(400);
    assert(away((await tip()).at, rest) < 0.2, `${site}: the guide moves on after ${name} was let go`);
    assert(lead > 0.02, `${site}: ${name}: the ghost does not lead (${lead.toFixed(3)} mm)`);
    result.servo[name] = { moved_mm: Number(moved.toFixed(2)), ghost_leads_mm: Number(lead.toFixed(2)), prediction_rms_mm: said.hand.error_rms_mm };
    log(site, "servo by", name, JSON.stringify(result.servo[name]));
  }
  await touch('[data-mode="goal"]');
  await page.waitForTimeout(300);
}
