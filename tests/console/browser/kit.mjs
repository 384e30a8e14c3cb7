// What every browser scenario needs: a Chromium, a server process with fake hospitals, pages with watched consoles.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { mkdtempSync, rmSync, existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { createInterface } from "node:readline";

export const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..", "..");
const require = createRequire(join(root, "teleop/console/web/package.json"));
export const { chromium } = require("playwright-core");
export const axeSource = require.resolve("axe-core/axe.min.js");

// Plain software rendering: with --use-angle=swiftshader the whole page runs at 1-6 frames a second.
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-default-apps", "--mute-audio", "--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required"];
const path = process.env.LONGHAND_CHROMIUM ?? ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
export const launch = (more = []) => chromium.launch({ executablePath: path, headless: true, args: [...FLAGS, ...more] });

/** A server process that prints one JSON line when it listens. */
export async function server(args = [], module = "tests.console.fake_server") {
  const dir = args.includes("--dir") ? args[args.indexOf("--dir") + 1] : mkdtempSync(join(tmpdir(), "longhand-console-"));
  const python = process.env.LONGHAND_PYTHON ?? join(root, ".venv/bin/python");
  const child = spawn(python, ["-m", module, ...(args.includes("--dir") ? [] : ["--dir", dir]), ...args], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise((resolve, reject) => {
    createInterface({ input: child.stdout }).once("line", resolve);
    child.once("exit", (code) => reject(new Error(`the server ended with ${code}`)));
  });
  const told = JSON.parse(line);
  return {
    ...told, dir,
    address: (view, name) => `${told.url}/${view}#t=${told.tokens[name]}`,
    poke: async (body = {}) => (await fetch(`${told.url}/poke`, { method: "POST", body: JSON.stringify(body) })).json(),
    async close({ keep = false } = {}) {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.kill("SIGTERM"); await ended;
      if (!keep) rmSync(dir, { recursive: true, force: true });
    },
    kill() { child.kill("SIGKILL"); },
  };
}

/** A page of a person; errors of its console and requests that leave the host are collected. */
export async function open(browser, srv, name, { view = "console", width = 1600, height = 900, init, context: given, options = {} } = {}) {
  const context = given ?? (await browser.newContext({ viewport: { width, height }, ...options }));
  const page = await context.newPage();
  page.setDefaultTimeout(60000);
  page.problems = [];
  page.on("console", (m) => { if (m.type() === "error") page.problems.push(`console: ${m.text()}`); });
  page.on("pageerror", (e) => page.problems.push(`error: ${e.message}`));
  page.on("request", (r) => { const u = new URL(r.url()); if (!["127.0.0.1", "localhost"].includes(u.hostname) && !["blob:", "data:"].includes(u.protocol)) page.problems.push(`request to ${r.url()}`); });
  if (init) await page.addInitScript(init);
  await page.goto(srv.address(view, name));
  await page.waitForFunction(() => globalThis.longhand?.store.me.name && longhand.store.frame);
  return page;
}
export async function openCase(page, id = "LPS") {
  await page.click("#open");
  await page.click(`[data-source="${id}"]`);
  await page.waitForFunction(() => longhand.images.ready && longhand.store.desk, null, { timeout: 120000 });
}
export async function autoPlan(page) {
  await page.click("#auto");
  await page.waitForFunction(() => longhand.store.screws.length === 10);
}
export const until = async (what, fn, ms = 20000) => {
  const end = Date.now() + ms;
  for (;;) { const value = await fn(); if (value) return value; if (Date.now() > end) throw new Error(`not in ${ms} ms: ${what}`); await new Promise((r) => setTimeout(r, 20)); }
};
export const assert = (condition, words) => { if (!condition) throw new Error(words); };
