// A gamepad at the page, mapped as teleop/master/gamepad.py maps one on evdev: left stick x right and y away, right stick up is z up and sideways
// turns about z, cross turns about x and y, right shoulder is the deadman, left shoulder the clutch, B (east) stops, A (south) is a click on what
// the page offers as the next action.
// Polled by a timer and not by the frame clock: a loaded page draws 4 times a second, its timers still run.

const POLL_MS = 8, DEADBAND = 0.12, EXPO = 1.6;
const DEADMAN = 5, CLUTCH = 4, STOP = 1, NEXT = 0;

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
  return {
    linear: capped([axis(0), -axis(1), -axis(3)]),
    angular: capped([held(15) - held(14), held(12) - held(13), -axis(2)]),
    deadman: held(DEADMAN) && !held(CLUTCH), stop: held(STOP), next: held(NEXT),
  };
}

/** Let a pad hold the page's deadman. askFor(state) says what to do while held, or null; stop() stops; next() takes the offered action. Returns a function that ends it.
 *  A shoulder that is down when the pad or the page appears counts only after it was let go. */
export function bindGamepad(deadman, askFor, stop, next, pads = () => navigator.getGamepads?.() ?? []) {
  let released = false, stopped = true, clicked = true, index = null;
  const timer = setInterval(() => {
    const pad = [...pads()].find((p) => p && p.connected && p.mapping === "standard" && (index === null || p.index === index));
    if (!pad) { if (deadman.source === "gamepad") deadman.release("unplugged"); released = false; stopped = clicked = true; index = null; return; }
    index = pad.index;
    const state = readPad(pad);
    if (state.stop && !stopped) stop();
    if (state.next && !clicked && !state.deadman) next();
    stopped = state.stop; clicked = state.next;
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
