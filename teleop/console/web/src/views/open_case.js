// The dialog that opens images: series of the hospitals, phantoms, uploads of a DICOM folder, a zip, or NIfTI with labels.
import { stopButton } from "./stop_button.js";
import { h, text } from "../lib/dom.js";
import { t } from "../lib/i18n.js";

export function openCaseDialog(app) {
  const list = h("div", { class: "sources", id: "sources" }), status = h("p", { role: "status", id: "open-status" }), bar = h("progress", { max: "1", value: "0", hidden: true, label: "Upload" });
  const folder = h("input", { type: "file", id: "upload-folder", webkitdirectory: true, multiple: true, hidden: true, onchange: () => upload([...folder.files]) });
  const files = h("input", { type: "file", id: "upload-files", multiple: true, accept: ".zip,.nii,.gz,.dcm", hidden: true, onchange: () => upload([...files.files]) });
  const dialog = h("dialog", { id: "open-dialog", label: "Open images" },
    h("h2", { t: "Open images" }), h("p", { class: "hint", t: "Images are de-identified when they are read: no names, no dates, no file names are kept." }),
    list, h("div", { class: "row" }, h("button", { t: "DICOM folder…", onclick: () => folder.click() }), h("button", { t: "Zip or NIfTI files…", onclick: () => files.click() }), folder, files),
    bar, status, h("div", { class: "row end" }, h("button", { t: "Close", onclick: () => dialog.close() })), stopButton(app));
  const show = dialog.showModal.bind(dialog);
  dialog.showModal = () => {
    text(status, ""); show();
    app.call("cases.sources").then((sources) => list.replaceChildren(...sources.map((s) => h("button", { class: "source", "data-source": s.id ?? s.title, onclick: () => open(s) }, h("b", {}, s.title), h("span", {}, t(s.note ?? ""))))), app.fail);
  };
  async function open(source) {
    text(status, t("Reading images…"));
    try { const id = await app.call("cases.open", { source }); dialog.close(); app.openCase(id); } catch (error) { text(status, error.message); }
  }
  async function upload(chosen) {
    if (!chosen.length) return;
    bar.hidden = false; bar.value = 0; text(status, t("Uploading…"));
    try {
      const begin = await reply(await app.net.fetch("/uploads", { method: "POST" }));
      for (const [i, file] of chosen.entries()) {
        await reply(await app.net.fetch(`/uploads/${begin.id}`, { method: "PUT", body: file, headers: { "x-file-name": kind(file.name) } }));
        bar.value = (i + 1) / chosen.length;
      }
      const done = await reply(await app.net.fetch(`/uploads/${begin.id}/finish`, { method: "POST" }));
      await open(done.source);
    } catch (error) { text(status, error.message === "Failed to fetch" ? t("The server refused the upload: it is too large.") : error.message); } finally { bar.hidden = true; folder.value = files.value = ""; }
  }
  return dialog;
}
/** What the server needs of a file's name: its kind. The name itself may be a patient's and stays here. */
function kind(name) {
  const low = name.toLowerCase(), end = low.endsWith(".nii.gz") ? ".nii.gz" : (/\.[a-z0-9]{1,4}$/.exec(low)?.[0] ?? "");
  return (/label|seg|vert|mask/.test(low) ? "labels" : "image") + end;
}
async function reply(answer) { const body = await answer.json(); if (!answer.ok) throw new Error(body.error); return body; }
