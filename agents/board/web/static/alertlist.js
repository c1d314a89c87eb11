// Alerts as a list with what can be done about them. Owns an alert's words, acknowledging and snoozing; called by every
// view that shows alerts. What was done is shown when the stream brings it back, not before: a worker decides.

import { api } from "./api.js";
import { severityMark, shape } from "./bands.js";
import { h, put, setText } from "./dom.js";
import { ago, DAY, HOUR, moment, spoken, typeset } from "./format.js";
import { reconcile } from "./steady.js";

/** One episode of one lane; operational alerts of several lanes share a fingerprint. */
export const keyOf = (alert) => `${alert.fingerprint} ${alert.labels?.partition ?? ""} ${alert.starts_at}`;

/** What became of an alert, or that it waits: one line. Pure. */
export function standing(alert, now) {
  if (alert.state === "resolved") return `Resolved ${ago(alert.ends_at, now)}, began ${moment(alert.starts_at)}`;
  if (alert.state === "snoozed") return `Snoozed until ${moment(alert.snoozed_until)}`;
  if (alert.state === "acknowledged") return `Acknowledged${alert.acknowledged_by ? ` by ${alert.acknowledged_by}` : ""}, ${ago(alert.acknowledged_at, now)}`;
  return `Since ${moment(alert.starts_at)}`;
}

export class AlertList {
  /** `withNames`: show whose alert it is; `live` for the time. */
  constructor(live, { withNames = true } = {}) {
    this.live = live;
    this.withNames = withNames;
    this.views = new Map();
    this.element = h("ul", { class: "list alerts" });
  }

  set(alerts) {
    reconcile(this.element, this.views, alerts, keyOf, (alert) => this.make(alert));
  }

  /** Only what is shown already, where it stands. */
  patch(alerts) {
    for (const alert of alerts) this.views.get(keyOf(alert))?.patch(alert);
  }

  make(alert) {
    const what = h("div", { class: "what" });
    const why = h("p", { class: "why" });
    const told = h("p", { class: "told num" });
    const buttons = h("div", { class: "buttons" });
    const element = h("li", {}, what, why, h("div", { class: "foot" }, told, buttons));
    let shown = "";
    const patch = (now) => {
      const key = `${now.id} ${now.state} ${now.name}`;
      if (shown === key) return;
      shown = key;
      put(what, ...this.heading(now));
      setText(why, this.reason(now));
      put(told, now.state === "acknowledged" && [shape("good"), " "], `${standing(now, this.live.now())}${now.flaps > 1 ? ` \u00b7 came and went ${now.flaps} times` : ""}${now.digest ? " \u00b7 part of a storm" : ""}`);
      const wasHere = buttons.contains(document.activeElement);
      put(buttons, ...(now.account_id && now.state !== "resolved" ? this.buttons(now, told) : []));
      if (wasHere) buttons.lastElementChild?.focus();
    };
    return { element, patch };
  }

  heading(alert) {
    const name = alert.name ?? alert.account_id;
    const link = this.withNames && alert.account_id
      ? h("a", { class: "name", href: `/accounts/${encodeURIComponent(alert.account_id)}` }, name)
      : h("span", { class: "name" }, ruleWords(alert));
    return [severityMark(alert.severity), " ", link, this.withNames && alert.account_id ? h("span", { class: "soft" }, ` \u00b7 ${ruleWords(alert)}`) : null];
  }

  reason(alert) {
    const todo = alert.annotations?.actions;
    const why = alert.account_id ? (alert.annotations?.reason || alert.summary) : alert.summary;
    return typeset(todo ? `${why}. Do: ${todo}` : why);
  }

  buttons(alert, told) {
    const name = alert.name ?? alert.account_id;
    const send = async (button, call) => {
      button.disabled = true;
      try {
        await call();
        setText(told, "Sent; a worker takes it up.");
      } catch (error) {
        setText(told, error.message);
        button.disabled = false;
      }
    };
    const snooze = h("button", { class: "button", type: "button", "aria-label": `Snooze ${ruleWords(alert)} of ${name}`,
      on: { click: () => askHowLong(alert, this.live.now(), (until) => send(snooze, () => api.snooze(alert.account_id, alert.rule, until))) } },
    alert.state === "snoozed" ? "Snoozed\u2026" : "Snooze\u2026");
    if (alert.state !== "firing") return [snooze];
    const acknowledge = h("button", { class: "button", type: "button", "aria-label": `Acknowledge ${ruleWords(alert)} of ${name}`,
      on: { click: () => send(acknowledge, () => api.acknowledge(alert.account_id, alert.rule)) } }, "Acknowledge");
    return [acknowledge, snooze];
  }
}

/** `band:health:at-risk` as people say it. */
export function ruleWords(alert) {
  const [kind, , band] = alert.rule.split(":");
  if (kind === "band" && band) return `entered ${spoken(band)}`;
  if (kind === "stalled") return `source ${alert.labels?.source ?? alert.rule.slice(8)} has stalled`;
  if (kind === "storm") return "storm of alerts";
  return spoken(alert.rule);
}

function askHowLong(alert, now, chosen) {
  const choices = [["4 hours", now + 4 * HOUR], ["1 day", now + DAY], ["3 days", now + 3 * DAY], ["1 week", now + 7 * DAY], ["30 days", now + 30 * DAY]];
  const own = h("input", { class: "field", type: "datetime-local", name: "own", "aria-describedby": "own-note" });
  const options = choices.map(([words], index) => h("label", { class: "choice" },
    h("input", { type: "radio", name: "span", value: index, ...(index === 1 ? { checked: true } : {}) }), ` ${words}`));
  own.addEventListener("input", () => {
    for (const radio of dialog.querySelectorAll("input[type=radio]")) radio.checked = radio.value === "own";
  });
  const dialog = h("dialog", { "aria-labelledby": "snooze-title" }, h("form", { method: "dialog" },
    h("h2", { id: "snooze-title" }, `Snooze \u201c${ruleWords(alert)}\u201d`),
    h("p", { class: "soft" }, `Of ${alert.name ?? alert.account_id}: it stays on the page, and nobody is told of it until then.`),
    h("fieldset", { class: "choices" }, h("legend", { class: "unseen" }, "For how long"), options,
      h("label", { class: "choice" }, h("input", { type: "radio", name: "span", value: "own" }), " until ", own),
      h("p", { class: "soft", id: "own-note" }, "UTC, at most 90 days ahead")),
    h("div", { class: "actions" },
      alert.state === "snoozed" && h("button", { class: "button", value: "end" }, "End the snooze"),
      h("button", { class: "button", value: "no", formnovalidate: true }, "Cancel"),
      h("button", { class: "button main", value: "yes" }, "Snooze"))));
  const opener = document.activeElement;
  dialog.addEventListener("close", () => {
    const picked = dialog.querySelector("input[type=radio]:checked")?.value;
    const until = picked === "own" ? Date.parse(`${own.value}Z`) : choices[Number(picked)]?.[1];
    if (dialog.returnValue === "end") chosen(null);
    else if (dialog.returnValue === "yes" && Number.isFinite(until)) chosen(Math.round(until));
    dialog.remove();
    opener?.focus?.();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close("no"));
  document.body.append(dialog);
  dialog.showModal();
}
