// The time line: an overview of the whole session with the chosen range, and below it the range itself. For each site a
// ribbon of states, a ribbon of holders, and ticks for alarms and steps of the case.
import { STATES, PRIORITY, holderColour, clock } from "./words.js";

const LEFT = 76, ROW = 13, GAP = 3, AXIS = 17;

export class Ribbons {
  constructor(canvas, logs, { overview, onSeek, onRange }) {
    Object.assign(this, { canvas, logs, overview, onSeek, onRange });
    this.range = [0, 1]; this.view = [0, 1]; this.t = 0;
    this.rows = overview ? 1 : 3;
    canvas.style.height = `${this.height()}px`;
    canvas.addEventListener("pointerdown", (e) => this.down(e));
    canvas.addEventListener("dblclick", () => this.onRange(null));
  }

  height() { return this.logs.length * (this.rows * (ROW + GAP) + GAP) + AXIS; }
  x(t) { return LEFT + ((t - this.view[0]) / (this.view[1] - this.view[0])) * (this.width - LEFT - 8); }
  time(x) { return this.view[0] + ((x - LEFT) / (this.width - LEFT - 8)) * (this.view[1] - this.view[0]); }

  down(event) {
    const start = event.offsetX;
    let end = start;
    this.canvas.setPointerCapture(event.pointerId);
    const move = (e) => { end = e.offsetX; this.drag = Math.abs(end - start) > 4 ? [this.time(start), this.time(end)] : null; this.draw(); };
    const up = () => {
      this.canvas.removeEventListener("pointermove", move);
      this.drag = null;
      if (Math.abs(end - start) > 4) this.onRange([this.time(Math.min(start, end)), this.time(Math.max(start, end))]);
      else this.onSeek(this.time(start));
    };
    this.canvas.addEventListener("pointermove", move);
    this.canvas.addEventListener("pointerup", up, { once: true });
  }

  draw() {
    const ratio = devicePixelRatio || 1;
    this.width = this.canvas.clientWidth;
    const height = this.height();
    if (this.canvas.width !== Math.round(this.width * ratio) || this.canvas.height !== Math.round(height * ratio)) {
      this.canvas.width = Math.round(this.width * ratio); this.canvas.height = Math.round(height * ratio);
    }
    // All but the cursor stays as it is while one scrubs: drawn once, then copied.
    const key = JSON.stringify([this.canvas.width, this.canvas.height, this.view, this.overview ? this.range : 0, this.drag ?? 0]);
    if (key !== this.key) {
      this.key = key;
      this.still ??= document.createElement("canvas");
      this.still.width = this.canvas.width; this.still.height = this.canvas.height;
      const g = this.still.getContext("2d");
      g.setTransform(ratio, 0, 0, ratio, 0, 0);
      this.drawStill(g, height);
    }
    const g = this.canvas.getContext("2d");
    g.setTransform(1, 0, 0, 1, 0, 0);
    g.clearRect(0, 0, this.canvas.width, this.canvas.height);
    g.drawImage(this.still, 0, 0);
    g.setTransform(ratio, 0, 0, ratio, 0, 0);
    const x = this.x(this.t);
    if (x >= LEFT && x <= this.width) { g.fillStyle = "#ffd166"; g.fillRect(x - 0.75, 0, 1.5, height); }
  }

  drawStill(g, height) {
    g.font = "11px Inter, system-ui, sans-serif"; g.textBaseline = "middle";
    let y = GAP;
    for (const log of this.logs) {
      g.fillStyle = "#9fb2c4"; g.textAlign = "left";
      g.fillText(log.site, 8, y + ROW / 2);
      this.ribbon(g, y, log, (c) => STATES[c.state] ?? STATES[""], (c) => c.state);
      if (this.overview) this.alarms(g, y, log, true);
      y += ROW + GAP;
      if (!this.overview) {
        g.fillStyle = "#9fb2c4"; g.textAlign = "left"; g.fillText("holder", 8, y + ROW / 2);
        this.ribbon(g, y, log, (c) => holderColour(c.holder_name || c.holder), (c) => c.holder_name || c.holder);
        y += ROW + GAP;
        g.fillStyle = "#9fb2c4"; g.textAlign = "left"; g.fillText("events", 8, y + ROW / 2);
        this.alarms(g, y, log, false);
        y += ROW + GAP;
      }
      y += GAP;
    }
    this.axis(g, y - GAP);
    if (this.overview) this.window(g, height);
    if (this.drag) { g.fillStyle = "#ffd16640"; g.fillRect(this.x(this.drag[0]), 0, this.x(this.drag[1]) - this.x(this.drag[0]), height); }
  }

  ribbon(g, y, log, colour, word) {
    const end = Math.min(log.end, this.view[1]);
    g.fillStyle = "#151d27"; g.fillRect(LEFT, y, this.width - LEFT - 8, ROW);
    log.changes.forEach((c, k) => {
      const a = Math.max(this.x(c.t), LEFT), b = Math.min(this.x(k + 1 < log.changes.length ? log.changes[k + 1].t : end), this.width - 8);
      if (b < LEFT || a > this.width - 8 || b <= a - 1) return;
      g.fillStyle = colour(c);
      g.fillRect(a, y, Math.max(b - a, 1), ROW);
      const text = word(c);
      if (text && b - a > g.measureText(text).width + 8) {
        g.fillStyle = "#06110b"; g.textAlign = "left"; g.fillText(text, a + 4, y + ROW / 2 + 0.5);
      }
    });
  }

  alarms(g, y, log, low) {
    for (const e of log.events) {
      const x = this.x(e.t);
      if (x < LEFT || x > this.width - 8) continue;
      if (e.what === "alarm" && e.phase === "enter") { g.fillStyle = PRIORITY[e.priority]; g.fillRect(x - 1, low ? y + ROW - 4 : y, 2.5, low ? 4 : ROW); }
      else if (low) continue;
      else if (e.what === "gap") { g.fillStyle = "#ff3d6e"; g.fillRect(x - 1.5, y, 4, ROW); }
      else if (e.what === "case") {
        g.fillStyle = e.ok === false ? "#ff6b6b" : "#cfe3f3";
        g.beginPath(); g.moveTo(x, y + 2); g.lineTo(x + 4, y + ROW / 2); g.lineTo(x, y + ROW - 2); g.lineTo(x - 4, y + ROW / 2); g.fill();
      }
    }
  }

  axis(g, y) {
    const span = this.view[1] - this.view[0];
    const step = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600].find((s) => span / s < this.width / 95) ?? 7200;
    g.fillStyle = "#9fb2c4"; g.textAlign = "center"; g.strokeStyle = "#263342";
    for (let t = Math.ceil(this.view[0] / step) * step; t <= this.view[1] + 1e-9; t += step) {
      const x = this.x(t);
      if (x < LEFT + 14 || x > this.width - 22) continue;
      g.fillText(clock(t, step < 0.01 ? 3 : step < 1 ? 2 : 0), x, y + AXIS / 2 + 1);
    }
  }

  window(g, height) {
    const a = this.x(this.range[0]), b = this.x(this.range[1]);
    g.fillStyle = "#0a0e13a0";
    g.fillRect(LEFT, 0, Math.max(0, a - LEFT), height - AXIS); g.fillRect(b, 0, Math.max(0, this.width - 8 - b), height - AXIS);
    g.strokeStyle = "#ffd166"; g.lineWidth = 1; g.strokeRect(a + 0.5, 0.5, Math.max(2, b - a - 1), height - AXIS - 1);
  }
}
