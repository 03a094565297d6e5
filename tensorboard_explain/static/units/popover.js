// A card beside what it belongs to: hovering or focusing shows it, a click keeps it.

import { el } from "../dom.js";

const DELAY = 120; // milliseconds; a pointer that only passes opens nothing
const GAP = 8;

let open = null; // {element, node, pinned}
let waiting = 0;

function close() {
  clearTimeout(waiting);
  open?.element.setAttribute("aria-expanded", "false");
  open?.node.remove();
  open = null;
}

function place(node, element) {
  const [box, own] = [element.getBoundingClientRect(), node.getBoundingClientRect()];
  const [width, height] = [document.documentElement.clientWidth, window.innerHeight];
  const beside = box.right + GAP + own.width <= width ? box.right + GAP : box.left - GAP - own.width;
  const fits = beside >= 0;
  const left = fits ? beside : Math.max(0, Math.min(width - own.width, box.left));
  const below = box.bottom + GAP + own.height <= height ? box.bottom + GAP : Math.max(0, box.top - GAP - own.height);
  const top = fits ? Math.max(0, Math.min(height - own.height, box.top)) : below;
  node.style.setProperty("left", `${left}px`);
  node.style.setProperty("top", `${top}px`);
}

function show(element, make, pinned) {
  if (open?.element === element) {
    open.pinned ||= pinned;
    open.node.classList.toggle("pinned", open.pinned);
    return;
  }
  if (open?.pinned && !pinned) return;
  close();
  const node = el("div", { class: "unit-popover", role: "dialog" }, make());
  node.classList.toggle("pinned", pinned);
  node.addEventListener("pointerleave", (event) => { if (!open?.pinned && event.relatedTarget !== element) close(); });
  document.body.append(node);
  open = { element, node, pinned };
  element.setAttribute("aria-expanded", "true");
  place(node, element);
}

document.addEventListener("keydown", (event) => { if (event.key === "Escape" && open) { event.stopPropagation(); close(); } }, true);
document.addEventListener("pointerdown", (event) => { if (open && !open.node.contains(event.target) && !open.element.contains(event.target)) close(); }, true);
window.addEventListener("scroll", () => { if (open?.element.isConnected) place(open.node, open.element); else close(); }, { passive: true });

/** Close a card whose element is gone: what it belonged to was drawn anew. */
export function closeStale() {
  if (open && !open.element.isConnected) close();
}

/** Let an element show a card: make() builds it. `click` is false where a click on the element does something else. */
export function cardOn(element, make, { click = true } = {}) {
  if (!element.hasAttribute("tabindex") && element.tagName !== "BUTTON") element.setAttribute("tabindex", "0");
  element.setAttribute("aria-haspopup", "dialog");
  element.setAttribute("aria-expanded", "false");
  const soon = () => { clearTimeout(waiting); waiting = setTimeout(() => { if (element.isConnected) show(element, make, false); }, DELAY); };
  element.addEventListener("pointerenter", (event) => { if (event.pointerType !== "touch") soon(); });
  element.addEventListener("pointerleave", (event) => {
    clearTimeout(waiting);
    if (open?.element === element && !open.pinned && !open.node.contains(event.relatedTarget)) close();
  });
  element.addEventListener("focus", () => { if (element.matches(":focus-visible")) soon(); });
  element.addEventListener("blur", () => { clearTimeout(waiting); if (open?.element === element && !open.pinned) close(); });
  if (!click) return;
  element.addEventListener("click", (event) => { event.stopPropagation(); if (open?.element === element && open.pinned) close(); else show(element, make, true); });
  element.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    event.stopPropagation();
    show(element, make, true);
  });
}
