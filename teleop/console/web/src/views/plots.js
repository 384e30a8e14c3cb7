// Small plots on canvas: Hounsfield profile, loop age, deviation.

function begin(canvas) {
  const ratio = Math.min(2, devicePixelRatio || 1), w = canvas.clientWidth || canvas.width, h = canvas.clientHeight || canvas.height;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) { canvas.width = Math.round(w * ratio); canvas.height = Math.round(h * ratio); }
  const c = canvas.getContext("2d");
  c.setTransform(ratio, 0, 0, ratio, 0, 0); c.clearRect(0, 0, w, h);
  c.font = "11px system-ui, sans-serif";
  return { c, w, h };
}

/** HU along the screw: [[mm, HU], ...]; dashed lines at 130 and 250 as Slicer's planner has them. */
export function drawProfile(canvas, profile, length) {
  const key = JSON.stringify([profile, canvas.clientWidth]);
  if (canvas.__key === key) return;
  canvas.__key = key;
  const { c, w, h } = begin(canvas), left = 34, bottom = 16, top = 1500;
  const x = (mm) => left + (mm / Math.max(1, length)) * (w - left - 6), y = (hu) => 4 + (1 - Math.max(-200, Math.min(top, hu)) / top) * (h - bottom - 4);
  c.strokeStyle = "#3a4958"; c.strokeRect(left, 4, w - left - 6, h - bottom - 4);
  for (const [hu, colour] of [[130, "#ff8f6b"], [250, "#ffd166"]]) { c.setLineDash([4, 4]); c.strokeStyle = colour; c.beginPath(); c.moveTo(left, y(hu)); c.lineTo(w - 6, y(hu)); c.stroke(); c.setLineDash([]); c.fillStyle = colour; c.textAlign = "right"; c.fillText(String(hu), left - 3, y(hu) + 4); }
  c.fillStyle = "#9fb0bf"; c.fillText("1500", left - 3, 12); c.textAlign = "center"; c.fillText(`${length.toFixed(0)} mm`, w - 22, h - 4); c.fillText("0", left + 2, h - 4);
  if (profile.length < 2) return;
  c.strokeStyle = "#e8eef4"; c.lineWidth = 1.5; c.beginPath();
  profile.forEach(([mm, hu], i) => (i ? c.lineTo(x(mm), y(hu)) : c.moveTo(x(mm), y(hu)))); c.stroke();
}

/** Rolling values with one or two limit lines: values [{at (ms), v}], newest last. */
export function drawRolling(canvas, values, { span = 20000, top, limits = [], unit = "", colour = "#4cc9f0" }) {
  const { c, w, h } = begin(canvas), now = performance.now(), left = 4;
  const max = top ?? Math.max(1e-9, ...values.map((p) => p.v), ...limits) * 1.2;
  const x = (at) => w - ((now - at) / span) * (w - left), y = (v) => h - 3 - (Math.min(v, max) / max) * (h - 8);
  for (const limit of limits) { c.setLineDash([4, 4]); c.strokeStyle = "#ffb020"; c.beginPath(); c.moveTo(0, y(limit)); c.lineTo(w, y(limit)); c.stroke(); c.setLineDash([]); c.fillStyle = "#ffb020"; c.textAlign = "left"; c.fillText(`${limit} ${unit}`, 4, y(limit) - 3); }
  c.strokeStyle = colour; c.lineWidth = 1.5; c.beginPath();
  let pen = false;
  for (const p of values) { if (p.v === null || now - p.at > span) { pen = false; continue; } pen ? c.lineTo(x(p.at), y(p.v)) : c.moveTo(x(p.at), y(p.v)); pen = true; }
  c.stroke();
}
