// A gamepad where nothing moves: the cross walks through what can be used, X uses it, the triggers change the view, Y the hospital.
// Only while the shoulder is not held, so that steering never clicks.

const USABLE = "button, select, summary, input, [tabindex='0'], a[href]";

/** What can have the focus in `root` now, in reading order. */
export function usable(root) {
  // checkVisibility: what lies in a closed <details> has a box and yet cannot have the focus
  return [...root.querySelectorAll(USABLE)].filter((el) => !el.disabled && el.tabIndex >= 0 && el.getClientRects().length && el.checkVisibility({ visibilityProperty: true }) && !el.closest("[inert]"));
}

/** Move the focus by `by` from where it is, round the end. */
export function walk(by, doc = document) {
  const root = doc.querySelector("dialog[open]") ?? doc.body, list = usable(root);
  if (!list.length) return null;
  const at = list.indexOf(doc.activeElement), first = at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length;
  // what refuses the focus is passed over, or the walk would end before it for good
  for (let n = 0; n < list.length; n++) {
    const next = list[(first + n * by + list.length * list.length) % list.length];
    next.focus();
    if (doc.activeElement === next) { next.scrollIntoView({ block: "nearest" }); return next; }
  }
  return null;
}

/** Use what has the focus: click it; a list goes on by one. */
export function use(doc = document) {
  const el = doc.activeElement;
  if (!el || el === doc.body) return false;
  if (el.getAttribute("role") === "listbox") el.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true, cancelable: true }));
  else if (el.tagName === "SELECT") { el.selectedIndex = (el.selectedIndex + 1) % el.options.length; el.dispatchEvent(new Event("change", { bubbles: true })); } else el.click();
  return true;
}
