// A SpaceMouse over WebHID, decoded as teleop/master/spacemouse.py decodes it on hidraw: report 1 translation (and rotation), 2 rotation, 3 buttons.
// Left button: deadman; right: clutch. Axes x right, y away, z up. A wireless receiver has no deadman here: it falls silent when out of reach.

const VENDOR = 0x256f, RECEIVERS = [0xc652, 0xc62f], FULL = 350, SIGNS = [1, -1, -1, 1, -1, -1];

/** Apply one report to {twist, buttons}. False: not a report of a SpaceMouse. */
export function decode(reportId, view, state) {
  const axes = (first, count) => { for (let i = 0; i < count; i++) state.twist[first + i] = SIGNS[first + i] * Math.max(-1, Math.min(1, view.getInt16(2 * i, true) / FULL)); };
  if (reportId === 1 && view.byteLength >= 12) axes(0, 6);
  else if ((reportId === 1 || reportId === 2) && view.byteLength >= 6) axes(reportId === 1 ? 0 : 3, 3);
  else if (reportId === 3 && view.byteLength >= 1) state.buttons = [["deadman", 1], ["clutch", 2]].filter(([, bit]) => view.getUint8(0) & bit).map(([name]) => name);
  else return reportId > 3;
  return true;
}

export class SpaceMouse {
  /** onchange(): a button changed, or it came or went. */
  constructor(onchange, hid = navigator.hid) {
    this.hid = hid; this.onchange = onchange; this.device = null; this.state = { twist: [0, 0, 0, 0, 0, 0], buttons: [] }; this.heard = 0;
    hid?.getDevices().then((known) => this.use(known.find((d) => d.vendorId === VENDOR))).catch(() => {});
    hid?.addEventListener("disconnect", ({ device }) => { if (device === this.device) { this.device = null; this.state = { twist: [0, 0, 0, 0, 0, 0], buttons: [] }; this.onchange(); } });
  }
  get possible() { return !!this.hid; }
  /** Ask the user for one; needs a click. */
  async ask() { const [device] = await this.hid.requestDevice({ filters: [{ vendorId: VENDOR }] }); await this.use(device); }
  async use(device) {
    if (!device) return;
    if (!device.opened) await device.open();
    this.device = device; this.state = { twist: [0, 0, 0, 0, 0, 0], buttons: [] };
    device.addEventListener("inputreport", ({ reportId, data }) => {
      const before = this.state.buttons.join();
      decode(reportId, data, this.state);
      if (RECEIVERS.includes(device.productId)) this.state.buttons = this.state.buttons.filter((b) => b !== "deadman");
      if (before !== this.state.buttons.join()) this.onchange();
    });
    this.onchange();
  }
  read() { return this.device ? { twist: [...this.state.twist], buttons: [...this.state.buttons] } : null; }
}
