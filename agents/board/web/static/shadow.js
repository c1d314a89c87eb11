// The candidate policy beside the one in force: bands then and now, who moves, alerts it would have raised or spared.
// Owns the view; the numbers are the API's.

import { ruleWords } from "./alertlist.js";
import { api, query } from "./api.js";
import { bandMark, mark, toneOf } from "./bands.js";
import { calmly, h, put } from "./dom.js";
import { count, counted, score as points, signed, spoken } from "./format.js";

const SHOWN = 50;

export const listens = () => [];

export async function show(main, { params, go }) {
  const load = () => api.shadow({ score: params.get("score"), limit: SHOWN });
  const draw = (data) => put(main,
    h("div", { class: "head" }, h("h1", {}, "What would the other policy say?"),
      data.available && [h("p", { class: "soft" }, `${data.policy}, ${counted(data.accounts, "account")}`), choice(data, params, go)]),
    ...(data.available ? sections(pickScore(data, params), data) : [nothing()]));
  draw(await load());
  let ended = false;
  // What is under somebody's keys stays: a link or the choice of the score. The view itself holds the focus from the start.
  const inUse = () => main !== document.activeElement && main.contains(document.activeElement);
  const soon = calmly(500, async () => {
    const next = ended ? null : await load().catch(() => null);
    if (!next || ended) return;
    if (inUse()) soon();
    else draw(next);
  });
  return { title: "Shadow", summary: soon, reset: soon, end: () => { ended = true; } };
}

const nothing = () => h("div", { class: "empty card" }, h("strong", {}, "No policy runs in the shadow."),
  "Start the workers with --shadow FILE: the candidate is then scored on the same events, its scores go to health.shadow and nobody is alerted.");

const pickScore = (data, params) => data.scores.find((one) => one.name === params.get("score")) ?? data.scores[0];

function choice(data, params, go) {
  if (data.scores.length < 2) return null;
  const now = pickScore(data, params).name;
  const select = h("select", { class: "field", "aria-label": "Score", on: { change: () => go(`/shadow${query({ score: select.value })}`) } },
    data.scores.map(({ name }) => h("option", { value: name, ...(name === now ? { selected: true } : {}) }, spoken(name))));
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
        h("thead", {}, h("tr", {}, ["Band", "Now", "With the candidate", "Difference"].map((words, at) => h("th", { scope: "col", class: at ? "right" : null }, words)))),
        h("tbody", {}, bands.map((band) => h("tr", {}, h("th", { scope: "row" }, bandMark(bands, band.name)), h("td", { class: "right" }, count(band.live)),
          h("td", { class: "right" }, count(band.shadow)), h("td", { class: "right" }, difference(band.shadow - band.live))))))),
      card("Who would change bands", counted(moved, "account"), matrix(score))),
    h("div", { class: "cards pair below" },
      card("Alerts it would raise", "", rules(data.alerts.raised, "None that are not open now.")),
      card("Alerts it would spare", "", rules(data.alerts.spared, "None of those open now."))),
    h("div", { class: "below" }, card("Accounts that differ most", `${count(score.accounts.length)} of ${count(score.differing)}`, differing(score))),
  ];
}

const difference = (by) => (by === 0 ? "0" : `${by > 0 ? "+" : "\u2212"}${count(Math.abs(by))}`);

function matrix({ bands, moves }) {
  const at = new Map(moves.map((move) => [`${move.live}\n${move.shadow}`, move.accounts]));
  for (const { name, live } of bands) {
    const leave = moves.filter((move) => move.live === name && move.shadow !== name).reduce((sum, move) => sum + move.accounts, 0);
    at.set(`${name}\n${name}`, live - leave);
  }
  return h("div", { class: "scroll" }, h("table", { class: "matrix" },
    h("caption", { class: "unseen" }, "Accounts by their band now (rows) and with the candidate (columns)"),
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Now \\ candidate"), bands.map((band) => h("th", { scope: "col" }, spoken(band.name))))),
    h("tbody", {}, bands.map((row) => h("tr", {}, h("th", { scope: "row" }, bandMark(bands, row.name)), bands.map((column) => {
      const accounts = at.get(`${row.name}\n${column.name}`) ?? 0;
      return h("td", { class: row.name === column.name ? "same" : accounts ? "moved" : "soft" }, accounts ? count(accounts) : "\u00b7");
    }))))));
}

function rules(list, none) {
  if (list.length === 0) return h("p", { class: "soft" }, none);
  return h("ul", { class: "list" }, list.map((one) => h("li", {}, h("div", {}, h("b", {}, ruleWords(one)), h("span", { class: "soft num" }, ` ${counted(one.accounts, "account")}`)),
    h("p", { class: "soft" }, "For example ", one.examples.slice(0, 3).map((id, index) => [index ? ", " : "", h("a", { href: `/accounts/${encodeURIComponent(id)}` }, id)])))));
}

function differing({ accounts, bands }) {
  if (accounts.length === 0) return h("div", { class: "empty" }, h("strong", {}, "No account differs."), "Both policies say the same of everyone.");
  const both = (side) => [mark(toneOf(bands, side.band), spoken(side.band)), " ", h("span", { class: "num" }, points(side.value))];
  return h("div", { class: "scroll" }, h("table", { class: "differs" },
    h("thead", {}, h("tr", {}, ["Account", "Now", "With the candidate", "Difference"].map((words, at) => h("th", { scope: "col", class: at === 3 ? "right" : null }, words)))),
    h("tbody", {}, accounts.map((one) => h("tr", {}, h("th", { scope: "row" }, h("a", { href: `/accounts/${encodeURIComponent(one.account_id)}` }, one.name ?? one.account_id)),
      h("td", {}, both(one.live)), h("td", {}, both(one.shadow)), h("td", { class: `right ${one.delta < 0 ? "fall" : "rise"}` }, signed(one.delta)))))));
}
