// Holds the volume and answers reslice requests, newest per view first: while a request waits, a newer one of its view replaces it.
import { parseVolume } from "./volume.js";
import { reslice } from "./reslice.js";

let volume = null;
const waiting = new Map();
let scheduled = false;

self.onmessage = ({ data }) => {
  if (data.t === "volume") {
    volume = null;
    try { volume = parseVolume(data.buffer); } catch (error) { self.postMessage({ t: "error", text: error.message }); return; }
    const { shape, ijkToLps, sha256 } = volume;
    self.postMessage({ t: "ready", shape, ijk_to_lps: ijkToLps, sha256 });
  } else if (data.t === "slice") {
    waiting.set(data.view, data);
    if (!scheduled) { scheduled = true; setTimeout(work, 0); }
  }
};

function work() {
  scheduled = false;
  const [view, ask] = waiting.entries().next().value ?? [];
  if (!ask) return;
  waiting.delete(view);
  if (volume) {
    const start = performance.now();
    const pixels = new Uint8ClampedArray(ask.width * ask.height * 4);
    reslice(volume, ask.origin, ask.du, ask.dv, ask.width, ask.height, ask.window, pixels);
    self.postMessage({ t: "slice", view, ticket: ask.ticket, width: ask.width, height: ask.height, pixels, ms: performance.now() - start }, [pixels.buffer]);
  }
  // Yield between slices, so that newer requests are seen before older ones are computed.
  if (waiting.size) { scheduled = true; setTimeout(work, 0); }
}
