// The change from one score to another, one bar a measure. Owns the positions of the bars; it is a table, for screen readers.

import { h } from "./dom.js";
import { score as points, signed, label } from "./format.js";

const SPECIAL = {
  "redistribution": "weight shared from missing measures",
  "previous policy": "measures of the previous policy",
  "unpublished": "changes too small to publish",
  "unknown": "unknown: changes are missing",
};

/** Rounding errors of sums are smaller. */
const NOTHING = 1e-6;

/** Bars as shares of the width: [{ measure, delta, after, left, width }], the scale fits all of them. Pure. */
export function steps(from, factors) {
  let now = from;
  const bars = factors.map(({ measure, delta }) => {
    const before = now;
    now += delta;
    return { measure, delta, before, after: now };
  });
  const all = [from, ...bars.map((bar) => bar.after)];
  const low = Math.min(...all);
  const reach = Math.max(Math.max(...all) - low, 1e-9);
  return bars.map((bar) => ({
    ...bar,
    left: (Math.min(bar.before, bar.after) - low) / reach,
    width: Math.abs(bar.delta) / reach,
  }));
}

export function waterfall({ from, to, factors: all }) {
  const factors = all.filter(({ delta }) => Math.abs(delta) >= NOTHING);
  if (factors.length === 0) return h("p", { class: "empty" }, h("strong", {}, "No change."), "The score is the same at both times.");
  const share = (width) => `${(width * 100).toFixed(2)}%`;
  const total = (text, value) => h("tr", { class: "total" }, h("th", { scope: "row" }, text), h("td", { class: "track" }), h("td", { class: "right" }, points(value)), h("td"));
  return h("table", { class: "waterfall" },
    h("caption", { class: "unseen" }, "What each measure added to the score or took from it between the two times"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Measure"), h("th", { scope: "col", class: "track" }, h("span", { class: "unseen" }, "Bar")),
      h("th", { scope: "col", class: "right" }, "Change"), h("th", { scope: "col", class: "right" }, "Score then"))),
    h("tbody", {}, total("From", from.value),
      steps(from.value ?? 0, factors).map((bar) => h("tr", {},
        h("th", { scope: "row" }, SPECIAL[bar.measure] ?? label(bar.measure)),
        h("td", { class: "track" }, h("div", { class: "rail" }, h("span", { class: bar.delta < 0 ? "down" : "up", style: { left: `min(${share(bar.left)}, 100% - 2px)`, width: share(bar.width) } }))),
        h("td", { class: `right ${bar.delta < 0 ? "fall" : "rise"}` }, signed(bar.delta)),
        h("td", { class: "right soft" }, points(bar.after)))),
      total("To", to.value)));
}
