// Lists that change while somebody uses them. Owns updating by key, and waiting while a list is in use: what is under the
// pointer or has the focus must not become something else at the moment of a click.

/** Make the children of `parent` those of `items`. Elements are reused by key; `make(item)` gives { element, patch }. */
export function reconcile(parent, views, items, keyOf, make) {
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
    const next = before ? before.nextSibling : parent.firstChild;
    if (next !== view.element) parent.insertBefore(view.element, next);
    before = view.element;
  }
}

/**
 * Calls `apply` with the latest value when nobody uses `element`. While it is hovered or has the focus, only `patch` is
 * called, which must change elements where they are.
 */
export class UpdateWhenIdle {
  constructor(element, apply, patch = () => {}) {
    Object.assign(this, { element, apply, patch });
    const later = () => setTimeout(() => this.applyIfIdle());
    element.addEventListener("pointerleave", later);
    element.addEventListener("focusout", later);
  }

  get inUse() {
    const focused = document.activeElement;
    return this.element.matches(":hover") || (this.element.contains(focused) && focused !== document.body);
  }

  set(value) {
    this.value = value;
    this.isWaiting = true;
    if (this.inUse) this.patch(value);
    else this.applyIfIdle();
  }

  applyIfIdle() {
    if (!this.isWaiting || this.inUse) return;
    this.isWaiting = false;
    this.apply(this.value);
  }
}
