// Every picture of the console and the bedside page under docs/img, with fake hospitals and real planning on a phantom's folder.
//   node pictures.mjs PHANTOM_FOLDER OUT [DATA]     DATA: folder of a console server, kept for the next run with the plan in it
import { existsSync } from "node:fs";
import { basename, join } from "node:path";
import { launch, open, server, until } from "./kit.mjs";
import { drive } from "./scenarios.mjs";

const [folder, out, data] = process.argv.slice(2);
const kept = data && existsSync(join(data, "journal.jsonl"));
const browser = await launch(), srv = await server(["--planning", folder, ...(data ? ["--dir", data] : [])]);
/** A picture once what it shows is fresh: a busy machine greys the views, which is right, but is not what the picture is about. */
async function shot(page, name, { stale = false } = {}) {
  await page.evaluate(() => { document.querySelector("#toast").hidden = true; });
  if (!page.held) await page.waitForTimeout(500);
  const good = () => page.evaluate((s) => (globalThis.longhand ? longhand.store.stale() === s && document.querySelector("#banner").hidden === !s : document.querySelector("#banner").hidden), stale);
  for (let k = 0; ; k++) {
    await until(`${name}: ${stale ? "stale" : "fresh"} data`, good, 120000);
    await page.screenshot({ path: join(out, `${name}.png`) });
    if (await good() || k > 20) break;
  }
  console.error(name);
}
const pressOn = async (page, selector) => { const box = await (await page.waitForSelector(`${selector}:not(:disabled)`, { timeout: 20000 })).boundingBox(); await page.mouse.move(box.x + box.width / 2, box.y + box.height * 0.8); await page.mouse.down(); };
/** Hold until it moves; a busy machine ends a press by its age, so press again. */
async function holding(page, selector, moves) {
  for (let n = 0; n < 40; n++) {
    await pressOn(page, selector);
    for (let k = 0; k < 12; k++) { if (await moves()) { page.held = true; return; } await page.waitForTimeout(40); }
    await page.mouse.up(); await page.waitForTimeout(150);
  }
  throw new Error(`${selector}: nothing moves`);
}
try {
  const page = await open(browser, srv, "dr.li");
  page.setDefaultTimeout(900000);
  if (!kept) {
    await page.click("#open");
    await page.click(`[data-source="${basename(folder)}"]`);
    await page.waitForFunction(() => longhand.images.ready && longhand.images.labels, null);
    await page.click("#auto");
    await page.waitForFunction(() => longhand.store.desk.screws.length > 5 && !document.querySelector("#auto").dataset.busy, null);
    await until("bones", () => page.evaluate(() => longhand.block.scene.bones > 3), 60000);
    for (const id of await page.evaluate(() => longhand.store.screws.filter((s) => s.entry_lps_mm && s.status !== "OK").map((s) => s.id))) { await page.click(`#screws [data-screw="${id}"]`); await page.click("#remove"); await page.waitForTimeout(300); }
  } else {
    await page.waitForFunction(() => longhand.images.ready && longhand.images.labels);
    if (await page.isVisible("#void")) await page.click("#void");
    await until("bones", () => page.evaluate(() => longhand.block.scene.bones > 3), 600000);
  }
  const id = await page.evaluate(() => longhand.store.screws.find((s) => s.level === "L4" && s.status === "OK").id);
  await page.click(`#screws [data-screw="${id}"]`);
  await page.waitForTimeout(2500);
  await shot(page, "console-plan");
  await page.click("#language");
  await shot(page, "console-plan-zh");
  await page.click("#language");
  await page.click("#approve");
  await page.waitForSelector('#approval[data-state="approved"]');
  await page.click("#transfer");
  await page.waitForFunction(() => !!longhand.store.desk.transferred);
  await shot(page, "console-plan-approved");
  await srv.poke({ site: "karamay", set: { state: "HOLD", reason: "loop age above 300 ms", todo: "Acknowledge the reason, release the deadman, press it again.", blockers: ["nobody holds the arm: the surgeon asks, the bedside grants", "the line is not qualified: run the network test"], alarms: [{ id: "degraded", priority: "MEDIUM", text: "the line or the machine is slow", what_to_do: "The line or the machine is slow: speed is reduced. Prefer goal motions.", since: 1, acked: false }] } });
  await page.click("#tab-sites");
  await page.click('[data-site="tianjin"] summary');
  await shot(page, "console-sites");
  await srv.poke({ site: "karamay", set: { state: "READY", reason: "", todo: "", alarms: [] } });
  await page.click("#tab-command");
  await page.click(`#pick [data-screw="${id}"]`);
  await drive(page, async () => page.isVisible("#time-out-agree"), 900000);
  await shot(page, "console-time-out");
  await drive(page, async () => (await page.isVisible("#hold:not(:disabled)")) && (await page.textContent("#hold span")).includes("approach"), 900000);
  const active = async () => (await srv.poke()).state === "ACTIVE";
  await holding(page, "#hold", async () => active);
  await shot(page, "console-approach");
  await page.mouse.up(); page.held = false;
  await drive(page, async () => (await page.isVisible("#hold:not(:disabled)")) && (await page.textContent("#hold span")).includes("advance"), 900000);
  await holding(page, "#hold", active);
  await shot(page, "console-command");
  await page.mouse.up(); page.held = false;
  // servo: the pointer holds the guide near the patient
  await page.click('[data-mode="servo"]');
  const stick = await (await page.waitForSelector("#stick")).boundingBox();
  for (let n = 0; n < 40; n++) {
    await page.mouse.move(stick.x + stick.width / 2, stick.y + stick.height / 2); await page.mouse.down(); await page.mouse.move(stick.x + stick.width / 2 + 12, stick.y + stick.height / 2 - 8, { steps: 3 });
    await page.waitForTimeout(250);
    if (await active()) break;
    await page.mouse.up(); await page.waitForTimeout(150);
  }
  await shot(page, "console-servo");
  await page.mouse.up();
  await page.click('[data-mode="goal"]');
  await srv.poke({ set: { frozen: true } });
  await until("stale", () => page.evaluate(() => longhand.store.stale()));
  await shot(page, "console-stale", { stale: true });
  await srv.poke({ set: { frozen: false } });
  await until("fresh", () => page.evaluate(() => !longhand.store.stale()));
  await page.keyboard.press("Escape");
  await page.waitForTimeout(800);
  await shot(page, "console-stop");
  await page.click("#tab-consult");
  const expert = await open(browser, srv, "dr.chen", { view: "consult" });
  await expert.waitForFunction(() => longhand.images.ready && longhand.store.screws.length > 3, null, { timeout: 600000 });
  await page.click("#present"); await expert.click("#follow");
  await page.selectOption("#consult-screw", id);
  const area = await (await expert.$('[data-view="axial"]')).boundingBox();
  await expert.click('[data-tool="measure"]');
  await expert.mouse.move(area.x + area.width * 0.42, area.y + area.height * 0.5); await expert.mouse.down(); await expert.mouse.move(area.x + area.width * 0.55, area.y + area.height * 0.5, { steps: 4 }); await expert.mouse.up();
  await expert.click('[data-tool=""]');
  await expert.fill("#chat-input", "Medial wall looks thin here."); await expert.press("#chat-input", "Enter");
  await expert.selectOption("#consult-screw", id); await expert.selectOption("#propose-d", "6"); await expert.selectOption("#propose-l", "45"); await expert.fill("#proposal-text", "one size down"); await expert.click("#propose");
  await expert.click("#raise");
  await expert.mouse.move(area.x + area.width * 0.5, area.y + area.height * 0.42); await expert.mouse.move(area.x + area.width * 0.51, area.y + area.height * 0.43);
  await page.bringToFront();
  await shot(page, "console-consult");
  await expert.close();

  // the tablet at the table: the same line in the hospital's own images
  const screw = await page.evaluate((n) => longhand.store.screws.find((s) => s.id === n), id);
  const desk = await page.evaluate(() => ({ hash: longhand.store.desk.approval.hash, sha: longhand.store.desk.image.ct_sha256, screws: longhand.store.screws.filter((s) => s.status === "OK").map((s) => s.id) }));
  await page.close();
  const table = await server(["--ct", join(folder, "ct.nii.gz")], "tests.console.fake_bedside");
  try {
    const tablet = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
    tablet.setDefaultTimeout(120000);
    await tablet.goto(table.address("bedside", "bedside"));
    await tablet.waitForFunction(() => globalThis.bedside?.state.frame?.status.state);
    await tablet.fill("#name", "Dr. Wang");
    const line = { entry_lps_mm: screw.entry_lps_mm, tip_lps_mm: screw.tip_lps_mm, diameter_mm: screw.diameter_mm, length_mm: screw.length_mm };
    const alarm = (more) => [{ id: "x", priority: "high", since: 1, acked: false, latched: true, active: true, ...more }];
    await table.poke({ case: { case_id: "SIM-A", done: ["images", "approved", "transferred", "registered"], registration_epoch: 1, screw: "", screw_step: "none", placed: [], lines: { [id]: line } }, status: { blockers: ["the case is not confirmed: plan, registration and time-out come first"] }, questions: [{ id: 1, kind: "read_back", sentence: "", detail: { case_id: "SIM-A", screws: desk.screws.slice(0, 6), plan_hash: desk.hash, ct_sha256: desk.sha } }] });
    await tablet.waitForSelector("#readback:not([hidden])");
    for (const box of (await tablet.$$("#readback input")).slice(0, 3)) await box.check();
    await shot(tablet, "bedside-time-out");
    await table.poke({ status: { blockers: ["nobody holds the arm: the surgeon asks, the bedside grants"] }, case: { done: ["images", "approved", "transferred", "registered", "time_out"] }, questions: [{ id: 2, kind: "grant", sentence: "", detail: {} }] });
    await tablet.waitForFunction(() => document.querySelector("#yes").textContent.includes("Grant"));
    await shot(tablet, "bedside-grant");
    await table.poke({ status: { state: "PAUSE", holder: "k", holder_role: "surgeon", blockers: [], loop_age_ns: 61000000 }, case: { screw: id, screw_step: "verified" }, questions: [{ id: 3, kind: "confirm", sentence: "", detail: { screw: id } }] });
    await tablet.waitForFunction(() => document.querySelector("#yes").textContent.includes("Confirm"));
    await shot(tablet, "bedside-confirm");
    await table.poke({ status: { state: "LOCAL", holder: "", holder_role: "", epoch: 2, rebase: 9, v_cap: 0.0, blockers: [], alarms: alarm({ id: "take_over", text: "the bedside took over", what_to_do: "The bedside has the arm. The remote surgeon waits until it is returned." }) }, questions: [] });
    await holding(tablet, "#jog-away", async () => (await table.poke()).pressed);
    await table.poke({ status: { v_cap: 0.0083, lease_id: 41, loop_age_ns: 44000000 } });
    await tablet.waitForFunction(() => document.querySelector("#jog-says").textContent.includes("8.3"));
    await shot(tablet, "bedside-local");
    await tablet.mouse.up();
    await table.poke({ status: { v_cap: 0.0, lease_id: 0 } });
    await tablet.click("header .quiet");
    await shot(tablet, "bedside-local-zh");
  } finally { await table.close(); }
} finally { await browser.close(); await srv.close({ keep: !!data }); }
