// Requests to the board's API. Owns addresses, errors and the sign-in of a request without a session; knows no view.

/** An error with a message for people. `code` is that of the API, `offline` if there was no answer. */
export class ApiError extends Error {
  constructor(code, message, status = 0) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

const base = "/api";
const path = (id) => `${base}/accounts/${segment(id)}`;

const lettersPath = (topic, reason) => `${base}/dead-letters/${encodeURIComponent(topic)}/${segment(reason)}`;

/** An id as a segment of a path. Browsers resolve `.` and `..` as folders, even encoded, so they are written `=.` and `=..`. */
const segment = (id) => (id === "." || id === ".." ? `=${id}` : encodeURIComponent(id));

/** The id in a segment; null if it cannot be decoded, such as `%zz`. */
export function idOf(text = "") {
  if (text === "=." || text === "=..") return text.slice(1);
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** The address of an account's page. */
export const accountAddress = (id) => `/accounts/${segment(id)}`;

async function ask(address, options = {}) {
  let answer;
  try {
    answer = await fetch(address, { headers: { Accept: "application/json" }, credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("offline", "The board does not answer. Is it running, and are you on its network?");
  }
  if (answer.status === 401) {
    location.reload(); // without a session the server answers with the form to sign in
    return new Promise(() => {});
  }
  const body = await answer.json().catch(() => null);
  if (answer.ok) return body;
  const error = body?.error ?? {};
  throw new ApiError(error.code ?? "failed", error.message ?? `The board answered with status ${answer.status}.`, answer.status);
}

/** `?a=1&b=2&b=3` of an object; null, undefined and empty lists are left out. */
export function query(values) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    for (const item of Array.isArray(value) ? value : [value]) {
      if (item !== null && item !== undefined) search.append(name, item);
    }
  }
  const text = search.toString();
  return text ? `?${text}` : "";
}

const post = (address, body) =>
  ask(address, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });

export const api = {
  session: () => ask(`${base}/session`),
  summary: (values = {}) => ask(`${base}/summary${query(values)}`),
  filters: () => ask(`${base}/filters`),
  accounts: (values, signal) => ask(`${base}/accounts${query(values)}`, { signal }),
  account: (id) => ask(path(id)),
  diff: (id, values, signal) => ask(`${path(id)}/diff${query(values)}`, { signal }),
  timeline: (id, values, signal) => ask(`${path(id)}/timeline${query(values)}`, { signal }),
  alerts: (values) => ask(`${base}/alerts${query(values)}`),
  shadow: (values) => ask(`${base}/shadow${query(values)}`),
  deadLetters: () => ask(`${base}/dead-letters`),
  newestDeadLetters: (topic, reason) => ask(lettersPath(topic, reason)),
  handleDeadLetters: (topic, reason, action) => post(`${lettersPath(topic, reason)}/${action}`, {}),
  acknowledge: (id, rule) => post(`${path(id)}/alerts/${encodeURIComponent(rule)}/acknowledge`, {}),
  snooze: (id, rule, until) => post(`${path(id)}/alerts/${encodeURIComponent(rule)}/snooze`, { until }),
  streamAddress: (accounts, lastId) =>
    `${base}/stream${query({ account: accounts?.length === 0 ? "" : accounts, last_event_id: lastId })}`,
};
