// Charts over time, drawn by uPlot (vendor/). Owns axes, colours, marks and the selection of a span; knows no API.
// A chart is a picture for a screen reader: each caller adds a table with the same numbers.

import { h, setText } from "./dom.js";
import { moment, utcDate } from "./format.js";

const uPlot = globalThis.uPlot;
const LOWEST = 160;
const FONT = "12px system-ui, sans-serif";
/** Figures of days are of UTC days; scores are shown in the zone of the reader. */
const asUtc = (ms) => uPlot.tzDate(new Date(ms), "Etc/UTC");

/** The present value of a colour of the style sheet. */
export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

const faded = (text, share) => {
  const [red, green, blue] = text.match(/[0-9a-f]{2}/gi).map((byte) => Number.parseInt(byte, 16));
  return `rgb(${red} ${green} ${blue} / ${share})`;
};

function axes(unit) {
  const stroke = colour("soft");
  const grid = { stroke: colour("rule"), width: 1 };
  return [
    { stroke, grid: { show: false }, ticks: { ...grid, size: 4 }, font: FONT, space: 64, values: TIMES },
    { stroke, grid, ticks: { show: false }, font: FONT, size: unit.size, incrs: unit.incrs, space: 26, values: unit.values },
  ];
}

// Rows of uPlot's form: from which distance of ticks on, the text, and what is added where a year, month, day begins.
const TIMES = [
  [86_400_000 * 28, "{MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [86_400_000, "{D} {MMM}", "\n{YYYY}", null, null, null, null, null, 1],
  [3_600_000, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
  [1_000, "{HH}:{mm}", "\n{D} {MMM}", null, "\n{D} {MMM}", null, null, null, 1],
];

/** A chart that fills `parent` and follows its size and the colour scheme. `options()` gives uPlot's options. */
class Chart {
  constructor(parent, options, data) {
    this.parent = parent;
    this.options = options;
    this.data = data;
    this.draw();
    this.sizes = new ResizeObserver(() => this.fit());
    this.sizes.observe(parent);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.redraw = () => this.draw();
    this.scheme.addEventListener("change", this.redraw);
  }

  draw() {
    this.plot?.destroy();
    this.plot = new uPlot(
      { ...this.size(), ms: 1, tzDate: asUtc, legend: { show: false }, ...this.options() },
      this.data,
      this.parent,
    );
  }

  size() {
    return { width: Math.max(200, this.parent.clientWidth), height: Math.max(LOWEST, this.parent.clientHeight) };
  }

  fit() {
    const { width, height } = this.size();
    if (this.parent.clientWidth > 0 && (width !== this.plot.width || height !== this.plot.height)) this.plot.setSize({ width, height });
  }

  set(data) {
    this.data = data;
    this.plot.setData(data);
  }

  end() {
    this.sizes.disconnect();
    this.scheme.removeEventListener("change", this.redraw);
    this.plot.destroy();
  }
}

/**
 * How many accounts are in which band, over time: areas on top of each other, the best at the bottom.
 * `bands`: [{ name, tone }], best first; `times`: ms; `counts`: one list a band. `show(text)` is called with the values under the cursor.
 */
export function bandsChart(parent, bands, times, counts, show) {
  const draw = (all) => {
    const sums = [];
    all.forEach((list, index) => sums.push(list.map((value, day) => (value ?? 0) + (index ? sums[index - 1][day] : 0))));
    return sums;
  };
  let shown = counts;
  const options = () => ({
    padding: [8, 28, 0, 0],
    axes: axes({ size: 44 }),
    scales: { y: { range: (_, __, high) => [0, Math.max(1, high)] } },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    series: [{}, ...bands.map((band) => ({
      stroke: colour(band.tone), width: 1.5, points: { show: times.length < 2 },
      fill: bands.indexOf(band) === 0 ? faded(colour(band.tone), 0.22) : undefined,
    }))],
    bands: bands.slice(1).map((band, index) => ({ series: [index + 2, index + 1], fill: faded(colour(band.tone), 0.28) })),
    hooks: {
      setCursor: [(plot) => {
        const index = plot.cursor.idx;
        if (index === null || index === undefined || plot.cursor.left < 0) return show(null);
        return show(`${utcDate(plot.data[0][index])}: ${bands.map((band, row) => `${band.name} ${shown[row][index] ?? 0}`).join(", ")}`);
      }],
    },
  });
  const chart = new Chart(parent, options, [times, ...draw(counts)]);
  return {
    set: (newTimes, newCounts) => {
      shown = newCounts;
      chart.set([newTimes, ...draw(newCounts)]);
    },
    end: () => chart.end(),
  };
}

/**
 * An account's score over time. `series`: { times, values, forecasts }, where `forecasts` is null in the past; `zones()`:
 * [{ from, to, name, tone }]; `marks()`: [{ time, kind, tone }]; `picked()` gives the two times that are compared as
 * [from, to]; `pick(from, to)` is called when others are chosen; `show(index)` with the point under the cursor.
 */
export function scoreChart(parent, { series, zones, marks, picked, pick, show }) {
  const options = () => ({
    padding: [16, 28, 0, 0],
    tzDate: (ms) => new Date(ms),
    axes: axes({ size: 36, incrs: [5, 10, 20, 25, 50] }),
    scales: { y: { range: [0, 100] } },
    cursor: { y: false, points: { size: 7 }, drag: { x: true, y: false, setScale: false } },
    series: [
      {},
      { stroke: colour("accent"), width: 2, paths: uPlot.paths.stepped({ align: 1 }), points: { show: series.times.length < 3 } },
      { stroke: colour("accent"), width: 2, dash: [2, 4], paths: uPlot.paths.stepped({ align: 1 }), points: { show: false } },
    ],
    hooks: {
      drawClear: [(plot) => drawZones(plot, zones())],
      draw: [(plot) => drawPicked(plot, picked()), (plot) => drawMarks(plot, marks())],
      setSelect: [(plot) => {
        if (plot.select.width < 4) return;
        pick(plot.posToVal(plot.select.left, "x"), plot.posToVal(plot.select.left + plot.select.width, "x"));
        plot.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
      }],
      setCursor: [(plot) => {
        const index = plot.cursor.idx;
        show(index === null || index === undefined || plot.cursor.left < 0 ? null : index);
      }],
      ready: [(plot) => plot.over.addEventListener("click", (event) => {
        if (Math.abs(event.movementX) > 0) return;
        const time = plot.posToVal(event.offsetX, "x");
        const [from, to] = picked();
        if (Math.abs(time - from) < Math.abs(time - to)) pick(time, to);
        else pick(from, time);
      })],
    },
  });
  const chart = new Chart(parent, options, [series.times, series.values, series.forecasts]);
  return {
    set: (changed) => chart.set([changed.times, changed.values, changed.forecasts]),
    redraw: () => chart.plot.redraw(false),
    end: () => chart.end(),
  };
}

/** Behind the line, the band of the account, with its name if there is room. */
function drawZones(plot, zones) {
  const { ctx, bbox } = plot;
  const end = bbox.left + bbox.width;
  ctx.save();
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  ctx.textBaseline = "bottom";
  for (const zone of zones) {
    const left = Math.max(bbox.left, plot.valToPos(zone.from, "x", true));
    const right = Math.min(end, plot.valToPos(zone.to, "x", true));
    if (right <= left) continue;
    ctx.fillStyle = faded(colour(zone.tone), 0.09);
    ctx.fillRect(left, bbox.top, right - left, bbox.height);
    ctx.fillStyle = colour(zone.tone);
    ctx.fillRect(left, bbox.top + bbox.height - 3 * devicePixelRatio, right - left, 3 * devicePixelRatio);
    const pad = 4 * devicePixelRatio;
    if (ctx.measureText(zone.name).width + 2 * pad < right - left) ctx.fillText(zone.name, left + pad, bbox.top + bbox.height - 2 * pad);
  }
  ctx.restore();
}

function drawPicked(plot, [from, to]) {
  const { ctx, bbox } = plot;
  const left = Math.max(bbox.left, plot.valToPos(from, "x", true));
  const right = Math.min(bbox.left + bbox.width, plot.valToPos(to, "x", true));
  if (!(right >= left)) return;
  ctx.save();
  ctx.fillStyle = faded(colour("accent"), 0.1);
  ctx.fillRect(left, bbox.top, right - left, bbox.height);
  ctx.strokeStyle = colour("accent");
  ctx.lineWidth = devicePixelRatio;
  for (const x of [left, right]) line(ctx, x, bbox.top, bbox.top + bbox.height);
  ctx.restore();
}

function drawMarks(plot, marks) {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.lineWidth = devicePixelRatio;
  for (const mark of marks) {
    const x = plot.valToPos(mark.time, "x", true);
    if (x < bbox.left || x > bbox.left + bbox.width) continue;
    ctx.strokeStyle = ctx.fillStyle = colour(mark.tone);
    if (mark.kind === "policy") {
      ctx.setLineDash([4 * devicePixelRatio, 3 * devicePixelRatio]);
      line(ctx, x, bbox.top, bbox.top + bbox.height);
      ctx.setLineDash([]);
      continue;
    }
    const size = 5 * devicePixelRatio;
    const y = bbox.top - size;
    ctx.beginPath();
    ctx.moveTo(x - size, y - size);
    ctx.lineTo(x + size, y - size);
    ctx.lineTo(x, y + size);
    ctx.closePath();
    // The mark of a resolved alert is hollow.
    if (mark.kind === "resolved") ctx.stroke();
    else ctx.fill();
  }
  ctx.restore();
}

function line(ctx, x, top, bottom) {
  ctx.beginPath();
  ctx.moveTo(Math.round(x) + 0.5, top);
  ctx.lineTo(Math.round(x) + 0.5, bottom);
  ctx.stroke();
}

/** A figure: the plot, the values under the cursor, and a table that can be opened. */
export function figure(title, ...extra) {
  const plot = h("div", { class: "plot", role: "img", "aria-label": title });
  const readout = h("p", { class: "readout soft num", "aria-hidden": "true" });
  const body = h("div", { class: "scroll" });
  const table = h("details", { class: "astable" }, h("summary", {}, "As a table"), body);
  return {
    element: h("figure", {}, ...extra, readout, plot, table),
    plot, table, body,
    read: (text, otherwise) => setText(readout, text ?? otherwise),
  };
}
