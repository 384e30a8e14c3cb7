// The last child of its dialog, so that it is not what Enter or a pad's A finds first. STOP inside a dialog: while one is open a browser gives the pointer to nothing behind it, not even to STOP in its corner.
import { h } from "../lib/dom.js";

export function stopButton(app) {
  const button = h("button", { class: "dialog-stop", type: "button", t: "STOP" });
  button.addEventListener("pointerdown", (event) => { event.preventDefault(); app.stop("button"); });
  button.addEventListener("click", (event) => { if (event.detail === 0) app.stop("button"); });
  return button;
}
