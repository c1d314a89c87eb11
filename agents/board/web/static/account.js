// "Why this account?": its score over time, what moved it between any two moments, what it is made of, its alerts, what
// is ahead, and its journey. Owns the view and its address; the parts are in line.js, waterfall.js, journey.js, made.js and
// alertlist.js.

import { AlertList } from "./alertlist.js";
import { api, query } from "./api.js";
import { bandMark } from "./bands.js";
import { calmly, h, put } from "./dom.js";
import { counted, date, moment, number, percent, score as points, sentence, signed, spoken } from "./format.js";
import { ScoreCard } from "./line.js";
import { Journey } from "./journey.js";
import { ahead, family, lifts, madeOf } from "./made.js";
import { Steady } from "./steady.js";

export const listens = ({ id }) => [id];

export async function show(main, context) {
  const { store, params, go, note, id, live } = context;
  if (!main.querySelector(".account-head")) skeleton(main, id);
  let found = await api.account(id);
  const names = store.summary.scores.map((one) => one.name).filter((one) => one in found.scores);
  const name = names.includes(params.get("score")) ? params.get("score") : (names[0] ?? Object.keys(found.scores)[0]);
  const state = { from: Number(params.get("from")) || null, to: Number(params.get("to")) || null, kinds: params.get("kinds") };
  const bandsOf = () => store.summary.scores.find((one) => one.name === name)?.bands ?? [];
  const address = () => `/accounts/${encodeURIComponent(id)}${query({ score: params.get("score"), ...state })}`;
  const keep = (change) => {
    Object.assign(state, change);
    note(address(), { replace: true });
  };

  const head = h("div", { class: "account-head fades" });
  const notes = h("div", { class: "notes" });
  const card = new ScoreCard(id, name, found, bandsOf(), state, keep, () => store.summary.time);
  const open = new AlertList(live, { withNames: false });
  const past = new AlertList(live, { withNames: false });
  const steady = new Steady(open.element, (alerts) => drawAlerts(alerts), (alerts) => open.patch(alerts));
  const none = h("p", { class: "soft" }, "Nothing is alerting.");
  const earlier = h("details", {}, h("summary", { class: "soft" }, "Resolved before"), past.element);
  const side = { ahead: h("div"), lifts: h("div"), family: h("div") };
  const made = h("section", { class: "card fades", "aria-label": "What the score is made of" });
  const journey = new Journey(id, bandsOf, state.kinds, (kinds) => keep({ kinds }));
  put(main, head, notes,
    h("div", { class: "cards why-grid" },
      h("div", { class: "stack" }, card.element, made, journey.element),
      h("div", { class: "stack" },
        h("section", { class: "card fades", "aria-label": "Alerts" }, h("div", { class: "card-head" }, h("h2", {}, "Alerts")), open.element, none, earlier),
        side.ahead, side.lifts, side.family)));

  function drawAlerts(alerts) {
    open.set(alerts);
    none.hidden = alerts.length > 0;
  }
  function draw() {
    const now = found.scores[name];
    put(head, ...heading(found, now, name, names, bandsOf(), (score) => go(`/accounts/${encodeURIComponent(id)}${query({ score })}`)));
    put(notes, ...remarks(found, now, bandsOf()));
    notes.hidden = notes.childElementCount === 0;
    steady.set(found.alerts.open);
    past.set(found.alerts.past);
    earlier.hidden = found.alerts.past.length === 0;
    put(made, ...madeOf(now, bandsOf(), found.account.stalled_sources));
    put(side.ahead, ahead(now, bandsOf()));
    put(side.lifts, lifts(now));
    put(side.family, family(found, name, bandsOf()));
    for (const box of Object.values(side)) box.hidden = box.childElementCount === 0;
  }
  draw();
  card.start();
  journey.load();
  const again = calmly(150, async () => {
    const next = await api.account(id).catch(() => null);
    if (!next || !main.contains(head)) return;
    found = next;
    draw();
    card.set(found);
    journey.news();
  });
  const mine = (call) => (detail) => detail.account_id === id && call(detail);
  return {
    title: found.account.name ?? id,
    keys: { u: () => (history.length > 1 ? history.back() : go("/")) },
    account: mine(again),
    alert: mine(again),
    gone: mine(() => go(address())),
    reset: again,
    end() {
      card.end();
      journey.end();
    },
  };
}

function skeleton(main, id) {
  const bones = (count) => Array.from({ length: count }, (_, at) => h("p", {}, h("span", { class: "bone", style: { width: `${90 - at * 7}%` } })));
  put(main, h("div", { class: "account-head" }, h("h1", {}, id)),
    h("div", { class: "cards why-grid", "aria-hidden": "true" },
      h("div", { class: "stack" }, h("div", { class: "card" }, bones(9)), h("div", { class: "card" }, bones(5))),
      h("div", { class: "stack" }, h("div", { class: "card" }, bones(4)))));
}

function heading(found, now, name, names, bands, another) {
  const { account, profile, parent } = found;
  const change = now?.value === undefined ? null : account.scores[name]?.change?.["7d"];
  const facts = [
    ["Segment", account.segment], ["Owner", account.owner], ["Tier", account.tier], ["Plan", profile?.plan],
    ["ARR", account.arr === null ? null : number(account.arr)],
    ["Renewal", profile?.renewal_at ? date(profile.renewal_at) : null],
    ["Customer since", profile?.started_at ? date(profile.started_at) : null],
  ].filter(([, value]) => value);
  const choice = h("select", { class: "field", "aria-label": "Score", on: { change: () => another(choice.value) } },
    names.map((one) => h("option", { value: one, ...(one === name ? { selected: true } : {}) }, spoken(one))));
  return [
    h("div", { class: "title" },
      h("p", { class: "soft" }, h("a", { href: "/" }, "Accounts"), " / ", h("span", { class: "id" }, account.account_id)),
      h("h1", {}, account.name ?? account.account_id)),
    now && h("div", { class: "big" }, h("span", { class: "value", "data-score": name }, points(now.value)), bandMark(bands, now.band),
      h("span", { class: change < -0.05 ? "fall num" : change > 0.05 ? "rise num" : "soft num" }, change === null || change === undefined ? sentence(account.scores[name]?.reason ?? "") : `${signed(change)} in 7 days`)),
    names.length > 1 && choice,
    h("dl", { class: "facts" }, facts.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
      parent && h("div", {}, h("dt", {}, "Part of"), h("dd", {}, h("a", { href: `/accounts/${encodeURIComponent(parent.account_id)}` }, parent.name ?? parent.account_id)))),
  ];
}

/** What one has to know before believing the number. */
function remarks({ account }, now, bands) {
  const told = [];
  const { override, stalled_sources: stalled = [], catching_up: catching } = account;
  if (override) {
    const said = override.score === undefined || override.score === null ? bandMark(bands, override.band) : h("b", { class: "num" }, points(override.score));
    told.push(h("p", { class: "note" }, h("b", {}, "Overridden: "), said, ` until ${moment(override.expires_at)}`,
      `, said ${override.by ? `by ${override.by} ` : ""}${moment(override.since)}: \u201c${override.reason}\u201d. `,
      `The score computed from events stays ${points(now?.value)}.`));
  }
  if (stalled.length) {
    told.push(h("p", { class: "note warn" }, h("b", {}, `${counted(stalled.length, "source")} stalled: `), stalled.join(", "),
      ". What is measured from there is held at its last value",
      now?.confidence === undefined || now.confidence >= 1 ? "." : `: ${percent(now.confidence)} of the score's weight is known as of now.`));
  }
  if (catching) told.push(h("p", { class: "note warn" }, h("b", {}, "Catching up: "), "a worker is reading older events; this score may move when it arrives at the present."));
  if (now?.exceptions?.length) told.push(h("p", { class: "note" }, h("b", {}, "Exception: "), `${now.exceptions.map(spoken).join(", ")} overrules the average.`));
  return told;
}

