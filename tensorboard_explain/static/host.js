// The page around the tab: its address, its dark mode, its reload button. Also works without one.

import { decoded, encoded } from "./state.js";

const PLUGIN = "explain";
const PREFIX = `p.${PLUGIN}.`;

/** TensorBoard's own window; ours when the tab is opened alone, or what is around us belongs to somebody else. */
function outer() {
  try {
    if (window.parent !== window && window.parent.document.body) return window.parent;
  } catch {
    // another origin
  }
  return window;
}

/** Read the state in the address: #explain&p.explain.run=... */
export function readAddress() {
  return decoded(outer().location.hash.slice(1), PREFIX);
}

/** Write the state into the address, without a new entry in the browser's history. */
export function writeAddress(state) {
  const page = outer();
  const [plugin] = page.location.hash.slice(1).split("&");
  if (page !== window && plugin !== PLUGIN) return; // another tab is open
  const words = encoded(state, PREFIX);
  const hash = `#${PLUGIN}${words ? `&${words}` : ""}`;
  if (hash !== page.location.hash) page.history.replaceState(page.history.state, "", hash);
}

/** Call back when the reader changes the address, by hand or with a link. */
export function onAddress(callback) {
  outer().addEventListener("hashchange", () => {
    const [plugin] = outer().location.hash.slice(1).split("&");
    if (plugin === PLUGIN) callback(readAddress());
  });
}

/** Call back when TensorBoard has reloaded its data. */
export function onReload(callback) {
  if (window.parent === window) return;
  const channel = new MessageChannel();
  channel.port1.onmessage = ({ data }) => {
    const message = JSON.parse(data);
    if (message.isReply) return;
    if (message.type === "experimental.DataReloaded") callback();
    const reply = { type: message.type, id: message.id, payload: null, error: null, isReply: true };
    channel.port1.postMessage(JSON.stringify(reply));
  };
  window.parent.postMessage("experimental.bootstrap", "*", [channel.port2]);
}

/** Follow TensorBoard's dark mode, or the system's where there is no TensorBoard around. */
export function followDarkMode(callback) {
  const page = outer();
  const system = window.matchMedia("(prefers-color-scheme: dark)");
  let known = null;
  const look = () => {
    const dark = page === window ? system.matches : page.document.body.classList.contains("dark-mode");
    if (dark === known) return;
    known = dark;
    document.documentElement.dataset.theme = dark ? "dark" : "light";
    callback(dark);
  };
  if (page === window) system.addEventListener("change", look);
  else new MutationObserver(look).observe(page.document.body, { attributes: true, attributeFilter: ["class"] });
  look();
}
