// Colours and forms shared by the views.
export const STATES = {
  INIT: "#4b5b6c", READY: "#2a7ea1", ACTIVE: "#2f9e5d", DEGRADED: "#b5801a", PAUSE: "#e0a13a", HOLD: "#ff8c1a",
  STOP: "#d90429", FAULT: "#ff3d6e", LOCAL: "#9467bd", "": "#1c2733",
};
const HOLDERS = ["#4cc9f0", "#f4a261", "#b5e48c", "#cdb4db", "#ffd166", "#80ed99"];
const seen = new Map();
export function holderColour(name) {
  if (!name) return "#1c2733";
  if (!seen.has(name)) seen.set(name, HOLDERS[seen.size % HOLDERS.length]);
  return seen.get(name);
}
export const PRIORITY = { HIGH: "#ff6b6b", MEDIUM: "#ffd400", LOW: "#5cd6e8" };

export function clock(seconds, digits = 3) {
  const sign = seconds < 0 ? "−" : "";
  const ms = Math.round(Math.abs(seconds) * 10 ** digits) / 10 ** digits;
  const h = Math.floor(ms / 3600), m = Math.floor((ms % 3600) / 60), s = (ms % 60).toFixed(digits);
  const two = (x) => String(x).padStart(2, "0");
  return `${sign}${h ? h + ":" : ""}${two(m)}:${s.padStart(digits ? digits + 3 : 2, "0")}`;
}
export const utc = (seconds) => new Date(seconds * 1000).toISOString().replace("T", " ").replace("Z", " UTC");

export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "text") node.textContent = value;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children) if (child != null) node.append(child);
  return node;
}
