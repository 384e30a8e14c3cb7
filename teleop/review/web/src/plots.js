// Six plots a site over the chosen range: the range of each signal in every pixel column, and its mean.
import uPlot from "uplot";
import { element, clock } from "./words.js";

export const PLOTS = [
  { name: "loop age", unit: "ms", factor: 1e3, lines: [["loop_age", "#4cc9f0"]] },
  { name: "loss", unit: "%", factor: 100, lines: [["loss.0", "#f4a261"], ["loss.1", "#b5e48c"]], labels: ["path 0", "path 1"] },
  { name: "speed and cap", unit: "mm/s", factor: 1e3, lines: [["speed", "#5ee38a"], ["v_cap", "#ffb020"]], labels: ["measured", "cap"] },
  { name: "tracking error", unit: "mm", factor: 1e3, lines: [["tracking_error", "#cdb4db"]] },
  { name: "distance to keep-out", unit: "mm", factor: 1e3, lines: [["clearance", "#80ed99"], ["margin", "#8fa3b8"]], labels: ["tool to the nearest", "what the speed law used"] },
  { name: "force", unit: "N", factor: 1, lines: [["force", "#ff9c9c"]] },
];
export const SIGNALS = PLOTS.flatMap((p) => p.lines.map((l) => l[0]));

export class SitePlots {
  constructor(parent, log, { onSeek, onRange }) {
    this.log = log; this.range = [0, 1]; this.t = 0;
    const error = log.alignment.error;
    const stated = log.alignment.how === "reference" ? "reference clock" :
      `clock error ${error == null ? "not known" : "± " + (error / 1e6).toFixed(error < 1e7 ? 2 : 0) + " ms"} (${log.alignment.how})`;
    this.box = element("div", { class: "site" }, element("h2", { text: `site ${log.site} / ${log.arm}: ${stated}`, title: stated }));
    parent.append(this.box);
    // A console's log has no arm in it: only what it has is shown.
    const specs = log.governor ? PLOTS : PLOTS.filter((p) => p.lines.some(([name]) => log.signals.includes(name)));
    this.plots = specs.map((spec, number) => {
      const bottom = number === specs.length - 1;
      const holder = element("div", { class: bottom ? "plot last" : "plot" });
      const name = element("div", { class: "name" }, element("b", { text: spec.name }), ` ${spec.unit}`);
      (spec.labels ?? []).forEach((label, k) => { const i = element("i", { text: label }); i.style.color = spec.lines[k][1]; name.append(i); });
      const now = element("div", { class: "now" });
      const empty = element("div", { class: "empty", text: "not in this log" });
      holder.append(name, now, empty);
      this.box.append(holder);
      const series = [{}];
      const bands = [];
      for (const [, colour] of spec.lines) {
        const at = series.length;
        series.push({ stroke: "transparent", points: { show: false }, spanGaps: false }, { stroke: "transparent", points: { show: false }, spanGaps: false },
          { stroke: colour, width: 1.25, points: { show: false }, spanGaps: false });
        bands.push({ series: [at + 1, at], fill: colour + "55" });
      }
      const plot = new uPlot({
        width: 400, height: 100, series, bands, legend: { show: false },
        scales: { x: { time: false, range: () => this.range }, y: { range: (u, low, high) => nice(low, high) } },
        axes: [
          bottom ? { size: 22, gap: 2, stroke: "#9fb2c4", font: "11px system-ui", grid: { show: false }, ticks: { show: false }, values: (u, at) => at.map((t) => clock(t, at.length > 1 && at[1] - at[0] < 1 ? 2 : 0)) } : { show: false },
          { size: 50, stroke: "#9fb2c4", font: "11px system-ui", grid: { stroke: "#1c2733", width: 1 }, ticks: { show: false }, space: 22 },
        ],
        padding: [16, 8, bottom ? 0 : 5, 0],
        cursor: { y: false, points: { show: false }, drag: { x: true, y: false, setScale: false }, sync: { key: "review" } },
        hooks: {
          setSelect: [(u) => {
            if (u.select.width > 4) onRange([u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")]);
            u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
          }],
        },
      }, [[], ...spec.lines.flatMap(() => [[], [], []])], holder);
      plot.over.addEventListener("click", (e) => { if (plot.select.width < 4) onSeek(plot.posToVal(e.offsetX, "x")); });
      plot.over.addEventListener("dblclick", () => onRange(null));
      return { spec, holder, plot, now, empty };
    });
    new ResizeObserver(() => this.resize()).observe(this.box);
  }

  resize() {
    for (const { holder, plot } of this.plots) if (holder.clientWidth > 60 && holder.clientHeight > 30) plot.setSize({ width: holder.clientWidth, height: holder.clientHeight });
    this.cursor(this.t);
  }

  show(series, range) {
    this.range = range;
    for (const { spec, plot, empty } of this.plots) {
      const base = spec.lines.map(([name]) => series[name]).find((s) => s && s.t.length);
      empty.hidden = Boolean(base);
      const t = base ? base.t : [];
      const rows = spec.lines.flatMap(([name]) => ["low", "high", "mean"].map((k) => {
        const column = series[name]?.[k];
        return column && column.length === t.length ? column.map((v) => (v == null ? null : v * spec.factor)) : t.map(() => null);
      }));
      plot.setData([t, ...rows], true);
    }
    this.cursor(this.t);
  }

  zoom(range) {
    this.range = range;
    for (const { plot } of this.plots) plot.setScale("x", { min: range[0], max: range[1] });
    this.cursor(this.t);
  }

  cursor(t) {
    this.t = t;
    for (const { plot, now } of this.plots) {
      const x = plot.valToPos(t, "x") + plot.over.offsetLeft;
      now.hidden = !(t >= this.range[0] && t <= this.range[1]) || !Number.isFinite(x);
      now.style.transform = `translateX(${x}px)`;
    }
  }
}

function nice(low, high) {
  if (low == null || high == null) return [0, 1];
  if (low > 0) low = 0;
  if (high <= low) high = low + 1;
  const pad = (high - low) * 0.08;
  return [low < 0 ? low - pad : 0, high + pad];
}
