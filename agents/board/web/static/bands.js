// Marks of bands, severities and states: shape, text and colour, so that each is readable without the others.
// The order of bands (best first) comes from the API. Called by every view.

import { h, setText, svg } from "./dom.js";
import { sentence, label } from "./format.js";

/** Paths in a box of 12 x 12, from good to bad. Each differs from its neighbours in outline, not in size alone. */
const SHAPES = {
  good: "M6 1a5 5 0 1 1 0 10A5 5 0 0 1 6 1Z",
  fine: "M2 1.5h8v9H2Z",
  middle: "M6 .8 11.5 10.8H.5Z",
  poor: "M6 .2 11.8 6 6 11.8.2 6Z",
  bad: "M3.5.5h5l3 3v5l-3 3h-5l-3-3v-5Z",
};
const TONES = ["good", "fine", "middle", "poor", "bad"];
/** The tones by the number of bands, best first. */
const TONES_BY_COUNT = {
  1: ["none"], // whether it is good is not known
  2: ["good", "bad"],
  3: ["good", "middle", "bad"],
  4: ["good", "fine", "middle", "bad"],
};
const SEVERITY = { critical: "bad", warning: "middle", info: "fine" };

/** The tone (a word of the style sheet) of a band among all of its score, best first; unknown bands are `none`. */
export function toneOf(bands, name) {
  const names = (bands ?? []).map((band) => band.name ?? band);
  const index = names.indexOf(name);
  if (index < 0) return "none";
  const tones = TONES_BY_COUNT[names.length];
  if (tones) return tones[index];
  return TONES[Math.round((index / (names.length - 1)) * (TONES.length - 1))];
}

export const severityTone = (severity) => SEVERITY[severity] ?? "fine";

/** The shape alone, hidden from screen readers: the text beside it has the same meaning. */
export function shape(tone) {
  return svg("svg", { class: `shape tone-${tone}`, viewBox: "0 0 12 12", width: 12, height: 12, "aria-hidden": "true" },
    svg("path", { d: SHAPES[tone] ?? "M1 5h10v2H1Z" }));
}

/** A mark of shape and text. `patchMark` changes it in place. */
export function mark(tone, word, extra = "") {
  return h("span", { class: `mark ${extra}`.trim(), data: { tone } }, shape(tone), h("span", { class: "word" }, word));
}

export function patchMark(element, tone, word) {
  if (element.dataset.tone !== tone) {
    element.dataset.tone = tone;
    element.firstElementChild.replaceWith(shape(tone));
  }
  setText(element.lastElementChild, word);
}

export const bandMark = (bands, name) => mark(toneOf(bands, name), name === null || name === undefined ? "no band" : label(name), "band");
export const patchBand = (element, bands, name) => patchMark(element, toneOf(bands, name), name ? label(name) : "no band");
export const severityMark = (severity) => mark(severityTone(severity), sentence(severity), "severity");
