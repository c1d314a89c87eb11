// The card of dead letters on `/processor`: by topic and reason, the newest of a reason, and the buttons to replay or
// discard them. Owns the card; what a letter is and how it is replayed is the board's.

import { api } from "./api.js";
import { h, put, setText } from "./dom.js";
import { count, counted } from "./format.js";
import { when } from "./when.js";

const COLUMNS = ["Topic and reason", "Open", "Replayed", "Discarded", "Newest", ""];

export class DeadLetters {
  constructor() {
    this.body = h("div", { class: "scroll" });
    this.status = h("p", { class: "soft", role: "status" });
    this.shown = null; // topic and reason whose letters are listed
    this.element = h("section", { class: "card", "aria-label": "Dead letters" },
      h("div", { class: "card-head" }, h("h2", {}, "Dead letters"), h("button", { class: "button plain", on: { click: () => this.load() } }, "Refresh")),
      h("p", { class: "soft" }, "Records that could not be read, kept unchanged. Mend the cause first; then replay them, and each counts once. Discard those that are not needed."),
      this.body, this.status);
  }

  /** Whether letters of a reason are open. */
  reading() {
    return this.body.querySelector("[aria-expanded=true]") !== null;
  }

  /** Load again, unless letters are being read. */
  refresh() {
    if (!this.reading()) this.load();
  }

  async load() {
    const before = this.reading();
    try {
      const { items } = await api.deadLetters();
      if (this.reading() && !before) return; // opened meanwhile: they would close under the reader's eyes
      this.draw(items);
    } catch (error) {
      put(this.body, h("p", { class: "soft" }, `The dead letters could not be read. ${error.message}`));
    }
  }

  draw(groups) {
    if (groups.length === 0) return put(this.body, h("p", { class: "soft" }, "None: every record could be read."));
    return put(this.body, h("table", { class: "letters" },
      h("thead", {}, h("tr", {}, COLUMNS.map((name, index) => h("th", { scope: "col", class: index ? "right" : null }, name || h("span", { class: "unseen" }, "Actions"))))),
      h("tbody", {}, groups.map((group) => this.rows(group)))));
  }

  rows(group) {
    const list = h("td", { colspan: COLUMNS.length });
    const detail = h("tr", { hidden: true }, list);
    const name = `${group.topic}, ${group.reason}`;
    const button = (text, call, others = {}) => h("button", { class: "button", disabled: group.open === 0, "aria-label": `${text} ${name}`, on: { click: call }, ...others }, text);
    const show = button("Show", () => this.show(group, detail, list, show), { "aria-expanded": "false" });
    const row = h("tr", {},
      h("th", { scope: "row" }, group.topic, h("br"), h("span", { class: "soft" }, group.reason)),
      [group.open, group.replayed, group.discarded].map((number, index) => h("td", { class: "right", data: { name: COLUMNS[index + 1] } }, count(number))),
      h("td", { class: "right", data: { name: "Newest" } }, when(group.last)),
      h("td", { class: "right" }, h("div", { class: "buttons" }, show,
        group.replayable && button("Replay", () => this.confirm(group, "replay")), button("Discard", () => this.confirm(group, "discard")))));
    return [row, detail];
  }

  async show(group, detail, list, button) {
    detail.hidden = !detail.hidden;
    button.setAttribute("aria-expanded", String(!detail.hidden));
    if (detail.hidden) return;
    try {
      const { items } = await api.newestDeadLetters(group.topic, group.reason);
      put(list, h("ul", { class: "plain" }, items.map((letter) => h("li", {},
        h("p", {}, when(letter.time), ` ${letter.account ?? "no account"}: ${letter.message}`),
        h("p", { class: "soft" }, letter.origin ? `record ${letter.origin}, letter ${letter.position}` : `letter ${letter.position}`),
        h("pre", {}, letter.value ?? "no value")))));
    } catch (error) {
      put(list, `The letters could not be read. ${error.message}`);
    }
  }

  confirm(group, action) {
    const isReplay = action === "replay";
    const text = isReplay
      ? `They are written to ${group.topic.replace(/\.dlq$/, "")} again, in order, and marked as replayed.`
      : "They stay in the topic, marked as discarded, and are not counted as open any more.";
    const dialog = h("dialog", { "aria-labelledby": "letters-title" }, h("form", { method: "dialog" },
      h("h2", { id: "letters-title" }, `${isReplay ? "Replay" : "Discard"} ${counted(group.open, "dead letter")}?`),
      h("p", {}, `${group.topic}, ${group.reason}. ${text}`),
      h("div", { class: "actions" },
        h("button", { class: "button", value: "no" }, "Cancel"),
        h("button", { class: "button main", value: "yes" }, isReplay ? "Replay" : "Discard"))));
    dialog.addEventListener("close", () => {
      dialog.remove();
      if (dialog.returnValue === "yes") this.handle(group, action);
    });
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close("no"));
    document.body.append(dialog);
    dialog.showModal();
  }

  async handle(group, action) {
    setText(this.status, action === "replay" ? "Replaying\u2026" : "Discarding\u2026");
    try {
      const { replayed, repeated, discarded } = await api.handleDeadLetters(group.topic, group.reason, action);
      const more = repeated ? `, ${count(repeated)} were of a record that is replayed already` : "";
      setText(this.status, action === "replay" ? `Replayed ${counted(replayed, "dead letter")}${more}.` : `Discarded ${counted(discarded, "dead letter")}.`);
    } catch (error) {
      setText(this.status, error.message);
    }
    await this.load();
  }
}
