// Elements of times: in the zone of the reader, with UTC on hover. Called by every view that shows a time.

import { h, setAttr, setText } from "./dom.js";
import { ago, isNumber, moment, utc, utcDate } from "./format.js";

/** The attributes of an element that shows a time. */
const attributes = (ms) => ({ datetime: utc(ms) === "\u2013" ? null : new Date(ms).toISOString(), title: utc(ms) });

/** A time as an element: `3 Mar, 14:05`, or another text for it. */
export const when = (ms, text = moment(ms)) => (isNumber(ms) ? h("time", attributes(ms), text) : "\u2013");
export const whenAgo = (ms, now) => when(ms, ago(ms, now));
/** A date of a profile, which is a UTC day. */
export const whenUtcDate = (ms) => when(ms, utcDate(ms));

/** Change the time that an element shows. */
export function patchWhen(element, ms, text = moment(ms)) {
  setText(element, text);
  for (const [name, value] of Object.entries(attributes(ms))) setAttr(element, name, isNumber(ms) ? value : null);
}
