// What the page at the table must do with its jog, against a governor and a desk that exist in words only; the real ones: table_jog.mjs.
import { readFileSync } from "node:fs";
import { assert, axeSource, until } from "./kit.mjs";

export const bedsideServer = "tests.console.fake_bedside";
const LOCAL = { state: "LOCAL", epoch: 2, rebase: 5, table_blocked: "" };

export const bedsideScenarios = {
  async "the table: its jog is there only after a take-over, and only what the governor permits"({ browser, srv }) {
    const page = await table(browser, srv);
    assert(!(await page.isVisible("#table-jog")), "shown before the take-over");
    await srv.poke({ status: LOCAL });
    await page.waitForSelector("#jog-away:not(:disabled)");
    await page.waitForSelector("#jog-up:not(:disabled)");
    await srv.poke({ status: { registration_epoch: 0 } });
    await page.waitForSelector("#jog-up:disabled");
    assert(await page.isEnabled("#jog-away"), "away is off without a plan");
    await srv.poke({ status: { table_blocked: "stop by Sam: re-arm at the table first" } });
    await page.waitForSelector("#jog-away:disabled");
    assert(await page.isEnabled("#rearm"), "nobody can re-arm");
    await srv.poke({ status: { ...LOCAL, state: "READY" } });
    await page.waitForSelector("#table-jog", { state: "hidden" });
    assert(page.problems.length === 0, page.problems.join("\n"));
  },

  async "the table: holding asks again and again with what was drawn; release, blur, a hidden page, a lost pointer and silence stop"({ browser, srv }) {
    const page = await table(browser, srv);
    await srv.poke({ status: LOCAL });
    const ends = {
      release: () => page.mouse.up(),
      blur: () => page.evaluate(() => window.dispatchEvent(new Event("blur"))),
      hidden: () => page.evaluate(() => { Object.defineProperty(document, "hidden", { value: true, configurable: true }); document.dispatchEvent(new Event("visibilitychange")); }),
      pointercancel: () => page.evaluate(() => document.querySelector("#jog-away").dispatchEvent(new PointerEvent("pointercancel", { bubbles: true }))),
      pagehide: () => page.evaluate(() => window.dispatchEvent(new Event("pagehide"))),
      "the end of the motion": () => srv.poke({ status: { rebase: 99 } }),
      "a page that hangs": () => { page.evaluate(() => { const end = performance.now() + 900; while (performance.now() < end); }).catch(() => 0); },
    };
    for (const [name, end] of Object.entries(ends)) {
      const asked = await held(page, srv, "#jog-away", name);
      assert(asked.way === "away" && asked.who === "Dr. T", `${name}: ${JSON.stringify(asked)}`);
      await end();
      await until(`${name}: over`, async () => !(await srv.poke()).pressed);
      await new Promise((r) => setTimeout(r, 300));
      assert(!(await srv.poke()).pressed, `${name}: the press came back`);
      await page.evaluate(() => { delete document.hidden; });
      await page.mouse.up();
      await page.waitForTimeout(100);
    }
    assert(page.problems.length === 0, page.problems.join("\n"));
  },

  async "the table: what is asked carries the newest status that was on the screen, and no other button while one is held"({ browser, srv }) {
    const page = await table(browser, srv);
    await srv.poke({ status: LOCAL });
    const first = await held(page, srv, "#jog-up", "up");
    assert(first.way === "up", JSON.stringify(first));
    const later = await until("newer echoes", async () => { const a = (await srv.poke()).asked.filter((m) => m.t === "jog" && m.press).at(-1); return a.echo > first.echo ? a : null; });
    assert(later.press === first.press, "one hold became two presses");
    await page.keyboard.press("Escape");
    await until("STOP ends it", async () => !(await srv.poke()).pressed);
    await page.mouse.up();
  },

  async "the table: axe finds nothing serious, in both languages, and everything is on the tablet without scrolling"({ browser, srv }) {
    const page = await table(browser, srv);
    await page.evaluate(readFileSync(axeSource, "utf8"));
    for (const status of [{ ...LOCAL, state: "READY" }, LOCAL]) for (const language of ["en", "zh"]) {
      await srv.poke({ status });
      await page.waitForSelector("#table-jog", { state: status.state === "LOCAL" ? "visible" : "hidden" });
      const found = await page.evaluate(async () => (await axe.run(document, { resultTypes: ["violations"] })).violations.filter((v) => ["serious", "critical"].includes(v.impact)).map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html.slice(0, 120)).join(" || ")}`));
      assert(found.length === 0, `${status.state} ${language}:\n${found.join("\n")}`);
      const box = status.state === "LOCAL" ? await (await page.$("#jog-hint")).boundingBox() : null, footer = await (await page.$("footer")).boundingBox();
      assert(!box || box.y + box.height <= footer.y + 1, `${language}: the jog is cut off: ${JSON.stringify([box, footer])}`);
      if (language === "zh") assert(!(await page.evaluate(() => [...document.querySelectorAll("#table-jog [data-t]")].some((el) => /^[A-Za-z ,.]{6,}$/.test(el.textContent)))), "English words in the Chinese page");
      await page.click("header .quiet");
    }
  },
};

async function table(browser, srv) {
  const page = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
  page.setDefaultTimeout(60000);
  page.problems = [];
  page.on("console", (m) => { if (m.type() === "error") page.problems.push(`console: ${m.text()}`); });
  page.on("pageerror", (e) => page.problems.push(`error: ${e.message}`));
  await page.goto(srv.address("bedside", "bedside"));
  await page.waitForFunction(() => globalThis.bedside?.state.frame?.status.state);
  await page.fill("#name", "Dr. T");
  return page;
}
/** Press until the server has the press; a busy machine may end one by its age, and a person presses again. */
async function held(page, srv, selector, words) {
  const box = await (await page.waitForSelector(`${selector}:not(:disabled)`)).boundingBox();
  for (let n = 0; n < 25; n++) {
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2); await page.mouse.down();
    for (let k = 0; k < 10; k++) { const s = await srv.poke(); const last = s.asked.filter((m) => m.t === "jog").at(-1); if (s.pressed && last?.press) return last; await page.waitForTimeout(30); }
    await page.mouse.up(); await page.waitForTimeout(200);
  }
  throw new Error(`${words}: no press arrives`);
}
