// What a score is made of, what would lift it, what is ahead if nothing happens, and the family of accounts.
// Owns these parts of an account's view; numbers and words come from the API.

import { bandMark } from "./bands.js";
import { h } from "./dom.js";
import { count, counted, moment, number, percent, score as points, signed, spoken } from "./format.js";

const SPECIAL = { base: "base: what the score begins with", clamping: "beyond 0 or 100 does not count", exception: "what an exception takes" };

function card(title, ...body) {
  return h("section", { class: "card fades", "aria-label": title }, h("div", { class: "card-head" }, h("h2", {}, title)), ...body);
}

/** The sentence of a measure without its name in front. */
function wordsOf(measure, words) {
  const found = words.find((one) => one.startsWith(`${spoken(measure)}: `));
  return found ? found.slice(spoken(measure).length + 2).split(/; [\d.]+ of 100 points/)[0] : null;
}

/** The table of factors: value, points, weight, what each gives and costs. */
export function madeOf(now, bands, stalled = []) {
  const head = h("div", { class: "card-head" }, h("h2", {}, "What it is made of"), stalled.length ? h("span", { class: "tag" }, `held: ${stalled.join(", ")}`) : null);
  if (!now) return [head, h("p", { class: "soft" }, "This account has no such score.")];
  const words = now.explanation?.words ?? [];
  const scored = now.factors.some((factor) => factor.points !== null);
  const row = (factor) => {
    const { measure, value, points: given, weight, contribution } = factor;
    const costs = given === null ? null : Math.max(0, weight * 100 - contribution);
    const told = wordsOf(measure, words);
    return h("tr", {},
      h("th", { scope: "row" }, SPECIAL[measure] ?? spoken(measure), told ? h("div", { class: "sub soft" }, told) : null),
      h("td", { class: "right c-value" }, number(value)),
      scored && h("td", { class: "right points" }, given === null ? "\u2013" : [h("meter", { min: 0, max: 100, value: given, "aria-label": `${points(given)} of 100 points` }), " ", points(given)]),
      h("td", { class: "right c-weight" }, scored ? (weight ? percent(weight) : "\u2013") : number(weight)),
      h("td", { class: "right" }, scored ? points(contribution) : signed(contribution)),
      scored && h("td", { class: `right ${costs > 0.05 ? "fall" : "soft"}` }, costs === null ? "\u2013" : costs < 0.05 ? "0.0" : signed(-costs)));
  };
  const sum = now.factors.reduce((all, factor) => all + factor.contribution, 0);
  return [head, h("div", { class: "scroll" }, h("table", { class: "factors" },
    h("thead", {}, h("tr", {}, [["Measure"], ["Value", "c-value"], scored && ["Points"], [scored ? "Weight" : "Each counts", "c-weight"], ["Gives"], scored && ["Costs"]].filter(Boolean)
      .map(([words, extra = ""], at) => h("th", { scope: "col", class: at ? `right ${extra}` : null }, words)))),
    h("tbody", {}, now.factors.map(row)),
    h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "Score"), h("td", { class: "c-value" }), scored && h("td"), h("td", { class: "c-weight" }), h("td", { class: "right" }, h("b", {}, points(sum))), scored && h("td")))))];
}

/** What becomes of the score when no event comes; nothing where the API does not tell. */
export function ahead(now, bands) {
  const forecast = now?.forecast;
  if (!forecast) return null;
  const { turn, until } = forecast;
  return card("If nothing happens", turn
    ? h("p", {}, "It becomes ", bandMark(bands, turn.band), ` on ${moment(turn.at)}, with ${points(turn.score)}.`)
    : h("p", {}, `It stays ${spoken(now.band)} until ${moment(until)} at least.`));
}

/** The smallest changes that would lift it into the next band. */
export function lifts(now) {
  const told = now?.explanation;
  if (!told?.next_band) return null;
  return card("What would lift it",
    h("p", {}, `${points(told.missing_points)} more points and it is ${spoken(told.next_band)}.`),
    told.lifts?.length
      ? h("ul", { class: "list lifts" }, told.lifts.map((lift) => h("li", {}, h("span", {}, spoken(lift.measure)), h("span", { class: "soft num" }, `${number(lift.value)} \u2192 ${number(lift.needed)}`))))
      : h("p", { class: "soft" }, "No single measure can do it alone."));
}

/** Children of a parent account, with their roll-up. */
export function family(found, name, bands) {
  if (!found.children?.length) return null;
  const rolled = found.rollup?.scores?.[name];
  return card(`${counted(found.children.length, "account")} below it`,
    rolled ? h("p", { class: "soft num" }, `Mean ${points(rolled.mean)}${rolled.weighted === null ? "" : `, by ARR ${points(rolled.weighted)}`}, worst ${points(rolled.worst)}, of ${count(rolled.children)}`) : null,
    h("ul", { class: "list family" }, found.children.map((child) => h("li", {},
      h("a", { class: "clip", href: `/accounts/${encodeURIComponent(child.account_id)}` }, child.name ?? child.account_id),
      bandMark(bands, child.scores[name]?.band), h("span", { class: "num right" }, points(child.scores[name]?.value))))));
}
