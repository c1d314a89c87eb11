// A long table with only the visible rows in the document, so that 10,000 accounts cost as much as 40.
// Owns which rows are in the document and their order; the caller makes rows. All rows have one height, which is measured.
// A row that is patched keeps its element, its position and its focus.

import { h } from "./dom.js";

const AHEAD = 8;

export class Rows {
  /**
   * `body`: a tbody. `make(item)` gives `{ element, patch(item) }` with `element` a tr. `more()` is called when the end
   * of the loaded rows comes near. `columns`: for the spacers.
   */
  constructor(body, columns, make, more) {
    this.items = [];
    this.views = new Map();
    this.height = 0;
    this.body = body;
    this.make = make;
    this.more = more;
    this.above = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: columns }));
    this.below = h("tr", { class: "spacer", "aria-hidden": "true" }, h("td", { colspan: columns }));
    body.replaceChildren(this.above, this.below);
    this.frame = 0;
    this.listen = () => this.soon();
    addEventListener("scroll", this.listen, { passive: true });
    this.resized = () => {
      this.height = 0; // the height of rows depends on the width
      this.soon();
    };
    addEventListener("resize", this.resized);
  }

  end() {
    cancelAnimationFrame(this.frame);
    removeEventListener("scroll", this.listen);
    removeEventListener("resize", this.resized);
  }

  /** Show other rows, or the same in another order. Elements of rows that stay are kept. */
  set(items, keyOf) {
    this.items = items;
    this.keyOf = keyOf;
    this.indexes = new Map(items.map((item, index) => [keyOf(item), index]));
    this.render();
  }

  /** Change one row in place; returns whether it is loaded. */
  patch(item) {
    const key = this.keyOf?.(item);
    const index = this.indexes?.get(key);
    if (index === undefined) return false;
    this.items[index] = item;
    this.views.get(key)?.patch(item);
    return true;
  }

  soon() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      this.render();
    });
  }

  range() {
    const height = this.height || 44;
    const top = this.body.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(-top / height) - AHEAD);
    // A table below the visible area still has its first rows, so that their height is known.
    const last = Math.min(this.items.length, Math.max(0, Math.ceil((innerHeight - top) / height)) + AHEAD);
    return [Math.min(first, this.items.length), Math.min(this.items.length, Math.max(first, last))];
  }

  render() {
    if (!this.keyOf) return;
    let [first, last] = this.range();
    this.draw(first, last);
    if (this.height === 0 && last > first) {
      this.height = this.views.get(this.keyOf(this.items[first])).element.getBoundingClientRect().height;
      [first, last] = this.range();
      this.draw(first, last);
    }
    this.space(this.above, first * this.height);
    this.space(this.below, (this.items.length - last) * this.height);
    if (last >= this.items.length - AHEAD) this.more();
  }

  draw(first, last) {
    const shown = this.items.slice(first, last);
    const keys = new Set(shown.map(this.keyOf));
    for (const [key, view] of this.views) {
      if (keys.has(key)) continue;
      view.element.remove();
      this.views.delete(key);
    }
    let before = this.above;
    shown.forEach((item, index) => {
      const key = this.keyOf(item);
      let view = this.views.get(key);
      if (!view) {
        view = this.make(item);
        view.patch(item);
        this.views.set(key, view);
      }
      if (view.item !== item) view.patch(item);
      view.item = item;
      view.element.setAttribute("aria-rowindex", first + index + 2);
      // A row that is in its position is not moved: moving it would remove the focus.
      if (before.nextSibling !== view.element) before.after(view.element);
      before = view.element;
    });
  }

  space(spacer, height) {
    spacer.hidden = height <= 0;
    spacer.firstElementChild.style.setProperty("height", `${height}px`);
  }
}
