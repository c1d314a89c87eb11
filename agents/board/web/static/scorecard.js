// The score over time, and what changed it between two times. Owns the choice of the two times.
// Called by account.js; the API (`diff`) computes the sums from the published changes.

import { bandOf } from "./alertlist.js";
import { api } from "./api.js";
import { bandMark, severityTone, toneOf } from "./bands.js";
import { figure, scoreChart } from "./chart.js";
import { debounce, h, put, setAttr, setText } from "./dom.js";
import { counted, DAY, date, moment, score as points, signed, label, utc, ZONE } from "./format.js";
import { table } from "./strip.js";
import { waterfall } from "./waterfall.js";
import { when } from "./when.js";

const QUICK = [["1 day", 1], ["7 days", 7], ["30 days", 30], ["90 days", 90]];

/**
 * Columns for the chart: the past, then the forecast. The line has a gap, a point without a value, from when the account
 * was not scored any more. Pure.
 */
export function seriesOf(history, forecast) {
  const steps = forecast?.line ?? [];
  const now = history.times.at(-1);
  const later = steps.filter((step) => step.at > now);
  const past = history.times.flatMap((time, index) => {
    const band = history.bands[index];
    const point = { time, value: history.values[index], band };
    return band ? [point] : [point, { time: time + 1, value: null, band }];
  });
  const times = [...past.map((point) => point.time), ...later.map((step) => step.at)];
  const values = [...past.map((point) => point.value), ...later.map(() => null)];
  const forecasts = [...past.map(({ value }, index) => (later.length && index === past.length - 1 ? value : null)), ...later.map((step) => step.score)];
  return { times, values, forecasts, bands: past.map((point) => point.band) };
}

/** Marks of a chart: changes of policy, starts and ends of alerts. Pure. */
export function marksOf(history, alerts) {
  const marks = [];
  history.policies.forEach((policy, index) => {
    if (index && policy !== history.policies[index - 1]) marks.push({ time: history.times[index], kind: "policy", tone: "soft", text: `policy ${policy}` });
  });
  for (const alert of [...alerts.open, ...alerts.past]) {
    const tone = severityTone(alert.severity);
    marks.push({ time: alert.starts_at, kind: "fired", tone, text: `alert ${alert.rule} fired` });
    if (alert.ends_at) marks.push({ time: alert.ends_at, kind: "resolved", tone, text: `alert ${alert.rule} ${alert.worsened_to ? `worsened to ${bandOf(alert.worsened_to)}` : alert.state}` });
  }
  return marks.sort((a, b) => a.time - b.time);
}

/** The spans in which the account was in one band: [{ from, to, name, tone }]. Pure. */
export function zonesOf({ times, bands: names }, bands, last) {
  const zones = [];
  names.forEach((name, index) => {
    const before = zones.at(-1);
    if (!name) return; // the account was not scored
    if (before?.band === name && before.to === times[index]) before.to = times[index + 1] ?? last;
    else zones.push({ band: name, name: label(name), tone: toneOf(bands, name), from: times[index], to: times[index + 1] ?? last });
  });
  return zones;
}

/** The value at a time: that of the last point at or before it, null before the first and after the last of a span with scores. Pure. */
export function valueAt(history, time) {
  let low = 0;
  let high = history.times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (history.times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  const isScored = low > 0 && (history.bands[low - 1] !== "" || history.times[low - 1] === time);
  return isScored ? history.values[low - 1] : null;
}

export class ScoreCard {
  /** `state`: { from, to } in ms or null; `keep(change)` writes them to the address; `nowOf()` gives the time of the data. */
  constructor(id, name, page, bands, state, keep, nowOf) {
    Object.assign(this, { id, name, bands, keep, nowOf });
    this.picked = { from: state.from, to: state.to };
    this.figure = figure(`Score ${label(name)} over time, with the bands behind it; the table below has the same numbers`);
    this.between = h("div", { class: "between", "aria-live": "polite", "aria-atomic": "false" });
    this.ends = { from: this.slider("From", "from"), to: this.slider("To", "to") };
    this.element = h("div", { class: "stack" },
      h("section", { class: "card fades", "aria-label": "Score over time" },
        h("div", { class: "card-head" }, h("h2", {}, "Score over time"), this.legend = h("p", { class: "legend" })), this.figure.element),
      this.changes = h("section", { class: "card fades", "aria-label": "What changed it" },
        h("div", { class: "card-head" }, h("h2", {}, "What changed it"), h("div", { class: "quick", role: "group", "aria-label": "Compare now with" }, this.quick())),
        h("p", { class: "soft" }, "Drag across the chart, click it, or move the two sliders."),
        h("div", { class: "ends" }, this.ends.from.element, this.ends.to.element), this.between));
    this.loadSoon = debounce(120, () => this.load());
    this.update(page);
  }

  quick() {
    return QUICK.map(([text, days]) => h("button", { class: "button", type: "button",
      on: { click: () => this.pick(Math.max(this.first, this.last - days * DAY), null) } }, text));
  }

  update(page) {
    this.history = page.scores[this.name]?.history ?? { times: [], values: [], bands: [], policies: [] };
    this.forecast = page.scores[this.name]?.forecast;
    this.marks = marksOf(this.history, page.alerts);
    // Of an account that is not scored any more, times end with its last score.
    this.isOver = this.history.bands.at(-1) === "";
    this.last = this.isOver ? this.history.times.at(-1) : Math.max(page.account.as_of, this.history.times.at(-1) ?? 0, this.nowOf());
    this.first = this.history.times[0] ?? this.last;
    this.series = seriesOf(this.history, this.forecast);
    this.changes.hidden = this.history.times.length === 0;
    put(this.legend, this.history.times.length > 0 && legend(this.series, this.marks));
    // The comparison ends now, so the chart does too.
    if (this.history.times.length && this.history.times.at(-1) < this.last && !this.forecast) {
      this.series.times.push(this.last);
      this.series.values.push(this.history.values.at(-1));
      this.series.bands.push(this.history.bands.at(-1));
      this.series.forecasts.push(null);
    }
    setAttr(this.ends.from.input, "min", this.first);
    setAttr(this.ends.from.input, "max", this.last);
    setAttr(this.ends.to.input, "min", this.first);
    setAttr(this.ends.to.input, "max", this.last);
    this.show();
  }

  span() {
    const to = Math.min(this.picked.to ?? this.last, this.last);
    return [Math.min(this.picked.from ?? Math.max(this.first, to - this.defaultDays() * DAY), to), to];
  }

  /** The days to compare by default: 7, or more if the score did not change. */
  defaultDays() {
    const now = this.history.values.at(-1);
    const moved = (days) => Math.abs((valueAt(this.history, this.last - days * DAY) ?? now) - now) >= 0.05;
    return [7, 30, 90].find(moved) ?? 30;
  }

  start() {
    if (this.series.times.length === 0) {
      put(this.figure.element, h("div", { class: "empty" }, h("strong", {}, "No history yet."), "The chart starts with the first published change."));
    } else {
      this.chart = scoreChart(this.figure.plot, {
        series: this.series, zones: () => zonesOf(this.history, this.bands, this.last), marks: () => this.marks, picked: () => this.span(),
        pick: (from, to) => this.pick(from, to), show: (index) => this.showPoint(index),
      });
    }
    this.drawTable();
    this.showPoint(null);
    this.load();
  }

  set(page) {
    this.update(page);
    if (!this.chart) {
      if (this.series.times.length) this.start();
      return;
    }
    this.chart.set(this.series);
    this.drawTable();
    this.loadSoon();
  }

  showPoint(index) {
    if (index === null) return this.figure.read(null, `${date(this.first)} to ${date(this.series.times.at(-1))}, ${ZONE}`);
    const time = this.series.times[index];
    const value = this.series.values[index] ?? this.series.forecasts[index];
    const near = this.marks.filter((mark) => Math.abs(mark.time - time) < (this.last - this.first) / 80).map((mark) => mark.text);
    const band = this.series.bands[index];
    const status = band === "" ? "not scored any more" : `${points(value)}, ${band === undefined ? "if nothing happens" : label(band)}`;
    return this.figure.read([`${moment(time)}: ${status}`, ...near].join(" \u00b7 "));
  }

  slider(text, end) {
    const value = h("span", { class: "num" });
    const input = h("input", { type: "range", step: 60_000 });
    input.addEventListener("input", () => {
      const [from, to] = this.span();
      const chosen = Number(input.value);
      if (end === "from") this.pick(Math.min(chosen, to), this.picked.to);
      else this.pick(Math.min(from, chosen), chosen >= this.last ? null : chosen);
    });
    return { element: h("label", { class: "label" }, h("span", {}, `${text} `, value), input), input, value };
  }

  /** Choose the two times; `to` null is now, and stays now as time goes on. */
  pick(from, to) {
    const end = to === null || to >= this.last ? null : Math.round(to);
    this.picked = { from: Math.round(Math.max(this.first, from)), to: end };
    this.keep(this.picked);
    this.show();
    this.chart?.redraw();
    this.loadSoon();
  }

  show() {
    const span = this.span();
    ["from", "to"].forEach((end, index) => {
      const { input, value } = this.ends[end];
      const text = `${end === "to" && this.picked.to === null && !this.isOver ? "now" : moment(span[index])}: ${points(valueAt(this.history, span[index]))}`;
      input.value = span[index];
      setAttr(input, "aria-valuetext", text);
      setText(value, text);
      setAttr(value, "title", utc(span[index]));
    });
  }

  async load() {
    this.asked?.abort();
    if (this.changes.hidden) return; // there are no two times to compare
    this.asked = new AbortController();
    const [from, to] = this.span();
    try {
      const diff = await api.diff(this.id, { score: this.name, from, to: this.picked.to === null ? null : to }, this.asked.signal);
      put(this.between, ...this.summaryOf(diff), waterfall(diff));
    } catch (error) {
      if (error.name !== "AbortError") put(this.between, h("p", { class: "problem" }, error.message));
    }
  }

  summaryOf(diff) {
    const { from, to } = diff;
    return [
      h("p", { class: "summary" }, h("b", { class: "num" }, signed(diff.delta)), from.value === null ? " since the first score" : ` from ${points(from.value)} `,
        from.band ? bandMark(this.bands, from.band) : null, ` to ${points(to.value)} `, bandMark(this.bands, to.band),
        h("span", { class: "soft" }, `, in ${counted(diff.changes, "published change")}`)),
      diff.complete === false ? h("p", { class: "soft" }, ["Changes before ", when(diff.known_since), " are no longer stored, so the comparison starts there."]) : null,
    ];
  }

  drawTable() {
    const { times, values, bands } = this.history;
    const rows = times.map((time, index) => [when(time), points(bands[index] ? values[index] : null), label(bands[index]) || "not scored"]).reverse();
    put(this.figure.body, table(["From", "Score", "Band"], rows),
      this.marks.length > 0 && table(["Mark", "What"], this.marks.map((mark) => [when(mark.time), mark.text]).reverse()));
  }

  end() {
    this.asked?.abort();
    this.chart?.end();
  }
}

function legend({ forecasts }, marks) {
  const has = (kind) => marks.some((mark) => mark.kind === kind);
  return [
    ["", "score", true], ["dotted", "if nothing happens", forecasts.some((value) => value !== null)],
    ["dashed", "new policy", has("policy")], ["tri", "alert began", has("fired")], ["tri open", "ended", has("resolved")],
  ].filter(([, , shown]) => shown).map(([look, text]) => h("span", {}, h("i", { class: look }), text));
}
