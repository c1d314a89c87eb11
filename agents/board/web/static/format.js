// Numbers, times and names as text. Pure. Called by every view. All times are UTC, as everywhere in the product.

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const MINUS = "\u2212";

const oneDecimal = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const UTC = { timeZone: "UTC", hourCycle: "h23" };
const month = new Intl.DateTimeFormat("en", { ...UTC, month: "short" });
const weekday = new Intl.DateTimeFormat("en-GB", { ...UTC, weekday: "long" });
const clock = new Intl.DateTimeFormat("en-GB", { ...UTC, hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat("en-GB", { ...UTC, hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** A score or points: one decimal, a dash for no value. */
export const score = (value) => (isNumber(value) ? oneDecimal.format(value).replace("-", MINUS) : "\u2013");

/** A change: with its sign, 0.0 without one. */
export function signed(value) {
  if (!isNumber(value)) return "\u2013";
  const text = oneDecimal.format(Math.abs(value));
  if (text === "0.0") return text;
  return (value < 0 ? MINUS : "+") + text;
}

/** A value of a measure: two decimals at most. */
export function number(value) {
  if (!isNumber(value)) return "\u2013";
  const text = value && Math.abs(value) < 1 ? String(Number(value.toPrecision(3))) : short.format(value);
  return text.replace("-", MINUS);
}

/** A count with separators of thousands. */
export const count = (value) => (isNumber(value) ? whole.format(value) : "\u2013");

/** `1 account`, `2 accounts`. */
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

export const percent = (share) => (isNumber(share) ? `${whole.format(share * 100)}\u202f%` : "\u2013");

/** `3 Mar`, with the year when it is not the present one. */
export function date(ms, now = Date.now()) {
  if (!isNumber(ms)) return "\u2013";
  const then = new Date(ms);
  const year = then.getUTCFullYear();
  return `${then.getUTCDate()} ${month.format(ms)}${year === new Date(now).getUTCFullYear() ? "" : ` ${year}`}`;
}

export const time = (ms) => (isNumber(ms) ? clock.format(ms) : "\u2013");
export const timeExact = (ms) => (isNumber(ms) ? seconds.format(ms) : "\u2013");
export const moment = (ms) => (isNumber(ms) ? `${date(ms)}, ${clock.format(ms)}` : "\u2013");
export const longDay = (ms) => `${weekday.format(ms)}, ${date(ms)}`;

/** How long: `12 s`, `5 min`, `3 h`, `2 days`. */
export function span(ms) {
  if (!isNumber(ms)) return "\u2013";
  const size = Math.abs(ms);
  if (size < 10_000) return `${oneDecimal.format(size / 1000)} s`;
  if (size < MINUTE) return `${whole.format(size / 1000)} s`;
  if (size < HOUR) return `${whole.format(size / MINUTE)} min`;
  if (size < 2 * DAY) return `${whole.format(size / HOUR)} h`;
  return `${whole.format(size / DAY)} days`;
}

/** `just now`, `5 min ago`, then the day. */
export function ago(ms, now = Date.now()) {
  if (!isNumber(ms)) return "\u2013";
  const since = now - ms;
  if (since < MINUTE) return "just now";
  return since < 14 * DAY ? `${span(since)} ago` : date(ms, now);
}

/** `product_usage` as text: "product usage". */
export const label = (name) => String(name ?? "").replaceAll("_", " ");

/** A text of the API, with a minus sign before negative numbers. */
export const typeset = (text) => (text ?? "").replace(/(^|[\s(])-(?=\d)/g, `$1${MINUS}`);

/** A reason without the number at its start, which is shown beside it: "Since Tuesday: …". */
export const withoutNumber = (text) => sentence(typeset((text ?? "").replace(/^[-+]?[\d.,]+ /, "")));

/** First letter large. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
