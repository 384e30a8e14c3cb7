// An emulated gamepad, and a person who uses the page with nothing else.

/** An emulated gamepad: what `navigator.getGamepads` gives is what `setPad` said last. */
export async function emulatePad(page) {
  await page.evaluate(() => {
    globalThis.pad = { connected: true, held: [], axes: [0, 0, 0, 0] };
    navigator.getGamepads = () => (globalThis.pad.connected ? [{ connected: true, mapping: "standard", index: 0, axes: globalThis.pad.axes, buttons: Array.from({ length: 16 }, (_, i) => ({ pressed: globalThis.pad.held.includes(i) })) }] : [null]);
  });
}
export const setPad = (page, pad) => page.evaluate((p) => { globalThis.pad = { connected: true, held: [], axes: [0, 0, 0, 0], ...p }; }, pad);

/** Until the page has looked at the pad some times, however busy the machine is. */
const looks = (page, times = 4) => page.evaluate((n) => new Promise((done) => { const timer = setInterval(() => { if (--n <= 0) { clearInterval(timer); done(); } }, 8); }), times);
/** Press a button (or two) shortly, as a thumb does. */
export async function tap(page, held) {
  await setPad(page, { held: [].concat(held) });
  await looks(page);
  await setPad(page, { held: [] });
  await looks(page);
}
export const A = 0, B = 1, X = 2, Y = 3, CLUTCH = 4, SHOULDER = 5, VIEW_BEFORE = 6, VIEW_AFTER = 7, UP = 12, DOWN = 13;

/** Walk with the cross until the focus is on what `selector` names. */
export async function walkTo(page, selector, most = 400) {
  await page.waitForSelector(`${selector}:not(:disabled)`);
  const there = () => page.evaluate((s) => !!document.activeElement?.matches(s), selector);
  // the shorter way round: where is it from here?
  const back = await page.evaluate((s) => { const a = document.activeElement, b = document.querySelector(s); return a && b && a !== document.body && !!(a.compareDocumentPosition(b) & Node.DOCUMENT_POSITION_PRECEDING); }, selector);
  for (let n = 0; n < most; n++) { if (await there()) return; await tap(page, back ? UP : DOWN); }
  throw new Error(`the cross never comes to ${selector}`);
}
/** Walk there and use it. */
export async function padUse(page, selector) { await walkTo(page, selector); await tap(page, X); }
