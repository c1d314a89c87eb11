// Health of the processor on every view: is the page live, how far are board and workers behind, what has stalled,
// what was refused. Owns the strip, the banner and the view `/processor` that tells the same in full.

import { mark, patchMark, shape } from "./bands.js";
import { h, put, setAttr, setText } from "./dom.js";
import { ago, count, counted, moment, timeExact } from "./format.js";

/** What the strip says of a summary: [key, words, tone] where tone is "", "notice" or "alarm". Pure. */
export function readings(summary, behind) {
  const all = summary.processor;
  const letters = all.dead_letters?.reduce((sum, topic) => sum + topic.records, 0) ?? null;
  const late = behind ?? all.topics.reduce((sum, topic) => sum + topic.behind, 0);
  const stalled = all.stalled_sources;
  const lag = all.lag_records;
  return [
    ["Data of", summary.time ? moment(summary.time) : "none yet", ""],
    ["Lag", lag === null || lag === undefined ? "not known" : counted(lag, "record"), lag > 10_000 ? "notice" : ""],
    late > 0 ? ["Board behind", counted(late, "record"), "notice"] : null,
    all.catching_up > 0 ? ["Catching up", counted(all.catching_up, "account"), "notice"] : null,
    ["Stalled", stalled.length ? stalled.map((one) => one.source).join(", ") : "none", stalled.length ? "alarm" : ""],
    ["Dead letters", letters === null ? "not known" : count(letters), letters ? "notice" : ""],
  ].filter(Boolean);
}

export class Strip {
  constructor(place, banner, live) {
    this.live = live;
    this.banner = banner;
    this.light = mark("none", "Connecting", "live");
    this.figures = h("dl");
    this.cells = new Map();
    put(place, this.light, this.figures, h("a", { href: "/processor" }, "Details"));
    live.addEventListener("state", () => this.tell());
    live.addEventListener("heartbeat", ({ detail }) => this.beat(detail));
  }

  beat({ behind }) {
    this.behind = behind;
    this.tell();
  }

  set(summary) {
    this.summary = summary;
    this.tell();
  }

  tell() {
    const isLive = this.live.isLive;
    document.documentElement.dataset.stale = String(!isLive);
    patchMark(this.light, isLive ? "good" : "bad", isLive ? "Live" : "Not live");
    this.announce(isLive);
    if (!this.summary) return;
    const seen = new Set();
    for (const [key, words, tone] of readings(this.summary, this.behind)) {
      seen.add(key);
      let cell = this.cells.get(key);
      if (!cell) {
        cell = { dd: h("dd"), box: h("div") };
        cell.box.append(h("dt", {}, key), cell.dd);
        this.cells.set(key, cell);
      }
      setText(cell.dd, words);
      setAttr(cell.box, "class", tone || null);
      if (cell.box.parentNode !== this.figures) this.figures.append(cell.box);
    }
    for (const [key, cell] of this.cells) if (!seen.has(key)) cell.box.remove();
  }

  announce(isLive) {
    const problem = this.summary?.processor.problem;
    let words = "";
    if (!isLive && this.live.everLive) {
      words = `Not live since ${timeExact(this.live.since)} UTC: the board does not answer. These are the last known figures; it is tried again all the time.`;
    } else if (this.summary && !this.summary.ready) words = "The board is still reading its topics from the beginning: figures grow until it is done.";
    else if (problem) words = `Kafka can not be reached: ${problem}. These are the last known figures.`;
    if (this.words === words) return;
    this.words = words;
    this.banner.hidden = words === "";
    put(this.banner, words && h("p", {}, shape("middle"), ` ${words}`));
  }
}

/** The view `/processor`. */
export function show(main, { live, store, session }) {
  const body = h("div", { class: "cards pair" });
  put(main, h("div", { class: "head" }, h("h1", {}, "Is the processor well?")), body);
  const draw = () => put(body, ...cards(store.summary, live, session));
  draw();
  return { title: "Processor", summary: draw, end() {} };
}

function cards(summary, live, session) {
  const all = summary.processor;
  return [
    card("What this page knows", h("dl", { class: "known" }, ...pairs([
      ["Newest event time", summary.time ? `${moment(summary.time)} UTC` : "none yet"],
      ["Newest record read", all.newest_record_ms ? ago(all.newest_record_ms, live.clock()) : "none yet"],
      ["Accounts", count(summary.accounts)],
      ["Published while catching up", counted(all.catching_up, "account")],
      ["Signed in as", session.user],
      ["Version", session.version],
    ])), session.auth === "token" && h("form", { method: "post", action: "/sign-out" }, h("button", { class: "button" }, "Sign out"))),
    card("Policies in force", table(["Policy", "Accounts"], summary.policies.map((one) => [one.label, count(one.accounts)]),
      "No account has a score yet.")),
    card("Topics the board reads", table(["Topic", "Not read yet", "Newest record"], all.topics.map((one) => [
      one.topic, one.there ? count(one.behind) : "not there", one.newest_record_ms ? ago(one.newest_record_ms, live.clock()) : "\u2013",
    ]))),
    card("Lag of the workers", table(["Topic", "Records not committed"], (all.lag ?? []).map((one) => [one.topic, count(one.records)]),
      all.lag ? "None: every record is applied." : "Not known: the group could not be asked.")),
    card("Stalled sources", table(["Source", "Accounts that hold its last values"], all.stalled_sources.map((one) => [one.source, count(one.accounts)]),
      "None. A source has stalled when it is silent for all accounts; its measures are then held and no silence is alerted.")),
    card("Dead letters", table(["Topic", "Records"], (all.dead_letters ?? []).map((one) => [one.topic, count(one.records)]),
      all.dead_letters ? "None: every record could be read." : "Not known: the broker could not be asked."), all.dead_letters?.length > 0 && h("p", { class: "soft" },
      "Records that could not be read, as they came. docs/reference/topics.md explains each reason; docs/how-to/recover.md, how to replay one.")),
  ];
}

function pairs(rows) {
  return rows.map(([key, value]) => h("div", {}, h("dt", { class: "soft" }, key), h("dd", { class: "num" }, value)));
}

function card(title, ...body) {
  return h("section", { class: "card" }, h("div", { class: "card-head" }, h("h2", {}, title)), ...body);
}

/** A plain table; the first column names the row, the others are numbers. */
export function table(columns, rows, empty = "None.") {
  if (rows.length === 0) return h("p", { class: "soft" }, empty);
  return h("div", { class: "scroll" }, h("table", {},
    h("thead", {}, h("tr", {}, columns.map((name, index) => h("th", { scope: "col", class: index ? "right" : null }, name)))),
    h("tbody", {}, rows.map(([first, ...rest]) => h("tr", {},
      h("th", { scope: "row" }, first), rest.map((cell) => h("td", { class: "right" }, cell)))))));
}
