// The deadman in the page: a press lasts while something is really held down, and everything that could hide a release ends it.

const SAMPLE_MS = 33;

export class Deadman {
  /** send(sample): puts {site, mode, press, ...ask} on the wire. onchange: redraw. */
  constructor(send, onchange) {
    this.send = send; this.onchange = onchange;
    this.count = 0; this.press = 0; this.ask = null; this.source = ""; this.why = "";
    this.timer = 0;
    const end = (why) => () => this.release(why);
    addEventListener("blur", end("focus"));
    addEventListener("pagehide", end("page"));
    addEventListener("freeze", end("page"));
    addEventListener("offline", end("network"));
    addEventListener("gamepaddisconnected", end("unplugged"));
    addEventListener("pointercancel", end("pointer"), true);
    addEventListener("contextmenu", (event) => { if (this.press) { event.preventDefault(); this.release("pointer"); } }, true);
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.release("hidden"); });
  }
  /** Begin a press. `ask` says what to do while held: {site, mode, path?, s_limit?, jog?}. */
  begin(source, ask) {
    if (this.press || document.hidden || !document.hasFocus()) return false;
    this.press = ++this.count; this.source = source; this.ask = ask; this.why = "";
    this.emit();
    this.timer = setInterval(() => this.emit(), SAMPLE_MS);
    this.onchange();
    return true;
  }
  update(ask) { if (this.press) { this.ask = { ...this.ask, ...ask }; } }
  release(why = "released") {
    if (!this.press) return;
    clearInterval(this.timer);
    const { site, mode } = this.ask;
    this.press = 0; this.why = why; this.source = "";
    this.send({ site, mode, press: 0 });
    this.send({ site, mode, press: 0 }); // twice costs nothing
    this.onchange();
  }
  emit() { if (this.press) this.send({ ...this.ask, press: this.press }); }

  /** Make a button run while it is held: pointer, or Enter when it has the focus. `ask()` returns what to do, or null. */
  bind(button, ask) {
    button.addEventListener("pointerdown", (event) => {
      if (event.button !== 0 || button.disabled) return;
      event.preventDefault();
      button.focus();
      button.setPointerCapture(event.pointerId);
      const what = ask();
      if (what) this.begin(button.id || "button", what);
    });
    for (const name of ["pointerup", "lostpointercapture", "pointercancel"]) button.addEventListener(name, () => this.release(name === "pointerup" ? "released" : "pointer"));
    button.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.repeat || button.disabled) { if (event.key === "Enter") event.preventDefault(); return; }
      event.preventDefault();
      const what = ask();
      if (what) this.begin(button.id || "button", what);
    });
    button.addEventListener("keyup", (event) => { if (event.key === "Enter") { event.preventDefault(); this.release(); } });
    button.addEventListener("blur", () => this.release("focus"));
    button.addEventListener("click", (event) => event.preventDefault());
  }
}
