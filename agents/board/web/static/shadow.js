// The view of the candidate policy: bands and scores by both policies, and alerts that only one of them has.
// Owns the view; the numbers come from the API.

import { ruleLabel } from "./alertlist.js";
import { accountAddress, api, query } from "./api.js";
import { bandMark, mark, toneOf } from "./bands.js";
import { debounce, h, put } from "./dom.js";
import { count, counted, score as points, signed, label } from "./format.js";

const SHOWN = 50;

export const accountsToFollow = () => [];

export async function show(main, { params, go }) {
  const load = () => api.shadow({ score: params.get("score"), limit: SHOWN });
  const draw = (data) => put(main,
    h("div", { class: "head" }, h("h1", {}, "What would the candidate policy change?"),
      data.available && [h("p", { class: "soft" }, `${data.policy}, ${counted(data.accounts, "account")}`), choice(data, params, go)]),
    ...(data.available ? sections(pickScore(data, params), data) : [nothing()]));
  draw(await load());
  let ended = false;
  // An element that has the focus stays: a link or the choice of the score. The view itself has the focus from the start.
  const inUse = () => main !== document.activeElement && main.contains(document.activeElement);
  const soon = debounce(500, async () => {
    const next = ended ? null : await load().catch(() => null);
    if (!next || ended) return;
    if (inUse()) soon();
    else draw(next);
  });
  return { title: "Shadow", summary: soon, reset: soon, end: () => { ended = true; } };
}

const nothing = () => h("div", { class: "empty card" }, h("strong", {}, "No candidate policy is running."),
  "Start the workers with --shadow FILE. The candidate policy then scores the same events, publishes to health.shadow and sends no alerts.");

const pickScore = (data, params) => data.scores.find((score) => score.name === params.get("score")) ?? data.scores[0];

function choice(data, params, go) {
  if (data.scores.length < 2) return null;
  const now = pickScore(data, params).name;
  const select = h("select", { class: "field", "aria-label": "Score", on: { change: () => go(`/shadow${query({ score: select.value })}`) } },
    data.scores.map(({ name }) => h("option", { value: name, ...(name === now ? { selected: true } : {}) }, label(name))));
  return select;
}

function card(title, note, ...body) {
  return h("section", { class: "card fades", "aria-label": title }, h("div", { class: "card-head" }, h("h2", {}, title), note && h("span", { class: "soft num" }, note)), ...body);
}

function sections(score, data) {
  const { bands } = score;
  const moved = score.moves.filter((move) => move.live !== move.shadow).reduce((sum, move) => sum + move.accounts, 0);
  return [
    h("div", { class: "cards pair" },
      card("Accounts by band", "", h("table", {},
        h("thead", {}, h("tr", {}, ["Band", "Now", "With the candidate", "Difference"].map((text, column) => h("th", { scope: "col", class: column ? "right" : null }, text)))),
        h("tbody", {}, bands.map((band) => h("tr", {}, h("th", { scope: "row" }, bandMark(bands, band.name)), h("td", { class: "right" }, count(band.live)),
          h("td", { class: "right" }, count(band.shadow)), h("td", { class: "right" }, difference(band.shadow - band.live))))))),
      card("Who would change bands", counted(moved, "account"), matrix(score))),
    h("div", { class: "cards pair below" },
      card("Alerts it would raise", "", rules(data.alerts.raised, "None besides those that are open now.")),
      card("Alerts it would not raise", "", rules(data.alerts.spared, "It would raise all that are open now."))),
    h("div", { class: "below" }, card("Accounts that differ most", `${count(score.accounts.length)} of ${count(score.differing)}`, differing(score))),
  ];
}

const difference = (by) => (by === 0 ? "0" : `${by > 0 ? "+" : "\u2212"}${count(Math.abs(by))}`);

function matrix({ bands, moves }) {
  const accountsOf = new Map(moves.map((move) => [`${move.live}\n${move.shadow}`, move.accounts]));
  for (const { name, live } of bands) {
    const leave = moves.filter((move) => move.live === name && move.shadow !== name).reduce((sum, move) => sum + move.accounts, 0);
    accountsOf.set(`${name}\n${name}`, live - leave);
  }
  return h("div", { class: "scroll" }, h("table", { class: "matrix" },
    h("caption", { class: "unseen" }, "Accounts by their band now (rows) and with the candidate (columns)"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Now \\ candidate"), bands.map((band) => h("th", { scope: "col" }, label(band.name))))),
    h("tbody", {}, bands.map((row) => h("tr", {}, h("th", { scope: "row" }, bandMark(bands, row.name)), bands.map((column) => {
      const accounts = accountsOf.get(`${row.name}\n${column.name}`) ?? 0;
      return h("td", { class: row.name === column.name ? "same" : accounts ? "moved" : "soft" }, accounts ? count(accounts) : "\u00b7");
    }))))));
}

function rules(list, none) {
  if (list.length === 0) return h("p", { class: "soft" }, none);
  return h("ul", { class: "list" }, list.map((rule) => h("li", {}, h("div", {}, h("b", {}, ruleLabel(rule)), h("span", { class: "soft num" }, ` ${counted(rule.accounts, "account")}`)),
    h("p", { class: "soft" }, "For example ", rule.examples.slice(0, 3).map((id, index) => [index ? ", " : "", h("a", { href: accountAddress(id) }, id)])))));
}

function differing({ accounts, bands }) {
  if (accounts.length === 0) return h("div", { class: "empty" }, h("strong", {}, "No account differs."), "Both policies give every account the same score.");
  const both = (side) => [mark(toneOf(bands, side.band), label(side.band)), " ", h("span", { class: "num" }, points(side.value))];
  return h("div", { class: "scroll" }, h("table", { class: "differs" },
    h("thead", {}, h("tr", {}, ["Account", "Now", "With the candidate", "Difference"].map((text, column) => h("th", { scope: "col", class: column === 3 ? "right" : null }, text)))),
    h("tbody", {}, accounts.map((account) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: accountAddress(account.account_id) }, account.name ?? account.account_id)),
      h("td", {}, both(account.live)), h("td", {}, both(account.shadow)), h("td", { class: `right ${account.delta < 0 ? "fall" : "rise"}` }, signed(account.delta)))))));
}
