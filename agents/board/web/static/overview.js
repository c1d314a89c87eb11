// The start view, "Who needs me now?": bands now and over time, the accounts that fall fastest, open alerts, all accounts.
// Owns the view and its address; every part obeys the filters (filters.js) and updates itself. The table is accounts.js.

import { Accounts } from "./accounts.js";
import { AlertList } from "./alertlist.js";
import { accountAddress, api, query } from "./api.js";
import { mark, patchMark, toneOf } from "./bands.js";
import { bandsChart, figure } from "./chart.js";
import { Columns, remembered } from "./columns.js";
import { debounce, h, put, setAttr, setText } from "./dom.js";
import { activeOf, Filters, filtersOf } from "./filters.js";
import { count, counted, percent, pointsOf, shownScore, signed, label, utc, utcDate } from "./format.js";
import { addressOf, questionOf, SPANS } from "./ranking.js";
import { reconcile, UpdateWhenIdle } from "./lists.js";
import { whyText } from "./row.js";
import { table } from "./strip.js";

const FALLERS = 5;
const ALERTS = 4;
const SPAN_LABELS = { "1d": "Day", "7d": "Week", "30d": "Month" };
/** The last state of the view, so that "back" from an account shows the same rows at the same position. */
let left = null;

export async function show(main, context) {
  const { store, params, go, setAddress, back, reload } = context;
  let question = questionOf(params);
  if (!params.has("column")) question.column = remembered();
  const names = store.summary.scores.map((score) => score.name);
  const name = names.includes(question.score) ? question.score : names[0];
  const scoreNow = () => figures.score ?? store.summary.scores.find((score) => score.name === name);
  const bands = store.summary.scores.find((score) => score.name === name)?.bands ?? [];
  // The view is built again when there is another score or band, as when the first account appears.
  const scale = () => JSON.stringify(store.summary.scores.map((score) => [score.name, score.bands.map((band) => band.name)]));
  const before = scale();
  let stale = false;
  const address = (change) => `/${query(addressOf({ ...question, ...change }))}`;
  const ask = (change) => {
    // Each filter is an entry of the history; of a search, only its first letter is.
    const typing = Object.keys(change).join() === "q" && question.q !== "" && change.q !== "";
    question = { ...question, ...change };
    setAddress(address(), { replace: typing });
    bandsCard.select(question);
    fallers.setQuestion(question);
    filters.setQuestion(question);
    figures.setQuestion(question);
    alerts.setQuestion(question);
    return accounts.setQuestion(question);
  };
  const another = (score) => go(address({ score, band: [], sort: "score", order: "asc" }));

  const bandsCard = new BandsCard(question, ask, name);
  const fallers = new Fallers(question, ask, () => bands);
  const alerts = new Alerts(context, { ...question, score: name });
  const accounts = new Accounts(context, question, name, bands, ask);
  const fields = { band: bands.map((band) => [band.name, label(band.name)]), segment: null, owner: null, tier: null, alerts: [["open", "Open"]] };
  const filters = new Filters(question, fields, ask);
  const columns = new Columns(question.column, (column) => {
    question = { ...question, column };
    setAddress(address(), { replace: true });
    filters.setQuestion(question);
    accounts.setQuestion(question);
  });
  const draw = () => {
    bandsCard.set(scoreNow());
    fallers.set(scoreNow());
    alerts.update();
  };
  const figures = new Figures(name, question, draw);
  put(main,
    h("div", { class: "head" }, h("h1", {}, "Who needs me now?"), scoreChoice(names, name, another)),
    filters.element,
    h("div", { class: "cards front" }, bandsCard.element, fallers.element, alerts.element),
    h("section", { class: "card all", "aria-label": "All accounts" },
      h("div", { class: "table-head" }, accounts.total, accounts.again, columns.element), accounts.element));
  const earlier = back && left?.key === address() ? left : null;
  if (earlier) {
    // Cards that get their height later would move the table away from the position that is restored.
    figures.score = earlier.figures;
    alerts.loaded = earlier.alerts;
  }
  if (!figures.isFiltered || figures.score) draw();
  figures.load();
  alerts.load();
  filters.load().then((known) => known && columns.set(known));
  await accounts.start(earlier?.state);
  return {
    title: "Who needs me now?",
    keys: { "/": () => filters.search.focus(), j: () => accounts.step(1), k: () => accounts.step(-1) },
    summary() {
      if (before === scale()) return figures.isFiltered ? figures.soon() : draw();
      stale = true;
      return reload();
    },
    account: (row) => accounts.patch(row),
    gone: (row) => accounts.gone(row),
    alert: () => alerts.soon(),
    reset() {
      accounts.sortAgain();
      alerts.soon();
    },
    end() {
      left = stale ? null : { key: address(), state: accounts.state(), figures: figures.score, alerts: alerts.loaded };
      accounts.end();
      columns.end();
      alerts.end();
      bandsCard.end();
      figures.end();
    },
  };
}

function scoreChoice(names, name, another) {
  if (names.length < 2) return null;
  const select = h("select", { class: "field", on: { change: () => another(select.value) } },
    names.map((each) => h("option", { value: each, ...(each === name ? { selected: true } : {}) }, label(each))));
  return h("label", { class: "soft" }, "Score ", select);
}

/** The figures of the accounts that match the filters; without filters, those of the summary. */
class Figures {
  constructor(name, question, draw) {
    Object.assign(this, { name, draw, score: null });
    this.soon = debounce(300, () => this.load());
    this.question = question;
  }

  get isFiltered() {
    return activeOf(this.question).length > 0;
  }

  setQuestion(question) {
    this.question = question;
    if (this.isFiltered) return this.load();
    this.score = null;
    return this.draw();
  }

  async load() {
    const { question } = this;
    if (!this.isFiltered) return;
    const summary = await api.summary({ ...filtersOf(question), score: this.name }).catch(() => null);
    if (!summary || this.ended || question !== this.question) return;
    this.score = summary.scores.find((score) => score.name === this.name) ?? null;
    this.draw();
  }

  end() {
    this.ended = true;
  }
}

class BandsCard {
  constructor(question, ask, name) {
    this.question = question;
    this.ask = ask;
    this.chips = new Map();
    this.list = h("div", { class: "tiles", role: "group", "aria-label": "Filter by band" });
    this.figure = figure(`Accounts by band of ${label(name)} over the last days; the table below has the same numbers`);
    this.element = h("section", { class: "card fades", "aria-label": "Accounts by band" },
      h("div", { class: "card-head" }, h("h2", {}, "Accounts by band"), this.total = h("span", { class: "soft num" })), this.list, this.figure.element);
  }

  set(score) {
    if (!score) return;
    const all = score.bands.reduce((sum, band) => sum + band.accounts, 0);
    setText(this.total, counted(all, "account"));
    reconcile(this.list, this.chips, score.bands, (band) => band.name, (band) => this.chip(score.bands, band));
    for (const band of score.bands) this.chips.get(band.name).share(all);
    this.draw(score);
  }

  select(question) {
    this.question = question;
    for (const [name, chip] of this.chips) setAttr(chip.element, "aria-pressed", String(question.band.includes(name)));
  }

  chip(bands, { name }) {
    const number = h("b");
    const share = h("span", { class: "share" });
    const bandLabel = mark(toneOf(bands, name), label(name));
    const element = h("button", { type: "button", class: "chip tile", on: { click: () => this.ask({ band: this.question.band.includes(name) ? [] : [name] }) } }, bandLabel, h("span", {}, number, " ", share));
    let now = 0;
    return {
      element,
      patch: (band) => {
        now = band.accounts;
        setAttr(element, "aria-pressed", String(this.question.band.includes(name)));
        patchMark(bandLabel, toneOf(bands, name), label(name));
        setText(number, count(now));
      },
      share: (all) => setText(share, all ? percent(now / all) : ""),
    };
  }

  draw(score) {
    const { days, accounts } = score.over_time;
    const bands = score.bands.map(({ name }) => ({ name: label(name), tone: toneOf(score.bands, name) }));
    const counts = score.bands.map(({ name }) => accounts[name] ?? days.map(() => 0));
    const key = JSON.stringify([days, counts]);
    if (key === this.key) return;
    this.key = key;
    const idle = days.length ? `${utcDate(days[0])} to ${utcDate(days.at(-1))}, UTC days` : "There is no complete day yet.";
    if (this.chart && days.length) this.chart.set(days, counts);
    else if (days.length && this.figure.plot.isConnected) {
      this.chart = bandsChart(this.figure.plot, bands, days, counts, (text) => this.figure.read(text, idle));
    }
    this.figure.read(null, idle);
    put(this.figure.body, table(["Day", ...bands.map((band) => band.name)], days.map((day, at) => [utcDate(day), ...counts.map((list) => count(list[at] ?? 0))]).reverse()));
  }

  end() {
    this.chart?.end();
  }
}

class Fallers {
  constructor(question, ask, bands) {
    this.span = question.span;
    this.bands = bands;
    this.views = new Map();
    this.list = h("ol", { class: "list fallers" });
    this.empty = h("div", { class: "empty" }, h("strong", {}, "No account is falling."), "No account has lost points in this time.");
    this.updates = new UpdateWhenIdle(this.list, (movers) => this.draw(movers));
    this.buttons = SPANS.map((span) => h("button", { type: "button", class: "chip", on: { click: () => ask(this.other(span)) } }, SPAN_LABELS[span]));
    this.element = h("section", { class: "card fades", "aria-label": "Fastest fallers" },
      h("div", { class: "card-head" }, h("h2", {}, "Falling fastest"), h("div", { class: "chips small", role: "group", "aria-label": "Over" }, this.buttons)),
      this.list, this.empty);
    this.setQuestion(question);
  }

  /** A table that is sorted by the change over a span follows the choice of the span. */
  other(span) {
    return this.question.sort.startsWith("change_") ? { span, sort: `change_${span}` } : { span };
  }

  setQuestion(question) {
    this.question = question;
    this.span = question.span;
    SPANS.forEach((span, index) => setAttr(this.buttons[index], "aria-pressed", String(span === this.span)));
    if (this.score) this.set(this.score);
  }

  set(score) {
    this.score = score;
    this.updates.set((score?.movers[this.span]?.falling ?? []).slice(0, FALLERS));
  }

  draw(movers) {
    this.empty.hidden = movers.length > 0;
    reconcile(this.list, this.views, movers, (mover) => mover.account_id, (mover) => {
      const link = h("a", { class: "name clip", href: accountAddress(mover.account_id) });
      const band = mark("none", "", "band");
      const by = h("span", { class: "by fall" });
      const why = h("p", { class: "why" });
      return {
        element: h("li", {}, link, band, by, why),
        patch: (now) => {
          setText(link, now.name ?? now.account_id);
          patchMark(band, toneOf(this.bands(), now.band), `${shownScore(now)} ${label(now.band)}`);
          setAttr(band, "title", pointsOf(now));
          setText(by, signed(now.delta));
          setText(why, whyText(now));
          setAttr(why, "title", utc(now.since));
        },
      };
    });
  }
}

class Alerts {
  constructor({ live, store }, question) {
    Object.assign(this, { store, question });
    this.list = new AlertList(live);
    this.updates = new UpdateWhenIdle(this.list.element, (alerts) => this.draw(alerts), (alerts) => this.list.patch(alerts));
    this.empty = h("div", { class: "empty", hidden: true }, this.none = h("strong", {}, "No open alerts."), "An alert appears here when an account enters a band or meets a rule for which the policy alerts.");
    this.all = h("a");
    this.element = h("section", { class: "card fades", "aria-label": "Open alerts" },
      h("div", { class: "card-head" }, h("h2", {}, "Open alerts"), this.all), this.list.element, this.empty);
    this.soon = debounce(300, () => this.load());
  }

  get isFiltered() {
    return activeOf(this.question).length > 0;
  }

  setQuestion(question) {
    this.question = { ...question, score: this.question.score };
    return this.load();
  }

  async load() {
    const { question } = this;
    const loaded = await api.alerts({ ...filtersOf(question), status: "open", limit: ALERTS }).catch(() => null);
    if (!loaded || this.ended || question !== this.question) return;
    this.loaded = loaded;
    this.update();
  }

  /** Operational alerts, which the summary has, come first; they are of no account, so a filter leaves them out. */
  update() {
    const operational = this.isFiltered ? [] : this.store.summary.alerts.operational;
    if (!this.loaded && operational.length === 0) return; // the alerts are not loaded yet
    const { items, total } = this.loaded ?? { items: [], total: operational.length };
    setText(this.all, total > items.length ? `All ${count(total)}` : "All alerts");
    setAttr(this.all, "href", `/alerts${query({ ...filtersOf(this.question), alerts: null })}`);
    const others = items.filter((alert) => alert.account_id !== "");
    this.updates.set([...operational, ...others].slice(0, Math.max(ALERTS, operational.length)));
  }

  draw(alerts) {
    setText(this.none, this.isFiltered ? "No open alert matches." : "No open alerts.");
    this.empty.hidden = alerts.length > 0;
    this.list.set(alerts);
  }

  end() {
    this.ended = true;
  }
}
