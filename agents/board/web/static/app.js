// The page: starts the stream, stores the latest summary, and shows the view of the present address.
// Owns routing, focus and shortcuts. `show` of a view gets { live, store, session, params, go, setAddress, reload, ... } and
// returns { title, end, summary?, account?, ... }: functions that are called with the events of these names.

import * as account from "./account.js";
import * as alerts from "./alerts.js";
import { ApiError, api, idOf } from "./api.js";
import { clean, debounce, h, put, setAttr } from "./dom.js";
import { Live } from "./live.js";
import * as overview from "./overview.js";
import * as shadow from "./shadow.js";
import * as strip from "./strip.js";

const main = document.getElementById("main");
const nav = document.getElementById("nav");
const store = { summary: null };
let view = null;
let shown = 0;
/** Events that came while a view was loading: its data may be older than they are. */
let early = [];

const ROUTES = [
  [/^\/(?:accounts\/?)?$/, overview],
  [/^\/accounts\/([^/]+)$/, account],
  [/^\/alerts\/?$/, alerts],
  [/^\/shadow\/?$/, shadow],
  [/^\/processor\/?$/, strip],
];

/** Go to an address of this page. */
function go(address) {
  setAddress(address);
  return route({ fresh: true });
}

/** Write the state of a view into the address. `replace`: "back" skips the previous state. */
function setAddress(address, { replace = false } = {}) {
  if (replace) return history.replaceState(history.state, "", address);
  saveScroll();
  return history.pushState(null, "", address);
}

/** Store the position of the page in its entry of the history, so that "back" and "forward" restore it. */
function saveScroll() {
  if (view && !main.hasAttribute("aria-busy")) history.replaceState({ ...history.state, scroll: scrollY }, "");
}

/** Give an event to the view, or store it for the view that is loading. */
function pass(name, detail) {
  if (view) view[name]?.(detail);
  else if (main.hasAttribute("aria-busy")) early.push([name, detail]);
}

async function route({ fresh = false } = {}) {
  const turn = ++shown;
  const { pathname, search } = location;
  view?.end();
  view = null;
  early = [];
  for (const link of nav.children) {
    const home = link.getAttribute("href") === "/" && (pathname === "/" || pathname.startsWith("/accounts"));
    setAttr(link, "aria-current", home || pathname === link.getAttribute("href") ? "page" : null);
  }
  const [pattern, module] = ROUTES.find(([path]) => path.test(pathname)) ?? [];
  if (!module) return notFound();
  const id = idOf(pattern.exec(pathname)[1]);
  if (id === null) return notFound();
  const context = { live, store, session, go, setAddress, reload: () => route(), id, params: new URLSearchParams(search), back: !fresh };
  live.open(module.accountsToFollow ? module.accountsToFollow(context) : null);
  main.setAttribute("aria-busy", "true");
  try {
    const next = await module.show(main, context);
    if (turn !== shown) return next.end();
    view = next;
    for (const [name, detail] of early.splice(0)) pass(name, detail);
    if (turn !== shown) return; // an event made the view load again
    document.title = clean(`${view.title} · account-vitals`);
    if (fresh) {
      scrollTo(0, 0);
      main.focus({ preventScroll: true });
    } else if (history.state?.scroll) scrollTo(0, history.state.scroll);
  } catch (error) {
    if (turn === shown) showError(error);
  } finally {
    if (turn === shown) main.removeAttribute("aria-busy");
  }
}

function notFound() {
  main.removeAttribute("aria-busy");
  document.title = "Not found · account-vitals";
  put(main, h("div", { class: "empty card" }, h("strong", {}, "This page does not exist."), h("a", { href: "/" }, "Back to the accounts")));
}

function showError(error) {
  if (!(error instanceof ApiError)) console.error(error);
  document.title = "Error · account-vitals";
  const gone = error.code === "not_found";
  put(main, h("div", { class: "empty card", role: "alert" },
    h("strong", {}, gone ? "Not found" : "This page could not be loaded."),
    h("p", {}, error instanceof ApiError ? error.message : "The page has an error. The browser's console has the details."),
    gone ? h("a", { href: "/" }, "Back to the accounts") : h("button", { class: "button", type: "button", on: { click: () => start() } }, "Try again")));
}

function follow(event) {
  const link = event.target.closest("a[href]");
  if (!link || event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const address = new URL(link.href, location.href);
  if (address.origin !== location.origin || link.target || address.hash) return;
  event.preventDefault();
  go(address.pathname + address.search);
}

/**
 * `?` shows the shortcuts, a view can have more (`keys`). None works in a text field, which Escape leaves. Outside of one,
 * Escape closes what is open; the browser does so for dialogs.
 */
function press(event) {
  if (event.metaKey || event.ctrlKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.closest("input:not([type=range]), select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const keys = { "?": help, Escape: fold, ...view?.keys };
  const call = keys[event.key];
  if (!call) return;
  event.preventDefault();
  call();
}

/** Close the part that has the focus, else the last one that is open. */
function fold() {
  const open = [...main.querySelectorAll("details[open]")];
  const part = open.findLast((each) => each.contains(document.activeElement)) ?? open.at(-1);
  if (!part) return;
  part.open = false;
  part.querySelector("summary").focus({ preventScroll: true });
}

function help() {
  const rows = [["Esc", "close what is open"], ["/", "search"], ["j  k", "next or previous account in the table"], ["Enter", "open the account"], ["u", "back from an account to the table"], ["?", "show this help"]];
  const dialog = h("dialog", { "aria-labelledby": "keys" },
    h("form", { method: "dialog" }, h("h2", { id: "keys" }, "Keys"),
      h("table", {}, h("tbody", {}, rows.map(([key, action]) => h("tr", {}, h("th", { scope: "row" }, key), h("td", {}, action))))),
      h("div", { class: "actions" }, h("button", { class: "button" }, "Close"))));
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
}

let live;
let session;
let frame;

async function start() {
  try {
    if (!session) {
      session = await api.session();
      live = new Live(session.heartbeat_s, session.event_id);
      if (session.time_mode === "event") live.eventTime = () => store.summary?.time;
      frame = new strip.Strip(document.getElementById("strip"), document.getElementById("banner"), live, session.recorded);
      for (const name of ["account", "gone", "alert"]) {
        live.addEventListener(name, ({ detail }) => pass(name, detail));
      }
      live.addEventListener("reset", () => refresh());
      live.addEventListener("summary", ({ detail }) => setSummary(detail));
    }
    setSummary(await api.summary());
  } catch (error) {
    return showError(error);
  }
  return route();
}

/** Events were missed, so the view loads again. A board that is still reading its topics sends another reset when it is done. */
async function refresh() {
  const summary = await api.summary().catch(() => null);
  if (!summary) return;
  setSummary(summary);
  if (summary.ready) pass("reset");
}

function setSummary(summary) {
  const before = store.summary;
  // While a board reads its topics from the beginning, the page shows the last known figures, not incomplete ones.
  store.summary = before?.wasReady && !summary.ready ? { ...before, ready: false, processor: summary.processor } : summary;
  store.summary.wasReady = summary.ready || before?.wasReady;
  frame.set(store.summary);
  pass("summary", store.summary);
}

history.scrollRestoration = "manual";
addEventListener("popstate", () => route());
document.addEventListener("click", follow);
document.addEventListener("keydown", press);
addEventListener("scroll", debounce(120, saveScroll), { passive: true });
start();
