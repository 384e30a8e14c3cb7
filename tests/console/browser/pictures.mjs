// Pictures of every view in its main states for docs/img and README, with fake hospitals and real planning on a phantom's folder.
//   node pictures.mjs PHANTOM_FOLDER OUT [DATA]     DATA: folder of a console server that has a plan already
import { basename, join } from "node:path";
import { launch, open, server, until } from "./kit.mjs";
import { drive } from "./scenarios.mjs";

const [folder, out, data] = process.argv.slice(2);
const browser = await launch(), srv = await server(["--planning", folder, ...(data ? ["--dir", data] : [])]);
const shot = async (page, name) => { await page.evaluate(() => { document.querySelector("#toast").hidden = true; }); await page.waitForTimeout(700); await page.screenshot({ path: join(out, `console-${name}.png`) }); console.error(name); };
try {
  const page = await open(browser, srv, "dr.li");
  page.setDefaultTimeout(180000);
  page.setDefaultTimeout(900000);
  if (!data) {
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
  await shot(page, "plan");
  await page.click("#approve");
  await page.waitForSelector('#approval[data-state="approved"]');
  await page.click("#transfer");
  await page.waitForFunction(() => !!longhand.store.desk.transferred);
  await shot(page, "plan-approved");
  await srv.poke({ site: "karamay", set: { state: "HOLD", reason: "loop age above 300 ms", todo: "Acknowledge the reason, release the deadman, press it again.", blockers: ["nobody holds the arm: the surgeon asks, the bedside grants", "the line is not qualified: run the network test"], alarms: [{ id: "degraded", priority: "MEDIUM", text: "the line or the machine is slow", what_to_do: "The line or the machine is slow: speed is reduced. Prefer goal motions.", since: 1, acked: false }] } });
  await page.click("#tab-sites");
  await page.click('[data-site="tianjin"] summary');
  await shot(page, "sites");
  await page.click("#tab-command");
  await page.click(`#pick [data-screw="${id}"]`);
  await drive(page, async () => (await page.isVisible("#hold:not(:disabled)")) && (await page.textContent("#hold span")).includes("advance"), 900000);
  const box = await (await page.$("#hold")).boundingBox();
  await page.mouse.move(box.x + 60, box.y + 30); await page.mouse.down();
  await page.waitForTimeout(300);
  await page.screenshot({ path: join(out, "console-command.png") }); console.error("command");
  await page.mouse.up();
  await drive(page, async () => (await page.textContent("#next")).includes("confirm") && (await page.isVisible("#next")), 900000);
  await shot(page, "command-verified");
  await srv.poke({ set: { frozen: true } });
  await page.waitForTimeout(1500);
  await page.screenshot({ path: join(out, "console-stale.png") }); console.error("stale");
  await srv.poke({ set: { frozen: false } });
  await page.keyboard.press("Escape");
  await page.waitForTimeout(1200);
  await page.screenshot({ path: join(out, "console-stop.png") }); console.error("stop");
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
  await shot(page, "consult");
  await page.click("#tab-plan"); await page.click("#language");
  await shot(page, "plan-zh");
} finally { await browser.close(); await srv.close(); }
