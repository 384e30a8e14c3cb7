// The doctor at the table takes over and moves the guide away with the bedside page of a real (simulated) hospital, also while the WAN is
// down; then the log is replayed. Prints one JSON object.
//   node table_jog.mjs [--driver kinematic|pybullet] [--dir DIR] [--shots DIR]
import { execFileSync, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { mkdtempSync, readFileSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { assert, axeSource, launch, root, until } from "./kit.mjs";

const argument = (name, other) => { const i = process.argv.indexOf(name); return i < 0 ? other : process.argv[i + 1]; };
const dir = argument("--dir", mkdtempSync(join(tmpdir(), "longhand-table-"))), shots = argument("--shots", ""), longhandBin = process.env.LONGHAND_BIN ?? join(root, ".venv/bin/longhand");
const log = (...words) => console.error(new Date().toISOString().slice(11, 19), ...words);
const child = spawn(longhandBin, ["console", "--sites", "1", "--json", "--no-open", "--port", "0", "--no-cameras", "--driver", argument("--driver", "kinematic"), "--out", dir], { cwd: root, stdio: ["ignore", "pipe", "inherit"] });
process.on("exit", () => child.kill("SIGINT"));
const told = JSON.parse(await new Promise((resolve, reject) => { createInterface({ input: child.stdout }).once("line", resolve); child.once("exit", (code) => reject(new Error(`longhand console ended with ${code}`))); }));
const [site] = Object.keys(told.bedside), browser = await launch(), result = { site, ok: false };
/** The gateway of this very hospital, and no other process: stopped, it is a WAN that is down. */
const gateways = () => readdirSync("/proc").filter((n) => /^\d+$/.test(n)).filter((n) => { try { const words = readFileSync(`/proc/${n}/cmdline`, "utf8"); return words.includes(dir) && words.includes("gateway"); } catch { return false; } }).map(Number);
try {
  const page = await (await browser.newContext({ viewport: { width: 1600, height: 900 } })).newPage(), table = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  const problems = [];
  for (const p of [page, table]) { p.setDefaultTimeout(120000); p.on("pageerror", (e) => problems.push(e.message)); p.on("console", (m) => { if (m.type() === "error") problems.push(m.text()); }); }
  await page.goto(Object.values(told.console)[0]);
  await page.waitForFunction(() => globalThis.longhand?.store.frame && Object.values(longhand.store.sites)[0]?.stamp);
  await table.goto(told.bedside[site]);
  await table.waitForFunction(() => globalThis.bedside?.state.frame?.status.state === "READY");
  await table.fill("#name", "Dr. Table");
  await table.evaluate(readFileSync(axeSource, "utf8"));
  const accessible = async (view) => {
    const found = await table.evaluate(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120)).join(" || ")}`));
    assert(found.length === 0, `${view}:\n${found.join("\n")}`);
  };
  await accessible("bedside");
  assert(!(await table.isVisible("#table-jog")), "the jog is shown before the table has the arm");
  await table.click("#take");
  await table.waitForSelector("#jog-away:not(:disabled)");
  assert(await table.isDisabled("#jog-up"), "sideways and up without a plan");
  await accessible("bedside with the jog");

  const gov = () => table.evaluate(() => ({ state: bedside.state.frame.status.state, cap: bedside.state.frame.status.v_cap, lease: bedside.state.frame.status.lease_id, held: bedside.state.frame.jog.press, refused: bedside.state.frame.jog.refused, age: bedside.state.frame.status.loop_age_ns / 1e6 }));
  const pose = () => page.evaluate((n) => longhand.store.sites[n].arm.pose, site);
  const far = (a, b) => Math.hypot(...[0, 1, 2].map((i) => a[i] - b[i])) * 1000;
  /** Hold the button for `ms` of leases; a busy machine may end a press by its age: a person presses again, and so does this. */
  async function holdAway(ms) {
    const box = await (await table.$("#jog-away")).boundingBox();
    let moved = 0, presses = 0;
    for (const end = Date.now() + 60000; moved < ms && Date.now() < end;) {
      await table.mouse.move(box.x + box.width / 2, box.y + box.height / 2); await table.mouse.down(); presses++;
      let idle = 0;
      while (moved < ms && idle < 700) { await table.waitForTimeout(50); const g = await gov(); if (g.lease && g.cap > 0) { moved += 50; idle = 0; } else idle += 50; }
      if (moved < ms) { await table.mouse.up(); await table.waitForTimeout(200); }
    }
    assert(moved >= ms, `the arm does not move: ${JSON.stringify(await gov())}`);
    return presses;
  }
  const rests = (words) => until(words, async () => { const g = await gov(); return g.lease === 0 && !g.held; });

  const home = await pose();
  result.presses = await holdAway(900);
  if (shots) await table.screenshot({ path: join(shots, "bedside-jog-away.png") });
  log("moved", JSON.stringify(await gov()));
  await table.mouse.up();
  await rests("rests when let go");
  const after = await until("the pose crosses the WAN", async () => { const p = await pose(); return far(p, home) > 2 ? p : null; });
  // outwards: against the guide's own z
  const [x, y, z, w] = home.slice(3), axis = [2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)], way = [0, 1, 2].map((i) => after[i] - home[i]);
  result.moved_mm = far(after, home); result.outwards = -way.reduce((s, v, i) => s + v * axis[i], 0) * 1000 / result.moved_mm;
  assert(result.outwards > 0.98, `not along the guide outwards: ${JSON.stringify(result)}`);

  // what hides a release ends it: the window loses the focus, the tablet's page goes
  await holdAway(100);
  await table.evaluate(() => window.dispatchEvent(new Event("blur")));
  await rests("blur ends it");
  await table.mouse.up();

  // the WAN goes: the gateway stands still
  const pids = gateways();
  assert(pids.length > 0, "no gateway found");
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  try {
    await page.waitForFunction((n) => longhand.store.stale(n), site);
    const before = await pose();
    result.presses_wan_down = await holdAway(900);
    await table.mouse.up();
    await rests("rests with the WAN down");
    assert(far(await pose(), before) < 0.01, "the console still hears the arm: the WAN was not down");
    result.before = before;
  } finally { for (const pid of pids) process.kill(pid, "SIGCONT"); }
  result.moved_wan_down_mm = await until("the way of that time is told afterwards", async () => { const d = far(await pose(), result.before); return d > 2 ? d : null; }, 60000);
  delete result.before;

  // STOP at the table latches; it is re-armed there; then a new press moves
  await table.keyboard.press("Escape");
  await table.waitForSelector("#jog-away:disabled");
  await until("it says why", async () => (await table.textContent("#jog-says")).includes("re-arm"));
  await table.click("#rearm");
  await table.waitForSelector("#jog-away:not(:disabled)");
  await holdAway(100);
  await table.mouse.up();
  await rests("rests again");
  await table.click("#give");
  await table.waitForFunction(() => bedside.state.frame.status.state === "READY");
  await table.waitForSelector("#table-jog", { state: "hidden" });
  assert(problems.filter((p) => !/WebSocket|ERR_/.test(p)).length === 0, problems.join("\n"));
  result.ok = true;
} finally {
  await browser.close();
  const ended = new Promise((r) => { child.once("exit", r); setTimeout(r, 60000); });
  child.kill("SIGINT");
  await ended;
}
const logs = readdirSync(dir, { recursive: true }).filter((n) => String(n).endsWith(`${site}.mcap`)).map((n) => join(dir, String(n)));
assert(logs.length === 1, `one log of the hospital, found ${logs.join()}`);
result.replay = JSON.parse(execFileSync(longhandBin, ["replay", logs[0], "--json"], { encoding: "utf8" }));
assert(result.replay.first_difference === null || result.replay.first_difference === undefined || result.replay.equal === result.replay.decisions, JSON.stringify(result.replay));
console.log(JSON.stringify(result));
process.exit(0);
