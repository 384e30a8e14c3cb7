// Alarm sounds after the pulse patterns of IEC 60601-1-8 (10 pulses high, 3 medium, 2 low). Paused for two minutes, never off.

const PATTERN = {
  high: { pulses: [0, 0.22, 0.44, 0.8, 1.02, 1.6, 1.82, 2.04, 2.4, 2.62], hz: 880, every: 5 },
  medium: { pulses: [0, 0.35, 0.7], hz: 660, every: 9 },
  low: { pulses: [0, 0.4], hz: 520, every: 22 },
};
const PAUSE_S = 120;

export class Sound {
  constructor() { this.context = null; this.last = 0; this.pausedUntil = 0; this.known = ""; this.beeps = 0; }
  /** A browser gives sound only after a touch or a key. */
  unlock() { try { this.context ??= new AudioContext(); this.context.resume(); } catch { this.context = null; } }
  get available() { return this.context?.state === "running"; }
  get pauseLeft() { return Math.max(0, Math.ceil((this.pausedUntil - performance.now()) / 1000)); }
  pause() { this.pausedUntil = performance.now() + PAUSE_S * 1000; }
  /** Call often with the active alarms; a new high alarm ends the pause. */
  tick(alarms) {
    const active = alarms.filter((a) => !a.acked);
    const top = ["high", "medium", "low"].find((p) => active.some((a) => a.priority === p));
    const ids = active.filter((a) => a.priority === "high").map((a) => a.id).sort().join();
    if (ids && ids !== this.known && !this.known.includes(ids)) { this.pausedUntil = 0; this.last = 0; }
    this.known = ids;
    if (!top || this.pauseLeft) return;
    const now = performance.now() / 1000, pattern = PATTERN[top];
    if (now - this.last < pattern.every) return;
    this.last = now; this.beeps++;
    if (!this.available) return;
    for (const at of pattern.pulses) {
      const start = this.context.currentTime + at, tone = this.context.createOscillator(), level = this.context.createGain();
      tone.frequency.value = pattern.hz; tone.type = "triangle";
      level.gain.setValueAtTime(0, start); level.gain.linearRampToValueAtTime(0.2, start + 0.02);
      level.gain.setValueAtTime(0.2, start + 0.13); level.gain.linearRampToValueAtTime(0, start + 0.16);
      tone.connect(level).connect(this.context.destination);
      tone.start(start); tone.stop(start + 0.18);
    }
  }
}
