// A few lines instead of a framework: make elements, and change only what changed.
import { t } from "./i18n.js";

/** Element: h("button", {class, onclick, title, ...attributes}, children). `props.t` is translated text, live with the language. */
export function h(tag, props = {}, ...children) {
  const el = tag === "svg" || props.svg ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(props)) {
    if (value === undefined || value === null || value === false || key === "svg") continue;
    if (key === "t") { el.dataset.t = value; el.textContent = t(value); }
    else if (key === "label") { el.dataset.tLabel = value; el.setAttribute("aria-label", t(value)); if (tag === "button") el.title = t(value); }
    else if (key.startsWith("on")) el.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "disabled") el[key] = value;
    else el.setAttribute(key, value === true ? "" : value);
  }
  el.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return el;
}
export const s = (tag, props = {}, ...children) => h(tag, { ...props, svg: true }, ...children);

export function text(el, value) { const words = value === null || value === undefined ? "" : String(value); if (el.textContent !== words) el.textContent = words; }
export function attr(el, name, value) {
  if (value === null || value === undefined || value === false) { if (el.hasAttribute(name)) el.removeAttribute(name); }
  else { const v = value === true ? "" : String(value); if (el.getAttribute(name) !== v) el.setAttribute(name, v); }
}
export function show(el, on) { if (el.hidden === !!on) el.hidden = !on; }
export function disable(el, off, why = "") { if (el.disabled !== !!off) el.disabled = !!off; if (el.title !== why && (off || el.dataset.why)) { el.title = off ? why : ""; el.dataset.why = off ? "1" : ""; } }
export function className(el, name, on) { el.classList.toggle(name, !!on); }

/** Rebuild the children of `el` with `make()` only when `key` changed. */
export function rebuild(el, key, make) {
  const words = typeof key === "string" ? key : JSON.stringify(key);
  if (el.__key === words) return false;
  el.__key = words;
  el.replaceChildren(...[make()].flat().filter(Boolean));
  return true;
}

/** Translate every element below `root` again (after the language changed). */
export function retranslate(root) {
  for (const el of root.querySelectorAll("[data-t]")) el.textContent = t(el.dataset.t);
  for (const el of root.querySelectorAll("[data-t-label]")) { el.setAttribute("aria-label", t(el.dataset.tLabel)); if (el.tagName === "BUTTON") el.title = t(el.dataset.tLabel); }
}
