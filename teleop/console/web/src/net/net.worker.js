// The websocket, away from the main thread: newest frame wins, an acknowledgement per drawn frame, and a watch over the deadman.
//
// A page whose main thread hangs still has this thread: it ends a press when no sample came for 120 ms. The server ends it by age too.
import { decode, encode } from "@msgpack/msgpack";

const SILENCE_MS = 120;
let socket = null, hello = null, waitMs = 250, inFlight = null, newest = null, held = null, closed = false;

const post = (message) => self.postMessage(message);
const send = (message) => { if (socket?.readyState === WebSocket.OPEN) socket.send(encode(message)); };

function connect() {
  if (closed) return;
  post({ t: "link", up: false });
  socket = new WebSocket(hello.url);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { send({ t: "hello", token: hello.token, page: crypto.randomUUID() }); };
  socket.onmessage = ({ data }) => {
    const message = decode(new Uint8Array(data));
    if (message.t === "frame") {
      message.at = performance.timeOrigin + performance.now();
      if (inFlight === null) { inFlight = message.n; post(message); } else newest = message;
    } else {
      if (message.t === "welcome") { waitMs = 250; inFlight = null; newest = null; post({ t: "link", up: true }); }
      post(message);
    }
  };
  socket.onclose = ({ code, reason }) => {
    held = null; inFlight = null; newest = null;
    post({ t: "link", up: false, code, reason });
    if (code === 4401 || code === 4403) return; // no seat with this token: asking again would not help
    if (code === 4429) waitMs = Math.max(waitMs, 5000); // full: asking often would not help either
    setTimeout(connect, waitMs);
    waitMs = Math.min(2000, waitMs * 1.6);
  };
}

self.onmessage = ({ data }) => {
  switch (data.t) {
    case "open": hello = data; connect(); break;
    case "drawn":
      send({ t: "ack", n: data.n, drawn: data.drawn, ...(data.views ? { views: data.views } : {}) });
      inFlight = null;
      if (newest) { inFlight = newest.n; post(newest); newest = null; }
      break;
    case "hand": {
      const now = performance.timeOrigin + performance.now();
      const { at, ...sample } = data;
      send({ ...sample, age_ms: Math.max(0, now - at) });
      held = sample.press ? { sample, at } : null;
      break;
    }
    case "master": {
      const { at, ...message } = data;
      send({ ...message, age_ms: Math.max(0, performance.timeOrigin + performance.now() - at) });
      break;
    }
    case "close": closed = true; socket?.close(); break;
    default: send(data); // stop and calls, as they are
  }
};

setInterval(() => {
  if (held && performance.timeOrigin + performance.now() - held.at > SILENCE_MS) {
    send({ ...held.sample, press: 0, age_ms: 0 });
    held = null;
  }
}, 20);
