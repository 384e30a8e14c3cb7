// Live pictures of a real (simulated) hospital in the console's page, through the whole stack: room, cameras, gateway, link, console, page.
//   node live_hospital.mjs [--seconds 10] [--shots DIR] [--dir DIR]
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { launch, root, until } from "./kit.mjs";

const argument = (name, other) => { const i = process.argv.indexOf(name); return i < 0 ? other : process.argv[i + 1]; };
const seconds = Number(argument("--seconds", "10")), shots = argument("--shots", ""), dir = argument("--dir", mkdtempSync(join(tmpdir(), "longhand-live-")));
const child = spawn(join(root, ".venv/bin/longhand"), ["console", "--sites", "1", "--json", "--no-open", "--port", "0", "--out", dir, "--driver", "kinematic", "--on-call", "dr.chen", "--expert", "dr.chen"], { stdio: ["ignore", "pipe", "inherit"] });
process.on("exit", () => child.kill("SIGINT"));
const told = JSON.parse(await new Promise((resolve, reject) => { createInterface({ input: child.stdout }).once("line", resolve); child.once("exit", (code) => reject(new Error(`longhand console ended with ${code}`))); }));
const browser = await launch(), quantile = (v, q) => [...v].sort((a, b) => a - b)[Math.min(v.length - 1, Math.floor(q * v.length))];
try {
  const page = await (await browser.newContext({ viewport: { width: 1600, height: 900 } })).newPage();
  page.setDefaultTimeout(120000);
  const problems = [];
  page.on("pageerror", (e) => problems.push(e.message));
  await page.goto(told.console.surgeon ?? Object.values(told.console)[0]);
  await page.waitForFunction(() => globalThis.longhand?.store.frame && longhand.store.site?.stamp);
  await page.click("#tab-consult");
  await page.click("#live-start");
  await until("three pictures", () => page.evaluate(() => ["room", "guide", "ultrasound"].every((s) => longhand.player.tiles[s]?.shown)), 150000).catch(async (e) => { console.error(e.message, JSON.stringify(await page.evaluate(() => ({ state: longhand.player.state, words: longhand.player.words, media: longhand.store.frame?.media, tiles: Object.values(longhand.player.tiles).map((t) => [t.stream, t.read, t.damaged, t.shown]) })))); throw e; });
  await page.evaluate(() => { longhand.player.recording = true; longhand.player.log = []; });
  await page.waitForTimeout(seconds * 1000);
  const log = await page.evaluate(() => longhand.player.log), out = { joined: await page.evaluate(() => longhand.player.joined), rung: await page.evaluate(() => longhand.store.frame.media.sites[longhand.player.site]), problems };
  for (const s of ["room", "guide", "ultrasound"]) { const ages = log.filter((r) => r.stream === s).map((r) => r.age); out[s] = { n: ages.length, p50: quantile(ages, 0.5), p95: quantile(ages, 0.95), p99: quantile(ages, 0.99) }; }
  if (shots) { await page.screenshot({ path: join(shots, "live-consult.png") }); await page.click("#live-big"); await page.waitForTimeout(600); await page.screenshot({ path: join(shots, "live-large.png") }); await page.click("#tab-command"); await page.waitForTimeout(1500); await page.screenshot({ path: join(shots, "live-command.png") }); }
  console.log(JSON.stringify(out));
} finally { await browser.close(); child.kill("SIGINT"); await new Promise((r) => { child.once("exit", r); setTimeout(r, 20000); }); }
process.exit(0);
