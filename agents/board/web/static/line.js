// The score over time and what moved it between two moments of it. Owns the choice of the two moments.
// Called by account.js; the sums come from the API (`diff`), so that they are those of the published changes.

import { api } from "./api.js";
import { bandMark, severityTone, toneOf } from "./bands.js";
import { figure, scoreChart } from "./chart.js";
import { calmly, h, put, setAttr, setText } from "./dom.js";
import { counted, DAY, date, moment, score as points, signed, spoken } from "./format.js";
import { table } from "./strip.js";
import { waterfall } from "./waterfall.js";

const QUICK = [["1 day", 1], ["7 days", 7], ["30 days", 30], ["90 days", 90]];

/** Columns for the chart: the known past, then what is ahead if nothing happens. Pure. */
export function lineOf(history, forecast) {
  const steps = forecast?.line ?? [];
  const now = history.times.at(-1);
  const later = steps.filter((step) => step.at > now);
  const times = [...history.times, ...later.map((step) => step.at)];
  const values = [...history.values, ...later.map(() => null)];
  const ahead = [...history.values.map((value, at) => (later.length && at === history.values.length - 1 ? value : null)), ...later.map((step) => step.score)];
  return { times, values, ahead };
}

/** Marks of a chart: where the policy became another, where alerts began and ended. Pure. */
export function marksOf(history, alerts) {
  const marks = [];
  history.policies.forEach((policy, at) => {
    if (at && policy !== history.policies[at - 1]) marks.push({ time: history.times[at], kind: "policy", tone: "soft", words: `policy ${policy}` });
  });
  for (const alert of [...alerts.open, ...alerts.past]) {
    const tone = severityTone(alert.severity);
    marks.push({ time: alert.starts_at, kind: "fired", tone, words: `alert ${alert.rule} fired` });
    if (alert.ends_at) marks.push({ time: alert.ends_at, kind: "resolved", tone, words: `alert ${alert.rule} resolved` });
  }
  return marks.sort((a, b) => a.time - b.time);
}

/** How long the account was in which band: [{ from, to, name, tone }]. Pure. */
export function zonesOf({ times, bands: names }, bands, last) {
  const zones = [];
  names.forEach((name, at) => {
    const before = zones.at(-1);
    if (before?.band === name) before.to = times[at + 1] ?? last;
    else zones.push({ band: name, name: spoken(name), tone: toneOf(bands, name), from: times[at], to: times[at + 1] ?? last });
  });
  return zones;
}

/** The value that held at a moment: that of the last step at or before it, null before the first. Pure. */
export function valueAt(history, time) {
  let low = 0;
  let high = history.times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (history.times[middle] <= time) low = middle + 1;
    else high = middle;
  }
  return low ? history.values[low - 1] : null;
}

export class ScoreCard {
  /** `state`: { from, to } in ms or null (lately, now); `keep(change)` puts them into the address; `nowOf()`: the data's now. */
  constructor(id, name, found, bands, state, keep, nowOf) {
    Object.assign(this, { id, name, bands, keep, nowOf });
    this.picked = { from: state.from, to: state.to };
    this.figure = figure(`Score ${spoken(name)} over time, with the bands behind it; the table below says the same`);
    this.between = h("div", { class: "between", "aria-live": "polite", "aria-atomic": "false" });
    this.ends = { from: this.slider("From", "from"), to: this.slider("To", "to") };
    this.element = h("div", { class: "stack" },
      h("section", { class: "card fades", "aria-label": "Score over time" },
        h("div", { class: "card-head" }, h("h2", {}, "Score over time"), this.legend = h("p", { class: "legend" })), this.figure.element),
      h("section", { class: "card fades", "aria-label": "What moved it" },
        h("div", { class: "card-head" }, h("h2", {}, "What moved it"), h("div", { class: "quick", role: "group", "aria-label": "Compare now with" }, this.quick())),
        h("p", { class: "soft" }, "Drag across the line, click on it, or move the two ends."),
        h("div", { class: "ends" }, this.ends.from.element, this.ends.to.element), this.between));
    this.ask = calmly(120, () => this.load());
    this.take(found);
  }

  quick() {
    return QUICK.map(([words, days]) => h("button", { class: "button", type: "button",
      on: { click: () => this.pick(Math.max(this.first, this.last - days * DAY), null) } }, words));
  }

  take(found) {
    this.history = found.scores[this.name]?.history ?? { times: [], values: [], bands: [], policies: [] };
    this.forecast = found.scores[this.name]?.forecast;
    this.marks = marksOf(this.history, found.alerts);
    this.last = Math.max(found.account.as_of, this.history.times.at(-1) ?? 0, this.nowOf());
    this.first = this.history.times[0] ?? this.last;
    this.line = lineOf(this.history, this.forecast);
    put(this.legend, legend(this.line, this.marks));
    // What is compared with now is drawn up to now.
    if (this.history.times.length && this.history.times.at(-1) < this.last && !this.forecast) {
      this.line.times.push(this.last);
      this.line.values.push(this.history.values.at(-1));
      this.line.ahead.push(null);
    }
    setAttr(this.ends.from.input, "min", this.first);
    setAttr(this.ends.from.input, "max", this.last);
    setAttr(this.ends.to.input, "min", this.first);
    setAttr(this.ends.to.input, "max", this.last);
    this.show();
  }

  span() {
    const to = Math.min(this.picked.to ?? this.last, this.last);
    return [Math.min(this.picked.from ?? Math.max(this.first, to - this.lately() * DAY), to), to];
  }

  /** Days to look back when nobody has chosen: a week, or as long as it takes until something moved. */
  lately() {
    const now = this.history.values.at(-1);
    const moved = (days) => Math.abs((valueAt(this.history, this.last - days * DAY) ?? now) - now) >= 0.05;
    return [7, 30, 90].find(moved) ?? 30;
  }

  start() {
    if (this.line.times.length === 0) {
      put(this.figure.element, h("div", { class: "empty" }, h("strong", {}, "No history yet."), "The line begins with the first published change."));
    } else {
      this.chart = scoreChart(this.figure.plot, {
        line: this.line, zones: () => zonesOf(this.history, this.bands, this.last), marks: () => this.marks, picked: () => this.span(),
        pick: (from, to) => this.pick(from, to), say: (at) => this.say(at),
      });
    }
    this.drawTable();
    this.say(null);
    this.load();
  }

  set(found) {
    this.take(found);
    if (!this.chart) {
      if (this.line.times.length) this.start();
      return;
    }
    this.chart.set(this.line);
    this.drawTable();
    this.ask();
  }

  say(at) {
    if (at === null) return this.figure.read(null, `${date(this.first)} to ${date(this.line.times.at(-1))}, UTC`);
    const time = this.line.times[at];
    const value = this.line.values[at] ?? this.line.ahead[at];
    const near = this.marks.filter((mark) => Math.abs(mark.time - time) < (this.last - this.first) / 80).map((mark) => mark.words);
    const band = this.history.bands[Math.min(at, this.history.bands.length - 1)];
    const words = this.line.values[at] === null ? "if nothing happens" : spoken(band);
    return this.figure.read([`${moment(time)}: ${points(value)}, ${words}`, ...near].join(" \u00b7 "));
  }

  slider(words, end) {
    const value = h("span", { class: "num" });
    const input = h("input", { type: "range", step: 60_000 });
    input.addEventListener("input", () => {
      const [from, to] = this.span();
      const chosen = Number(input.value);
      if (end === "from") this.pick(Math.min(chosen, to), this.picked.to);
      else this.pick(Math.min(from, chosen), chosen >= this.last ? null : chosen);
    });
    return { element: h("label", { class: "label" }, h("span", {}, `${words} `, value), input), input, value };
  }

  /** Choose the two moments; `to` null is now, and stays now as time goes on. */
  pick(from, to) {
    const end = to === null || to >= this.last ? null : Math.round(to);
    this.picked = { from: Math.round(Math.max(this.first, from)), to: end };
    this.keep(this.picked);
    this.show();
    this.chart?.redraw();
    this.ask();
  }

  show() {
    const span = this.span();
    ["from", "to"].forEach((end, at) => {
      const { input, value } = this.ends[end];
      const told = `${end === "to" && this.picked.to === null ? "now" : moment(span[at])}: ${points(valueAt(this.history, span[at]))}`;
      input.value = span[at];
      setAttr(input, "aria-valuetext", told);
      setText(value, told);
    });
  }

  async load() {
    this.asked?.abort();
    this.asked = new AbortController();
    const [from, to] = this.span();
    try {
      const diff = await api.diff(this.id, { score: this.name, from, to: this.picked.to === null ? null : to }, this.asked.signal);
      put(this.between, ...this.told(diff), waterfall(diff));
    } catch (error) {
      if (error.name !== "AbortError") put(this.between, h("p", { class: "problem" }, error.message));
    }
  }

  told(diff) {
    const { from, to } = diff;
    return [
      h("p", { class: "told" }, h("b", { class: "num" }, signed(diff.delta)), from.value === null ? " since nothing was known" : ` from ${points(from.value)} `,
        from.band ? bandMark(this.bands, from.band) : null, ` to ${points(to.value)} `, bandMark(this.bands, to.band),
        h("span", { class: "soft" }, `, in ${counted(diff.changes, "published change")}`)),
      diff.complete === false ? h("p", { class: "soft" }, `Older changes than ${moment(diff.known_since)} are not kept, so that is where this begins.`) : null,
    ];
  }

  drawTable() {
    const { times, values, bands } = this.history;
    const rows = times.map((time, at) => [moment(time), points(values[at]), spoken(bands[at])]).reverse();
    put(this.figure.body, table(["From (UTC)", "Score", "Band"], rows),
      this.marks.length > 0 && table(["Mark (UTC)", "What"], this.marks.map((mark) => [moment(mark.time), mark.words]).reverse()));
  }

  end() {
    this.asked?.abort();
    this.chart?.end();
  }
}

function legend({ ahead }, marks) {
  const has = (kind) => marks.some((mark) => mark.kind === kind);
  return [
    ["", "score", true], ["dotted", "if nothing happens", ahead.some((value) => value !== null)],
    ["dashed", "new policy", has("policy")], ["tri", "alert began", has("fired")], ["tri open", "ended", has("resolved")],
  ].filter(([, , shown]) => shown).map(([look, words]) => h("span", {}, h("i", { class: look }), words));
}
