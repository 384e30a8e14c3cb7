// What the page knows. Documents come from the server; the page keeps only what it looks at.
import { along, sub, unit } from "./lib/vec.js";

/** Telemetry of a moving arm older than this is stale; of an idle arm (10 Hz over a WAN) later. ms */
const STALE_ACTIVE = 300, STALE_IDLE = 1000, STALE_SERVER = 250;

export class Store {
  constructor() {
    this.me = { name: "", role: "viewer" };
    this.link = { up: false };
    this.frame = null; this.frameAt = 0;
    this.cases = []; this.desk = null; this.local = null; // local: a screw being dragged, before the server's answer
    this.room = { persons: [], drawings: [], chat: [], proposals: [], look: {} };
    this.events = [];
    this.siteName = ""; this.screwId = "";
    this.cross = [0, 0, 0]; this.window = "bone"; this.depth = 12; this.zoom = 1;
    this.view = "plan";
    this.follow = false;
    this.history = {}; // site -> loop ages for the sparkline
  }
  get sites() { return this.frame?.sites ?? {}; }
  get site() { return this.sites[this.siteName] ?? null; }
  /** Age of what the page shows of a site, ms: at composition plus the time since. */
  age(site = this.site) {
    if (!site || site.age_ms === null || site.age_ms === undefined) return Infinity;
    return site.age_ms + (performance.timeOrigin + performance.now() - this.frameAt);
  }
  serverAge() { return this.frame ? performance.timeOrigin + performance.now() - this.frameAt : Infinity; }
  stale(site = this.site) {
    if (!this.link.up || this.serverAge() > STALE_SERVER) return true;
    const moving = ["ACTIVE", "DEGRADED"].includes(site?.gov?.state) || ["moving", "stopping"].includes(site?.arm?.drive);
    return this.age(site) > (moving ? STALE_ACTIVE : STALE_IDLE);
  }
  get screws() {
    const screws = this.desk?.screws ?? [];
    return this.local ? screws.map((s) => (s.id === this.local.id ? { ...s, ...this.local } : s)) : screws;
  }
  get screw() { return this.screws.find((s) => s.id === this.screwId) ?? null; }
  axis(screw = this.screw) { return screw?.entry_lps_mm ? { entry: screw.entry_lps_mm, tip: screw.tip_lps_mm } : null; }
  /** Look at a screw: the crosshair goes to its pedicle, about a third along. */
  select(id) {
    this.screwId = id;
    const screw = this.screw;
    if (screw?.entry_lps_mm) this.cross = along(screw.entry_lps_mm, unit(sub(screw.tip_lps_mm, screw.entry_lps_mm)), screw.length_mm * 0.4);
  }
  alarms() {
    const out = [];
    for (const [name, site] of Object.entries(this.sites)) for (const alarm of site.gov?.alarms ?? []) out.push({ ...alarm, priority: String(alarm.priority).toLowerCase(), site: name, key: `${name}/${alarm.id}` });
    if (!this.link.up && this.me.name) out.push({ id: "console_server", key: "console/server", site: "", priority: "high", text: "The console server does not answer", what_to_do: "Nothing can be commanded from here. The arm stops by itself; the bedside has control. Wait, or start the server again." });
    const rank = { high: 0, medium: 1, low: 2 };
    return out.sort((a, b) => rank[a.priority] - rank[b.priority]);
  }
}

/** Guide axis in patient millimetres as the robot's own state says: {tip, axis}, or null without a registration. */
export function liveTool(site, pose = site?.arm?.pose) {
  const m = site?.case?.lps_T_base_mm;
  if (!m || !pose) return null;
  const [x, y, z, qx, qy, qz, qw] = pose;
  const turn = (v) => [m[0] * v[0] + m[1] * v[1] + m[2] * v[2], m[4] * v[0] + m[5] * v[1] + m[6] * v[2], m[8] * v[0] + m[9] * v[1] + m[10] * v[2]];
  const p = turn([x * 1000, y * 1000, z * 1000]);
  const axis = [2 * (qx * qz + qw * qy), 2 * (qy * qz - qw * qx), 1 - 2 * (qx * qx + qy * qy)];
  return { tip: [p[0] + m[3], p[1] + m[7], p[2] + m[11]], axis: unit(turn(axis)) };
}
