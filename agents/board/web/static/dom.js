// Creates and updates elements. Text is always inserted as text nodes, never parsed as HTML, and without characters that
// would change the text around it. Knows nothing of accounts. Called by every view.

const SVG = "http://www.w3.org/2000/svg";

/** Control characters, and the controls that reverse or hide text: a name of an account can hold any character. */
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]/g;
/** Attributes that are shown or read aloud. */
const SHOWN = new Set(["title", "aria-label", "aria-valuetext", "placeholder"]);

/** A text with a visible mark for each hidden control character. */
export const clean = (text) => String(text).replace(HIDDEN, "\ufffd");

/**
 * An element. `props`: `class`, `data` (dataset), `on` (listeners by event), `style` (set property by property, which
 * the content security policy allows), booleans as present or absent attributes, everything else as an attribute.
 */
export function h(tag, props = {}, ...children) {
  return fill(dress(document.createElement(tag), props), children);
}

/** The same in the namespace of SVG. */
export function svg(tag, props = {}, ...children) {
  return fill(dress(document.createElementNS(SVG, tag), props), children);
}

function dress(element, props) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "class") element.setAttribute("class", value);
    else if (name === "data") for (const [key, text] of Object.entries(value)) element.dataset[key] = text;
    else if (name === "on") for (const [event, call] of Object.entries(value)) element.addEventListener(event, call);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, attribute(name, value));
  }
  return element;
}

function attribute(name, value) {
  if (value === true) return "";
  return SHOWN.has(name) ? clean(value) : String(value);
}

function fill(element, children) {
  for (const child of children.flat(3)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(clean(child)));
  }
  return element;
}

/** Set an element's text if it differs; returns whether it did. Nodes that do not change keep selection and focus. */
export function setText(element, text) {
  const wanted = text === null || text === undefined ? "" : clean(text);
  if (element.textContent === wanted) return false;
  element.textContent = wanted;
  return true;
}

/** Set or remove an attribute if it differs. */
export function setAttr(element, name, value) {
  if (value === null || value === undefined || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== attribute(name, value)) element.setAttribute(name, attribute(name, value));
}

/** Replace all children. */
export function put(element, ...children) {
  element.replaceChildren();
  return fill(element, children);
}

/** Delay a call until there has been no other for `ms`. */
export function debounce(ms, call) {
  let timer = 0;
  return (...args) => {
    clearTimeout(timer);
    timer = setTimeout(() => call(...args), ms);
  };
}
