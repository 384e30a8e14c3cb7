// Consultation and live pictures in a real browser. Each scenario gets a fresh server with two fake hospitals that have cameras.
import { assert, open, openCase, until } from "./kit.mjs";

export const consultServer = "tests.console.fake_consult_server";
const live = async (page) => { if (await page.isVisible("#live-start")) await page.click("#live-start"); };
const shows = (page, stream) => until(`${page.who ?? "a page"} displays ${stream}`, () => page.evaluate((s) => longhand.player.tiles[s]?.shown, stream), 60000);
const join = async (browser, srv, name, view = "consult", more = {}) => { const page = await open(browser, srv, name, { view, ...more }); page.who = name; if (view === "console") await page.click("#tab-consult"); return page; };
const guestAddress = async (page, name, role, seconds) => {
  await page.click("#aside-invite"); await page.fill("#guest", name); await page.selectOption("#guest-role", role);
  if (seconds) await page.evaluate((s) => { const o = document.querySelector("#guest-time"); o.add(new Option("test", String(s))); o.value = String(s); }, seconds);
  await page.click("#invite");
  return until("an address for the guest", () => page.evaluate(() => { const el = document.querySelector("#guest-address"); return el.hidden ? "" : el.value; }));
};
const guestPage = async (browser, address) => {
  const page = await (await browser.newContext({ viewport: { width: 1600, height: 900 } })).newPage();
  page.setDefaultTimeout(60000); page.problems = [];
  page.on("pageerror", (e) => page.problems.push(e.message));
  await page.goto(address);
  return page;
};

export const consultScenarios = {
  async "three live pictures are displayed with their age, and nothing leaves the host"({ browser, srv }) {
    const page = await join(browser, srv, "dr.li", "console");
    await live(page);
    for (const stream of ["room", "guide", "ultrasound"]) await shows(page, stream);
    await until("forty pictures were displayed", () => page.evaluate(() => longhand.player.tiles.guide.ages.length > 40), 60000);
    const seen = await page.evaluate(() => Object.fromEntries(Object.values(longhand.player.tiles).map((x) => [x.stream, { damaged: x.damaged ?? 0, read: x.read, ages: x.ages, width: x.video.videoWidth, joined: longhand.player.joined }])));
    for (const [stream, x] of Object.entries(seen)) {
      assert(x.damaged <= x.read * 0.02, `${stream}: ${x.damaged} of ${x.read} stamps could not be read`);
      assert(x.ages.every((v) => v > -20 && v < 5000), `${stream}: ages ${x.ages.slice(-5)}`);
    }
    assert(/^\d+ ms$/.test(await page.textContent('[data-age="guide"]')), "the age is not shown");
    const sdp = await page.evaluate(() => [longhand.player.connection.localDescription.sdp, longhand.player.connection.remoteDescription.sdp].join(""));
    assert(!/stun|turn|srflx|relay/.test(sdp), "somebody outside was asked");
    assert(page.problems.length === 0, page.problems.join("\n"));
  },

  async "commands echo the picture that is displayed, and stop doing so when it is not"({ browser, srv }) {
    const page = await open(browser, srv, "dr.li");
    await page.click("#tab-command");
    await srv.poke({ do: "grant" });
    await until("commands flow", async () => (await srv.poke()).echo, 30000);
    assert((await srv.poke()).echo_view === null, "a picture is echoed that nobody sees");
    await live(page); await shows(page, "guide");
    // The echo carries the seat's page: the deadman makes this page the seat.
    await page.evaluate(() => longhand.net.hand({ site: "tianjin", mode: "jog", press: 1, jog: { frame: "guide", linear: [0, 0, 0], angular: [0, 0, 0] } }));
    const first = await until("a command echoes a picture", async () => { const s = await srv.poke(); await page.evaluate(() => longhand.net.hand({ site: "tianjin", mode: "jog", press: 0 })); return s.echo_view ? s : null; }, 30000);
    const age = (first.now - first.echo_view) / 1e6;
    assert(age > 0 && age < 5000, `the echoed picture is ${age} ms old`);
    await srv.poke({ freeze: { guide: "silent" } });
    await page.waitForTimeout(1500);
    const a = (await srv.poke()).echo_view; await page.waitForTimeout(600);
    const b = (await srv.poke()).echo_view;
    assert(a === b && a, "a frozen picture goes on being echoed as new");
    const { views } = await srv.poke(), known = views.filter((v) => v !== null);
    assert(known.every((v, i) => i === 0 || v >= known[i - 1]), "the echo went backward");
    await page.click('[data-live="room"]');
    await until("no picture is echoed while the view stream is not shown", async () => (await srv.poke()).echo_view === null);
  },

  async "a camera that falls silent and one that hangs are told apart and shown over the picture"({ browser, srv }) {
    const page = await join(browser, srv, "dr.li", "console");
    await live(page); for (const s of ["room", "guide"]) await shows(page, s);
    await srv.poke({ freeze: { guide: "silent", room: "hung" } });
    await until("FROZEN on the guide's picture", () => page.evaluate(() => /FROZEN/.test(document.querySelector('[data-stream="guide"] .live-trouble').textContent) && !document.querySelector('[data-stream="guide"] .live-trouble').hidden), 30000);
    await until("HUNG on the room's picture", () => page.evaluate(() => /HUNG/.test(document.querySelector('[data-stream="room"] .live-trouble').textContent)), 30000);
    assert(await page.evaluate(() => document.querySelector('[data-age="guide"]').dataset.level === "bad"), "the age is not marked");
    await srv.poke({ freeze: {} });
    await until("both recover", () => page.evaluate(() => ["guide", "room"].every((s) => document.querySelector(`[data-stream="${s}"] .live-trouble`).hidden)), 30000);
  },

  async "the picture grows and shrinks with the line, and says so when control comes first"({ browser, srv }) {
    const page = await join(browser, srv, "dr.li", "console");
    await live(page); await shows(page, "room");
    const width = () => page.evaluate(() => longhand.player.tiles.room.video.videoWidth);
    assert((await width()) === 640, `full is ${await width()} pixels wide`);
    await srv.poke({ rung: "thumbnail" });
    await until("a thumbnail", async () => (await width()) === 160, 30000);
    assert(await page.evaluate(() => longhand.player.tiles.room.shown), "no stamp in a thumbnail");
    await srv.poke({ rung: "off" });
    await until("words", () => page.evaluate(() => /control comes first/.test(document.querySelector('[data-stream="room"] .live-trouble').textContent)));
    await srv.poke({ rung: "full" });
    await until("full again", async () => (await width()) === 640, 30000);
  },

  async "a full house turns observers away with words, and makes room for the surgeon"({ browser, srv }) {
    await srv.poke({ places: 2 });
    const a = await join(browser, srv, "student"), b = await join(browser, srv, "dr.sato");
    await live(a); await shows(a, "room"); await live(b); await shows(b, "room");
    const c = await join(browser, srv, "county");
    await live(c); // a bedside doctor: above an observer
    await shows(c, "room");
    await until("the observer is told who needed the place", () => a.evaluate(() => /county/.test(document.querySelector("#live-note").textContent)));
    const d = await join(browser, srv, "student");
    await d.click("#live-start");
    await until("turned away with words", () => d.evaluate(() => /2 people see the live pictures already/.test(document.querySelector("#live-note").textContent)));
    const e = await join(browser, srv, "dr.li", "console");
    await live(e); await shows(e, "room");
    assert(Object.keys((await srv.poke()).viewers).length === 2, "more viewers than places");
    assert((await d.evaluate(() => longhand.store.serverAge())) < 5000, "who was turned away from pictures lost the state too");
  },

  async "an invitation opens a seat in its role, and ends when it is taken back"({ browser, srv }) {
    const surgeon = await join(browser, srv, "dr.li", "console");
    const address = await guestAddress(surgeon, "dr.guest", "expert");
    assert(/\/consult#t=/.test(address), address);
    const guest = await guestPage(browser, address);
    await guest.waitForFunction(() => globalThis.longhand?.store.me.name === "dr.guest" && longhand.store.me.role === "expert");
    assert(!guest.url().includes("t="), "the token stays in the address bar");
    await until("the surgeon sees the guest", () => surgeon.evaluate(() => !!document.querySelector('#people [data-name="dr.guest"]')));
    await surgeon.click('[data-guest="dr.guest"] button');
    await until("the guest's page ended with the reason", () => guest.evaluate(() => !document.querySelector("#signin").hidden && /took this invitation back|taken back/.test(document.querySelector("#signin-why").textContent)));
    await guest.reload();
    await until("and does not come in again", () => guest.evaluate(() => globalThis.longhand && !document.querySelector("#signin").hidden && /taken back: ask dr.li/.test(document.querySelector("#signin-why").textContent)));
    const what = (await srv.poke()).journal.map((r) => r.what);
    assert(what.includes("consult.invite") && what.includes("consult.revoke"), what.join());
  },

  async "an expired invitation is refused at the door with whom to ask, and ends the page that is open"({ browser, srv }) {
    const surgeon = await join(browser, srv, "dr.li", "console");
    const guest = await guestPage(browser, await guestAddress(surgeon, "dr.late", "observer", 60));
    await guest.waitForFunction(() => globalThis.longhand?.store.me.name === "dr.late");
    await srv.poke({ expire: "dr.late" });
    await until("the open page ended", () => guest.evaluate(() => !document.querySelector("#signin").hidden && /has expired: ask dr.li/.test(document.querySelector("#signin-why").textContent)));
    await guest.reload();
    await until("the door says why, and whom to ask", () => guest.evaluate(() => globalThis.longhand && !document.querySelector("#signin").hidden && /has expired: ask dr.li for a new one/.test(document.querySelector("#signin-why").textContent)));
  },

  async "a county doctor asks, who is on call is told, and the time until the images are open is measured"({ browser, srv }) {
    const expert = await join(browser, srv, "dr.chen");
    await expert.click("#aside-ask"); await expert.fill("#duty", "dr.chen, dr.sato"); await expert.click("#duty-set");
    const county = await join(browser, srv, "county");
    const sources = await county.evaluate(() => longhand.net.call("cases.sources"));
    await county.evaluate((s) => longhand.net.call("cases.open", { source: s }), sources.find((s) => s.id === "LPS"));
    await county.waitForFunction(() => longhand.images.ready && longhand.store.desk, null, { timeout: 120000 });
    await county.click("#aside-ask"); await county.fill("#question", "Is L4 left wide enough for 6.0?"); await county.click("#ask");
    await until("the expert's page asks for her", () => expert.evaluate(() => !document.querySelector("#wanted").hidden && /wide enough/.test(document.querySelector("#wanted").textContent)));
    await expert.click("#wanted-open");
    const ms = await until("the time is measured", () => county.evaluate(() => longhand.store.consult.requests[0]?.opened["dr.chen"]), 60000);
    assert(ms > 0 && ms < 60000, `${ms} ms`);
    assert(await expert.evaluate(() => longhand.images.ready), "measured before the images were there");
    const rows = (await srv.poke({ lines: 200 })).journal;
    assert(rows.some((r) => r.what === "consult.opened" && r.who === "dr.chen" && r.after_ms > 0), "not in the record");
    // who is on call and comes later is told too
    const late = await join(browser, srv, "dr.sato");
    await until("told on arrival", () => late.evaluate(() => !document.querySelector("#wanted").hidden));
  },

  async "the table of a county hospital asks; the expert hears it, opens the hospital's images, and the table sees after how long"({ browser, srv }) {
    const surgeon = await join(browser, srv, "dr.li", "console"), expert = await join(browser, srv, "dr.sato");
    await surgeon.click("#aside-ask"); await surgeon.fill("#duty", "dr.sato"); await surgeon.click("#duty-set");
    await until("she is on call", () => expert.evaluate(() => longhand.store.consult.on_call.includes("dr.sato")));
    const table = await (await browser.newContext({ viewport: { width: 1280, height: 800 } })).newPage();
    table.setDefaultTimeout(60000); table.problems = []; table.on("pageerror", (e) => table.problems.push(e.message));
    await table.goto(srv.table);
    await table.waitForSelector("#expert-ask:not([disabled])");
    await table.fill("#name", "Dr. Wu");
    // with the line down it is refused in words, and nothing goes out later behind anybody's back
    await srv.poke({ site: "karamay", set: { line_up: false } });
    await table.fill("#expert-question", "Is L4 wide enough?"); await table.click("#expert-ask");
    await until("refused with what to do", () => table.evaluate(() => /line is down.*telephone/.test(document.querySelector("#toast").textContent)));
    assert((await table.inputValue("#expert-question")) === "Is L4 wide enough?", "the question was thrown away");
    await srv.poke({ site: "karamay", set: { line_up: true } });
    await table.click("#expert-ask");
    await until("the expert is asked for", () => expert.evaluate(() => !document.querySelector("#wanted").hidden && /Dr. Wu.*Is L4 wide enough/.test(document.querySelector("#wanted").textContent)));
    assert(await surgeon.evaluate(() => document.querySelector("#wanted").hidden), "who is not on call was called");
    const beeps = await expert.evaluate(() => longhand.sound.beeps);
    await until("it sounds", () => expert.evaluate((n) => longhand.sound.beeps > n, beeps), 30000);
    await until("the table sees who was told, and who has seen it", () => table.evaluate(() => /told: dr.sato|seen by dr.sato/.test(document.querySelector("#expert-requests").textContent)));
    await expert.click("#wanted-open");
    await until("the table sees the time until the images were open", () => table.evaluate(() => /dr.sato: images open after \d+\.\d s/.test(document.querySelector("#expert-requests").textContent)), 90000);
    assert(await expert.evaluate(() => longhand.images.ready), "measured before the images were there");
    const rows = (await srv.poke({ lines: 300 })).journal, asked = rows.find((r) => r.what === "consult.request"), opened = rows.find((r) => r.what === "consult.opened");
    assert(asked.who === "Dr. Wu" && asked.site === "karamay" && opened.who === "dr.sato" && opened.after_ms > 0, JSON.stringify([asked, opened]));
    await expert.click("#aside-ask"); await expert.fill(".request[data-state=open] .answer", "6.0 fits"); await expert.click(".request[data-state=open] button:has-text('Close the request')");
    await until("the answer stands at the table", () => table.evaluate(() => /answered: 6.0 fits/.test(document.querySelector("#expert-requests").textContent)));
    assert([...table.problems, ...expert.problems, ...surgeon.problems].length === 0, [...table.problems, ...expert.problems, ...surgeon.problems].join("\n"));
  },

  async "private words reach only those they are meant for, instructions are acknowledged by name"({ browser, srv }) {
    const a = await join(browser, srv, "dr.li", "console"), b = await join(browser, srv, "dr.chen"), c = await join(browser, srv, "student");
    await until("all are here", () => a.evaluate(() => longhand.store.room.persons.length === 3));
    await b.selectOption("#chat-to", "dr.li"); await b.fill("#chat-input", "the medial wall is thin"); await b.press("#chat-input", "Enter");
    await until("the surgeon reads it", () => a.evaluate(() => /medial wall/.test(document.querySelector("#chat").textContent)));
    await a.fill("#chat-input", "to everybody"); await a.press("#chat-input", "Enter");
    await until("the observer reads what is for all", () => c.evaluate(() => /to everybody/.test(document.querySelector("#chat").textContent)));
    assert(await c.evaluate(() => !JSON.stringify(longhand.store.consult).includes("medial")), "a private word reached the observer's page");
    const late = await join(browser, srv, "dr.sato");
    await until("a late joiner has the whole state", () => late.evaluate(() => longhand.store.consult.words.some((w) => w.text === "to everybody")));
    assert(await late.evaluate(() => !JSON.stringify(longhand.store.consult).includes("medial")), "a late joiner got a private word");
    await b.selectOption("#chat-to", ""); await b.check("#chat-instruction"); await b.fill("#chat-input", "hold the breath now"); await b.press("#chat-input", "Enter");
    await until("the instruction stands large before the surgeon", () => a.evaluate(() => !document.querySelector("#wanted").hidden && /hold the breath/.test(document.querySelector("#wanted").textContent)));
    await a.click("#instruction-ack");
    await until("the mentor sees who has understood", () => b.evaluate(() => /✓ dr\.li/.test(document.querySelector("#chat").textContent)));
  },

  async "pointers and drawings on a live picture appear for everybody at the same place, by name"({ browser, srv }) {
    const a = await join(browser, srv, "dr.li", "console"), b = await join(browser, srv, "dr.chen", "consult", { width: 1280, height: 720 });
    for (const p of [a, b]) { await live(p); await shows(p, "ultrasound"); }
    const spot = await a.evaluate(() => { const f = longhand.wall.figures.ultrasound, r = f.root.getBoundingClientRect(), x = longhand.wall.picture(f); return [r.x + x.x + x.w * 0.4, r.y + x.y + x.h * 0.6]; });
    await a.mouse.move(spot[0] - 5, spot[1]); await a.mouse.move(...spot); await a.waitForTimeout(80); await a.mouse.move(spot[0] + 1, spot[1]);
    const at = await until("the mentor sees the surgeon's pointer", () => b.evaluate(() => { const f = longhand.wall.figures.ultrasound, p = f.drawn?.find((d) => d.pointer && d.author === "dr.li"), x = longhand.wall.picture(f); return p ? [(p.x - x.x) / x.w, (p.y - x.y) / x.h] : null; }));
    assert(Math.abs(at[0] - 0.4) < 0.02 && Math.abs(at[1] - 0.6) < 0.02, `the pointer is at ${at}`);
    await b.click('[data-tool="line"]');
    const box = await b.evaluate(() => { const f = longhand.wall.figures.ultrasound, r = f.root.getBoundingClientRect(), x = longhand.wall.picture(f); return { x: r.x + x.x, y: r.y + x.y, w: x.w, h: x.h }; });
    await b.mouse.move(box.x + box.w * 0.3, box.y + box.h * 0.3); await b.mouse.down(); await b.mouse.move(box.x + box.w * 0.5, box.y + box.h * 0.5, { steps: 4 }); await b.mouse.up();
    await until("the drawing is on the surgeon's picture", () => a.evaluate(() => longhand.wall.figures.ultrasound.drawn?.some((d) => d.author === "dr.chen" && !d.pointer)));
    const row = (await srv.poke({ lines: 200 })).journal.find((r) => r.what === "consult.mark");
    assert(row.who === "dr.chen" && row.stream === "ultrasound" && row.frame > 0 && row.lps_mm?.length, JSON.stringify(row).slice(0, 300));
  },

  async "voice reaches the others, a private one only whom it is for, and the record says when"({ browser: _, srv, launch }) {
    const browser = await launch(["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]);
    try {
      const people = {};
      for (const [name, view] of [["dr.li", "console"], ["dr.chen", "consult"], ["student", "consult"]]) {
        people[name] = await join(browser, srv, name, view);
        await live(people[name]); await shows(people[name], "room");
        await people[name].evaluate(() => {
          const context = new AudioContext(), meter = context.createAnalyser(), data = new Float32Array(2048);
          context.createMediaStreamSource(longhand.player.voice.srcObject).connect(meter);
          globalThis.loud = 0; setInterval(() => { context.resume(); meter.getFloatTimeDomainData(data); let s = 0; for (const v of data) s += v * v; globalThis.loud = Math.max(globalThis.loud * 0.9, Math.sqrt(s / data.length)); }, 50);
        });
      }
      const hears = (name) => people[name].evaluate(() => globalThis.loud);
      assert((await hears("dr.li")) < 0.001, "a shut microphone is heard");
      await people["dr.chen"].click("#mic"); // the fake microphone beeps
      await until("the surgeon hears the mentor", async () => (await hears("dr.li")) > 0.005, 30000);
      await until("the observer hears the mentor", async () => (await hears("student")) > 0.005, 30000);
      assert((await hears("dr.chen")) < 0.003, "one hears oneself");
      await people["dr.chen"].selectOption("#voice-to", "dr.li");
      await until("the observer hears nothing any more", async () => { await people.student.waitForTimeout(1200); return (await hears("student")) < 0.002; }, 30000);
      await until("the surgeon still does", async () => (await hears("dr.li")) > 0.005, 30000);
      await people["dr.chen"].click("#mic");
      const rows = (await srv.poke({ lines: 200 })).journal.filter((r) => r.what === "consult.voice");
      assert(rows.length >= 3 && rows.at(-1).muted === true && rows.some((r) => r.to?.includes("dr.li")), JSON.stringify(rows));
    } finally { await browser.close(); }
  },

  async "image position, window, screw and 3-D camera follow the presenter, also for who comes late"({ browser, srv }) {
    const a = await open(browser, srv, "dr.li");
    await openCase(a); await a.click("#auto"); await a.waitForFunction(() => longhand.store.screws.length === 10);
    await a.click("#tab-consult"); await a.click("#present");
    await a.selectOption("#consult-screw", "L5-L");
    await a.evaluate(() => { longhand.store.window = "soft"; longhand.onCross([3, 4, 5]); longhand.block.scene.camera = { ...longhand.block.scene.camera, azimuth: 1.25 }; longhand.redraw(true); });
    await a.waitForTimeout(300);
    const late = await join(browser, srv, "dr.chen");
    await late.click("#follow");
    await until("the late joiner stands where the presenter does", () => late.evaluate(() => longhand.store.screwId === "L5-L" && longhand.store.window === "soft" && longhand.store.cross[0] === 3), 60000);
    await until("the camera too", () => late.evaluate(() => Math.abs(longhand.block.scene.camera.azimuth - 1.25) < 1e-6));
  },
};
