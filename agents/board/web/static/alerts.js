// The view of all alerts: open alerts by severity, or recently resolved ones. Owns the view and its address; the list is
// alertlist.js, the filters are filters.js.

import { AlertList } from "./alertlist.js";
import { api, query } from "./api.js";
import { h, put, setText } from "./dom.js";
import { activeOf, Filters, filtersOf } from "./filters.js";
import { count, counted, label } from "./format.js";
import { UpdateWhenIdle } from "./lists.js";

const STATUSES = [["open", "Open"], ["resolved", "Resolved"]];

export const accountsToFollow = () => [];

const LISTS = ["band", "segment", "owner", "tier", "attribute"];
const SEVERITIES = [["critical", "Critical"], ["warning", "Warning"], ["info", "Info"]];

export async function show(main, { live, store, params, setAddress }) {
  let question = {
    ...Object.fromEntries(LISTS.map((name) => [name, params.getAll(name)])),
    status: params.get("status") === "resolved" ? "resolved" : "open",
    score: params.get("score"), severity: params.get("severity"), rule: params.get("rule"), q: params.get("q") ?? "",
  };
  const scores = store.summary.scores;
  const bands = (scores.find((score) => score.name === question.score) ?? scores[0])?.bands ?? [];
  const list = new AlertList(live);
  const box = h("section", { class: "card", "aria-label": "Alerts" }, list.element);
  const updates = new UpdateWhenIdle(list.element, (alerts) => list.set(alerts), (alerts) => list.patch(alerts));
  const total = h("p", { class: "soft", role: "status" });
  const empty = h("div", { class: "empty" });
  const load = async () => {
    const asked = question;
    const { items, total: all } = await api.alerts({ ...filtersOf(asked), status: asked.status, limit: 500 });
    if (asked !== question) return;
    updates.set(items);
    const counts = counted(all, question.status === "open" ? "open alert" : "recently resolved alert");
    setText(total, all > items.length ? `${counts}, the first ${count(items.length)} are shown` : counts);
    if (items.length === 0) {
      const isFiltered = activeOf(question).length > 0;
      put(empty, h("strong", {}, isFiltered ? "No alert matches." : question.status === "open" ? "No open alerts." : "No alert has resolved recently."),
        isFiltered ? "Remove a filter, or look at the other status." : "Alerts come from the bands and rules of the policy, and from stalled sources.");
      box.append(empty);
    } else empty.remove();
  };
  await load();
  const to = (status) => `/alerts${query({ ...filtersOf(question), status: status === "open" ? null : status })}`;
  const tabs = STATUSES.map(([status, text]) => h("a", { ...(status === question.status ? { "aria-current": "page" } : {}) }, text));
  const link = () => STATUSES.forEach(([status], index) => tabs[index].setAttribute("href", to(status)));
  const ask = (change) => {
    const typing = Object.keys(change).join() === "q" && question.q !== "" && change.q !== "";
    question = { ...question, ...change };
    setAddress(to(question.status), { replace: typing });
    filters.setQuestion(question);
    link();
    load().catch((error) => put(empty, h("strong", {}, "The alerts could not be loaded."), error.message) && box.append(empty));
  };
  const fields = { severity: SEVERITIES, band: bands.map(({ name }) => [name, label(name)]), segment: null, owner: null };
  const filters = new Filters(question, fields, ask);
  link();
  put(main, h("div", { class: "head" }, h("h1", {}, "What is alerting?"), h("nav", { class: "nav", "aria-label": "Alerts by status" }, tabs), total), filters.element, box);
  filters.load();
  let timer;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => load().catch(() => null), 300);
  };
  return { title: "Alerts", keys: { "/": () => filters.search.focus() }, alert: soon, reset: soon, end: () => clearTimeout(timer) };
}
