// A row of the table of accounts. Owns the columns and their contents; patches cells in place.

import { accountAddress } from "./api.js";
import { mark, patchBand, patchMark, severityTone, toneOf } from "./bands.js";
import { h, setAttr, setText } from "./dom.js";
import { date, dayOf, number, percent, pointsOf, sentence, shownScore, signed, typeset, utc, utcDate } from "./format.js";
import { textsOf } from "./ranking.js";
import { patchSpark, spark } from "./spark.js";

const SPAN_LABELS = { "1d": "1 day", "7d": "7 days", "30d": "30 days" };

/** The columns for a query: { key, text, sort?, first?, right? }; `attribute` is the name of the one that it shows. */
export function columnsOf({ span, column = [] }) {
  return [
    { key: "who", text: "Account", sort: "name" },
    { key: "band", text: "Band" },
    { key: "score", text: "Score", sort: "score", right: true },
    { key: "delta", text: SPAN_LABELS[span], sort: `change_${span}`, right: true },
    { key: "line", text: "30 days" },
    { key: "why", text: "Why" },
    { key: "alerts", text: "Alerts", sort: "alerts", first: "desc" },
    { key: "arr", text: "ARR", sort: "arr", first: "desc", right: true },
    ...column.map((name) => ({ key: "attribute", text: name, attribute: name, sort: `attribute:${name}` })),
  ];
}

/** Why an account is not scored, in words; "" if it is. Pure. */
export function stateText({ state, ended_at: ended, last_event_at: last, merged_into: into }) {
  if (state === "ended" && into) return ended ? `merged on ${utcDate(ended)}` : "merged";
  if (state === "ended") return ended ? `ended on ${utcDate(ended)}` : "ended";
  if (state === "no-data") return last ? `no data since ${utcDate(last)}` : "no data";
  return "";
}

/** What qualifies a row's score, in a few words each. Pure. */
export function caveats(row, score) {
  const { confidence } = row.scores[score] ?? {};
  const idle = row.stalled_sources?.length ?? 0;
  const known = confidence !== undefined && confidence !== null && confidence < 0.9995 ? `, ${percent(confidence)} known` : "";
  return [
    stateText(row),
    row.new_until ? `new until ${utcDate(row.new_until)}` : "",
    row.override ? "overridden" : "",
    row.catching_up ? "catching up" : "",
    idle ? `${idle === 1 ? row.stalled_sources[0] : `${idle} sources`} idle${known}` : known.slice(2),
  ].filter(Boolean);
}

/** Why a score changed: since when in the zone of the reader, and by which measures. Pure. */
export function whyText(now) {
  if (now?.since && now.reasons) return typeset(`Since ${date(now.since)}: ${now.reasons}`);
  if (now?.since) return now.reason.startsWith("no data") ? `No data since ${dayOf(now.since)}` : `Since ${date(now.since)}`;
  return sentence(typeset(now?.reason)) || (now?.change?.["7d"] === 0 ? "Steady for 7 days" : "");
}

/** { element, patch(row) }. `spanOf()` gives the span of the change. */
export function rowView(columns, score, bands, spanOf) {
  const link = h("a");
  const sub = h("div", { class: "sub" });
  const band = mark("none", "", "band");
  const value = h("div", { class: "value" });
  const doubt = h("div", { class: "sub" });
  const delta = h("span");
  const line = spark();
  const why = h("div");
  const alerts = mark("none", "", "severity");
  const arr = h("span");
  const attributes = columns.filter((column) => column.attribute).map(({ attribute }) => attributeView(attribute));
  // The attributes again, for windows that are too narrow for their columns.
  const extra = attributes.length ? h("div", { class: "extra" }, attributes.map((view) => view.item)) : null;
  const filled = { who: [link, sub, extra], band: [band, doubt], score: value, delta, line, why, alerts, arr };
  const cells = Object.fromEntries(attributes.map((view) => [view.name, view.cell]));
  const element = h("tr", { role: "row" }, columns.map((column) =>
    h("td", { role: "cell", class: `c-${column.key} ${column.key} ${column.right ? "right" : ""}` }, column.attribute ? cells[column.attribute] : filled[column.key])));
  element.addEventListener("click", (event) => {
    if (!event.target.closest("a, button") && getSelection().isCollapsed) link.click();
  });
  let before = null;
  const patch = (row) => {
    const now = row.scores[score];
    const name = row.name ?? row.account_id;
    element.dataset.id = row.account_id;
    setText(link, name);
    setAttr(link, "href", accountAddress(row.account_id));
    setAttr(link, "title", name);
    setText(sub, [row.segment, row.owner, row.tier].filter(Boolean).join(" \u00b7 "));
    for (const view of attributes) view.patch(row);
    const tone = toneOf(bands, now?.band);
    patchBand(band, bands, now?.band);
    setText(doubt, caveats(row, score).join(", "));
    setAttr(doubt, "title", doubt.textContent || null);
    doubt.hidden = doubt.textContent === "";
    const moved = setText(value, shownScore(now));
    setAttr(value, "title", pointsOf(now));
    const change = now?.change?.[spanOf()];
    setText(delta, signed(change));
    setAttr(delta, "class", change < -0.05 ? "fall" : change > 0.05 ? "rise" : "soft");
    patchSpark(line, now?.spark, tone);
    setText(why, whyText(now));
    setAttr(why, "title", now?.since ? `${why.textContent} (${utc(now.since)})` : why.textContent || null);
    alerts.hidden = !row.alerts;
    if (row.alerts) patchMark(alerts, severityTone(row.severity), row.alerts === 1 ? sentence(row.severity ?? "open") : `${row.alerts} ${row.severity ?? "open"}`);
    setText(arr, row.arr === null || row.arr === undefined ? "" : number(Math.round(row.arr)));
    if (moved && before !== null) glow(value);
    before = now?.value ?? null;
  };
  return { element, patch };
}

/** An attribute as the content of a cell and as an item of a line of attributes. */
function attributeView(name) {
  const cell = h("span");
  const text = h("span", { class: "said" });
  const item = h("span", { class: "clip" }, `${name} `, text);
  const patch = (row) => {
    const value = textsOf(row.attributes[name]).join(", ");
    setText(cell, value);
    setText(text, value);
    setAttr(cell, "title", value || null);
    setAttr(item, "title", value ? `${name}: ${value}` : null);
    item.hidden = value === "";
  };
  return { name, cell, item, patch };
}

function glow(element) {
  element.classList.remove("changed");
  void element.offsetWidth; // restarts the animation
  element.classList.add("changed");
}
