// The recorded pictures of the cursor's moment, beside the 3-D view: the newest of each stream then, and whether the log vouches for it.
import { get, newest } from "./api.js";

const NAMES = { room: "Room", guide: "Guide", ultrasound: "Ultrasound" };

export class Pictures {
  constructor(root) {
    this.root = root; this.tiles = {}; this.none = false;
    this.load = newest(async (log, t) => {
      if (this.none === log) return;
      const { streams, note } = await get(`/api/log/${log}/pictures?t=${t}`);
      if (note) this.none = log; // nothing was recorded with this log: do not ask again
      await this.show(streams, t);
    });
  }
  async show(streams, t) {
    this.root.hidden = !Object.keys(streams).length;
    for (const [stream, picture] of Object.entries(streams)) {
      const tile = (this.tiles[stream] ??= this.tile(stream));
      tile.root.dataset.id = picture.id ?? "";
      if (picture.error) { tile.words.textContent = picture.error; continue; }
      const raw = Uint8Array.from(atob(picture.jpeg), (c) => c.charCodeAt(0)), image = await createImageBitmap(new Blob([raw], { type: "image/jpeg" }));
      tile.canvas.width = image.width; tile.canvas.height = image.height;
      tile.canvas.getContext("2d").drawImage(image, 0, 0);
      tile.words.textContent = `${NAMES[stream] ?? stream} · ${picture.age_ms.toFixed(0)} ms before the cursor${picture.logged ? "" : " · NOT IN THE LOG"}`;
      tile.root.dataset.t = picture.t; tile.root.dataset.cursor = t;
    }
    for (const [stream, tile] of Object.entries(this.tiles)) tile.root.hidden = !(stream in streams);
  }
  tile(stream) {
    const root = document.createElement("figure"), canvas = document.createElement("canvas"), words = document.createElement("figcaption");
    root.dataset.stream = stream; root.append(canvas, words); this.root.append(root);
    return { root, canvas, words };
  }
}
