// Pictures of the consultation for the documentation: node consult_pictures.mjs OUT_DIR CASE_DIR [BONES_DIR]
import { join } from "node:path";
import { launch, open, openCase, server, until } from "./kit.mjs";
import { consultServer } from "./consult_scenarios.mjs";

const [out, folder, bones] = process.argv.slice(2);
const browser = await launch(), srv = await server(["--case", folder, ...(bones ? ["--bones", bones] : [])], consultServer);
try {
  const a = await open(browser, srv, "dr.li");
  await openCase(a); await a.click("#auto"); await a.waitForFunction(() => longhand.store.screws.length === 10);
  await a.click("#tab-consult"); await a.click("#live-start");
  await until("pictures", () => a.evaluate(() => ["room", "guide", "ultrasound"].every((s) => longhand.player.tiles[s]?.shown)), 120000);
  const b = await open(browser, srv, "dr.chen", { view: "consult" });
  await b.waitForFunction(() => longhand.images.ready);
  await b.click("#live-start");
  await until("pictures", () => b.evaluate(() => longhand.player.tiles.ultrasound?.shown), 120000);
  await a.click('[data-screw="L4-L"]').catch(() => {});
  await a.selectOption("#consult-screw", "L4-L");
  await b.fill("#chat-input", "The lamina casts its shadow here; stay 2 mm lateral."); await b.press("#chat-input", "Enter");
  await b.click('[data-tool="line"]');
  const box = await b.evaluate(() => { const f = longhand.wall.figures.ultrasound, r = f.root.getBoundingClientRect(), x = longhand.wall.picture(f); return { x: r.x + x.x, y: r.y + x.y, w: x.w, h: x.h }; });
  await b.mouse.move(box.x + box.w * 0.36, box.y + box.h * 0.5); await b.mouse.down();
  for (let k = 0; k <= 16; k++) await b.mouse.move(box.x + box.w * (0.36 + 0.18 * (k / 16)), box.y + box.h * (0.5 + 0.12 * Math.sin((k / 16) * 6)));
  await b.mouse.up();
  await b.mouse.move(box.x + box.w * 0.6, box.y + box.h * 0.6); await b.waitForTimeout(120); await b.mouse.move(box.x + box.w * 0.62, box.y + box.h * 0.62);
  await until("the drawing", () => a.evaluate(() => longhand.wall.figures.ultrasound.drawn?.some((d) => d.author === "dr.chen")), 30000);
  await a.screenshot({ path: join(out, "consult-live.png") });
  await a.click("#live-big"); await a.waitForTimeout(1500);
  await a.screenshot({ path: join(out, "consult-large.png") });
  await srv.poke({ freeze: { guide: "silent", room: "hung" } });
  await until("frozen", () => a.evaluate(() => /HUNG/.test(document.querySelector('[data-stream="room"] .live-trouble').textContent) && !document.querySelector('[data-stream="guide"] .live-trouble').hidden), 60000);
  await a.screenshot({ path: join(out, "consult-frozen.png") });
} finally { await browser.close(); await srv.close(); }
