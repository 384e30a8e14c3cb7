// The panel under the space: events, the decision at the cursor with its inputs, values, notes.
import { element, clock, STATES } from "./words.js";
import { get, post } from "./api.js";

export class Inspector {
  constructor(app) {
    this.app = app;
    this.panel = document.querySelector("#panel");
    this.kinds = { state: true, alarm: true, case: true, gap: true, close: true };
    const tabs = document.querySelector("#tabs");
    this.tabs = ["Events", "Decision", "Values", "Notes"].map((name) => {
      const tab = element("button", { role: "tab", text: name, onclick: () => this.choose(name) });
      tabs.append(tab);
      return tab;
    });
    this.choose("Events");
  }

  choose(name) {
    this.tab = name;
    for (const tab of this.tabs) tab.setAttribute("aria-selected", String(tab.textContent === name));
    this.panel.replaceChildren();
    this.list = null;
    if (name === "Events") this.events();
    if (name === "Notes") this.notes();
    this.app.refresh();
  }

  // Events
  events() {
    const filters = element("div", { class: "filters" });
    for (const kind of Object.keys(this.kinds)) {
      const box = element("input", { type: "checkbox", onchange: (e) => { this.kinds[kind] = e.target.checked; this.choose("Events"); } });
      box.checked = this.kinds[kind];
      filters.append(element("label", {}, box, ` ${kind}`));
    }
    const list = element("ul", { class: "events" });
    this.rows = this.app.events.filter((e) => this.kinds[e.what] ?? true).slice(0, 5000).map((e) => {
      const level = e.what === "alarm" ? (e.phase === "exit" ? "" : e.priority) : e.what === "state" ? "state" : e.ok === false || e.what === "gap" ? "bad" : "";
      const row = element("li", { "data-level": level, tabindex: "0", title: e.todo || "", onclick: () => this.app.seek(e.t, true) },
        element("time", { text: clock(e.t, 2) }), element("small", { text: e.site }),
        element("span", { text: e.what === "alarm" ? `${e.priority} ${e.phase}: ${e.text}` : e.text }));
      row.style.setProperty("--c", STATES[e.state] ?? "");
      row.addEventListener("keydown", (k) => { if (k.key === "Enter") this.app.seek(e.t, true); });
      list.append(row);
      return [e.t, row];
    });
    this.list = list; this.passed = 0; this.current = null;
    this.panel.append(filters, list);
    if (!this.rows.length) this.panel.append(element("p", { class: "dim", text: "nothing of these kinds in the logs" }));
  }

  mark(t, scroll) {
    if (!this.list) return;
    // Only the rows between the last place and this one change: a long session has thousands.
    let low = 0, high = this.rows.length;
    while (low < high) { const middle = (low + high) >> 1; if (this.rows[middle][0] <= t + 1e-6) low = middle + 1; else high = middle; }
    for (let k = Math.min(low, this.passed); k < Math.max(low, this.passed); k++) this.rows[k][1].classList.toggle("past", k < low);
    this.passed = low;
    const current = low ? this.rows[low - 1][1] : null;
    if (current !== this.current) { this.current?.classList.remove("current"); current?.classList.add("current"); this.current = current; }
    if (scroll && current) this.panel.scrollTop = current.offsetTop - this.panel.clientHeight / 2 - this.panel.offsetTop;
  }

  // Decision
  decision(d) {
    if (this.tab !== "Decision") return;
    this.panel.replaceChildren();
    if (!d) { this.panel.append(element("p", { class: "dim", text: "no decision of the governor here" })); return; }
    this.panel.append(
      element("p", {}, element("b", { text: `step ${d.n}: ${d.kind}` }), ` at ${clock(d.t, 6)}, state ${d.state}, record ${d.record} of the file`),
      element("h3", { text: "Inputs" }), values(d.input),
      element("h3", { text: `Outputs (${d.outputs.length})` }),
      ...(d.outputs.length ? d.outputs.map((o) => element("div", {}, element("b", { text: o.kind }), values(Object.fromEntries(Object.entries(o).filter(([k]) => k !== "kind"))))) : [element("p", { class: "dim", text: "nothing: the decision was to change nothing" })]),
    );
  }

  // Values
  values(m) {
    if (this.tab !== "Values") return;
    this.panel.replaceChildren();
    for (const [title, block] of [["Governor", m["governor/status"]], ["Last change", m.change], ["Arm", m.arm_state]]) {
      if (block) this.panel.append(element("h3", { text: title }), values(block));
    }
    if (!m.arm_state && !m["governor/status"] && !m.change) this.panel.append(element("p", { class: "dim", text: "nothing recorded near this instant" }));
  }

  // Notes
  async notes() {
    const text = element("textarea", { placeholder: "What a second reader should look at here", "aria-label": "Note" });
    const author = element("input", { value: this.app.session.reviewer, placeholder: "Your name", "aria-label": "Author" });
    const send = element("button", { class: "primary", text: "Add a signed note at the cursor", type: "submit" });
    const list = element("div", { id: "note-list" });
    const show = (notes) => list.replaceChildren(...notes.map((n) => element("div", { class: n.good ? "note" : "note bad", onclick: () => this.app.seek(n.t, true) },
      element("b", { text: `${clock(n.t, 2)} ${this.app.session.logs[n.log].site}  ` }), n.text,
      element("div", { class: "dim", text: `${n.author}, ${n.good ? "signature holds" : "CHANGED, MOVED OR FORGED: do not rely on it"}` }))));
    const form = element("form", { onsubmit: async (e) => {
      e.preventDefault();
      try { show(await post("/api/notes", { log: this.app.site, t: this.app.t, text: text.value, author: author.value })); text.value = ""; this.app.say("note added beside the log; the log itself is not touched"); }
      catch (error) { this.app.say(error.message, true); }
    } }, text, author, send);
    this.panel.replaceChildren(form, list);
    try { show(await get("/api/notes")); } catch (error) { this.app.say(error.message, true); }
  }
}

function values(object) {
  const list = element("dl", { class: "values" });
  if (object === null || typeof object !== "object") { list.append(element("dt", { text: "" }), element("dd", { text: String(object) })); return list; }
  for (const [name, value] of Object.entries(object)) {
    if (name === "schema_version" || name === "header") continue;
    list.append(element("dt", { text: name }), element("dd", {}, typeof value === "object" && value !== null && !Array.isArray(value) ? values(value) : form(name, value)));
  }
  return list;
}

function form(name, value) {
  if (Array.isArray(value)) return value.length > 24 ? `${value.length} values: ${value.slice(0, 6).map((v) => form("", v)).join(", ")} …` : value.map((v) => (typeof v === "object" ? JSON.stringify(v) : form("", v))).join(", ");
  if (typeof value === "number") {
    if (name.endsWith("_ns")) return `${(value / 1e6).toFixed(3)} ms`;
    return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(7)));
  }
  return value === "" ? "–" : String(value);
}
