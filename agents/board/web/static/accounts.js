// The table of accounts: pages of rows, updated in place. Owns loading, order, and the button that says that the order has
// changed. Rows are in row.js, the query in ranking.js. Called by overview.js.

import { api } from "./api.js";
import { clean, debounce, h, put, setAttr, setText } from "./dom.js";
import { counted } from "./format.js";
import { askedOf, compare, matches, isInOrder } from "./ranking.js";
import { activeOf } from "./filters.js";
import { columnsOf, rowView } from "./row.js";
import { Rows } from "./rows.js";

const PAGE = 100;
/** Rows to load when somebody scrolls further. */
const NEXT_PAGE = 250;
const LARGEST_PAGE = 500;
/** The table sorts itself again after this time without input. */
const CALM_MS = 30_000;
const TOUCHES = ["pointermove", "pointerdown", "keydown", "scroll", "focusin"];
const keyOf = (row) => row.account_id;

export class Accounts {
  /** `context` as of a view; `ask(change)` is called when a heading asks for another order. */
  constructor({ live }, question, score, bands, ask) {
    Object.assign(this, { live, question, score, bands, ask });
    this.body = h("tbody", { role: "rowgroup" });
    this.table = h("table", { class: "accounts fades", "aria-label": "Accounts", role: "table" });
    this.total = h("p", { class: "soft num", role: "status" });
    this.again = h("button", { class: "button", type: "button", hidden: true, on: { click: () => this.sortAgain() } }, "Order has changed: sort again");
    this.foot = h("div");
    this.element = h("div", {}, this.table, this.foot);
    this.items = [];
    this.layout();
    this.calm = debounce(CALM_MS, () => this.whenCalm());
    for (const name of TOUCHES) addEventListener(name, this.calm, { passive: true });
  }

  /** Build the head and an empty body for the columns of the query. */
  layout() {
    this.columns = columnsOf(this.question);
    this.heads = this.columns.map((column) => this.heading(column, this.ask));
    setAttr(this.table, "data-columns", this.question.column.length || null);
    put(this.table,
      h("colgroup", {}, this.columns.map((column) => h("col", { class: `c-${column.key}` }))),
      h("thead", { role: "rowgroup" }, h("tr", { role: "row" }, this.heads.map((head) => head.element))),
      this.body);
    this.rows?.end();
    this.rows = new Rows(this.body, 1, () => rowView(this.columns, this.score, this.bands, () => this.question.span), () => this.more());
  }

  end() {
    this.ended = true;
    this.rows.end();
    for (const name of TOUCHES) removeEventListener(name, this.calm);
  }

  heading(column, ask) {
    const element = h("th", { scope: "col", role: "columnheader", class: `c-${column.key} ${column.right ? "right" : ""}` });
    if (!column.sort) {
      element.append(column.text);
      return { element, patch() {} };
    }
    const text = h("span");
    const arrow = h("span", { class: "arrow", "aria-hidden": "true" });
    let now = column;
    const press = () => {
      const { sort, order } = this.question;
      const turned = order === "asc" ? "desc" : "asc";
      ask({ sort: now.sort, order: sort === now.sort ? turned : (now.first ?? "asc") });
    };
    setAttr(element, "title", column.attribute ?? null);
    element.append(h("button", { type: "button", on: { click: press } }, text, arrow));
    const patch = (changed) => {
      now = changed;
      const { sort, order } = this.question;
      const isSorted = now.sort === sort;
      setText(text, clean(now.text));
      setText(arrow, isSorted ? (order === "asc" ? "\u2191" : "\u2193") : "");
      setAttr(element, "aria-sort", isSorted ? `${order}ending` : null);
    };
    patch(column);
    return { element, patch };
  }

  /** Run another query. The present rows stay until its result is there. */
  async setQuestion(question) {
    const same = this.question.column.join("\n") === question.column.join("\n");
    this.question = question;
    if (same) columnsOf(question).forEach((column, index) => this.heads[index].patch(column));
    else {
      this.layout();
      this.rows.set(this.items, keyOf);
    }
    setAttr(this.table, "aria-busy", "true");
    await this.load(PAGE);
  }

  skeleton() {
    const bone = (width) => h("span", { class: "bone", style: { width } });
    put(this.body, Array.from({ length: 12 }, () => h("tr", { role: "row" }, this.columns.map((column) =>
      h("td", { role: "cell", class: `c-${column.key}` }, bone(column.key === "who" || column.key === "why" ? "80%" : "60%"))))));
    setAttr(this.table, "aria-busy", "true");
  }

  /** Load the first page, or show an earlier `state()`. */
  async start(earlier) {
    if (earlier) {
      Object.assign(this, { next: earlier.next, count: earlier.count });
      this.show(earlier.items);
      this.refresh();
      return;
    }
    this.skeleton();
    await this.load(PAGE);
  }

  state() {
    return { items: this.items, next: this.next, count: this.count };
  }

  async load(limit) {
    const started = Date.now();
    const question = this.question;
    try {
      const { items, total, next } = await api.accounts({ ...askedOf(question), limit });
      if (this.ended || question !== this.question) return;
      Object.assign(this, { next, count: total });
      this.show(this.freshest(items, started));
    } catch (error) {
      if (!this.ended) this.failed(error, () => this.start());
    }
  }

  /** Update the rows shown; the button appears only if their order has changed. */
  async refresh() {
    const started = Date.now();
    const { question, items: shown } = this;
    const limit = Math.max(1, Math.min(shown.length, LARGEST_PAGE));
    const loaded = await api.accounts({ ...askedOf(question), limit }).catch(() => null);
    if (!loaded || this.ended || question !== this.question || shown !== this.items) return;
    const fresh = this.freshest(loaded.items, started);
    for (const row of fresh) this.rows.patch(row);
    this.count = loaded.total;
    setText(this.total, counted(this.count, "account"));
    if (fresh.length < limit || fresh.some((row, index) => keyOf(row) !== keyOf(shown[index]))) this.changed();
  }

  freshest(items, started) {
    return items.map((row) => this.live.newer(row.account_id, started) ?? row);
  }

  show(items) {
    this.items = items;
    this.again.hidden = true;
    setAttr(this.table, "aria-busy", null);
    setText(this.total, counted(this.count, "account"));
    setAttr(this.table, "aria-rowcount", this.count + 1);
    this.table.hidden = items.length === 0;
    if (this.body.firstElementChild !== this.rows.above) put(this.body, this.rows.above, this.rows.below);
    this.rows.set(items, keyOf);
    put(this.foot, items.length === 0 && this.nothing());
  }

  nothing() {
    if (activeOf(this.question).length) {
      return h("div", { class: "empty" }, h("strong", {}, "No account matches."), "Remove a filter, or ",
        h("a", { href: "/" }, "show all accounts"), ".");
    }
    return h("div", { class: "empty" }, h("strong", {}, "No account has a score yet."),
      "Scores appear here as soon as a worker publishes them. You do not need to reload the page.");
  }

  failed(error, retry) {
    if (this.items.length === 0) put(this.body);
    setAttr(this.table, "aria-busy", null);
    put(this.foot, h("div", { class: "empty", role: "alert" }, h("strong", {}, "The accounts could not be loaded."), h("p", {}, error.message),
      h("button", { class: "button", type: "button", on: { click: () => { put(this.foot); retry(); } } }, "Try again")));
  }

  async more() {
    if (!this.next || this.loading) return;
    this.loading = true;
    const started = Date.now();
    const { question, next: cursor } = this;
    try {
      const { items, total, next } = await api.accounts({ ...askedOf(question), limit: NEXT_PAGE, cursor });
      if (this.ended || question !== this.question || cursor !== this.next) return;
      // An account whose position has changed can be in the next page too.
      const known = new Set(this.items.map(keyOf));
      const added = this.freshest(items.filter((row) => !known.has(keyOf(row))), started);
      Object.assign(this, { next, count: total });
      this.items = [...this.items, ...added];
      setText(this.total, counted(total, "account"));
      this.rows.set(this.items, keyOf);
    } catch (error) {
      if (!this.ended) this.failed(error, () => this.more());
    } finally {
      this.loading = false;
    }
    if (!this.ended) this.rows.soon();
  }

  /** Show a changed row. */
  patch(row) {
    const index = this.rows.indexes?.get(row.account_id);
    if (index === undefined) {
      const last = this.items.at(-1);
      const belongs = matches(row, this.question, this.score) && (!last || !this.next || compare(row, last, this.question, this.score) < 0);
      if (!belongs) return;
      if (this.items.length === 0) return this.sortAgain();
      return this.changed();
    }
    this.rows.patch(row);
    if (!isInOrder(this.items, index, this.question, this.score)) this.changed();
  }

  gone({ account_id: id }) {
    if (this.rows.indexes?.has(id)) this.changed();
  }

  changed() {
    this.again.hidden = false;
  }

  async sortAgain() {
    if (this.sorting) return;
    this.sorting = true;
    const focused = document.activeElement?.closest?.("tr")?.dataset.id;
    const byButton = document.activeElement === this.again;
    await this.load(Math.max(PAGE, Math.min(this.items.length, LARGEST_PAGE)));
    this.sorting = false;
    if (byButton) this.table.querySelector("th[aria-sort] button, th button")?.focus({ preventScroll: true }); // the button is hidden now
    if (focused) this.rows.views.get(focused)?.element.querySelector("a")?.focus({ preventScroll: true });
  }

  whenCalm() {
    const inUse = this.element.contains(document.activeElement) || this.table.matches(":hover");
    if (!this.ended && !this.again.hidden && !inUse && scrollY === 0) this.sortAgain();
  }

  /** Move the focus to the next (+1) or previous (-1) row. */
  step(by) {
    const now = document.activeElement?.closest?.("tr")?.dataset.id;
    const index = now === undefined ? (by > 0 ? 0 : -1) : this.rows.indexes.get(now) + by;
    const row = this.items[index];
    if (!row) return;
    const find = () => this.rows.views.get(keyOf(row))?.element.querySelector("a");
    if (!find()) {
      scrollBy(0, by * this.rows.height * 3);
      this.rows.render();
    }
    find()?.focus({ preventScroll: true });
    find()?.scrollIntoView({ block: "nearest" });
  }
}
