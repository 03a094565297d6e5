// Building the page. Words from data only ever become text nodes or attribute values, never markup.

const SVG = "http://www.w3.org/2000/svg";
const ELLIPSIS = "…";

const TURNS = /[\u200e\u200f\u202a-\u202e\u2066-\u2069]/g; // letters that turn the direction of what follows them

/** Cut a word that is too long, and take out of it what would break or turn the line. */
export function short(words, most = 60) {
  const line = String(words ?? "").slice(0, 4 * most + 20).replace(TURNS, "").replace(/\s+/g, " ").trim();
  const letters = Array.from(line); // by code point, so that no letter is cut in half
  return letters.length <= most ? line : letters.slice(0, most - 1).join("") + ELLIPSIS;
}

function put(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, action] of Object.entries(value)) node.addEventListener(event, action);
    else if (name === "text") node.textContent = String(value);
    else if (name === "style") for (const [key, v] of Object.entries(value)) node.style.setProperty(key, v);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

/** Make an HTML element: el("button", {class: "x", on: {click}}, "words", node). */
export function el(tag, properties = {}, ...children) {
  return put(document.createElement(tag), properties, children);
}

/** Make an SVG element. */
export function svg(tag, properties = {}, ...children) {
  return put(document.createElementNS(SVG, tag), properties, children);
}

/** Make a panel of the page, under a heading that is heard and not seen. */
export function panel(label, kind, ...children) {
  return el("section", { class: `panel ${kind}`, "aria-label": label }, el("h2", { class: "unseen", text: label }), ...children);
}

let labels = 0;

/** Put a label in front of a control. */
export function labelled(words, control, properties = {}) {
  control.id ||= `control-${++labels}`;
  return el("div", { class: "field", ...properties }, el("label", { for: control.id, text: words }), control);
}

/** Fill a select with [value, words] pairs, keeping the choice where it is still there; only touched if it changed. */
export function options(select, pairs, chosen) {
  const key = JSON.stringify(pairs);
  if (select.dataset.key !== key) {
    select.dataset.key = key;
    select.replaceChildren(
      ...pairs.map(([value, words]) => el("option", { value, title: short(words, 400), text: short(words) })),
    );
  }
  select.value = pairs.some(([value]) => value === chosen) ? chosen : (pairs[0]?.[0] ?? "");
}

/** Write a share as per cent. */
export function percent(share, digits = 0) {
  return Number.isFinite(share) ? `${(share * 100).toFixed(digits)} %` : "–";
}

/** Write a figure in about three digits. */
export function figure(value) {
  if (!Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 0.001 || size >= 100000)) return value.toExponential(1).replace("-", "−").replace("e−", "e-");
  const words = size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toPrecision(3);
  return words.replace("-", "−");
}

/** Write a step with thin spaces between thousands. */
export function count(n) {
  return Number.isFinite(n) ? String(n).replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f") : "–";
}
