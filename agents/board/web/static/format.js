// Numbers, times and names as text. Pure but for the reader's time zone, in which times are. Called by every view; elements
// of times, with UTC on hover, are made by when.js.

export const MINUTE = 60_000;
export const HOUR = 60 * MINUTE;
export const DAY = 24 * HOUR;
const MINUS = "\u2212";

const oneDecimal = new Intl.NumberFormat("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
const short = new Intl.NumberFormat("en", { maximumFractionDigits: 2 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const part = (options) => new Intl.DateTimeFormat("en-GB", { hourCycle: "h23", ...options });
/** Formats in the zone of the reader, and the same in UTC. */
const zone = (timeZone) => ({
  day: part({ timeZone, day: "numeric" }), month: new Intl.DateTimeFormat("en", { timeZone, month: "short" }),
  year: part({ timeZone, year: "numeric" }), weekday: part({ timeZone, weekday: "long" }),
  clock: part({ timeZone, hour: "2-digit", minute: "2-digit" }), seconds: part({ timeZone, hour: "2-digit", minute: "2-digit", second: "2-digit" }),
});
const LOCAL = zone(undefined);
const UTC = zone("UTC");
/** The name of the reader's zone. */
export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;
/** The times that a date can hold. */
const LATEST = 8.64e15;

/** A score or points: one decimal, a dash for no value. */
export const score = (value) => (isNumber(value) ? oneDecimal.format(value).replace("-", MINUS) : "\u2013");

/** A score of an account as its policy shows it to people; in points if the policy does not say how. */
export const shownScore = (now) => now?.shown?.replace("-", MINUS) ?? score(now?.value);

/** The points of a score that is shown on another scale, for its title; null if it is shown in points. */
export const pointsOf = (now) => (now?.shown && isNumber(now.value) ? `${score(now.value)} points` : null);

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

/** A number with all of its decimals: rounding could make a limit look reached. */
export const exactNumber = (value) => (isNumber(value) ? value.toLocaleString("en", { maximumFractionDigits: 6 }).replace("-", MINUS) : "\u2013");

/** A count with separators of thousands. */
export const count = (value) => (isNumber(value) ? whole.format(value) : "\u2013");

/** `1 account`, `2 accounts`. */
export const counted = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : "s"}`;

export const percent = (share) => (isNumber(share) ? `${whole.format(share * 100)}\u202f%` : "\u2013");

const isTime = (ms) => isNumber(ms) && Math.abs(ms) <= LATEST;
const or = (ms, text) => (isTime(ms) ? text() : "\u2013");

function dateIn({ day, month, year }, ms, now) {
  const of = year.format(ms);
  return `${day.format(ms)} ${month.format(ms)}${of === year.format(now) ? "" : ` ${of}`}`;
}

/** `3 Mar`, with the year when it is not the present one; in the zone of the reader. */
export const date = (ms, now = Date.now()) => or(ms, () => dateIn(LOCAL, ms, now));
export const time = (ms) => or(ms, () => LOCAL.clock.format(ms));
export const timeExact = (ms) => or(ms, () => LOCAL.seconds.format(ms));
export const moment = (ms) => or(ms, () => `${date(ms)}, ${LOCAL.clock.format(ms)}`);
export const longDay = (ms) => or(ms, () => `${LOCAL.weekday.format(ms)}, ${date(ms)}`);
/** The day of the reader's zone that a time is in, as a text that differs between days. */
export const dayOf = (ms) => or(ms, () => `${LOCAL.day.format(ms)} ${LOCAL.month.format(ms)} ${LOCAL.year.format(ms)}`);
/** A UTC day, for figures of UTC days and for dates of profiles. */
export const utcDate = (ms, now = Date.now()) => or(ms, () => dateIn(UTC, ms, now));
/** A time in UTC, to the second: what is shown where the mouse is over a time. */
export const utc = (ms) => or(ms, () => `${UTC.day.format(ms)} ${UTC.month.format(ms)} ${UTC.year.format(ms)}, ${UTC.seconds.format(ms)} UTC`);

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
  if (!isTime(ms)) return "\u2013";
  const since = now - ms;
  if (since < MINUTE) return "just now";
  return since < 14 * DAY ? `${span(since)} ago` : date(ms, now);
}

/** `product_usage` as text: "product usage". */
export const label = (name) => String(name ?? "").replaceAll("_", " ");

/** A text of the API, with a minus sign before negative numbers. */
export const typeset = (text) => (text ?? "").replace(/(^|[\s(])-(?=\d)/g, `$1${MINUS}`);

/** First letter large. */
export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
