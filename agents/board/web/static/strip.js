// The health of the processor: is the page live, the lag of board and workers, stalled sources, dead letters.
// Owns the strip and the banner on every view, and the view `/processor` with all details.

import { mark, patchMark, shape } from "./bands.js";
import { DeadLetters } from "./deadletters.js";
import { h, put, setAttr, setText } from "./dom.js";
import { count, counted, moment, timeExact, utc, ZONE } from "./format.js";
import { when, whenAgo } from "./when.js";

const LETTERS = "Including those that are replayed or discarded; \u201cvitals dlq list\u201d counts the open ones.";

/** The cells of the strip for a summary: [key, text, tone, hover], where tone is "", "notice" or "alarm". Pure. */
export function readings(summary, behind, recorded) {
  const all = summary.processor;
  const letters = all.dead_letters?.reduce((sum, topic) => sum + topic.records, 0) ?? null;
  const late = behind ?? all.topics.reduce((sum, topic) => sum + topic.behind, 0);
  const stalled = all.stalled_sources;
  const lag = all.lag_records;
  return [
    ["Data as of", summary.time ? moment(summary.time) : "none yet", "", summary.time ? utc(summary.time) : null],
    recorded ? null : ["Lag", lag === null || lag === undefined ? "unknown" : counted(lag, "record"), lag > 10_000 ? "notice" : ""],
    late > 0 ? ["Board behind", counted(late, "record"), "notice"] : null,
    all.catching_up > 0 ? ["Catching up", counted(all.catching_up, "account"), "notice"] : null,
    ["Idle sources", stalled.length ? stalled.map(({ source }) => source).join(", ") : "none", stalled.length ? "alarm" : ""],
    recorded ? null : ["Dead letters", letters === null ? "unknown" : count(letters), letters ? "notice" : "", letters ? LETTERS : null],
  ].filter(Boolean);
}

/** What the light shows: [tone, word]. A page is live when the board answers and a worker computes scores. Pure. */
export function lightOf(isLive, processor, recorded) {
  if (!isLive) return ["bad", "Not live"];
  if (recorded) return ["none", "Recording"];
  if (processor?.workers === 0) return ["bad", "No worker"];
  return ["good", "Live"];
}

export class Strip {
  constructor(parent, banner, live, recorded) {
    Object.assign(this, { live, recorded });
    this.banner = banner;
    this.light = mark("none", "Connecting", "live");
    this.figures = h("dl");
    this.cells = new Map();
    put(parent, this.light, this.figures, h("a", { href: "/processor" }, "Details"));
    live.addEventListener("state", () => this.update());
    live.addEventListener("heartbeat", ({ detail }) => this.setBehind(detail));
  }

  setBehind({ behind }) {
    this.behind = behind;
    this.update();
  }

  set(summary) {
    this.summary = summary;
    this.update();
  }

  update() {
    const [tone, word] = lightOf(this.live.isLive, this.summary?.processor, this.recorded);
    document.documentElement.dataset.stale = String(tone === "bad");
    patchMark(this.light, tone, word);
    this.announce();
    if (!this.summary) return;
    const seen = new Set();
    let before = null;
    for (const [key, text, tone, hover] of readings(this.summary, this.behind, this.recorded)) {
      seen.add(key);
      let cell = this.cells.get(key);
      if (!cell) {
        cell = { dd: h("dd"), box: h("div") };
        cell.box.append(h("dt", {}, key), cell.dd);
        this.cells.set(key, cell);
      }
      setText(cell.dd, text);
      setAttr(cell.dd, "title", hover);
      setAttr(cell.box, "class", tone || null);
      // A figure that comes back takes its position again, so that the others do not jump.
      const next = before ? before.nextSibling : this.figures.firstChild;
      if (next !== cell.box) this.figures.insertBefore(cell.box, next);
      before = cell.box;
    }
    for (const [key, cell] of this.cells) if (!seen.has(key)) cell.box.remove();
  }

  announce() {
    const { problem, workers, no_worker_since_ms: since } = this.summary?.processor ?? {};
    let message = "";
    if (this.live.state === "lost") {
      message = `Not live since ${timeExact(this.live.since)}: the board does not answer. You see the last known figures. The page keeps trying to reconnect.`;
    } else if (this.summary && !this.summary.ready) message = "The board is still reading its topics from the beginning. Figures are incomplete until it is done.";
    else if (problem) message = `Kafka cannot be reached: ${problem}. You see the last known figures.`;
    else if (workers === 0) message = `No worker is running${since ? ` since ${moment(since)} or before` : ""}: scores stay as they are and new events are not applied. Start one with \u201cvitals worker\u201d.`;
    if (this.message === message) return;
    this.message = message;
    this.banner.hidden = message === "";
    put(this.banner, message && h("p", {}, shape("middle"), ` ${message}`));
  }
}

/** The view `/processor`. */
export function show(main, { live, store, session }) {
  const body = h("div", { class: "cards pair" });
  const letters = session.recorded ? null : new DeadLetters();
  put(main, h("div", { class: "head" }, h("h1", {}, "Is the processor healthy?")), body, letters?.element);
  let known = null;
  const draw = () => {
    put(body, ...cards(store.summary, live, session));
    const all = JSON.stringify(store.summary.processor.dead_letters);
    if (all !== known) letters?.refresh();
    known = all;
  };
  draw();
  return { title: "Processor", summary: draw, end() {} };
}

function cards(summary, live, session) {
  const all = summary.processor;
  return [
    card("Data on this page", h("dl", { class: "known" }, ...pairs([
      ["Newest event time", summary.time ? when(summary.time) : "none yet"],
      ["Newest record read", all.newest_record_ms ? whenAgo(all.newest_record_ms, live.clock()) : "none yet"],
      ["Workers", workersText(all)],
      ["Accounts", count(summary.accounts)],
      ["Without data", count(summary.no_data)],
      ["Ended", count(summary.ended)],
      ["Published while catching up", counted(all.catching_up, "account")],
      ["Signed in as", session.user],
      ["Time zone", `${ZONE}; UTC where the mouse is`],
      ["Version", session.version],
    ])), session.auth === "token" && h("form", { method: "post", action: "/sign-out" }, h("button", { class: "button" }, "Sign out"))),
    card("Policies in force", table(["Policy", "Accounts"], summary.policies.map((policy) => [policy.label, count(policy.accounts)]),
      "No account has a score yet.")),
    card("Topics the board reads", table(["Topic", "Not read yet", "Newest record"], all.topics.map((topic) => [
      topic.topic, topic.there ? count(topic.behind) : "missing", topic.newest_record_ms ? whenAgo(topic.newest_record_ms, live.clock()) : "\u2013",
    ]))),
    card("Sources", table(["Source", "Not applied yet", "State"], sourcesOf(all), all.lag ? "Every record is applied, and no source is idle." : "Unknown: the consumer group could not be read, and no source is idle."),
      h("p", { class: "soft" }, "A source is idle when it sends no events for any account. Its measures are then held at their last values, and no alerts about missing events fire.")),
  ];
}

function workersText({ workers, no_worker_since_ms: since }) {
  if (workers === null || workers === undefined) return "unknown";
  return workers > 0 ? count(workers) : ["none since ", since ? when(since) : "the start"];
}

/** Sources with records that are not applied, and idle sources: rows of a table. Pure. */
export function sourcesOf({ lag, stalled_sources: idle, workers }) {
  const names = [...new Set([...(lag ?? []).map(({ topic }) => topic), ...idle.map(({ source }) => source)])];
  return names.map((name) => {
    const records = lag?.find(({ topic }) => topic === name)?.records ?? (lag ? 0 : null);
    const held = idle.find(({ source }) => source === name)?.accounts;
    const behind = records > 0 ? (workers === 0 ? "waits for a worker" : "catching up") : "";
    return [name, records === null ? "unknown" : count(records), [held ? `idle: ${counted(held, "account")} held at its last values` : "", behind].filter(Boolean).join(", ") || "up to date"];
  });
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
