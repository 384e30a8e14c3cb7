// What comes next for a screw, decided from what the hospital says. Pure, so that a test can walk through a whole case.

/** Whether the arm is at the end of the stored path. */
export function arrived(site) {
  const path = site.case?.path, arm = site.arm ?? {};
  return !!path && sameHash(path.path_hash, arm.path_hash) && arm.s >= path.length_m - 2e-5;
}
/** Whether the arm neither is on the path nor stands at its begin (somebody moved it since): the governor would refuse the path as a jump. */
export function elsewhere(path, arm = {}) {
  return !sameHash(path.path_hash, arm.path_hash) && (path.start ?? []).some((q, i) => Math.abs(q - (arm.q?.[i] ?? q)) > PATH_START_RAD);
}
// safety/params.py: path_start_rad
const PATH_START_RAD = 0.02;
export const sameHash = (a, b) => !!a && !!b && a.length === b.length && a.length > 0 && [...a].every((v, i) => v === b[i]);

/**
 * {kind: "order", op, params, label} | {kind: "hold", mode, path, s_limit, label} | {kind: "wait", label} | {kind: "select"}
 * screw: the id that the surgeon picked.
 */
export function nextAction(site, screw) {
  const gov = site?.gov ?? {}, c = site?.case ?? {};
  const order = (op, label, params = {}) => ({ kind: "order", op, label, params });
  if (!site) return { kind: "wait", label: "Choose a hospital" };
  const missing = ["transferred", "registered", "time_out"].find((s) => !(c.done ?? []).includes(s));
  if (missing === "transferred") return { kind: "wait", label: "Approve the plan and send it to this hospital" };
  if (missing === "registered") return order("case.register", "Ask for registration");
  if (missing === "time_out") return { kind: "time_out", label: "Time-out: read back" };
  if (["STOP", "FAULT"].includes(gov.state)) return order("case.rearm", "Ask the bedside to re-arm", { why: gov.reason ?? "" });
  if (gov.state === "LOCAL") return { kind: "wait", label: "The bedside has the arm" };
  const blocked = (words) => (gov.blockers ?? []).some((b) => String(b).includes(words));
  if (blocked("line is not qualified")) return order("case.qualify", "Run the network test");
  if (!site.mine) return order("case.request_control", "Request control");
  // An acknowledged HOLD is left by a new press, not by the acknowledgement.
  if (gov.state === "HOLD" && !gov.acked) return order("ack", "Acknowledge");
  const drill = ["stop", "take_over"].find((d) => !gov.rehearsals?.[d]?.passed && (gov.rehearsal_on || blocked("rehearsal has not been passed")));
  if (drill) {
    if (!gov.rehearsal_on || c.path?.what !== "rehearsal" || arrived(site) || elsewhere(c.path, site.arm)) return order("case.rehearse", drill === "stop" ? "Open the stop rehearsal" : "Open the take-over rehearsal", { on: true });
    return { kind: "hold", mode: "rehearsal", path: c.path.path_hash, s_limit: c.path.length_m, label: drill === "stop" ? "Hold, then press STOP" : "Hold, the bedside takes over" };
  }
  if (gov.rehearsal_on) return order("case.rehearse", "Close the rehearsal", { on: false });
  const path = c.path, current = c.screw === screw && c.screw_step !== "none" && c.screw_step !== "";
  const busy = c.screw && c.screw !== screw && !["none", "selected", "placed", ""].includes(c.screw_step);
  if (busy) return { kind: "wait", label: "Finish or retreat from {screw} first", values: { screw: c.screw } };
  if ((c.placed ?? []).includes(screw) && c.screw !== screw) return { kind: "wait", label: "This screw is placed. Choose the next." };
  if (!current) return screw ? order("case.select", "Begin with {screw}", { screw }) : { kind: "wait", label: "Choose a screw" };
  if (path && path.screw === screw && path.what !== "rehearsal" && !arrived(site)) {
    if (elsewhere(path, site.arm)) return path.what === "correction" ? order("case.correct", "Measure and correct") : order("case.path", "Plan again from here", { kind: path.what });
    return { kind: "hold", mode: path.kind, path: path.path_hash, s_limit: path.length_m, label: { approach: "Hold to approach", advance: "Hold to advance", correction: "Hold to correct", retreat: "Hold to retreat" }[path.what] ?? "Hold to run" };
  }
  const last = c.last ?? {};
  switch (c.screw_step) {
    case "selected": return order("case.path", "Plan the approach", { kind: "approach" });
    case "approach": return c.breath_hold ? order("case.correct", "Measure and correct") : order("case.breath_hold", "Hold the breath", { on: true });
    case "stand_off": return last.on_line ? order("case.path", "Plan the advance", { kind: "advance" }) : order("case.correct", "Measure and correct");
    case "advance": return last.on_line && last.at === "advance" ? order("case.verify", "Verify the guide") : order("case.correct", "Measure and correct");
    case "verified": return order("case.confirm", "Ask the bedside to confirm");
    case "confirmed": return order("case.place", "Screw placed? Ask the bedside");
    case "placed": return c.breath_hold ? order("case.breath_hold", "Let breathe again", { on: false }) : path?.what === "retreat" && arrived(site) ? order("case.retreat", "Finish this screw") : order("case.path", "Plan the retreat", { kind: "retreat" });
    default: return { kind: "wait", label: "Wait" };
  }
}
