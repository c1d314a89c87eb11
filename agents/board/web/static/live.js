// The event stream of the board. Owns the connection: opening, noticing that it is dead, continuing after the last event.
// Knows no views; they listen to its events `summary`, `account`, `gone`, `alert`, `reset`, `heartbeat` and `state`.

import { api } from "./api.js";

const NAMES = ["summary", "account", "gone", "alert", "heartbeat", "reset"];
/** The states of the connection, and the states that can follow. */
const NEXT_STATES = { connecting: ["live"], live: ["lost"], lost: ["live"] };
/** A connection without an event for this many heartbeats is dead. */
const MISSED_HEARTBEATS = 3;
/** A shorter interruption is not shown. */
const GRACE_MS = 1_000;
/** Rows are stored this long, for requests that are on their way. */
const RECENT_MS = 10_000;

export class Live extends EventTarget {
  /** `eventId`: the position of the board, asked for before any view: streams start late, and nothing may fall between. */
  constructor(heartbeatS, eventId) {
    super();
    this.lastId = eventId;
    this.silenceMs = heartbeatS * 1000 * MISSED_HEARTBEATS;
    this.state = "connecting";
    this.since = Date.now();
    this.offset = 0;
    this.recent = new Map();
    this.retryMs = 500;
    addEventListener("online", () => this.isLive || this.connect());
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.check());
    setInterval(() => this.check(), 1_000);
  }

  get isLive() {
    return this.state === "live";
  }

  /** Open a new stream for these accounts (null: all, an empty list: none), which continues where the last one was. */
  open(accounts) {
    this.accounts = accounts;
    this.connect();
  }

  connect() {
    this.source?.close();
    clearTimeout(this.timer);
    this.lastEventMs = Date.now();
    const source = new EventSource(api.streamAddress(this.accounts, this.lastId));
    this.source = source;
    source.onopen = () => this.received();
    source.onerror = () => {
      this.grace ??= setTimeout(() => this.lose(), GRACE_MS);
      // The browser reconnects by itself after a broken connection, but not after a status such as 503.
      if (source.readyState === EventSource.CLOSED) this.retryLater();
    };
    for (const name of NAMES) {
      source.addEventListener(name, (event) => {
        if (this.source !== source) return;
        this.received();
        if (event.lastEventId) this.lastId = event.lastEventId;
        this.emit(name, JSON.parse(event.data));
      });
    }
  }

  emit(name, data) {
    const now = Date.now();
    if (name === "heartbeat") this.offset = data.now_ms - now;
    if (name === "account") {
      this.recent.delete(data.account_id);
      this.recent.set(data.account_id, { receivedMs: now, row: data });
      for (const [id, { receivedMs }] of this.recent) {
        if (now - receivedMs < RECENT_MS) break;
        this.recent.delete(id);
      }
    }
    this.dispatchEvent(new CustomEvent(name, { detail: data }));
  }

  /** The row of an account that the stream sent after `started`: the answer to a request of then can be older. */
  newer(id, started) {
    const recent = this.recent.get(id);
    return recent && recent.receivedMs >= started ? recent.row : null;
  }

  /** Now: by the clock of the board or, if only events move time, the time of the newest event. */
  now() {
    return this.eventTime?.() ?? this.clock();
  }

  /** The clock of the board, which also stamps records. */
  clock() {
    return Date.now() + this.offset;
  }

  received() {
    this.lastEventMs = Date.now();
    this.retryMs = 500;
    clearTimeout(this.grace);
    this.grace = undefined;
    this.become("live");
  }

  check() {
    if (Date.now() - this.lastEventMs <= this.silenceMs) return;
    this.lose();
    this.connect();
  }

  lose() {
    if (this.isLive) this.become("lost");
  }

  retryLater() {
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      // A request, but not the stream, leads to the form to sign in when the session has ended.
      await api.session().catch(() => null);
      this.connect();
    }, this.retryMs);
    this.retryMs = Math.min(this.retryMs * 2, 8_000);
  }

  become(state) {
    if (this.state === state) return;
    if (!NEXT_STATES[this.state].includes(state)) throw new Error(`The connection cannot go from ${this.state} to ${state}.`);
    this.state = state;
    this.since = this.lastEventMs;
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}
