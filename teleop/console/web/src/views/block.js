// The six planes and the 3-D view, made once and moved between the views of the page.
import { h } from "../lib/dom.js";
import { t } from "../lib/i18n.js";
import { VIEWS } from "../image/planes.js";
import { SliceView } from "../image/slice_view.js";
import { SceneView } from "../scene/scene_view.js";

export class Block {
  constructor(app) {
    this.app = app;
    this.slices = Object.fromEntries(VIEWS.map((view) => [view, new SliceView(app, view)]));
    this.scene = new SceneView(app);
    for (const view of Object.values(this.slices)) app.images.views.set(view.view, view);
    this.grid = h("div", { class: "grid" }, ...VIEWS.map((v) => this.slices[v].root));
    this.message = h("div", { class: "grid-message", hidden: true, role: "status" });
    this.grid.append(this.message);
  }
  /** layout "six": 3 x 2 planes; "live": two along-screw planes, probe's eye and the 3-D view; "six+scene". */
  mount(parent, layout) {
    this.layout = layout;
    this.grid.dataset.layout = layout;
    parent.prepend(this.grid);
    for (const [view, slice] of Object.entries(this.slices)) slice.root.hidden = layout === "live" && ["axial", "sagittal", "coronal"].includes(view);
    if (layout !== "six") this.grid.append(this.scene.root);
    this.redraw(true);
  }
  redraw(images = false, coarse = false) {
    for (const slice of Object.values(this.slices)) { if (slice.root.hidden || !slice.root.isConnected) continue; if (images) slice.request(coarse); slice.draw(); }
    if (this.scene.root.isConnected) this.scene.draw();
  }
  update() {
    const { images, store } = this.app;
    const words = images.error ? `${t("The images cannot be shown")}: ${images.error}` : images.loading ? t("Loading images…") : !store.desk ? t("No case open. Open images to begin.") : "";
    this.message.hidden = !words || images.ready;
    if (this.message.textContent !== words) this.message.textContent = words;
  }
  setStale(words) { for (const slice of Object.values(this.slices)) slice.setStale(words); this.scene.setStale(words); }
}
