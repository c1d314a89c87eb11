// The filters of a list, and which of them are active. Owns the fields and the row that names each active filter, also those
// without a field (such as a rule in the address). A view gives the fields that it has. Called by overview.js and alerts.js.

import { api } from "./api.js";
import { debounce, h, put, setAttr } from "./dom.js";
import { count, label, sentence } from "./format.js";
import { nameOf } from "./ranking.js";

const ANY = "\u0001any";
const MANY = "\u0001many";
const TEXTS = { q: "Search", band: "Band", segment: "Segment", owner: "Owner", tier: "Tier", attribute: "Attribute", alerts: "Alerts", severity: "Severity", rule: "Rule" };
const NO_FILTERS = { q: "", band: [], segment: [], owner: [], tier: [], attribute: [], alerts: null, severity: null, rule: null };

/** The active filters of a query: [name, value], one for each value. Pure. */
export function activeOf(question) {
  return Object.keys(TEXTS).flatMap((name) => {
    const value = name === "q" ? question.q?.trim() : question[name];
    if (Array.isArray(value)) return value.map((each) => [name, each]);
    return value ? [[name, value]] : [];
  });
}

/** The filters of a query in the form of the API, without its order. */
export function filtersOf(question) {
  const values = Object.fromEntries(Object.keys(NO_FILTERS).map((name) => [name, question[name] ?? null]));
  return { score: question.score, ...values, q: question.q?.trim() || null };
}

export class Filters {
  /** `fields`: { name: [[value, text], ...] or null for values of the API }; `ask(change)` runs another query. */
  constructor(question, fields, ask) {
    Object.assign(this, { ask, fields, selects: {}, attributes: new Map(), known: [] });
    this.search = h("input", { class: "field", type: "search", name: "q", placeholder: "Name, id, owner or segment", "aria-keyshortcuts": "/" });
    this.search.addEventListener("input", debounce(200, () => this.search.value !== this.question.q && ask({ q: this.search.value })));
    for (const [name, options] of Object.entries(fields)) this.selects[name] = this.select(name, options ?? []);
    this.active = h("ul", { class: "active", "aria-label": "Active filters" });
    this.element = h("form", { class: "filters", role: "search", on: { submit: (event) => event.preventDefault() } },
      labelled("Search", this.search, "search"), Object.entries(this.selects).map(([name, select]) => labelled(TEXTS[name], select)), this.active);
    this.setQuestion(question);
  }

  select(name, options) {
    const many = Array.isArray(NO_FILTERS[name]);
    const element = h("select", { class: "field", name, on: { change: () => {
      const { value } = element;
      if (value === MANY) return;
      const chosen = value === ANY ? null : value;
      this.ask({ [name]: many ? (chosen === null ? [] : [chosen]) : chosen });
    } } });
    this.fill(element, options);
    return element;
  }

  fill(select, options) {
    put(select, h("option", { value: ANY }, "Any"), options.map(([value, text]) => h("option", { value }, text)));
  }

  setQuestion(question) {
    this.question = question;
    if (document.activeElement !== this.search) this.search.value = question.q;
    this.offer(question.column ?? []);
    for (const [name, select] of Object.entries(this.selects)) this.choose(select, [question[name] ?? []].flat());
    const active = activeOf(question);
    this.active.hidden = active.length === 0;
    put(this.active, active.map(([name, value]) => h("li", {}, h("button", { class: "chip on", type: "button", title: "Remove this filter",
      on: { click: () => this.ask(this.without(name, value)) } }, h("span", {}, h("span", { class: "soft" }, `${name === "attribute" ? nameOf(value) : TEXTS[name]}: `), h("bdi", {}, textOf(name, value))), h("span", { "aria-hidden": "true" }, "\u00d7"), h("span", { class: "unseen" }, ", remove")))),
    active.length > 0 && h("li", {}, h("button", { class: "button plain", type: "button", on: { click: () => this.clear() } }, "Clear")));
  }

  /** Have a field for each attribute among `names` whose values the API lists. */
  offer(names) {
    for (const [name, { element }] of this.attributes) {
      if (names.includes(name)) continue;
      element.remove();
      this.attributes.delete(name);
    }
    for (const name of names) {
      const values = this.known.find((each) => each.name === name)?.values ?? [];
      if (this.attributes.has(name) || values.length === 0) continue;
      const select = h("select", { class: "field", name: `attribute:${name}`, on: { change: () => this.byAttribute(name, select.value) } });
      this.fill(select, optionsOf(values));
      const element = labelled(name, select);
      this.attributes.set(name, { element, select });
      this.active.before(element);
    }
    for (const [name, { select }] of this.attributes) {
      this.choose(select, this.question.attribute.filter((pair) => nameOf(pair) === name).map((pair) => pair.slice(name.length + 1)));
    }
  }

  byAttribute(name, value) {
    if (value === MANY) return;
    const others = this.question.attribute.filter((pair) => nameOf(pair) !== name);
    this.ask({ attribute: value === ANY ? others : [...others, `${name}:${value}`] });
  }

  choose(select, chosen) {
    [...select.options].filter((option) => option.value === MANY).forEach((option) => option.remove());
    if (chosen.length > 1) select.append(h("option", { value: MANY }, `${chosen.length} chosen`));
    const value = chosen.length > 1 ? MANY : (chosen[0] ?? ANY);
    // A value in the address is shown even if the list of values is not loaded or does not have it.
    if (![...select.options].some((option) => option.value === value)) select.append(h("option", { value }, value || "none"));
    select.value = value;
    setAttr(select, "data-on", chosen.length > 0 ? "true" : null);
  }

  without(name, value) {
    const now = this.question[name];
    return { [name]: Array.isArray(now) ? now.filter((each) => each !== value) : NO_FILTERS[name] };
  }

  clear() {
    this.search.value = "";
    this.ask(NO_FILTERS);
    this.search.focus({ preventScroll: true });
  }

  async load() {
    const values = await api.filters().catch(() => null);
    if (!values) return;
    for (const [name, select] of Object.entries(this.selects)) {
      const list = this.fields[name] === null ? values[`${name}s`] : null;
      if (list) this.fill(select, optionsOf(list));
    }
    this.known = values.attributes;
    this.setQuestion(this.question);
    return this.known;
  }
}

const labelled = (text, field, extra = "") => h("label", { class: `label ${extra}` }, h("span", { class: "clip" }, text), field);

/** Values in the order of the API, which is that of texts; numbers in their own order. */
const inOrder = (values) => (values.every(({ name }) => Number.isFinite(Number(name))) ? values.toSorted((a, b) => Number(a.name || -Infinity) - Number(b.name || -Infinity)) : values);

const optionsOf = (values) => inOrder(values).map(({ name, accounts }) => [name ?? "", `${name || "none"} (${count(accounts)})`]);

function textOf(name, value) {
  if (name === "alerts" || name === "severity") return sentence(value);
  if (name === "attribute") return value.slice(nameOf(value).length + 1) || "none";
  return name === "band" ? label(value) : value || "none";
}
