// The journey of an account: what happened to it and what was said of it, newest first, a day under the other.
// Owns loading further back and the choice of kinds. Raw events are read from the inputs, so a page may take a moment.

import { api } from "./api.js";
import { severityTone, shape, toneOf } from "./bands.js";
import { h, put } from "./dom.js";
import { DAY, longDay, score as points, sentence, signed, spoken, time, typeset } from "./format.js";

const KINDS = [["score", "Scores"], ["alert", "Alerts"], ["control", "People"], ["profile", "Profile"], ["event", "Events"]];
const PAGE = 40;

/** What a change says beside its number: the band when it is another, what moved most, and that nobody did anything. Pure. */
export function moved({ factors, band_from: before, band_to: band, cause }) {
  const parts = factors.filter((one) => Math.abs(one.delta) >= 0.05).sort((a, b) => Math.abs(b.delta) - Math.abs(a.delta))
    .slice(0, 3).map((one) => `${spoken(one.measure)} ${signed(one.delta)}`);
  const why = { window: "time passed", late: "a late event", policy: "another policy", override: "an override", segment: "another segment", pulse: "a pulse", peers: "its peers moved" }[cause];
  const words = [parts.join(", "), why && `(${why})`].filter(Boolean).join(" ") || "nothing that shows";
  return sentence(before === band ? words : `${before ? "became" : "began as"} ${spoken(band)}: ${words}`);
}

const keyOf = ({ time: at, kind, topic, title }) => [at, kind, topic, title].join(" ");

export class Journey {
  /** `kinds`: comma-separated or null for all; `keep(kinds)` puts them into the address. */
  constructor(id, bandsOf, kinds, keep) {
    Object.assign(this, { id, bandsOf, keep });
    this.kinds = new Set(kinds ? kinds.split(",") : KINDS.map(([kind]) => kind));
    this.shown = new Set();
    this.days = h("div");
    this.foot = h("div");
    this.fresh = h("button", { class: "button", type: "button", hidden: true, on: { click: () => this.load() } }, "New since: show");
    this.chips = KINDS.map(([kind, words]) => h("button", { class: "chip", type: "button", "aria-pressed": String(this.kinds.has(kind)),
      on: { click: (event) => this.toggle(kind, event.currentTarget) } }, words));
    this.element = h("section", { class: "card journey", "aria-label": "Journey" },
      h("div", { class: "card-head" }, h("h2", {}, "Journey"), h("div", { class: "chips small toggles", role: "group", "aria-label": "Show" }, this.chips)),
      this.fresh, this.days, this.foot);
  }

  end() {
    this.asked?.abort();
  }

  toggle(kind, chip) {
    if (this.kinds.has(kind)) this.kinds.delete(kind);
    else this.kinds.add(kind);
    if (this.kinds.size === 0) KINDS.forEach(([one]) => this.kinds.add(one));
    KINDS.forEach(([one], at) => this.chips[at].setAttribute("aria-pressed", String(this.kinds.has(one))));
    this.keep(this.wanted());
    chip.focus();
    this.load();
  }

  wanted() {
    return this.kinds.size === KINDS.length ? null : [...this.kinds].join(",");
  }

  /** Something happened: what it adds to the journey, if anything, is not put under the reader's eyes unasked. */
  async news() {
    if (this.element.getBoundingClientRect().top > innerHeight * 0.6) return this.load();
    const page = await api.timeline(this.id, { kinds: this.wanted(), limit: 1 }).catch(() => null);
    if (page?.items.length) this.fresh.hidden = this.shown.has(keyOf(page.items[0]));
    return null;
  }

  async load(cursor = null) {
    this.asked?.abort();
    this.asked = new AbortController();
    if (cursor === null && !this.days.firstChild) put(this.foot, ...Array.from({ length: 5 }, () => h("p", {}, h("span", { class: "bone", style: { width: "70%" } }))));
    try {
      const page = await api.timeline(this.id, { kinds: this.wanted(), limit: PAGE, cursor }, this.asked.signal);
      if (cursor === null) {
        put(this.days);
        this.day = null;
        this.shown.clear();
        this.fresh.hidden = true;
      }
      page.items.forEach((item) => this.add(item));
      this.finish(page);
    } catch (error) {
      if (error.name === "AbortError") return;
      put(this.foot, h("p", { class: "problem", role: "alert" }, error.message), h("button", { class: "button", type: "button", on: { click: () => this.load(cursor) } }, "Try again"));
    }
  }

  add(item) {
    this.shown.add(keyOf(item));
    const day = Math.floor(item.time / DAY);
    if (day !== this.day) {
      this.day = day;
      this.list = h("ol");
      this.days.append(h("h3", {}, longDay(item.time)), this.list);
    }
    const { tone, title, detail } = this.look(item);
    this.list.append(h("li", { class: "entry" }, h("time", { class: "soft", datetime: new Date(item.time).toISOString() }, time(item.time)), shape(tone), h("p", {}, title), detail));
  }

  look(item) {
    const { kind, data, title } = item;
    if (kind === "score") {
      const delta = data.to - data.from;
      return { tone: toneOf(this.bandsOf(), data.band_to), title: moved(data),
        detail: h("span", { class: `num ${delta < 0 ? "fall" : "rise"}` }, `${signed(delta)} to ${points(data.to)}`) };
    }
    if (kind === "alert") return { tone: data.status === "resolved" ? "good" : severityTone(data.severity), title: typeset(title), detail: h("span", { class: "tag" }, data.status) };
    return { tone: "none", title, detail: h("span", { class: "tag" }, item.topic ?? kind) };
  }

  finish({ items, next, complete, problem }) {
    const parts = [];
    if (problem) parts.push(h("p", { class: "problem" }, `Events could not be read: ${problem}`));
    if (!this.days.firstChild) parts.push(h("p", { class: "soft" }, next ? "Nothing of this kind so far back." : "Nothing of this kind is kept."));
    if (next) {
      parts.push(h("button", { class: "button", type: "button", on: { click: () => this.load(next) } }, complete === false && items.length === 0 ? "Search further back" : "Show older"));
    } else if (this.days.firstChild) parts.push(h("p", { class: "soft" }, "Nothing older is kept."));
    put(this.foot, ...parts);
  }
}
