// A gamepad at the page, mapped as teleop/master/gamepad.py maps one on evdev: left stick x right and y away, right stick up is z up and sideways
// turns about z, cross turns about x and y, right shoulder is the deadman, left shoulder the clutch, B (east) stops, A (south) is a click on what
// the page offers as the next action. While the shoulder is up the cross walks through the page, X (west) uses what has the focus, Y (north)
// takes the next hospital, the triggers change the view.
// Polled by a timer and not by the frame clock: a loaded page draws 4 times a second, its timers still run.

const POLL_MS = 8, DEADBAND = 0.12, EXPO = 1.6;
const DEADMAN = 5, CLUTCH = 4, STOP = 1, NEXT = 0;
/** Button -> what it does while the shoulder is up. */
const PAGE = { 12: "before", 14: "before", 13: "after", 15: "after", 2: "use", 3: "hospital", 6: "view_before", 7: "view_after" };

/** A deflection -1..1 to a fraction of full speed: nothing inside the dead band, odd, monotone. Not a number counts as nothing. */
export function shape(d) {
  if (!Number.isFinite(d)) return 0;
  const a = (Math.min(1, Math.abs(d)) - DEADBAND) / (1 - DEADBAND);
  return a <= 0 ? 0 : Math.sign(d) * a ** EXPO;
}

const capped = (v) => { const n = Math.hypot(...v); return n > 1 ? v.map((x) => x / n) : v; };

/** {linear, angular} as fractions of full speed, and what is held, of one Gamepad object in the standard mapping. */
export function readPad(pad) {
  const axis = (i) => shape(pad.axes[i] ?? 0), held = (i) => Boolean(pad.buttons[i]?.pressed);
  const plain = (i) => (Number.isFinite(pad.axes[i]) ? Math.max(-1, Math.min(1, pad.axes[i])) : 0);
  return {
    // as the server's hand wants it: deflections before any shaping, and the names of the buttons
    raw: [plain(0), -plain(1), -plain(3), held(15) - held(14), held(12) - held(13), -plain(2)],
    buttons: [...(held(DEADMAN) ? ["deadman"] : []), ...(held(CLUTCH) ? ["clutch"] : []), ...(held(STOP) ? ["stop"] : [])],
    page: Object.keys(PAGE).filter((i) => held(Number(i))).map((i) => PAGE[i]),
    linear: capped([axis(0), -axis(1), -axis(3)]),
    angular: capped([held(15) - held(14), held(12) - held(13), -axis(2)]),
    deadman: held(DEADMAN) && !held(CLUTCH), stop: held(STOP), next: held(NEXT),
  };
}

/** Let a pad hold the page's deadman. askFor(state) says what to do while held, or null; stop() stops; next() takes the offered action; page(what) is one of the words of PAGE. Returns a function that ends it.
 *  A shoulder that is down when the pad or the page appears counts only after it was let go. */
export function bindGamepad(deadman, askFor, stop, next, page = () => {}, pads = () => navigator.getGamepads?.() ?? []) {
  let released = false, stopped = true, clicked = true, paged = true, index = null;
  const timer = setInterval(() => {
    const pad = [...pads()].find((p) => p && p.connected && p.mapping === "standard" && (index === null || p.index === index));
    if (!pad) { if (deadman.source === "gamepad") deadman.release("unplugged"); released = false; stopped = clicked = paged = true; index = null; return; }
    index = pad.index;
    const state = readPad(pad);
    if (state.stop && !stopped) stop();
    if (state.next && !clicked && !state.deadman) next();
    if (state.page.length && !paged && !state.deadman) page(state.page[0]);
    stopped = state.stop; clicked = state.next; paged = state.page.length > 0;
    if (!state.deadman) { if (deadman.source === "gamepad") deadman.release(); released = true; return; }
    const mine = deadman.press && deadman.source === "gamepad";
    if (!mine && !released) return; // ended by something else: let go first
    const ask = askFor(state);
    // what a press runs along is chosen when it begins, as with the button; only the sticks steer while it is held
    if (mine) { if (ask?.jog) deadman.update(ask); }
    else if (ask && deadman.begin("gamepad", ask)) released = false;
  }, POLL_MS);
  return () => { clearInterval(timer); if (deadman.source === "gamepad") deadman.release("page"); };
}
