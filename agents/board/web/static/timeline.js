// The timeline of an account: score changes, alerts, controls, profiles and events, newest first, by day.
// Owns the loading of older items and the choice of kinds. The board reads events from Kafka, so a page can take a moment.

import { api } from "./api.js";
import { severityTone, shape, toneOf } from "./bands.js";
import { h, put } from "./dom.js";
import { dayOf, longDay, score as points, sentence, signed, label, time, typeset } from "./format.js";
import { when } from "./when.js";

const KINDS = [["score", "Scores"], ["alert", "Alerts"], ["control", "People"], ["profile", "Profile"], ["event", "Events"]];
const PAGE = 40;

/** The text of a change: its new band, if it changed, the largest factors, and the cause. Pure. */
export function changeText({ factors, band_from: before, band_to: band, cause, state }) {
  if (state) return `Not scored any more: ${state === "ended" ? "the account ended" : "no data"}`;
  const deltas = factors.filter((factor) => Math.abs(factor.delta) >= 0.05).sort((a, b) => Math.abs(b.delta) - Math.abs(a.delta))
    .slice(0, 3).map((factor) => `${label(factor.measure)} ${signed(factor.delta)}`);
  const why = { window: "time passed", late: "a late event", policy: "new policy", override: "an override", segment: "new segment", pulse: "a pulse", peers: "its peers changed", status: "the account has a score again" }[cause];
  const text = [deltas.join(", "), why && `(${why})`].filter(Boolean).join(" ") || "no visible change";
  return sentence(before === band ? text : `${before ? "became" : "started as"} ${label(band)}: ${text}`);
}

const keyOf = (item) => [item.time, item.kind, item.topic, item.title].join(" ");

export class Timeline {
  /** `kinds`: comma-separated or null for all; `keep(kinds)` puts them into the address. */
  constructor(id, bandsOf, kinds, keep) {
    Object.assign(this, { id, bandsOf, keep });
    this.kinds = new Set(kinds ? kinds.split(",") : KINDS.map(([kind]) => kind));
    this.shown = new Set();
    this.days = h("div");
    this.foot = h("div");
    this.fresh = h("button", { class: "button", type: "button", hidden: true, on: { click: () => this.load() } }, "Show new items");
    this.chips = KINDS.map(([kind, text]) => h("button", { class: "chip", type: "button", "aria-pressed": String(this.kinds.has(kind)),
      on: { click: (event) => this.toggle(kind, event.currentTarget) } }, text));
    this.element = h("section", { class: "card timeline", "aria-label": "Timeline" },
      h("div", { class: "card-head" }, h("h2", {}, "Timeline"), h("div", { class: "chips small toggles", role: "group", "aria-label": "Show" }, this.chips)),
      this.fresh, this.days, this.foot);
  }

  end() {
    this.asked?.abort();
  }

  toggle(kind, chip) {
    if (this.kinds.has(kind)) this.kinds.delete(kind);
    else this.kinds.add(kind);
    if (this.kinds.size === 0) KINDS.forEach(([each]) => this.kinds.add(each));
    KINDS.forEach(([each], index) => this.chips[index].setAttribute("aria-pressed", String(this.kinds.has(each))));
    this.keep(this.chosen());
    chip.focus();
    this.load();
  }

  chosen() {
    return this.kinds.size === KINDS.length ? null : [...this.kinds].join(",");
  }

  /** The account has changed. New items are loaded if the timeline is out of sight, else offered by a button. */
  async refresh() {
    if (this.element.getBoundingClientRect().top > innerHeight * 0.6) return this.load();
    const page = await api.timeline(this.id, { kinds: this.chosen(), limit: 1 }).catch(() => null);
    if (page?.items.length) this.fresh.hidden = this.shown.has(keyOf(page.items[0]));
    return null;
  }

  async load(cursor = null) {
    this.asked?.abort();
    this.asked = new AbortController();
    if (cursor === null && !this.days.firstChild) put(this.foot, ...Array.from({ length: 5 }, () => h("p", {}, h("span", { class: "bone", style: { width: "70%" } }))));
    try {
      const page = await api.timeline(this.id, { kinds: this.chosen(), limit: PAGE, cursor }, this.asked.signal);
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
    const day = dayOf(item.time);
    if (day !== this.day) {
      this.day = day;
      this.list = h("ol");
      this.days.append(h("h3", {}, longDay(item.time)), this.list);
    }
    const { tone, title, detail } = this.looksOf(item);
    this.list.append(h("li", { class: "entry" }, h("span", { class: "soft" }, when(item.time, time(item.time))), shape(tone), h("p", {}, title), detail));
  }

  looksOf(item) {
    const { kind, data, title } = item;
    if (kind === "score") {
      const delta = data.to - data.from;
      return { tone: data.state ? "none" : toneOf(this.bandsOf(), data.band_to), title: changeText(data),
        detail: data.state ? null : h("span", { class: `num ${delta < 0 ? "fall" : "rise"}` }, `${signed(delta)} to ${points(data.to)}`) };
    }
    if (kind === "alert") return { tone: data.status === "resolved" ? "good" : severityTone(data.severity), title: sentence(typeset(title)), detail: h("span", { class: "tag" }, data.status) };
    if (data?.unreadable) return { tone: "middle", title: sentence(title), detail: h("span", { class: "tag" }, `${item.topic}, offset ${data.offset}`) };
    return { tone: "none", title, detail: h("span", { class: "tag" }, item.topic ?? kind) };
  }

  finish({ items, next, complete, problem }) {
    const notes = [];
    if (problem) notes.push(h("p", { class: "problem" }, `Events could not be read: ${problem}`));
    if (!this.days.firstChild) notes.push(h("p", { class: "soft" }, next ? "No items of this kind so far." : "There are no items of this kind."));
    if (next) {
      notes.push(h("button", { class: "button", type: "button", on: { click: () => this.load(next) } }, complete === false && items.length === 0 ? "Search further back" : "Show older"));
    } else if (this.days.firstChild) notes.push(h("p", { class: "soft" }, "There is nothing older."));
    put(this.foot, ...notes);
  }
}
