// A phone or headset as a hand, over WebXR: the pose of the right controller's grip, or of the device itself where it has no controllers.
// The deadman is the trigger (select); the clutch is the squeeze. WebXR's axes are turned into ours by the server.

export class XrHand {
  constructor(onchange, xr = navigator.xr) { this.xr = xr; this.onchange = onchange; this.session = null; this.pose = null; this.held = new Set(); }
  get possible() { return !!this.xr; }
  /** Begin a session; needs a click. Rejects with the browser's words. */
  async start() {
    const mode = (await this.xr.isSessionSupported("immersive-ar")) ? "immersive-ar" : (await this.xr.isSessionSupported("immersive-vr")) ? "immersive-vr" : "inline";
    const session = await this.xr.requestSession(mode, mode === "inline" ? {} : { optionalFeatures: ["local-floor"] });
    const space = await session.requestReferenceSpace(mode === "inline" ? "viewer" : "local");
    this.session = session;
    const button = (name, on) => () => { if (on) this.held.add(name); else this.held.delete(name); this.onchange(); };
    for (const [event, name, on] of [["selectstart", "deadman", true], ["selectend", "deadman", false], ["squeezestart", "clutch", true], ["squeezeend", "clutch", false]]) session.addEventListener(event, button(name, on));
    session.addEventListener("visibilitychange", () => { if (session.visibilityState !== "visible") { this.held.clear(); this.pose = null; this.onchange(); } });
    session.addEventListener("end", () => { this.session = null; this.pose = null; this.held.clear(); this.onchange(); });
    const frame = (time, at) => {
      if (this.session !== session) return;
      session.requestAnimationFrame(frame);
      const grip = [...session.inputSources].find((s) => s.gripSpace && s.handedness !== "left")?.gripSpace;
      const found = grip ? at.getPose(grip, space) : at.getViewerPose(space);
      if (!found || found.emulatedPosition) { this.pose = null; return; } // not tracked: say nothing, the server lets go
      const { position: p, orientation: q } = found.transform;
      this.pose = [p.x, p.y, p.z, q.x, q.y, q.z, q.w];
    };
    session.requestAnimationFrame(frame);
  }
  stop() { return this.session?.end(); }
  read() { return this.session && this.pose ? { pose: this.pose, buttons: [...this.held] } : null; }
}
