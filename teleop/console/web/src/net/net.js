// The page's side of the link: calls with replies, frames, documents. Where the token comes from: the URL's fragment, once.

const TOKEN_KEY = "longhand.token";

/** The token from the address (and out of the address bar at once), or of this tab's session. */
export function takeToken() {
  const match = /[#&]t=([A-Za-z0-9_-]+)/.exec(location.hash);
  if (match) {
    sessionStorage.setItem(TOKEN_KEY, match[1]);
    history.replaceState(null, "", location.pathname + location.search);
  }
  return sessionStorage.getItem(TOKEN_KEY);
}

export class Net {
  /** stopDoor: address of STOP's second door, where the server has one. */
  constructor(onMessage, stopDoor = "") {
    this.onMessage = onMessage; this.stopDoor = stopDoor;
    this.token = takeToken();
    this.up = false;
    this.waiting = new Map();
    this.serial = 0;
    this.worker = new Worker("/static/net.worker.js", { type: "module" });
    this.worker.onmessage = ({ data }) => {
      if (data.t === "reply") this.settle(data);
      else if (data.t === "link") {
        this.up = data.up;
        if (!data.up) { for (const { reject } of this.waiting.values()) reject(new Error("the console server does not answer")); this.waiting.clear(); }
        onMessage(data);
      } else onMessage(data);
    };
    if (this.token) this.worker.postMessage({ t: "open", token: this.token, url: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws` });
  }
  settle({ id, ok, value, error }) {
    const wait = this.waiting.get(id);
    this.waiting.delete(id);
    if (wait) ok ? wait.resolve(value) : wait.reject(new Error(error));
  }
  /** Ask the server; resolves with the value or rejects with its words. */
  call(name, args = {}) {
    if (!this.up) return Promise.reject(new Error("the console server does not answer"));
    const id = ++this.serial;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ t: "call", id, call: name, args });
    });
  }
  /** STOP, through two doors at once: the websocket's worker may have megabytes to encode and send first, or no connection. */
  stop(site) {
    const once = crypto.randomUUID?.() ?? String(Math.random()), id = ++this.serial;
    this.worker.postMessage({ t: "stop", site, id, once });
    if (!this.stopDoor) return;
    this.fetch(this.stopDoor, { method: "POST", keepalive: true, headers: { "content-type": "application/json" }, body: JSON.stringify({ site, once }) })
      .then((r) => (r.ok ? r.json() : null)).then((r) => r && this.onMessage({ t: "stopped", sites: r.sites, id })).catch(() => {});
  }
  drawn(n, drawn, views) { this.worker.postMessage({ t: "drawn", n, drawn, views }); }
  hand(sample) { this.worker.postMessage({ t: "hand", ...sample, at: performance.timeOrigin + performance.now() }); }
  master(message) { this.worker.postMessage({ t: "master", ...message, at: performance.timeOrigin + performance.now() }); }
  fetch(path, options = {}) {
    return fetch(path, { ...options, headers: { ...options.headers, authorization: `Bearer ${this.token}` } });
  }
}
