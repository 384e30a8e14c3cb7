// Numbers for bench/media.py: one JSON object on standard output. node measure_media.mjs SECONDS VIEWERS [server arguments...]
import { launch, open, server, until } from "./kit.mjs";
import { consultServer } from "./consult_scenarios.mjs";

const seconds = Number(process.argv[2] ?? 15), viewers = Number(process.argv[3] ?? 1), more = process.argv.slice(4);
const browser = await launch(), srv = await server(more, consultServer);
const names = ["dr.li", "dr.chen", "dr.sato", "county", "student"];
const streams = ["room", "guide", "ultrasound"];
try {
  const pages = [], joins = [];
  for (let n = 0; n < viewers; n++) {
    const page = await open(browser, srv, names[n % names.length], { view: n ? "consult" : "console", width: 1280, height: 720 });
    if (!n) await page.click("#tab-consult");
    // The server says its monotonic clock with every frame: the smallest difference to the page's clock is the clock offset (and the shortest delay, which is below a millisecond on one host).
    await page.evaluate(() => { globalThis.offset = Infinity; const look = () => { const { frame, frameAt } = longhand.store; if (frame) globalThis.offset = Math.min(globalThis.offset, frameAt - frame.now / 1e6); requestAnimationFrame(look); }; look(); });
    await page.click("#live-start");
    await until("pictures", () => page.evaluate((list) => list.every((s) => longhand.player.tiles[s]?.shown), streams), 60000);
    joins.push(await page.evaluate(() => longhand.player.joined));
    pages.push(page);
  }
  await pages[0].waitForTimeout(2000);
  const before = await srv.poke({ lines: 1 });
  await pages[0].evaluate(() => { longhand.player.log = []; longhand.player.recording = true; });
  const start = Date.now();
  await pages[0].waitForTimeout(seconds * 1000);
  const took = (Date.now() - start) / 1000;
  const { log, offset, shown } = await pages[0].evaluate(() => ({ log: longhand.player.log, offset: globalThis.offset, shown: Object.fromEntries(Object.values(longhand.player.tiles).map((t) => [t.stream, { damaged: t.damaged ?? 0, read: t.read }])) }));
  const after = await srv.poke({ lines: 1 });
  const out = {};
  for (const stream of streams) {
    const rows = log.filter((r) => r.stream === stream);
    const sent = after.counts.tianjin[stream] - before.counts.tianjin[stream];
    out[stream] = { ages: rows.map((r) => r.at - offset - r.captured / 1e6), told: rows.map((r) => r.age), gaps: rows.slice(1).map((r, i) => r.at - rows[i].at), displayed: rows.length, sent, ...shown[stream] };
  }
  console.log(JSON.stringify({ joins, streams: out, seconds: took, server_cores: (after.cpu - before.cpu) / took, studio_cores: (after.busy.tianjin - before.busy.tianjin) / took, rss_mb: after.rss / 1e6 }));
} finally { await browser.close(); await srv.close(); }
