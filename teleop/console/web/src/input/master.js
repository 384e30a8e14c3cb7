// The page's master devices while servo is shown: what each of them says now, 50 times a second in one message, as
// teleop/master/browser.py reads them. Whether the arm may move is decided elsewhere, twice: the page's deadman, and the hand at the server.

const PERIOD_MS = 20;

export class MasterPort {
  /** send({site, samples}); site(): the hospital whose servo is in use now, "" when it is not (another view, no focus, hidden). */
  constructor(send, site) {
    this.send = send; this.site = site;
    this.sources = {}; // kind -> () => {twist | pose, buttons} or null when it is not there
    this.seq = 0; this.there = new Set(); this.told = "";
    const bye = () => this.bye();
    for (const name of ["blur", "pagehide", "freeze", "offline"]) addEventListener(name, bye);
    document.addEventListener("visibilitychange", () => { if (document.hidden) bye(); });
    this.timer = setInterval(() => this.flush(), PERIOD_MS);
  }
  add(kind, read) { this.sources[kind] = read; }
  /** Say now what everything says: on the timer, and at once when a press begins or ends. */
  flush() {
    const site = this.site();
    if (!site || (this.told && site !== this.told)) this.bye();
    if (!site) return;
    this.told = site;
    const samples = [];
    for (const [kind, read] of Object.entries(this.sources)) {
      const state = read();
      if (state) { this.there.add(kind); samples.push({ kind, seq: ++this.seq, twist: state.twist ?? null, pose: state.pose ?? null, buttons: state.buttons }); }
      else if (this.there.delete(kind)) samples.push(this.goodbye(kind));
    }
    if (samples.length) this.send({ site, samples });
  }
  goodbye(kind) { return { kind, seq: ++this.seq, twist: null, pose: null, buttons: [], connected: false }; }
  bye() {
    if (this.told && this.there.size) this.send({ site: this.told, samples: [...this.there].map((kind) => this.goodbye(kind)) });
    this.there.clear(); this.told = "";
  }
  close() { clearInterval(this.timer); this.bye(); }
}
