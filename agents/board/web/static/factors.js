// Cards of an account's view: the factors of a score, what would lift it, its forecast, and child accounts.
// Numbers and texts come from the API.

import { accountAddress } from "./api.js";
import { bandMark } from "./bands.js";
import { h } from "./dom.js";
import { count, counted, exactNumber, isNumber, number, percent, pointsOf, shownScore, signed, score as points, label } from "./format.js";
import { when } from "./when.js";

const SPECIAL = { base: "base: the score without measures", clamping: "limit of 0 and 100", exception: "effect of an exception" };

function card(title, ...body) {
  return h("section", { class: "card fades", "aria-label": title }, h("div", { class: "card-head" }, h("h2", {}, title)), ...body);
}

/** The explanation of a measure without its name. */
function textOf(measure, texts) {
  const text = texts.find((each) => each.startsWith(`${label(measure)}: `));
  return text ? text.slice(label(measure).length + 2).split(/; [\d.]+ of 100 points/)[0] : null;
}

/** The table of factors: value, points, weight, and the points that each adds and costs. */
export function factorsTable(now, bands, stalled = []) {
  const head = h("div", { class: "card-head" }, h("h2", {}, "What the score is made of"), stalled.length ? h("span", { class: "tag" }, `last values of: ${stalled.join(", ")}`) : null);
  if (!now) return [head, h("p", { class: "soft" }, "This account does not have this score.")];
  if (!isNumber(now.value)) return [head, h("p", { class: "soft" }, "There is no score now.")];
  const texts = now.explanation?.words ?? [];
  const scored = now.factors.some((factor) => factor.points !== null);
  const row = (factor) => {
    const { measure, value, points: earned, weight, contribution } = factor;
    const costs = earned === null ? null : Math.max(0, weight * 100 - contribution);
    const text = textOf(measure, texts);
    return h("tr", {},
      h("th", { scope: "row" }, SPECIAL[measure] ?? label(measure), text ? h("div", { class: "sub soft" }, text) : null),
      h("td", { class: "right c-value" }, number(value)),
      scored && h("td", { class: "right points" }, earned === null ? "\u2013" : [h("meter", { min: 0, max: 100, value: Math.max(0, Math.min(100, earned)), "aria-label": `${points(earned)} of 100 points` }), " ", points(earned)]),
      h("td", { class: "right c-weight" }, scored ? (weight ? percent(weight) : "\u2013") : number(weight)),
      h("td", { class: "right" }, scored ? points(contribution) : signed(contribution)),
      scored && h("td", { class: `right ${costs > 0.05 ? "fall" : "soft"}` }, costs === null ? "\u2013" : costs < 0.05 ? "0.0" : signed(-costs)));
  };
  const sum = now.factors.reduce((all, factor) => all + factor.contribution, 0);
  return [head, h("div", { class: "scroll" }, h("table", { class: "factors" },
    h("thead", {}, h("tr", {}, [["Measure"], ["Value", "c-value"], scored && ["Points"], [scored ? "Weight" : "Impact", "c-weight"], ["Adds"], scored && ["Costs"]].filter(Boolean)
      .map(([text, extra = ""], column) => h("th", { scope: "col", class: column ? `right ${extra}` : null }, text)))),
    h("tbody", {}, now.factors.map(row)),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "Score"), h("td", { class: "c-value" }), scored && h("td"), h("td", { class: "c-weight" }), h("td", { class: "right" }, h("b", {}, points(sum))), scored && h("td")))))];
}

/** The forecast of the score if no event comes; null if the API has none. */
export function forecastCard(now, bands) {
  const forecast = now?.forecast;
  if (!forecast) return null;
  const { turn, until } = forecast;
  return card("If nothing happens", turn
    ? h("p", {}, "It becomes ", bandMark(bands, turn.band), " on ", when(turn.at), `, with ${points(turn.score)}.`)
    : h("p", {}, `It stays ${label(now.band)} until `, when(until), " at least."));
}

/** Why it is in its band, and the smallest changes that would lift it into the next one. */
export function lifts(now) {
  const explanation = now?.explanation;
  if (!explanation?.next_band && !explanation?.notes?.length) return null;
  const missing = explanation.missing_points;
  const needs = missing ? `It needs ${points(missing)} more points to be ${label(explanation.next_band)}.` : null;
  return card("What would lift it",
    (explanation.notes ?? []).map((note) => h("p", {}, note)),
    needs ? h("p", {}, needs) : null,
    explanation.lifts?.length
      ? h("ul", { class: "list lifts" }, explanation.lifts.map((lift) => h("li", {}, h("span", {}, label(lift.measure)), h("span", { class: "soft num" }, `${number(lift.value)} \u2192 ${exactNumber(lift.needed)}`))))
      : missing ? h("p", { class: "soft" }, "No single measure can do this alone.") : null);
}

/** Children of a parent account, with their roll-up. */
export function family(page, name, bands) {
  if (!page.children?.length) return null;
  const rolled = page.rollup?.scores?.[name];
  return card(counted(page.children.length, "child account"),
    rolled ? h("p", { class: "soft num" }, `Mean ${points(rolled.mean)}${rolled.weighted === null ? "" : `, by ARR ${points(rolled.weighted)}`}, worst ${points(rolled.worst)}, of ${count(rolled.children)}`) : null,
    h("ul", { class: "list family" }, page.children.map((child) => h("li", {},
      h("a", { class: "clip", href: accountAddress(child.account_id) }, child.name ?? child.account_id),
      bandMark(bands, child.scores[name]?.band), h("span", { class: "num right", title: pointsOf(child.scores[name]) }, shownScore(child.scores[name]))))));
}
