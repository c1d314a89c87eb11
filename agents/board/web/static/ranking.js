// What the table of accounts is a table of: the question in the address, and where a row belongs in its answer.
// Pure; the API answers the same question, this only tells whether news would change the answer. Called by accounts.js.

export const SPANS = ["1d", "7d", "30d"];
const SORTS = ["score", "change_1d", "change_7d", "change_30d", "name", "arr", "as_of", "alerts"];
const LISTS = ["band", "segment", "owner", "tier"];

/** The question of an address: { score, band[], segment[], owner[], tier[], q, alerts, sort, order, span }. */
export function questionOf(params) {
  const lists = Object.fromEntries(LISTS.map((name) => [name, params.getAll(name)]));
  return {
    ...lists,
    score: params.get("score"),
    q: params.get("q") ?? "",
    alerts: params.get("alerts") === "open" ? "open" : null,
    sort: SORTS.includes(params.get("sort")) ? params.get("sort") : "score",
    order: params.get("order") === "desc" ? "desc" : "asc",
    span: SPANS.includes(params.get("span")) ? params.get("span") : "7d",
  };
}

/** As the address has it: what is as usual is left out. */
export function addressOf(question) {
  const { sort, order, span, q, ...rest } = question;
  return { ...rest, q: q || null, sort: sort === "score" ? null : sort, order: order === "asc" ? null : order, span: span === "7d" ? null : span };
}

/** As the API takes it. */
export function askedOf(question) {
  const { span, q, ...rest } = question;
  return { ...rest, q: q || null };
}

/** The value a row is sorted by, null where it lacks. */
export function sortValue(row, sort, score) {
  if (sort === "score") return row.scores[score]?.value ?? null;
  if (sort.startsWith("change_")) return row.scores[score]?.change?.[sort.slice(7)] ?? null;
  if (sort === "name") return (row.name ?? row.account_id).toLowerCase();
  return row[sort] ?? null;
}

/** Negative when `a` comes before `b`; missing values last, as the API does. */
export function compare(a, b, { sort, order }, score) {
  const left = sortValue(a, sort, score);
  const right = sortValue(b, sort, score);
  if (left === right) return 0;
  if (left === null) return 1;
  if (right === null) return -1;
  return (left < right ? -1 : 1) * (order === "desc" ? -1 : 1);
}

/** Whether a row answers the question. */
export function matches(row, question, score) {
  const has = { band: row.scores[score]?.band, segment: row.segment, owner: row.owner, tier: row.tier };
  for (const name of LISTS) {
    if (question[name].length && !question[name].includes(has[name] ?? "")) return false;
  }
  if (question.alerts && !row.alerts) return false;
  const text = question.q.trim().toLowerCase();
  return !text || [row.account_id, row.name, row.owner, row.segment].some((one) => one?.toLowerCase().includes(text));
}

/** Whether a changed row still stands right between its neighbours, and answers the question at all. */
export function standsRight(items, place, question, score) {
  const row = items[place];
  if (!matches(row, question, score)) return false;
  if (place > 0 && compare(items[place - 1], row, question, score) > 0) return false;
  return place === items.length - 1 || compare(row, items[place + 1], question, score) <= 0;
}
