// The view of all alerts: open ones by severity, or those that resolved lately. Owns its filters; the list is alertlist.js.

import { AlertList } from "./alertlist.js";
import { api, query } from "./api.js";
import { h, put, setText } from "./dom.js";
import { count, counted } from "./format.js";
import { Steady } from "./steady.js";

const STATUSES = [["open", "Open"], ["resolved", "Resolved"]];

export const listens = () => [];

export async function show(main, { live, params, go }) {
  const wanted = {
    status: params.get("status") === "resolved" ? "resolved" : "open",
    severity: params.get("severity"), rule: params.get("rule"), owner: params.get("owner"),
  };
  const isFiltered = Boolean(wanted.severity || wanted.rule || wanted.owner);
  const list = new AlertList(live);
  const box = h("section", { class: "card", "aria-label": "Alerts" }, list.element);
  const steady = new Steady(list.element, (alerts) => list.set(alerts), (alerts) => list.patch(alerts));
  const told = h("p", { class: "soft", role: "status" });
  const empty = h("div", { class: "empty" });
  const load = async () => {
    const { items, total } = await api.alerts({ ...wanted, limit: 500 });
    steady.set(items);
    const counts = counted(total, wanted.status === "open" ? "open alert" : "lately resolved alert");
    setText(told, total > items.length ? `${counts}, the first ${count(items.length)} are shown` : counts);
    if (items.length === 0) {
      put(empty, h("strong", {}, isFiltered ? "No alert fits." : wanted.status === "open" ? "Nothing is alerting." : "No alert has resolved lately."),
        isFiltered ? "Another severity or status may have some." : "Alerts come from the bands and rules of the policy, and from sources that stall.");
      box.append(empty);
    } else empty.remove();
  };
  await load();
  const to = (change) => `/alerts${query({ ...wanted, status: wanted.status === "open" ? null : wanted.status, ...change })}`;
  const tabs = h("nav", { class: "nav", "aria-label": "Alerts by status" }, STATUSES.map(([status, words]) =>
    h("a", { href: to({ status: status === "open" ? null : status }), ...(status === wanted.status ? { "aria-current": "page" } : {}) }, words)));
  const severity = h("select", { class: "field", "aria-label": "Severity", on: { change: () => go(to({ severity: severity.value || null })) } },
    [["", "Any severity"], ["critical", "Critical"], ["warning", "Warning"], ["info", "Info"]].map(([value, words]) =>
      h("option", { value, ...(value === (wanted.severity ?? "") ? { selected: true } : {}) }, words)));
  put(main, h("div", { class: "head" }, h("h1", {}, "What is alerting?"), tabs, severity, told), box);
  let timer;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => load().catch(() => null), 300);
  };
  return { title: "Alerts", alert: soon, reset: soon, end: () => clearTimeout(timer) };
}
