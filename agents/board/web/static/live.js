// The stream of what changes. Owns the connection: opening, noticing that it is dead, coming back where it broke off.
// Must not know views; they listen to its events `summary`, `account`, `gone`, `alert`, `reset`, `heartbeat` and `state`.

import { api } from "./api.js";

const NAMES = ["summary", "account", "gone", "alert", "heartbeat", "reset"];
/** A connection that says nothing for so many heartbeats is dead. */
const MISSED = 3;
/** A break shorter than this is not worth a word. */
const GRACE_MS = 1_000;
const KEPT_MS = 10_000;

export class Live extends EventTarget {
  constructor(heartbeatS) {
    super();
    this.silenceMs = heartbeatS * 1000 * MISSED;
    this.isLive = false;
    this.since = Date.now();
    this.offset = 0;
    this.recent = new Map();
    this.retryMs = 500;
    addEventListener("online", () => this.again());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.look());
    setInterval(() => this.look(), 1_000);
  }

  /** Listen to these accounts (null: all, an empty list: none); starts afresh unless it is what is listened to. */
  open(accounts) {
    this.accounts = accounts;
    this.lastId = undefined;
    this.connect();
  }

  connect() {
    this.source?.close();
    clearTimeout(this.timer);
    this.heard = Date.now();
    const source = new EventSource(api.streamAddress(this.accounts, this.lastId));
    this.source = source;
    source.onopen = () => this.beat();
    source.onerror = () => {
      this.lost();
      // The browser comes back by itself after a broken connection, but never after a status such as 503.
      if (source.readyState === EventSource.CLOSED) this.later();
    };
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        if (this.source !== source) return;
        this.beat();
        if (event.lastEventId) this.lastId = event.lastEventId;
        this.tell(name, JSON.parse(event.data));
      });
    }
  }

  tell(name, data) {
    const now = Date.now();
    if (name === "heartbeat") this.offset = data.now_ms - now;
    if (name === "account") {
      this.recent.delete(data.account_id);
      this.recent.set(data.account_id, { at: now, row: data });
      for (const [id, { at }] of this.recent) {
        if (now - at < KEPT_MS) break;
        this.recent.delete(id);
      }
    }
    this.dispatchEvent(new CustomEvent(name, { detail: data }));
  }

  /** The row of an account that came by stream after `started`, when the answer to a request may be older than it. */
  newer(id, started) {
    const kept = this.recent.get(id);
    return kept && kept.at >= started ? kept.row : null;
  }

  /** Now: by the board's clock, or where only events move time, that of the newest event. */
  now() {
    return this.eventTime?.() ?? this.clock();
  }

  /** The board's clock, by which records are stamped. */
  clock() {
    return Date.now() + this.offset;
  }

  beat() {
    this.heard = Date.now();
    this.retryMs = 500;
    clearTimeout(this.grace);
    this.grace = undefined;
    this.become(true);
  }

  lost() {
    this.grace ??= setTimeout(() => this.become(false), GRACE_MS);
  }

  look() {
    if (Date.now() - this.heard <= this.silenceMs) return;
    this.become(false);
    this.connect();
  }

  again() {
    if (!this.isLive) this.connect();
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      // A session that has run out is told by a request, not by the stream: this leads to the sign-in form.
      await api.session().catch(() => null);
      this.connect();
    }, this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, 8_000);
  }

  become(isLive) {
    if (this.isLive === isLive) return;
    this.everLive ||= isLive;
    this.isLive = isLive;
    this.since = this.heard;
    this.dispatchEvent(new CustomEvent("state", { detail: isLive }));
  }
}
