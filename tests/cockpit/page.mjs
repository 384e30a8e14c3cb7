// Drives the cockpit in a real browser: node page.mjs URL OUT.png. Prints one JSON line.
import { createRequire } from "node:module";
const require = createRequire(new URL("../../teleop/console/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const axe = require.resolve("axe-core/axe.min.js");
import { existsSync, readFileSync } from "node:fs";
const [url, picture] = process.argv.slice(2);
const path = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
const browser = await chromium.launch({ executablePath: path, args: ["--no-sandbox", "--disable-gpu"] });
try {
  const page = await browser.newPage({ viewport: { width: 1500, height: 520 } });
  const errors = [];
  page.on("pageerror", (e) => errors.push(String(e)));
  page.on("console", (m) => { if (m.type() === "error" && !/401/.test(m.text())) errors.push(m.text()); });
  await page.goto(url);
  await page.waitForSelector("tbody tr th span", { timeout: 20000 });
  await page.waitForTimeout(Number(process.env.COCKPIT_WAIT_MS ?? 2500));
  const rows = await page.$$eval("tbody tr", (list) => list.map((r) => ({ site: r.dataset.site, level: r.dataset.level, text: r.innerText })));
  const summary = await page.textContent("#summary");
  await page.evaluate(readFileSync(axe, "utf8"));
  const broken = (await page.evaluate(() => globalThis.axe.run())).violations.map((v) => `${v.id}: ${v.nodes.map((n) => n.html.slice(0, 80)).join(" | ")}`);
  if (picture) await page.screenshot({ path: picture });
  const token = new URL(page.url()).hash;
  await page.click("#language");
  await page.waitForSelector("tbody tr th span", { timeout: 20000 });
  const chinese = await page.textContent("h1");
  const stranger = await (await browser.newContext()).newPage();
  await stranger.goto(url.replace(/#.*/, ""));
  await stranger.waitForSelector("#banner:not([hidden])", { timeout: 20000 });
  const refused = await stranger.textContent("#banner");
  console.log(JSON.stringify({ rows, summary, broken, errors, token, chinese, refused }));
} finally { await browser.close(); }
