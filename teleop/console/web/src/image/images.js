// The images of the open case: fetched once, held by the reslice worker; labels go to the 3-D worker.

export class Images {
  constructor(net, onChange) {
    this.net = net; this.onChange = onChange; this.ready = false; this.loading = ""; this.error = ""; this.id = "";
    this.views = new Map(); this.labels = null;
    this.worker = new Worker("/static/slice.worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => {
      if (data.t === "slice") this.views.get(data.view)?.put(data);
      else if (data.t === "ready") { this.ready = true; this.loading = ""; this.header = data; onChange(); }
      else if (data.t === "error") { this.error = data.text; this.loading = ""; onChange(); }
    };
  }
  /** Show the images of a case; nothing is fetched twice. */
  async open(image) {
    if (!image || image.id === this.id) return;
    this.id = image.id; this.ready = false; this.error = ""; this.loading = "images"; this.labels = null;
    this.onChange();
    try {
      const answer = await this.net.fetch(`/images/${image.volume}`);
      if (!answer.ok) throw new Error((await answer.json()).error);
      const buffer = await answer.arrayBuffer();
      if (image.id !== this.id) return;
      this.worker.postMessage({ t: "volume", buffer }, [buffer]);
      if (image.labels) {
        const more = await this.net.fetch(`/images/${image.labels}`);
        if (more.ok && image.id === this.id) { this.labels = await more.arrayBuffer(); this.onChange(); }
      }
    } catch (error) { this.error = error.message; this.loading = ""; this.id = ""; this.onChange(); }
  }
  slice(request) { this.worker.postMessage({ t: "slice", ...request }); }
}
