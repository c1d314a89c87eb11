// A row's sparkline: the score of the last days on the fixed scale 0 to 100, its last point marked.
// Owns the drawing; values come from the row. It is hidden from screen readers, because the change beside it is text.

import { setAttr, svg } from "./dom.js";
import { isNumber } from "./format.js";

const WIDTH = 96;
const HEIGHT = 24;
const PAD = 3;

export function spark() {
  return svg("svg", { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, width: WIDTH, height: HEIGHT, "aria-hidden": "true" },
    svg("path", { class: "spark-line" }),
    svg("circle", { class: "spark-end", r: 2.2 }));
}

/** `values`: scores, oldest first, null where there was none. `tone`: of the band now. */
export function patchSpark(element, values, tone) {
  const known = (values ?? []).filter(isNumber);
  const key = `${tone}|${(values ?? []).join(",")}`;
  if (element.dataset.key === key) return;
  element.dataset.key = key;
  element.setAttribute("class", `spark tone-${tone}`);
  const low = Math.min(...known);
  const high = Math.max(...known);
  // At least 30 points high, so that a small change does not look like a fall.
  const middle = Math.max(15, Math.min(85, (low + high) / 2));
  const reach = Math.max(15, (high - low) / 2);
  const step = (WIDTH - 2 * PAD) / Math.max(1, values?.length - 1 || 1);
  const y = (value) => PAD + ((middle + reach - value) / (2 * reach)) * (HEIGHT - 2 * PAD);
  let path = "";
  let last = null;
  let pen = "M";
  (values ?? []).forEach((value, index) => {
    if (!isNumber(value)) {
      pen = "M";
      return;
    }
    const x = known.length === 1 ? WIDTH - PAD : PAD + index * step;
    last = [x, y(value)];
    path += `${pen}${x.toFixed(1)} ${last[1].toFixed(1)}`;
    pen = "L";
  });
  setAttr(element.firstElementChild, "d", path || "M0 0");
  setAttr(element.lastElementChild, "cx", last ? last[0].toFixed(1) : -9);
  setAttr(element.lastElementChild, "cy", last ? last[1].toFixed(1) : -9);
}
