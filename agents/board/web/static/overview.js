// "Who needs me now?": bands now and over time, the fastest fallers, open alerts, and all accounts.
// Owns the view and its address; the table is accounts.js. Every part patches itself from the stream.

import { Accounts } from "./accounts.js";
import { AlertList } from "./alertlist.js";
import { api, query } from "./api.js";
import { mark, patchMark, toneOf } from "./bands.js";
import { bandsChart, figure } from "./chart.js";
import { calmly, h, put, setAttr, setText } from "./dom.js";
import { count, counted, date, percent, score as points, signed, spoken, withoutNumber } from "./format.js";
import { addressOf, questionOf, SPANS } from "./ranking.js";
import { reconcile, Steady } from "./steady.js";
import { table } from "./strip.js";

const FALLERS = 5;
const ALERTS = 4;
const SPAN_WORDS = { "1d": "Day", "7d": "Week", "30d": "Month" };
/** What the table showed last, so that the way back from an account leads to the same place. */
let left = null;

export async function show(main, context) {
  const { store, params, go, note, back, again } = context;
  let question = questionOf(params);
  const names = store.summary.scores.map((one) => one.name);
  const name = names.includes(question.score) ? question.score : names[0];
  const scoreNow = () => store.summary.scores.find((one) => one.name === name);
  const bands = scoreNow()?.bands ?? [];
  // Another score or band, as when the first account comes, makes another view.
  const scale = () => JSON.stringify(store.summary.scores.map((one) => [one.name, one.bands.map((band) => band.name)]));
  const before = scale();
  let stale = false;
  const address = (change) => `/${query(addressOf({ ...question, ...change }))}`;
  const ask = (change) => {
    question = { ...question, ...change };
    note(address(), { replace: "q" in change });
    bandsCard.press(question);
    fallers.look(question, scoreNow());
    filters.look(question);
    return accounts.look(question);
  };
  const another = (score) => go(address({ score, band: [], sort: "score", order: "asc" }));

  const bandsCard = new BandsCard(question, ask, name);
  const fallers = new Fallers(question, ask, () => bands);
  const alerts = new Alerts(context);
  const accounts = new Accounts(context, question, name, bands, ask);
  const filters = new Filters(question, bands, ask);
  put(main,
    h("div", { class: "head" }, h("h1", {}, "Who needs me now?"), scoreChoice(names, name, another)),
    h("div", { class: "cards front" }, bandsCard.element, fallers.element, alerts.element),
    h("section", { class: "card all", "aria-label": "All accounts" }, filters.element,
      h("div", { class: "table-head" }, accounts.total, accounts.again), accounts.element));
  const draw = () => {
    bandsCard.set(scoreNow());
    fallers.set(scoreNow());
    alerts.tell();
  };
  draw();
  alerts.load();
  filters.load();
  await accounts.start(back && left?.key === address() ? left.state : null);
  return {
    title: "Who needs me now?",
    keys: { "/": () => filters.search.focus(), j: () => accounts.step(1), k: () => accounts.step(-1) },
    summary() {
      if (before === scale()) return draw();
      stale = true;
      return again();
    },
    account: (row) => accounts.patch(row),
    gone: (row) => accounts.gone(row),
    alert: () => alerts.soon(),
    reset() {
      accounts.sortAgain();
      alerts.soon();
    },
    end() {
      left = stale ? null : { key: address(), state: accounts.state() };
      accounts.end();
      alerts.end();
      bandsCard.end();
    },
  };
}

function scoreChoice(names, name, another) {
  if (names.length < 2) return null;
  const select = h("select", { class: "field", on: { change: () => another(select.value) } },
    names.map((one) => h("option", { value: one, ...(one === name ? { selected: true } : {}) }, spoken(one))));
  return h("label", { class: "soft" }, "Score ", select);
}

const ANY = "*";

/** The filters above the table. Segments and owners come later than it: they are not needed to see it. */
class Filters {
  constructor(question, bands, ask) {
    this.ask = ask;
    this.search = h("input", { class: "field", type: "search", name: "q", placeholder: "Name, id, owner or segment", "aria-keyshortcuts": "/" });
    this.search.addEventListener("input", calmly(200, () => this.search.value !== this.question.q && ask({ q: this.search.value })));
    this.selects = {
      band: this.select("band", bands.map((band) => [band.name, spoken(band.name)])),
      segment: this.select("segment", []),
      owner: this.select("owner", []),
    };
    this.alerts = h("select", { class: "field", name: "alerts", on: { change: () => ask({ alerts: this.alerts.value || null }) } },
      h("option", { value: "" }, "Any"), h("option", { value: "open" }, "Open"));
    this.clear = h("button", { class: "button plain", type: "button", on: { click: () => ask({ q: "", band: [], segment: [], owner: [], tier: [], alerts: null }) } }, "Clear");
    const label = (words, field, extra = "") => h("label", { class: `label ${extra}` }, words, field);
    this.element = h("form", { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
      label("Search", this.search, "search"), label("Band", this.selects.band), label("Segment", this.selects.segment),
      label("Owner", this.selects.owner), label("Alerts", this.alerts), this.clear);
    this.look(question);
  }

  select(name, options) {
    const element = h("select", { class: "field", name, on: { change: () => this.ask({ [name]: element.value === ANY ? [] : [element.value] }) } });
    this.fill(element, options);
    return element;
  }

  fill(select, options) {
    put(select, h("option", { value: ANY }, "Any"), options.map(([value, words]) => h("option", { value }, words)));
  }

  look(question) {
    this.question = question;
    if (document.activeElement !== this.search) this.search.value = question.q;
    for (const [name, select] of Object.entries(this.selects)) {
      const [chosen = ANY] = question[name];
      // What the address names is shown even before, or without, the list that it is from.
      if (![...select.options].some((option) => option.value === chosen)) select.append(h("option", { value: chosen }, chosen || "none"));
      select.value = chosen;
    }
    this.alerts.value = question.alerts ?? "";
    const { q, alerts, band, segment, owner, tier } = question;
    this.clear.hidden = !(q || alerts || band.length || segment.length || owner.length || tier.length);
  }

  async load() {
    const found = await api.filters().catch(() => null);
    if (!found) return;
    const options = (list) => list.map((one) => [one.name ?? "", `${one.name || "none"} (${count(one.accounts)})`]);
    this.fill(this.selects.segment, options(found.segments));
    this.fill(this.selects.owner, options(found.owners));
    this.look(this.question);
  }
}

class BandsCard {
  constructor(question, ask, name) {
    this.question = question;
    this.ask = ask;
    this.chips = new Map();
    this.list = h("div", { class: "tiles", role: "group", "aria-label": "Filter by band" });
    this.figure = figure(`Accounts by band of ${spoken(name)} over the last days; the table below says the same`);
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

  press(question) {
    this.question = question;
    for (const [name, chip] of this.chips) setAttr(chip.element, "aria-pressed", String(question.band.includes(name)));
  }

  chip(bands, { name }) {
    const number = h("b");
    const share = h("span", { class: "share" });
    const label = mark(toneOf(bands, name), spoken(name));
    const element = h("button", { type: "button", class: "chip tile", on: { click: () => this.ask({ band: this.question.band.includes(name) ? [] : [name] }) } }, label, h("span", {}, number, " ", share));
    let now = 0;
    return {
      element,
      patch: (band) => {
        now = band.accounts;
        setAttr(element, "aria-pressed", String(this.question.band.includes(name)));
        patchMark(label, toneOf(bands, name), spoken(name));
        setText(number, count(now));
      },
      share: (all) => setText(share, all ? percent(now / all) : ""),
    };
  }

  draw(score) {
    const { days, accounts } = score.over_time;
    const bands = score.bands.map(({ name }) => ({ name: spoken(name), tone: toneOf(score.bands, name) }));
    const counts = score.bands.map(({ name }) => accounts[name] ?? days.map(() => 0));
    const key = JSON.stringify([days, counts]);
    if (key === this.key) return;
    this.key = key;
    const idle = days.length ? `${date(days[0])} to ${date(days.at(-1))}, UTC days` : "The first day is not over yet.";
    if (this.chart && days.length) this.chart.set(days, counts);
    else if (days.length && this.figure.plot.isConnected) {
      this.chart = bandsChart(this.figure.plot, bands, days, counts, (words) => this.figure.read(words, idle));
    }
    this.figure.read(null, idle);
    put(this.figure.body, table(["Day", ...bands.map((band) => band.name)], days.map((day, at) => [date(day), ...counts.map((list) => count(list[at] ?? 0))]).reverse()));
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
    this.empty = h("div", { class: "empty" }, h("strong", {}, "Nobody is falling."), "No account has lost points in this time.");
    this.steady = new Steady(this.list, (movers) => this.draw(movers));
    this.buttons = SPANS.map((span) => h("button", { type: "button", class: "chip", on: { click: () => ask(this.other(span)) } }, SPAN_WORDS[span]));
    this.element = h("section", { class: "card fades", "aria-label": "Fastest fallers" },
      h("div", { class: "card-head" }, h("h2", {}, "Falling fastest"), h("div", { class: "chips small", role: "group", "aria-label": "Over" }, this.buttons)),
      this.list, this.empty);
    this.look(question);
  }

  /** The table goes along when it is sorted by the change over the span before. */
  other(span) {
    return this.question.sort.startsWith("change_") ? { span, sort: `change_${span}` } : { span };
  }

  look(question, score) {
    this.question = question;
    this.span = question.span;
    SPANS.forEach((span, index) => setAttr(this.buttons[index], "aria-pressed", String(span === this.span)));
    if (score) this.set(score);
  }

  set(score) {
    this.steady.set((score?.movers[this.span]?.falling ?? []).slice(0, FALLERS));
  }

  draw(movers) {
    this.empty.hidden = movers.length > 0;
    reconcile(this.list, this.views, movers, (mover) => mover.account_id, (mover) => {
      const link = h("a", { class: "name clip", href: `/accounts/${encodeURIComponent(mover.account_id)}` });
      const band = mark("none", "", "band");
      const by = h("span", { class: "by fall" });
      const why = h("p", { class: "why" });
      return {
        element: h("li", {}, link, band, by, why),
        patch: (now) => {
          setText(link, now.name ?? now.account_id);
          patchMark(band, toneOf(this.bands(), now.band), `${points(now.value)} ${spoken(now.band)}`);
          setText(by, signed(now.delta));
          setText(why, withoutNumber(now.reason));
        },
      };
    });
  }
}

class Alerts {
  constructor({ live, store }) {
    this.store = store;
    this.list = new AlertList(live);
    this.steady = new Steady(this.list.element, (alerts) => this.draw(alerts), (alerts) => this.list.patch(alerts));
    this.empty = h("div", { class: "empty", hidden: true }, h("strong", {}, "Nothing is alerting."), "When an account enters a band or breaks a rule that the policy marks, it appears here.");
    this.all = h("a", { href: "/alerts" });
    this.element = h("section", { class: "card fades", "aria-label": "Open alerts" },
      h("div", { class: "card-head" }, h("h2", {}, "Open alerts"), this.all), this.list.element, this.empty);
    this.soon = calmly(300, () => this.load());
  }

  async load() {
    const found = await api.alerts({ status: "open", limit: ALERTS }).catch(() => null);
    if (!found || this.ended) return;
    this.found = found;
    this.tell();
  }

  /** What concerns all accounts comes first, whatever else fires; the summary has it. */
  tell() {
    const { operational } = this.store.summary.alerts;
    if (!this.found && operational.length === 0) return; // whether nothing is alerting is not known yet
    const { items, total } = this.found ?? { items: [], total: operational.length };
    setText(this.all, total > items.length ? `All ${count(total)}` : "All alerts");
    const others = items.filter((alert) => alert.account_id !== "");
    this.steady.set([...operational, ...others].slice(0, Math.max(ALERTS, operational.length)));
  }

  draw(alerts) {
    this.empty.hidden = alerts.length > 0;
    this.list.set(alerts);
  }

  end() {
    this.ended = true;
  }
}
