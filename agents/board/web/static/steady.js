// Lists that change under somebody's eyes. Owns patching by key, and waiting while a list is in use: what is under the
// pointer or holds the focus must not become something else at the moment of the click.

/** Make the children of `place` those of `items`; elements are kept by key. `make(item)` gives { element, patch }. */
export function reconcile(place, views, items, keyOf, make) {
  const keys = new Set(items.map(keyOf));
  for (const [key, view] of views) {
    if (keys.has(key)) continue;
    view.element.remove();
    views.delete(key);
  }
  let before = null;
  for (const item of items) {
    const key = keyOf(item);
    let view = views.get(key);
    if (!view) {
      view = make(item);
      views.set(key, view);
    }
    view.patch(item);
    const next = before ? before.nextSibling : place.firstChild;
    if (next !== view.element) place.insertBefore(view.element, next);
    before = view.element;
  }
}

/**
 * Call `apply` with the latest value, but not while `place` is hovered or holds the focus: then only `patch`, which must
 * change elements where they stand.
 */
export class Steady {
  constructor(place, apply, patch = () => {}) {
    Object.assign(this, { place, apply, patch });
    const later = () => setTimeout(() => this.settle());
    place.addEventListener("pointerleave", later);
    place.addEventListener("focusout", later);
  }

  get inUse() {
    const focused = document.activeElement;
    return this.place.matches(":hover") || (this.place.contains(focused) && focused !== document.body);
  }

  set(value) {
    this.value = value;
    this.waits = true;
    if (this.inUse) this.patch(value);
    else this.settle();
  }

  settle() {
    if (!this.waits || this.inUse) return;
    this.waits = false;
    this.apply(this.value);
  }
}
