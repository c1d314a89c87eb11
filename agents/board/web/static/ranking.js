// The query of the table of accounts: reading it from the address, and the position of a row in its result.
// Pure. The API runs the query; this only decides whether a changed row would change the result. Called by accounts.js.

export const SPANS = ["1d", "7d", "30d"];
const SORTS = ["score", "change_1d", "change_7d", "change_30d", "name", "arr", "as_of", "alerts"];
const BY_ATTRIBUTE = /^attribute:.+$/;
const LISTS = ["band", "segment", "owner", "tier", "attribute"];
const FIELDS = LISTS.slice(0, -1);

/** Columns of attributes that the table can have. */
export const MOST_COLUMNS = 5;

/** The query of an address: { score, band[], segment[], owner[], tier[], attribute[], column[], q, alerts, sort, order, span }. */
export function questionOf(params) {
  const lists = Object.fromEntries(LISTS.map((name) => [name, params.getAll(name)]));
  return {
    ...lists,
    column: [...new Set(params.getAll("column").filter(Boolean))].slice(0, MOST_COLUMNS),
    score: params.get("score"),
    q: params.get("q") ?? "",
    alerts: params.get("alerts") === "open" ? "open" : null,
    sort: SORTS.includes(params.get("sort")) || BY_ATTRIBUTE.test(params.get("sort")) ? params.get("sort") : "score",
    order: params.get("order") === "desc" ? "desc" : "asc",
    span: SPANS.includes(params.get("span")) ? params.get("span") : "7d",
  };
}

/** The query in the form of the address, without default values. */
export function addressOf(question) {
  const { sort, order, span, q, ...rest } = question;
  return { ...rest, q: q || null, sort: sort === "score" ? null : sort, order: order === "asc" ? null : order, span: span === "7d" ? null : span };
}

/** The query in the form of the API. */
export function askedOf(question) {
  const { span, q, column, ...rest } = question;
  return { ...rest, q: q || null };
}

/** A text without case, as the API compares it. */
const folded = (text) => text.toLowerCase().replaceAll("\u00df", "ss").replaceAll("\u03c2", "\u03c3");

/** The value that a row is sorted by, null if it has none. */
export function sortValue(row, sort, score) {
  if (sort === "score") return row.scores[score]?.value ?? null;
  if (sort.startsWith("change_")) return row.scores[score]?.change?.[sort.slice(7)] ?? null;
  if (sort === "name") return folded(row.name ?? row.account_id);
  if (BY_ATTRIBUTE.test(sort)) return attributeValue(row.attributes[sort.slice("attribute:".length)]);
  return row[sort] ?? null;
}

/** Numbers come before texts, as in the API: [0, number] or [1, text]. */
function attributeValue(value) {
  if (typeof value === "number") return [0, value];
  const texts = [value ?? []].flat(Infinity).map(String);
  return texts.length ? [1, folded(texts.join(", "))] : null;
}

const isBefore = (a, b) => (Array.isArray(a) ? (a[0] === b[0] ? a[1] < b[1] : a[0] < b[0]) : a < b);

/** Negative when `a` comes before `b`; missing values last, as the API does. */
export function compare(a, b, { sort, order }, score) {
  const left = sortValue(a, sort, score);
  const right = sortValue(b, sort, score);
  if (left === right || (Array.isArray(left) && String(left) === String(right))) return 0;
  if (left === null) return 1;
  if (right === null) return -1;
  return (isBefore(left, right) ? -1 : 1) * (order === "desc" ? -1 : 1);
}

/** An attribute as texts, as the API compares it; "" if there is none. */
export function textsOf(value) {
  const texts = [value ?? []].flat(Infinity).map(String);
  return texts.length ? texts : [""];
}

/** The name in NAME:VALUE. */
export const nameOf = (pair) => pair.slice(0, pair.indexOf(":"));

/** Whether of each name in `wanted` (NAME:VALUE) there is one of the values. */
function hasAttributes(attributes, wanted) {
  return wanted.every((pair) => textsOf(attributes[nameOf(pair)]).some((text) => wanted.includes(`${nameOf(pair)}:${text}`)));
}

/** Whether a row matches the query. */
export function matches(row, question, score) {
  const has = { band: row.scores[score]?.band, segment: row.segment, owner: row.owner, tier: row.tier };
  for (const name of FIELDS) {
    if (question[name].length && !question[name].includes(has[name] ?? "")) return false;
  }
  if (!hasAttributes(row.attributes, question.attribute)) return false;
  if (question.alerts && !row.alerts) return false;
  const text = folded(question.q.trim());
  return !text || [row.account_id, row.name, row.owner, row.segment].some((value) => value && folded(value).includes(text));
}

/** Whether a changed row still matches the query and is in order with its neighbours. */
export function isInOrder(items, index, question, score) {
  const row = items[index];
  if (!matches(row, question, score)) return false;
  if (index > 0 && compare(items[index - 1], row, question, score) > 0) return false;
  return index === items.length - 1 || compare(row, items[index + 1], question, score) <= 0;
}
