// Plan: screw table, six planes, 3-D, numbers of the selected screw, alternatives, approve.
import { attr, className, disable, h, rebuild, show, text } from "../lib/dom.js";
import { getLanguage, t } from "../lib/i18n.js";
import { marginColour } from "../image/slice_view.js";
import { drawProfile } from "./plots.js";
import { openCaseDialog } from "./open_case.js";

const DIAMETERS = [4, 4.5, 5, 5.5, 6, 6.5, 7, 7.5, 8, 8.5], LENGTHS = [25, 30, 35, 40, 45, 50, 55, 60];
const MARGINS = [["medial", "Medial"], ["lateral", "Lateral"], ["cranial", "Cranial"], ["caudal", "Caudal"], ["canal", "Canal"], ["anterior", "Anterior"], ["facet", "Facet"]];

export function makePlan(app) {
  const { store } = app;
  const cases = h("select", { id: "case", label: "Case", onchange: () => app.openCase(cases.value) });
  const dialog = openCaseDialog(app);
  const table = h("div", { class: "screws", id: "screws", role: "listbox", label: "Screws", tabindex: "0" });
  const button = (id, words, onclick, cls = "") => h("button", { id, t: words, class: cls, onclick });
  const auto = button("auto", "Auto-plan", () => app.busy(auto, () => app.call("plan.auto", {})), "primary");
  const add = h("select", { id: "add", label: "Add", onchange: () => { const [level, side] = add.value.split("/"); add.value = ""; if (level) app.call("plan.add", { what: level === "needle" ? { kind: side, entry_lps_mm: app.entryGuess(), target_lps_mm: store.cross } : { level, side } }).then((id) => { app.select(id); }, app.fail); } });
  const undo = button("undo", "Undo", () => app.call("plan.undo", {}).catch(app.fail)), redo = button("redo", "Redo", () => app.call("plan.redo", {}).catch(app.fail));
  const windows = h("div", { class: "segmented", role: "group", label: "Window" }, ...[["bone", "Bone"], ["soft", "Soft tissue"], ["wide", "Wide"]].map(([id, name]) => h("button", { t: name, "data-window": id, onclick: () => { store.window = id; app.redraw(); } })));
  const depth = h("input", { type: "range", id: "depth", min: "-20", max: "70", step: "0.5", label: "Depth of the probe's eye", oninput: () => { store.depth = Number(depth.value); app.redraw(true); } });
  const depthWords = h("output", {});
  const zoom = h("input", { type: "range", id: "zoom", min: "-1", max: "2", step: "0.05", value: "0", label: "Zoom", oninput: () => { store.zoom = 2 ** Number(zoom.value); app.redraw(true); } });
  // right: the selected screw
  const name = h("h2", { id: "screw-name" }), grade = h("span", { class: "grade", id: "screw-grade" }), status = h("p", { class: "status", id: "screw-status" });
  const sizeD = h("select", { id: "diameter", label: "Diameter", onchange: () => app.edit({ do: "size", diameter_mm: Number(sizeD.value), length_mm: store.screw.length_mm }) }, ...DIAMETERS.map((d) => h("option", { value: String(d) }, d.toFixed(1))));
  const sizeL = h("select", { id: "length", label: "Length", onchange: () => app.edit({ do: "size", diameter_mm: store.screw.diameter_mm, length_mm: Number(sizeL.value) }) }, ...LENGTHS.map((d) => h("option", { value: String(d) }, String(d))));
  const numbers = h("dl", { class: "numbers", id: "numbers" }), margins = h("div", { class: "margins", id: "margins" });
  const profile = h("canvas", { class: "profile", id: "profile", role: "img", label: "Hounsfield units along the screw, with lines at 130 and 250", width: "340", height: "96" });
  const alternatives = h("div", { class: "alternatives", id: "alternatives" });
  const detail = h("section", { class: "detail" }, h("div", { class: "row head" }, name, grade), status,
    h("div", { class: "row size" }, h("label", {}, h("span", { t: "Diameter" }), sizeD), h("span", {}, "×"), h("label", {}, h("span", { t: "Length" }), sizeL), h("span", {}, "mm")),
    numbers, h("h3", { t: "Margins to cortex, mm" }), margins, h("h3", { t: "HU along the screw" }), profile, alternatives);
  const approval = h("section", { class: "approval", id: "approval" });
  const approve = h("button", { id: "approve", class: "primary big", t: "Approve and sign", onclick: () => app.busy(approve, () => app.call("plan.approve", { rev: store.desk.rev })) });
  const voidIt = h("button", { id: "void", t: "Withdraw approval", onclick: () => app.call("plan.void", {}).catch(app.fail) });
  const transfer = h("button", { id: "transfer", class: "primary", onclick: () => app.busy(transfer, () => app.call("plan.transfer", { site: store.desk.site || store.siteName })) });
  const left = h("aside", { class: "left" },
    h("div", { class: "row" }, cases, h("button", { id: "open", t: "Open…", onclick: () => dialog.showModal() })),
    h("div", { class: "row" }, auto, add), table,
    h("div", { class: "row" }, undo, redo, h("button", { id: "remove", t: "Remove", onclick: () => app.call("plan.remove", { screw: store.screwId }).catch(app.fail) })),
    h("div", { class: "approve" }, approval, approve, h("div", { class: "row" }, voidIt, transfer)));
  const exportBox = h("select", { id: "export", label: "Export", onchange: () => { const f = exportBox.value; exportBox.value = ""; if (f) app.export(f); } });
  const importInput = h("input", { type: "file", id: "import-file", accept: ".json,.fcsv,.ros", hidden: true, onchange: async () => { const file = importInput.files[0]; importInput.value = ""; if (file) app.call("plan.import", { name: file.name, data: new Uint8Array(await file.arrayBuffer()) }).then((n) => app.say(t("{n} screws imported and graded again", { n })), app.fail); } });
  const scenePlace = h("div", { class: "scene-place" });
  const right = h("aside", { class: "right" }, scenePlace, detail,
    h("div", { class: "row foot" }, exportBox, h("button", { id: "import", t: "Import…", onclick: () => importInput.click() }), importInput));
  const tools = h("div", { class: "toolbar" }, windows, h("label", { class: "slider" }, h("span", { t: "Depth" }), depth, depthWords), h("label", { class: "slider" }, h("span", { t: "Zoom" }), zoom),
    h("span", { class: "hint", t: "Drag handles to move the screw; arrows nudge 0.5 mm (Shift 0.1); wheel scrolls; Ctrl+wheel zooms; Shift+drag pans" }));
  const middle = h("div", { class: "middle" }, tools);
  const root = h("div", { class: "view plan" }, left, middle, right, dialog);

  table.addEventListener("keydown", (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!step || !store.screws.length) return;
    const i = store.screws.findIndex((s) => s.id === store.screwId);
    app.select(store.screws[(i + step + store.screws.length) % store.screws.length].id);
    event.preventDefault();
  });

  return {
    root,
    enter() { app.block.mount(middle, "six"); scenePlace.append(app.block.scene.root); app.block.redraw(true); },
    update() {
      const { desk, screw } = store, edit = app.canEdit();
      rebuild(cases, [store.cases, desk?.id, getLanguage()], () => [h("option", { value: "" }, t("Choose a case")), ...store.cases.map((c) => h("option", { value: c.id }, `${c.title}${c.approved ? " ✓" : ""}`))]);
      if (cases.value !== (desk?.id ?? "")) cases.value = desk?.id ?? "";
      rebuild(add, [desk?.image?.levels, getLanguage()], () => [h("option", { value: "" }, t("Add…")), ...(desk?.image?.levels ?? []).flatMap((l) => ["R", "L"].map((s) => h("option", { value: `${l}/${s}` }, `${l} ${s}`))), h("option", { value: "needle/needle" }, t("Needle to the crosshair")), h("option", { value: "needle/electrode" }, t("Electrode to the crosshair"))]);
      rebuild(table, [store.screws.map(rowKey), store.screwId, getLanguage(), store.site?.case?.placed, store.site?.case?.screw], () => screwRows(store.screws));
      for (const el of [auto, add, undo, redo, root.querySelector("#remove"), sizeD, sizeL, root.querySelector("#import")]) disable(el, !edit, t("Only the surgeon changes the plan"));
      if (edit) { disable(undo, !desk?.can_undo); disable(redo, !desk?.can_redo); disable(root.querySelector("#remove"), !screw); disable(auto, !desk); disable(add, !desk); }
      for (const el of windows.children) attr(el, "aria-pressed", el.dataset.window === store.window ? "true" : "false");
      if (Number(depth.value) !== store.depth) depth.value = String(store.depth);
      text(depthWords, `${store.depth.toFixed(1)} mm`);
      show(detail, !!screw);
      if (screw) updateScrew(screw);
      updateApproval(desk, edit);
      rebuild(exportBox, [getLanguage(), !!desk], () => [h("option", { value: "" }, t("Export…")), ...[["json", "plan.json"], ["slicer", "3D Slicer .mrk.json"], ["pdf", t("Plan sheet (PDF)")]].map(([v, n]) => h("option", { value: v }, n))]);
      disable(exportBox, !desk?.screws.length);
    },
  };

  function rowKey(s) { return [s.id, s.name, s.diameter_mm, s.length_mm, s.grade, s.status, s.min_clearance_mm]; }
  function screwRows(screws) {
    if (!screws.length) return [h("p", { class: "empty", t: store.desk ? "No screws yet. Auto-plan proposes one for every level and side." : "Open a case to plan." })];
    return [h("div", { class: "screw head", "aria-hidden": "true" }, h("span", { t: "Screw" }), h("span", {}, "⌀ × L"), h("span", { t: "Grade" }), h("span", { t: "Margin" })), ...screws.map((s) => {
      const selected = s.id === store.screwId, placed = store.site?.case?.placed?.includes(s.id);
      return h("div", { class: "screw", role: "option", "aria-selected": String(selected), "data-screw": s.id, onclick: () => app.select(s.id) },
        h("b", {}, s.name ?? s.id), h("span", { class: "mm" }, s.diameter_mm ? `${s.diameter_mm.toFixed(1)} × ${s.length_mm.toFixed(0)}` : "—"),
        h("span", { class: `letter grade-${s.grade ?? "none"}` }, s.grade ?? "–"),
        h("span", { class: "margin", "data-colour": marginColour(s) }, ["OK", "ok"].includes(s.status) ? `${s.min_clearance_mm === null || s.min_clearance_mm === undefined ? "–" : s.min_clearance_mm.toFixed(1)} mm` : t(s.status)),
        placed ? h("span", { class: "placed" }, `✓ ${t("placed")}`) : null);
    })];
  }
  function updateScrew(screw) {
    text(name, screw.name ?? screw.id);
    text(grade, screw.grade ? `${t("Grade")} ${screw.grade}` : t("not graded")); attr(grade, "data-grade", screw.grade ?? "");
    text(status, ["OK", "ok"].includes(screw.status) ? (screw.pending ? t("computing…") : "") : `${t(screw.status)}: ${(screw.reasons ?? []).join("; ")}`);
    show(status, status.textContent);
    if (document.activeElement !== sizeD) pick(sizeD, screw.diameter_mm, (v) => v.toFixed(1));
    if (document.activeElement !== sizeL) pick(sizeL, screw.length_mm, (v) => v.toFixed(0));
    const rows = [["Smallest margin", mm(screw.min_clearance_mm)], ["Chance of A", screw.p_grade_a === null || screw.p_grade_a === undefined ? "–" : `${(screw.p_grade_a * 100).toFixed(1)} %`], ["Transverse angle", deg(screw.tpa_deg)], ["Sagittal angle", deg(screw.spa_deg)], ["Mean HU", screw.hu_mean === undefined || screw.hu_mean === null ? "–" : screw.hu_mean.toFixed(0)]];
    rebuild(numbers, [rows, getLanguage()], () => rows.flatMap(([k, v]) => [h("dt", { t: k }), h("dd", {}, v)]));
    numbers.style.setProperty("--margin-colour", marginColour(screw));
    const m = screw.margins_mm ?? {};
    rebuild(margins, [m, getLanguage()], () => MARGINS.filter(([k]) => m[k] !== undefined && m[k] !== null).map(([k, label]) => {
      const need = { medial: 1.5, caudal: 1.5, canal: 1.5 }[k] ?? 1, bar = h("i", {});
      bar.style.width = `${Math.max(2, Math.min(100, (m[k] / 5) * 100))}%`;
      return h("div", { class: "bar", "data-level": m[k] >= need ? "ok" : m[k] > 0 ? "warn" : "bad" }, h("span", { t: label }), h("div", {}, bar), h("b", {}, m[k].toFixed(1)));
    }));
    drawProfile(profile, screw.hu_profile ?? [], screw.length_mm);
    rebuild(alternatives, [(screw.alternatives ?? []).map((a) => [a.diameter_mm, a.length_mm, a.min_clearance_mm]), getLanguage(), app.canEdit()], () => ((screw.alternatives ?? []).length ? [h("h3", { t: "Alternatives" }), ...screw.alternatives.map((a, i) => h("button", { "data-alternative": String(i), disabled: !app.canEdit(), onclick: () => app.call("plan.choose", { screw: screw.id, alternative: i }).catch(app.fail) }, `${a.diameter_mm.toFixed(1)} × ${a.length_mm.toFixed(0)} · ${a.min_clearance_mm.toFixed(1)} mm${a.note ? ` · ${t(a.note)}` : ""}`))] : []));
  }
  function updateApproval(desk, edit) {
    const a = desk?.approval, v = desk?.voided;
    attr(approval, "data-state", a ? "approved" : v ? "void" : "draft");
    text(approval, !desk ? "" : a ? `${t("APPROVED")} · ${a.who} · ${time(a.when)} · ${a.hash.slice(0, 12)}${desk.transferred ? ` · ${t("at")} ${store.sites[desk.transferred.site]?.title ?? desk.transferred.site}` : ""}` : v ? `${t("APPROVAL VOID")}: ${t(v.why)} (${v.who}, ${time(v.when)})` : t("DRAFT, not approved"));
    show(approve, edit && !a); disable(approve, !desk?.screws.length || app.pending, t("Nothing to approve yet"));
    show(voidIt, edit && a); show(transfer, edit && a && !desk.transferred && Object.keys(store.sites).length);
    text(transfer, `${t("Send to")} ${store.sites[desk?.site || store.siteName]?.title ?? "–"}`);
    className(root, "approved", a);
  }
}
function pick(select, value, words) {
  const v = String(value);
  if (![...select.options].some((o) => o.value === v)) { select.querySelector("[data-odd]")?.remove(); select.append(h("option", { value: v, "data-odd": true }, words(value))); }
  if (select.value !== v) select.value = v;
}
const mm = (v) => (v === null || v === undefined ? "–" : `${v.toFixed(2)} mm`);
const deg = (v) => (v === null || v === undefined ? "–" : `${v.toFixed(1)}°`);
const time = (s) => new Date(s * 1000).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });
