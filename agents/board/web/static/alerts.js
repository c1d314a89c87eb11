// The view of all alerts: open alerts by severity, or recently resolved ones. Owns its filters; the list is alertlist.js.

import { AlertList } from "./alertlist.js";
import { api, query } from "./api.js";
import { h, put, setText } from "./dom.js";
import { count, counted } from "./format.js";
import { UpdateWhenIdle } from "./lists.js";

const STATUSES = [["open", "Open"], ["resolved", "Resolved"]];

export const accountsToFollow = () => [];

export async function show(main, { live, params, go }) {
  const question = {
    status: params.get("status") === "resolved" ? "resolved" : "open",
    severity: params.get("severity"), rule: params.get("rule"), owner: params.get("owner"),
  };
  const isFiltered = Boolean(question.severity || question.rule || question.owner);
  const list = new AlertList(live);
  const box = h("section", { class: "card", "aria-label": "Alerts" }, list.element);
  const updates = new UpdateWhenIdle(list.element, (alerts) => list.set(alerts), (alerts) => list.patch(alerts));
  const total = h("p", { class: "soft", role: "status" });
  const empty = h("div", { class: "empty" });
  const load = async () => {
    const { items, total: all } = await api.alerts({ ...question, limit: 500 });
    updates.set(items);
    const counts = counted(all, question.status === "open" ? "open alert" : "recently resolved alert");
    setText(total, all > items.length ? `${counts}, the first ${count(items.length)} are shown` : counts);
    if (items.length === 0) {
      put(empty, h("strong", {}, isFiltered ? "No alert matches." : question.status === "open" ? "No open alerts." : "No alert has resolved recently."),
        isFiltered ? "Try another severity or status." : "Alerts come from the bands and rules of the policy, and from stalled sources.");
      box.append(empty);
    } else empty.remove();
  };
  await load();
  const to = (change) => `/alerts${query({ ...question, status: question.status === "open" ? null : question.status, ...change })}`;
  const tabs = h("nav", { class: "nav", "aria-label": "Alerts by status" }, STATUSES.map(([status, text]) =>
    h("a", { href: to({ status: status === "open" ? null : status }), ...(status === question.status ? { "aria-current": "page" } : {}) }, text)));
  const severity = h("select", { class: "field", "aria-label": "Severity", on: { change: () => go(to({ severity: severity.value || null })) } },
    [["", "Any severity"], ["critical", "Critical"], ["warning", "Warning"], ["info", "Info"]].map(([value, text]) =>
      h("option", { value, ...(value === (question.severity ?? "") ? { selected: true } : {}) }, text)));
  put(main, h("div", { class: "head" }, h("h1", {}, "What is alerting?"), tabs, severity, total), box);
  let timer;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => load().catch(() => null), 300);
  };
  return { title: "Alerts", alert: soon, reset: soon, end: () => clearTimeout(timer) };
}
