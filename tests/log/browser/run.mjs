// Drives the reviewer's page in a real Chromium. Usage: node run.mjs PLAYWRIGHT URL FOLDER MODE   -> JSON of what was seen.
const [, , playwright, url, folder, mode] = process.argv;
const { chromium } = await import(playwright);
const args = ["--no-sandbox", "--disable-gpu", ...(mode === "no-webgl" ? ["--disable-3d-apis"] : [])];
const browser = await chromium.launch({ executablePath: process.env.LONGHAND_CHROMIUM || "/usr/bin/chromium", args });
const seen = { errors: [], offHost: [] };
const size = mode === "small" ? { width: 1280, height: 720 } : { width: 1600, height: 900 };
const page = await browser.newPage({ viewport: size });
page.setDefaultTimeout(60000);
page.on("console", (m) => { if (m.type() === "error") seen.errors.push(m.text()); });
page.on("pageerror", (e) => seen.errors.push(e.message));
page.on("request", (r) => { if (!/^(http:\/\/127\.0\.0\.1|blob:|data:)/.test(r.url())) seen.offHost.push(r.url()); });
const began = Date.now();
await page.goto(url);
await page.waitForFunction(() => document.body.dataset.ready === "yes");
await page.waitForFunction(() => document.body.dataset.drawn);
seen.openMs = Date.now() - began;
const app = (work) => page.evaluate(work);
const settle = () => page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
const verdictDone = () => page.waitForFunction(() => document.getElementById("verdict").dataset.level, null, { timeout: 110000 });
const shot = (name) => page.screenshot({ path: `${folder}/${mode}-${name}.png` });
try {
  if (mode === "session") {
    await verdictDone();
    seen.verdict = await page.textContent("#verdict");
    seen.simulated = await page.locator(".badge.sim").count();
    await shot("open");

    // Every event in turn, forward: the cursor lands on each exactly.
    const times = await app(() => [...new Set(review.events.map((e) => e.t))].filter((t) => t > 1e-4));
    const landed = [];
    for (let k = 0; k < times.length; k++) { await page.click("#next-event"); landed.push(await app(() => review.t)); }
    seen.events = times.length;
    seen.worstLandingS = Math.max(...times.map((t, k) => Math.abs(t - landed[k])));
    await page.keyboard.press("[");
    seen.backByKey = await app(() => review.t) < landed.at(-1);

    // Decisions one by one.
    await app(() => review.seek(review.events.find((e) => e.what === "state" && e.state === "HOLD").t - 0.3));
    await page.click("#step"); await page.waitForFunction(() => /step \d+/.test(document.querySelector("#panel").textContent));
    const n = () => page.evaluate(() => Number(/step (\d+)/.exec(document.querySelector("#panel").textContent)[1]));
    const first = await n();
    await page.click("#step"); await page.waitForFunction((f) => Number(/step (\d+)/.exec(document.querySelector("#panel").textContent)?.[1]) > f, first);
    seen.stepped = [first, await n()];
    await page.click("#step-back"); await page.waitForFunction((f) => Number(/step (\d+)/.exec(document.querySelector("#panel").textContent)?.[1]) === f, first);
    seen.inputsShown = /late_ns|data|report/.test(await page.textContent("#panel"));
    await page.click("#zoom-cursor"); await settle(); await page.waitForTimeout(400);
    await shot("decision");

    // A drag over a plot is a zoom; a link brings back moment and range.
    const box = await page.locator(".plot .u-over").first().boundingBox();
    const before = await app(() => review.range);
    await page.mouse.move(box.x + box.width * 0.3, box.y + 20); await page.mouse.down();
    await page.mouse.move(box.x + box.width * 0.6, box.y + 24, { steps: 6 }); await page.mouse.up();
    await settle();
    const after = await app(() => review.range);
    seen.zoomed = [(before[1] - before[0]), (after[1] - after[0])];
    await page.waitForFunction(() => document.body.dataset.drawn === review.range.join(","));
    await page.mouse.click(box.x + box.width * 0.5, box.y + 20);
    await settle();
    const link = await app(() => ({ href: location.href, t: review.t, range: review.range }));
    seen.tokenInLink = link.href.includes("token");
    const second = await browser.newPage({ viewport: size });
    await second.addInitScript((t) => localStorage.setItem("longhand-review-token", t), new URLSearchParams(new URL(url).hash.slice(1)).get("token"));
    await second.goto(link.href);
    await second.waitForFunction(() => document.body.dataset.ready === "yes");
    const there = await second.evaluate(() => ({ t: review.t, range: review.range }));
    seen.linkErrorS = Math.abs(there.t - link.t) + Math.abs(there.range[0] - link.range[0]) + Math.abs(there.range[1] - link.range[1]);
    await second.close();

    // Play at 10x: forward only, and about as fast as asked for.
    await page.click("#zoom-all"); await page.selectOption("#speed", "10");
    await app(() => { review.seek(review.whole[0]); window.trace = []; const seek = review.seek.bind(review); review.seek = (t, s) => { window.trace.push([performance.now(), t]); seek(t, s); }; });
    await page.focus("#speed"); await page.click("#play");
    await page.waitForFunction(() => !review.playing || review.t > review.whole[0] + 40);
    await app(() => review.play(false));
    const trace = await app(() => window.trace);
    seen.playForwardOnly = trace.every(([, t], k) => k === 0 || t >= trace[k - 1][1]);
    seen.playSpeed = (trace.at(-1)[1] - trace[0][1]) / ((trace.at(-1)[0] - trace[0][0]) / 1000);
    seen.playFramesPerS = trace.length / ((trace.at(-1)[0] - trace[0][0]) / 1000);

    // Keys do nothing while one writes; a note is kept.
    await page.click('#tabs button:has-text("Notes")');
    const t0 = await app(() => review.t);
    await page.fill("#panel textarea", ""); await page.locator("#panel textarea").pressSequentially("hold [ here . , ");
    seen.keysLeftAlone = (await app(() => review.t)) === t0 && !(await app(() => review.playing));
    await page.fill('#panel input', "Rita");
    await page.click('#panel button[type="submit"]');
    await page.waitForFunction(() => document.querySelectorAll(".note").length >= 1);
    seen.note = await page.textContent(".note");
    await shot("notes");

    // Values, and the same decisions again.
    await page.click('#tabs button:has-text("Values")'); await page.waitForFunction(() => /speed/.test(document.querySelector("#panel").textContent));
    await page.click("#do-replay"); await page.waitForFunction(() => document.getElementById("replayed").dataset.level, null, { timeout: 110000 });
    seen.replayed = await page.textContent("#replayed");
    await page.click("#frame"); await page.waitForTimeout(500);
    seen.pathPoints = await app(() => Number(document.body.dataset.pathPoints));
    seen.space = await app(() => Boolean(review.scene)) && !(await page.textContent("#space-note")).includes("3-D off");
    await page.locator("#view").screenshot({ path: `${folder}/session-space.png` });
    seen.spaceBytes = (await import("node:fs")).statSync(`${folder}/session-space.png`).size;
    await shot("values");
  } else if (mode === "two" || mode === "small") {
    await verdictDone();
    seen.verdict = await page.textContent("#verdict");
    seen.headings = await page.locator(".site h2").allTextContents();
    await page.click("#space-sites button:nth-child(2)");
    await settle();
    seen.site = await app(() => review.site);
    const overflow = await app(() => [document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight]);
    seen.overflow = overflow;
    await page.waitForTimeout(500);
    await shot("sites");
  } else if (mode === "no-webgl") {
    await page.waitForFunction(() => /3-D off/.test(document.querySelector("#space-note").textContent));
    await page.click("#next-event");
    seen.moves = (await app(() => review.t)) > 0;
    seen.plots = await page.locator(".plot canvas").count();
    await shot("open");
  } else if (mode === "tampered" || mode === "cut") {
    await verdictDone();
    seen.verdict = await page.textContent("#verdict");
    seen.title = await page.getAttribute("#verdict", "title");
    await shot("open");
  } else if (mode === "long") {
    // Scrub: the cursor dragged over the session; how long until the picture of each range is there.
    const took = [];
    for (let k = 0; k < 12; k++) {
      const start = Date.now();
      await page.evaluate((f) => { const [a, b] = review.whole; const c = a + (b - a) * f; review.zoom([c - 300, c + 300]); review.seek(c); }, 0.05 + 0.9 * (k / 12));
      await page.waitForFunction(() => document.body.dataset.drawn === review.range.join(","));
      took.push(Date.now() - start);
    }
    seen.scrubMs = took.sort((a, b) => a - b);
    const frames = await page.evaluate(() => new Promise((done) => {
      let n = 0; const t0 = performance.now();
      const step = () => { n += 1; const [a, b] = review.range; review.seek(a + ((b - a) * (n % 100)) / 100); if (performance.now() - t0 < 2000) requestAnimationFrame(step); else done(n / 2); };
      requestAnimationFrame(step);
    }));
    seen.scrubFramesPerS = frames;
    await page.evaluate(() => review.zoom(review.whole)); await page.waitForTimeout(3000);
    await shot("open");
  }
} finally {
  console.log(JSON.stringify(seen));
  await browser.close();
}
