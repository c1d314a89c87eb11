// A list of alerts with buttons to acknowledge and snooze them. Owns the texts of an alert; called by every view that shows
// alerts. The result of a button is shown when the stream reports it, because a worker applies it.

import { accountAddress, api } from "./api.js";
import { severityMark, shape } from "./bands.js";
import { h, put, setText } from "./dom.js";
import { DAY, HOUR, ZONE, label, typeset } from "./format.js";
import { reconcile } from "./lists.js";
import { when, whenAgo } from "./when.js";

/** The key of an episode; operational alerts of several partitions have the same fingerprint. */
export const keyOf = (alert) => `${alert.fingerprint} ${alert.labels?.partition ?? ""} ${alert.starts_at}`;

/** The status of an alert in one line, as texts and elements. */
export function statusOf(alert, now) {
  if (alert.state === "worsened") return [`Worsened to ${bandOf(alert.worsened_to)} on `, when(alert.ends_at), ", began ", when(alert.starts_at)];
  if (alert.state === "resolved") return ["Resolved ", whenAgo(alert.ends_at, now), ", began ", when(alert.starts_at)];
  if (alert.state === "snoozed") return ["Snoozed until ", when(alert.snoozed_until)];
  if (alert.state === "acknowledged") return [`Acknowledged${alert.acknowledged_by ? ` by ${alert.acknowledged_by}` : ""}, `, whenAgo(alert.acknowledged_at, now)];
  return ["Since ", when(alert.starts_at)];
}

export class AlertList {
  /** `withNames`: show the account of each alert; `live` gives the time. */
  constructor(live, { withNames = true } = {}) {
    this.live = live;
    this.withNames = withNames;
    this.views = new Map();
    this.element = h("ul", { class: "list alerts" });
  }

  set(alerts) {
    reconcile(this.element, this.views, alerts, keyOf, (alert) => this.make(alert));
  }

  /** Update the alerts that are shown, without adding or moving any. */
  patch(alerts) {
    for (const alert of alerts) this.views.get(keyOf(alert))?.patch(alert);
  }

  make(alert) {
    const what = h("div", { class: "what" });
    const why = h("p", { class: "why" });
    const status = h("p", { class: "status num" });
    const buttons = h("div", { class: "buttons" });
    const element = h("li", {}, what, why, h("div", { class: "foot" }, status, buttons));
    let shown = "";
    const patch = (now) => {
      const key = `${now.id} ${now.state} ${now.name}`;
      if (shown === key) return;
      shown = key;
      put(what, ...this.heading(now));
      setText(why, this.reason(now));
      put(status, now.state === "acknowledged" && [shape("good"), " "], statusOf(now, this.live.now()), `${now.flaps > 1 ? ` \u00b7 came and went ${now.flaps} times` : ""}${now.digest ? " \u00b7 part of a storm" : ""}`);
      const wasHere = buttons.contains(document.activeElement);
      put(buttons, ...(now.account_id && !now.ends_at ? this.buttons(now, status) : []));
      if (wasHere) buttons.lastElementChild?.focus();
    };
    return { element, patch };
  }

  heading(alert) {
    const name = alert.name ?? alert.account_id;
    const link = this.withNames && alert.account_id
      ? h("a", { class: "name", href: accountAddress(alert.account_id) }, name)
      : h("span", { class: "name" }, ruleLabel(alert));
    return [severityMark(alert.severity), " ", link, this.withNames && alert.account_id ? h("span", { class: "soft" }, ` \u00b7 ${ruleLabel(alert)}`) : null];
  }

  reason(alert) {
    const todo = alert.annotations?.actions;
    const why = alert.account_id ? (alert.annotations?.reason || alert.summary) : alert.summary;
    return typeset(todo ? `${why}. Do: ${todo}` : why);
  }

  buttons(alert, status) {
    const name = alert.name ?? alert.account_id;
    const send = async (button, call) => {
      button.disabled = true;
      try {
        await call();
        setText(status, "Sent. It takes effect in a moment.");
      } catch (error) {
        setText(status, error.message);
        button.disabled = false;
      }
    };
    const snooze = h("button", { class: "button", type: "button", "aria-label": `Snooze ${ruleLabel(alert)} of ${name}`,
      on: { click: () => askHowLong(alert, this.live.now(), (until) => send(snooze, () => api.snooze(alert.account_id, alert.rule, until))) } },
    alert.state === "snoozed" ? "Snoozed\u2026" : "Snooze\u2026");
    if (alert.state !== "firing") return [snooze];
    const acknowledge = h("button", { class: "button", type: "button", "aria-label": `Acknowledge ${ruleLabel(alert)} of ${name}`,
      on: { click: () => send(acknowledge, () => api.acknowledge(alert.account_id, alert.rule)) } }, "Acknowledge");
    return [acknowledge, snooze];
  }
}

/** The band of a rule such as `band:health:at-risk`, else the rule. */
export const bandOf = (rule) => label(rule.split(":")[2] ?? rule);

/** The text for a rule such as `band:health:at-risk`. */
export function ruleLabel(alert) {
  const [kind, , band] = alert.rule.split(":");
  if (kind === "band" && band) return `entered ${label(band)}`;
  if (kind === "stalled") return `source ${alert.labels?.source ?? alert.rule.slice(8)} has stalled`;
  if (kind === "storm") return "storm of alerts";
  return label(alert.rule);
}

function askHowLong(alert, now, chosen) {
  const choices = [["4 hours", now + 4 * HOUR], ["1 day", now + DAY], ["3 days", now + 3 * DAY], ["1 week", now + 7 * DAY], ["30 days", now + 30 * DAY]];
  const own = h("input", { class: "field", type: "datetime-local", name: "own", "aria-describedby": "own-note" });
  const options = choices.map(([text], index) => h("label", { class: "choice" },
    h("input", { type: "radio", name: "span", value: index, ...(index === 1 ? { checked: true } : {}) }), ` ${text}`));
  own.addEventListener("input", () => {
    for (const radio of dialog.querySelectorAll("input[type=radio]")) radio.checked = radio.value === "own";
  });
  const dialog = h("dialog", { "aria-labelledby": "snooze-title" }, h("form", { method: "dialog" },
    h("h2", { id: "snooze-title" }, `Snooze \u201c${ruleLabel(alert)}\u201d`),
    h("p", { class: "soft" }, `For ${alert.name ?? alert.account_id}. The alert stays on the page and sends no notifications until then.`),
    h("fieldset", { class: "choices" }, h("legend", { class: "unseen" }, "For how long"), options,
      h("label", { class: "choice" }, h("input", { type: "radio", name: "span", value: "own" }), " until ", own),
      h("p", { class: "soft", id: "own-note" }, `${ZONE}, at most 90 days ahead`)),
    h("div", { class: "actions" },
      alert.state === "snoozed" && h("button", { class: "button", value: "end" }, "End the snooze"),
      h("button", { class: "button", value: "no", formnovalidate: true }, "Cancel"),
      h("button", { class: "button main", value: "yes" }, "Snooze"))));
  const opener = document.activeElement;
  dialog.addEventListener("close", () => {
    const picked = dialog.querySelector("input[type=radio]:checked")?.value;
    const until = picked === "own" ? Date.parse(own.value) : choices[Number(picked)]?.[1];
    if (dialog.returnValue === "end") chosen(null);
    else if (dialog.returnValue === "yes" && Number.isFinite(until)) chosen(Math.round(until));
    dialog.remove();
    opener?.focus?.();
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close("no"));
  document.body.append(dialog);
  dialog.showModal();
}
