// The choice of columns: which attributes the table of accounts shows. Owns the menu and remembering the choice in this
// browser; an address with columns comes first. Called by overview.js.

import { h, put, setAttr, setText } from "./dom.js";
import { count } from "./format.js";
import { MOST_COLUMNS } from "./ranking.js";

const KEY = "columns";

/** The columns chosen last in this browser. */
export function remembered() {
  try {
    const names = JSON.parse(localStorage.getItem(KEY) ?? "[]");
    return Array.isArray(names) ? names.filter((name) => typeof name === "string").slice(0, MOST_COLUMNS) : [];
  } catch {
    return []; // no storage, or not what was stored
  }
}

function remember(names) {
  try {
    localStorage.setItem(KEY, JSON.stringify(names));
  } catch {
    // a browser without storage has the columns in the address
  }
}

export class Columns {
  /** `chosen`: names in order; `choose(names)` shows others. */
  constructor(chosen, choose) {
    Object.assign(this, { chosen, choose, boxes: new Map() });
    this.list = h("fieldset", { class: "choices" });
    this.note = h("p", { class: "soft", "aria-live": "polite" });
    this.summary = h("summary", { class: "button" }, "Columns");
    this.menu = h("div", { class: "menu card", tabindex: -1 }, this.note, this.list);
    this.element = h("details", { class: "columns", hidden: true, on: { keydown: (event) => this.escape(event), focusout: () => this.leave(), toggle: () => this.listen() } },
      this.summary, this.menu);
    this.outside = ({ target }) => !this.element.contains(target) && this.close();
  }

  /** `known`: attributes of the API; chosen ones that it does not have can be removed, too. */
  set(known) {
    const names = [...known.map(({ name }) => name), ...this.chosen.filter((name) => !known.some((each) => each.name === name))];
    const accounts = Object.fromEntries(known.map((each) => [each.name, each.accounts]));
    this.boxes = new Map(names.map((name) => [name, h("input", { type: "checkbox", on: { change: () => this.toggle(name) } })]));
    put(this.list, h("legend", { class: "unseen" }, "Attributes"), [...this.boxes].map(([name, box]) =>
      h("label", { class: "choice" }, box, h("span", { class: "clip", title: name }, name), h("span", { class: "soft num" }, count(accounts[name] ?? 0), h("span", { class: "unseen" }, " accounts")))));
    this.element.hidden = names.length === 0;
    this.patch();
  }

  toggle(name) {
    this.chosen = this.chosen.includes(name) ? this.chosen.filter((each) => each !== name) : [...this.chosen, name];
    remember(this.chosen);
    this.patch();
    this.choose(this.chosen);
  }

  patch() {
    const full = this.chosen.length >= MOST_COLUMNS;
    setText(this.note, full ? `At most ${MOST_COLUMNS}. Remove one to add another.` : "Attributes, and how many accounts have them");
    for (const [name, box] of this.boxes) {
      box.checked = this.chosen.includes(name);
      setAttr(box, "disabled", full && !box.checked);
    }
  }

  close() {
    this.element.open = false;
  }

  /** Close when the focus has gone elsewhere; not during the event, in which Chromium cannot hide what had the focus. */
  leave() {
    setTimeout(() => this.element.contains(document.activeElement) || document.activeElement === document.body || this.close());
  }

  escape(event) {
    if (event.key !== "Escape" || !this.element.open) return;
    this.close();
    this.summary.focus();
    event.stopPropagation();
  }

  /** The open menu is visible as a whole, and a click beside it closes it. */
  listen() {
    if (!this.element.open) return this.end();
    this.menu.scrollIntoView({ block: "nearest" });
    return addEventListener("pointerdown", this.outside);
  }

  end() {
    removeEventListener("pointerdown", this.outside);
  }
}
