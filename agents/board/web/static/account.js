// The view of one account: its score over time, what changed it between two times, its factors, alerts, forecast and
// timeline. Owns the view and its address; the cards are in scorecard.js, factors.js, timeline.js and alertlist.js.

import { AlertList } from "./alertlist.js";
import { accountAddress, api, query } from "./api.js";
import { bandMark } from "./bands.js";
import { debounce, h, put } from "./dom.js";
import { counted, isNumber, number, percent, pointsOf, score as points, sentence, shownScore, signed, label } from "./format.js";
import { textsOf } from "./ranking.js";
import { stateText, whyText } from "./row.js";
import { when, whenUtcDate } from "./when.js";
import { ScoreCard } from "./scorecard.js";
import { Timeline } from "./timeline.js";
import { factorsTable, family, forecastCard, lifts } from "./factors.js";
import { UpdateWhenIdle } from "./lists.js";

export const accountsToFollow = ({ id }) => [id];

export async function show(main, context) {
  const { store, params, go, setAddress, id, live } = context;
  if (!main.querySelector(".account-head")) skeleton(main, id);
  let page = await api.account(id);
  if (page.account.account_id !== id && location.pathname === accountAddress(id)) return leadTo(page.account.account_id, context);
  const names = store.summary.scores.map((score) => score.name).filter((score) => score in page.scores);
  const name = names.includes(params.get("score")) ? params.get("score") : (names[0] ?? Object.keys(page.scores)[0]);
  const state = { from: Number(params.get("from")) || null, to: Number(params.get("to")) || null, kinds: params.get("kinds") };
  const bandsOf = () => store.summary.scores.find((score) => score.name === name)?.bands ?? [];
  const address = () => `${accountAddress(id)}${query({ score: params.get("score"), ...state })}`;
  const keep = (change) => {
    Object.assign(state, change);
    setAddress(address(), { replace: true });
  };

  const head = h("div", { class: "account-head fades" });
  const notes = h("div", { class: "notes" });
  const card = new ScoreCard(id, name, page, bandsOf(), state, keep, () => store.summary.time);
  const open = new AlertList(live, { withNames: false });
  const past = new AlertList(live, { withNames: false });
  const updates = new UpdateWhenIdle(open.element, (alerts) => drawAlerts(alerts), (alerts) => open.patch(alerts));
  const none = h("p", { class: "soft" }, "No open alerts.");
  const earlier = h("details", {}, h("summary", { class: "soft" }, "Past alerts"), past.element);
  const side = { forecast: h("div"), lifts: h("div"), family: h("div") };
  const made = h("section", { class: "card fades", "aria-label": "What the score is made of" });
  const timeline = new Timeline(id, bandsOf, state.kinds, (kinds) => keep({ kinds }));
  put(main, head, notes,
    h("div", { class: "cards why-grid" },
      h("div", { class: "stack" }, card.element, made, timeline.element),
      h("div", { class: "stack" },
        h("section", { class: "card fades", "aria-label": "Alerts" }, h("div", { class: "card-head" }, h("h2", {}, "Alerts")), open.element, none, earlier),
        side.forecast, side.lifts, side.family)));

  function drawAlerts(alerts) {
    open.set(alerts);
    none.hidden = alerts.length > 0;
  }
  function draw() {
    const now = page.scores[name];
    put(head, ...heading(page, now, name, names, bandsOf(), (score) => go(`${accountAddress(id)}${query({ score })}`)));
    put(notes, ...remarks(page, now, bandsOf()));
    notes.hidden = notes.childElementCount === 0;
    updates.set(page.alerts.open);
    past.set(page.alerts.past);
    earlier.hidden = page.alerts.past.length === 0;
    put(made, ...factorsTable(now, bandsOf(), page.account.stalled_sources));
    put(side.forecast, forecastCard(now, bandsOf()));
    put(side.lifts, lifts(now));
    put(side.family, family(page, name, bandsOf()));
    for (const box of Object.values(side)) box.hidden = box.childElementCount === 0;
  }
  draw();
  card.start();
  timeline.load();
  const reload = debounce(150, async () => {
    const next = await api.account(id).catch(() => null);
    if (!next || !main.contains(head)) return;
    page = next;
    draw();
    card.set(page);
    timeline.refresh();
  });
  const mine = (call) => (detail) => detail.account_id === id && call(detail);
  return {
    title: page.account.name ?? id,
    keys: { u: () => (history.length > 1 ? history.back() : go("/")) },
    account: mine(reload),
    alert: mine(reload),
    gone: mine(() => go(address())),
    reset: reload,
    end() {
      card.end();
      timeline.end();
    },
  };
}

/** Show the account that an alias counts for, at its own address. */
function leadTo(account, { params, setAddress, reload }) {
  setAddress(`${accountAddress(account)}${query(Object.fromEntries(params))}`, { replace: true });
  reload();
  return { end() {} };
}

function skeleton(main, id) {
  const bones = (count) => Array.from({ length: count }, (_, at) => h("p", {}, h("span", { class: "bone", style: { width: `${90 - at * 7}%` } })));
  put(main, h("div", { class: "account-head" }, h("h1", {}, id)),
    h("div", { class: "cards why-grid", "aria-hidden": "true" },
      h("div", { class: "stack" }, h("div", { class: "card" }, bones(9)), h("div", { class: "card" }, bones(5))),
      h("div", { class: "stack" }, h("div", { class: "card" }, bones(4)))));
}

function heading(page, now, name, names, bands, another) {
  const { account, profile, parent } = page;
  const change = now?.value === undefined ? null : account.scores[name]?.change?.["7d"];
  const attributes = Object.entries(profile?.attributes ?? {}).map(([key, value]) => [key, textsOf(value).filter(Boolean)]).filter(([, texts]) => texts.length);
  const facts = [
    ["Segment", account.segment], ["Owner", account.owner], ["Tier", account.tier], ["Plan", profile?.plan],
    ["ARR", account.arr === null ? null : number(account.arr)],
    ["Renewal", isNumber(profile?.renewal_at) ? whenUtcDate(profile.renewal_at) : null],
    ["Customer since", isNumber(profile?.started_at) ? whenUtcDate(profile.started_at) : null],
    ["Aliases", profile?.aliases.join(", ")],
    ...attributes.map(([key, texts]) => [key, texts.map((text, at) => [
      at ? ", " : "", h("a", { href: `/?attribute=${encodeURIComponent(`${key}:${text}`)}` }, text)])]),
  ].filter(([, value]) => value);
  const choice = h("select", { class: "field", "aria-label": "Score", on: { change: () => another(choice.value) } },
    names.map((score) => h("option", { value: score, ...(score === name ? { selected: true } : {}) }, label(score))));
  return [
    h("div", { class: "title" },
      h("p", { class: "soft" }, h("a", { href: "/" }, "Accounts"), " / ", h("span", { class: "id" }, account.account_id)),
      h("h1", {}, account.name ?? account.account_id)),
    now && h("div", { class: "big" }, h("span", { class: "value", "data-score": name, title: pointsOf(now) }, shownScore(now)), now.band ? bandMark(bands, now.band) : h("b", {}, sentence(stateText(account)) || "No data"),
      h("span", { class: change < -0.05 ? "fall num" : change > 0.05 ? "rise num" : "soft num" }, now.last ? `The last score was ${shownScore(now.last)}, ${label(now.last.band)}` : change === null || change === undefined ? whyText(account.scores[name]) : `${signed(change)}${now.shown ? " points" : ""} in 7 days`)),
    names.length > 1 && choice,
    h("dl", { class: "facts" }, facts.map(([key, value]) => h("div", {}, h("dt", {}, key), h("dd", {}, value))),
      account.merged_into && h("div", {}, h("dt", {}, "Merged into"), h("dd", {}, h("a", { href: accountAddress(account.merged_into) }, account.merged_into))),
      parent && h("div", {}, h("dt", {}, "Part of"), h("dd", {}, h("a", { href: accountAddress(parent.account_id) }, parent.name ?? parent.account_id)))),
  ];
}

/** Notes that qualify the score: overrides, stalled sources, catching up, a new account, exceptions. */
function remarks({ account }, now, bands) {
  const notes = [];
  const { override, stalled_sources: stalled = [], catching_up: catching } = account;
  if (override) {
    const value = override.score === undefined || override.score === null ? bandMark(bands, override.band) : h("b", { class: "num" }, points(override.score));
    notes.push(h("p", { class: "note" }, h("b", {}, "Overridden: "), value, " until ", when(override.expires_at),
      `, set ${override.by ? `by ${override.by} ` : ""}on `, when(override.since), ": \u201c", h("span", { class: "said" }, override.reason), "\u201d. ",
      `The score computed from events is ${shownScore(now)}.`));
  }
  if (stalled.length) {
    notes.push(h("p", { class: "note warn" }, h("b", {}, `${counted(stalled.length, "idle source")}: `), stalled.join(", "),
      ". Measures of idle sources are held at their last value",
      now?.confidence === undefined || now.confidence >= 1 ? "." : `: ${percent(now.confidence)} of the score's weight is up to date.`));
  }
  if (catching) notes.push(h("p", { class: "note warn" }, h("b", {}, "Catching up: "), "a worker is reading older events. This score can change until it has caught up."));
  if (account.new_until) notes.push(h("p", { class: "note" }, h("b", {}, "New until ", whenUtcDate(account.new_until), " (UTC): "), "alerts about its score begin then."));
  if (now?.exceptions?.length) notes.push(h("p", { class: "note" }, h("b", {}, "Exception: "), `${now.exceptions.map(label).join(", ")} overrides the average.`));
  return notes;
}

