// Live pictures and voice by WebRTC from the console server: one connection per page, three pictures, one voice line.
//
// The page reads number and capture time out of every displayed picture, so "how old is what I see" is measured here, on the
// robot's own clock: newest state stamp + time since it came + half the round trip - capture time. No clocks are synchronised.
import { STRIP, readStamp, unwrapMs } from "./stamp.js";

const FROZEN_MS = 700, KEEP = 600, RETRY_MS = 2000;
export const VIEW_STREAM = "guide";

export class Player {
  /** app: {store, net, say, fail}. */
  constructor(app) {
    Object.assign(this, { app, connection: null, streams: [], site: "", wanted: [], tiles: {}, state: "off", words: "", opened: 0, joined: null, log: [], mic: null });
    this.strip = document.createElement("canvas");
    this.pen = this.strip.getContext("2d", { willReadFrequently: true });
    this.voice = document.createElement("audio"); this.voice.autoplay = true;
  }
  tile(stream) {
    let tile = this.tiles[stream];
    if (!tile) {
      const video = document.createElement("video");
      Object.assign(video, { muted: true, autoplay: true, playsInline: true, disablePictureInPicture: true });
      tile = this.tiles[stream] = { stream, video, shown: null, at: 0, ages: [] };
      this.watch_(tile);
    }
    return tile;
  }
  /** Robot's clock now, ns, as well as the page can know it; null without fresh state. */
  robotNow(at = performance.timeOrigin + performance.now()) {
    const { store } = this.app, site = store.sites[this.site];
    if (!site?.stamp || site.age_ms === null || site.age_ms === undefined) return null;
    return site.stamp + (site.age_ms + (at - store.frameAt) + (site.link?.rtt_ms ?? 0) / 2) * 1e6;
  }
  /** Every displayed frame: read its stamp. */
  watch_(tile) {
    const seen = (now, meta) => {
      const { video } = tile, w = video.videoWidth, hgt = video.videoHeight;
      if (w && hgt > STRIP) {
        if (this.strip.width !== w) { this.strip.width = w; this.strip.height = STRIP; }
        this.pen.drawImage(video, 0, hgt - STRIP, w, STRIP, 0, 0, w, STRIP);
        const stamp = readStamp(this.pen.getImageData(0, 0, w, STRIP).data, w), near = this.robotNow();
        tile.read = (tile.read ?? 0) + 1;
        if (!stamp) tile.damaged = (tile.damaged ?? 0) + 1;
        else if (near !== null) {
          const captured = unwrapMs(stamp.ms, near), at = performance.timeOrigin + Math.max(now, meta?.expectedDisplayTime ?? now);
          if (tile.shown?.captured !== captured) {
            tile.shown = { id: stamp.id, captured, at }; tile.at = performance.now();
            const age = (this.robotNow(at) - captured) / 1e6;
            tile.ages.push(age); if (tile.ages.length > KEEP) tile.ages.splice(0, 100);
            if (this.joined === null && this.opened) { this.joined = performance.now() - this.opened; this.app.onPicture?.(); }
            if (this.recording) this.log.push({ stream: tile.stream, id: stamp.id, captured, at, age });
          }
        }
      }
      video.requestVideoFrameCallback(seen);
    };
    if (tile.video.requestVideoFrameCallback) tile.video.requestVideoFrameCallback(seen);
    else tile.noClock = true; // a browser that does not tell what it displays: the picture is shown, its age is not
  }
  /** Age of the displayed picture, ms: null when nothing is known. */
  age(stream) {
    const tile = this.tiles[stream], now = this.robotNow();
    return tile?.shown && now !== null ? (now - tile.shown.captured) / 1e6 : null;
  }
  /** "" = live; else why the picture is not to be trusted. */
  trouble(stream) {
    if (this.state !== "open") return this.words || this.state;
    const tile = this.tiles[stream], told = this.app.store.frame?.media?.sites?.[this.site];
    if (told?.why) return told.why;
    if (told?.rung === "off") return "control comes first";
    const says = told?.streams?.[stream]?.state;
    if (says === "hung") return "hung";
    if (!tile?.shown) return "waiting";
    if (says === "silent" || performance.now() - tile.at > Math.max(FROZEN_MS, 1700 / (({ thumbnail: 2, low: 8 })[told?.rung] ?? 15))) return "frozen";
    return "";
  }
  /** What the next acknowledgement may echo: capture time of the view stream's displayed picture. */
  views() {
    const shown = this.tiles[VIEW_STREAM]?.shown;
    return this.state === "open" && shown && this.wanted.includes(VIEW_STREAM) ? { [this.site]: shown.captured } : undefined;
  }
  async open() {
    if (this.connection) return;
    this.state = "connecting"; this.words = ""; this.opened = performance.now(); this.joined = null;
    const pc = (this.connection = new RTCPeerConnection({ iceServers: [], bundlePolicy: "max-bundle" }));
    try {
      const lines = ["room", "guide", "ultrasound"].map(() => pc.addTransceiver("video", { direction: "recvonly" }));
      // The hospital codes each picture once, as H.264; nobody in between codes it again.
      const codecs = (RTCRtpReceiver.getCapabilities?.("video")?.codecs ?? []).filter((c) => /H264|rtx/i.test(c.mimeType));
      for (const line of lines) if (codecs.length) line.setCodecPreferences?.(codecs);
      this.line = pc.addTransceiver("audio", { direction: "sendrecv" });
      if (this.mic) await this.line.sender.replaceTrack(this.mic.getAudioTracks()[0]);
      pc.onconnectionstatechange = () => {
        if (pc !== this.connection) return;
        if (pc.connectionState === "connected") { this.state = "open"; this.app.dirty = true; }
        if (["failed", "closed"].includes(pc.connectionState)) this.lost("the connection broke");
      };
      await pc.setLocalDescription(await pc.createOffer());
      await gathered(pc);
      const reply = await this.app.net.call("media.open", { offer: pc.localDescription.sdp, site: this.site });
      if (reply.room) { await this.enterRoom(pc, reply); return; }
      this.room = "";
      await pc.setRemoteDescription({ type: "answer", sdp: reply.answer });
      this.streams = reply.streams; this.sites = reply.sites;
      reply.streams.forEach((stream, n) => {
        const { receiver } = lines[n];
        // The newest picture, not the smoothest film. On video only: voice would chop.
        if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
        this.tile(stream).video.srcObject = new MediaStream([receiver.track]);
        this.tile(stream).video.play?.().catch(() => {});
      });
      this.voice.srcObject = new MediaStream([this.line.receiver.track]);
      this.voice.play?.().catch(() => {});
      if (this.site) await this.app.net.call("media.watch", { site: this.site, streams: this.wanted });
    } catch (error) { this.close(); this.state = "refused"; this.words = error.message; this.refusedAt = performance.now(); throw error; }
  }
  /** No place here: the pictures come from the video room (Janus), everything else stays as it is. No voice there. */
  async enterRoom(first, { room, streams, sites }) {
    const pc = (this.connection = new RTCPeerConnection({ iceServers: [] }));
    first.close();
    this.streams = streams; this.sites = sites; this.room = this.site; this.line = null;
    let n = 0;
    pc.ontrack = ({ receiver }) => {
      const stream = streams[n++];
      if (!stream) return;
      if ("jitterBufferTarget" in receiver) receiver.jitterBufferTarget = 0;
      this.tile(stream).video.srcObject = new MediaStream([receiver.track]);
      this.tile(stream).video.play?.().catch(() => {});
    };
    pc.onconnectionstatechange = () => {
      if (pc !== this.connection) return;
      if (pc.connectionState === "connected") { this.state = "open"; this.app.dirty = true; }
      if (["failed", "closed"].includes(pc.connectionState)) this.lost("the connection broke");
    };
    await pc.setRemoteDescription({ type: "offer", sdp: room.offer });
    await pc.setLocalDescription(await pc.createAnswer());
    await gathered(pc);
    await this.app.net.call("media.room", { handle: room.handle, answer: pc.localDescription.sdp });
  }
  /** Show streams of a hospital (all tiles that are on the page). */
  async watch(site, streams) {
    const same = site === this.site && streams.join() === this.wanted.join();
    if (site !== this.site) for (const tile of Object.values(this.tiles)) { tile.shown = null; tile.ages = []; }
    this.site = site; this.wanted = streams;
    if (same || !this.connection || this.state === "refused") return;
    if (this.room) { if (this.room !== site) { this.close(); await this.open(); } return; } // a room has all pictures of one hospital
    for (const stream of streams) if (this.tiles[stream]) this.tiles[stream].at = performance.now();
    await this.app.net.call("media.watch", { site, streams });
  }
  lost(words) {
    const again = this.wanted.length > 0;
    this.close(); this.words = words; this.state = "lost";
    if (again) setTimeout(() => { if (this.state === "lost" && this.app.net.up) this.open().catch(() => {}); }, RETRY_MS);
  }
  close() { const pc = this.connection; this.connection = null; this.state = "off"; pc?.close(); for (const tile of Object.values(this.tiles)) { tile.shown = null; tile.video.srcObject = null; } }
  /** The server ended it (place needed, server restarted). */
  ended(words) { this.close(); this.state = "refused"; this.words = words; }
  /** Take or give back the microphone. Resolves to whether it is there now. */
  async microphone(on) {
    if (on && !this.mic) {
      this.mic = await navigator.mediaDevices.getUserMedia({ audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true } });
      if (!this.connection) await this.open();
      if (!this.line) throw new Error("the video room carries no voice");
      await this.line.sender.replaceTrack(this.mic.getAudioTracks()[0]);
    }
    if (this.mic) for (const track of this.mic.getAudioTracks()) track.enabled = on;
    return !!this.mic && on;
  }
}

/** ICE candidates of this machine are found at once; nobody outside is asked. */
function gathered(pc) {
  if (pc.iceGatheringState === "complete") return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => { clearTimeout(timer); resolve(); }, timer = setTimeout(done, 600);
    pc.addEventListener("icegatheringstatechange", () => { if (pc.iceGatheringState === "complete") done(); });
  });
}
