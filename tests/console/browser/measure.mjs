// Numbers for bench/console.py: one JSON object on standard output.
import { autoPlan, launch, open, openCase, server } from "./kit.mjs";

const seconds = Number(process.argv[2] ?? 20);
const quantile = (values, q) => [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(q * values.length))];
const browser = await launch(), srv = await server();
try {
  const page = await open(browser, srv, "dr.li");
  const first = await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? NaN);
  await openCase(page); await autoPlan(page);
  await srv.poke({ do: "register", set: { holder: "my-key", state: "ACTIVE", _last_press_at: Number.MAX_SAFE_INTEGER } });
  await page.click("#tab-command");
  // The server stamps a frame with CLOCK_MONOTONIC; a fake hospital's stamp is the same clock, so the page's own clock is aligned by the smallest delay seen.
  const watch = () => page.evaluate((ms) => new Promise((resolve) => {
    const ages = [], net = longhand.net, drawn = net.drawn.bind(net);
    let frames = 0;
    const count = () => { frames++; requestAnimationFrame(count); };
    requestAnimationFrame(count);
    net.drawn = (n, stamps) => { const f = longhand.store.frame; ages.push(performance.timeOrigin + performance.now() - f.at + Math.max(...Object.values(f.sites).map((s) => s.age_ms ?? 0))); drawn(n, stamps); };
    setTimeout(() => { net.drawn = drawn; resolve({ ages, fps: (frames * 1000) / ms }); }, ms);
  }), seconds * 500);
  const normal = await watch();
  const session = await page.context().newCDPSession(page);
  await session.send("Emulation.setCPUThrottlingRate", { rate: 6 });
  const slow = await watch();
  await session.send("Emulation.setCPUThrottlingRate", { rate: 1 });
  const stops = [];
  for (let i = 0; i < 20; i++) {
    const box = await (await page.$("#stop")).boundingBox();
    await page.mouse.move(box.x + 20, box.y + 20);
    const before = await page.evaluate(() => { longhand.lastStopReply = null; return performance.now(); });
    void before;
    await page.mouse.down(); await page.mouse.up();
    await page.waitForFunction(() => longhand.lastStopReply);
    stops.push(await page.evaluate(() => longhand.lastStopReply.at - longhand.lastStop.at));
  }
  console.log(JSON.stringify({
    first_paint_ms: first, fps: normal.fps,
    state_to_drawn: { p50: quantile(normal.ages, 0.5), p95: quantile(normal.ages, 0.95), n: normal.ages.length },
    slow: { p50: quantile(slow.ages, 0.5), p95: quantile(slow.ages, 0.95) },
    // there and back: an upper bound for the way there
    stop: { p50: quantile(stops, 0.5), max: Math.max(...stops), n: stops.length },
  }));
} finally { await browser.close(); await srv.close(); }
