// What the reader has chosen: one flat object of words, which is also what stands in the address.

export const DEFAULTS = Object.freeze({
  run: "", // "": the newest
  monitor: "", // tag; "": the first
  a: "", // step; "": the latest, also when more arrive
  b: "", // step to compare with; "": none, "last": the latest
  runb: "", // run of B; "": that of A
  class: "", // index; "": all
  sample: "", // position in the probe; "": all
  strategy: "", // number, of those selected; "": none
  method: "", // name; "": the first
  scale: "shared",
  over: "0", // "1": heatmaps are drawn over the images
  ref: "previous",
  factor: "5",
  log: "1",
  layer: "",
  neuron: "",
  neuronb: "", // neuron of another run
  sort: "index",
  graph: "",
});

const LONGEST = 400;

/** Write what differs from the defaults as key=value&... */
export function encoded(state, prefix = "") {
  return Object.keys(DEFAULTS)
    .filter((key) => state[key] !== DEFAULTS[key])
    .map((key) => `${prefix}${key}=${encodeURIComponent(state[key])}`)
    .join("&");
}

/** Read what `encoded` wrote; anything else in the words is ignored. */
export function decoded(words, prefix = "") {
  const state = { ...DEFAULTS };
  for (const part of words.split("&")) {
    const cut = part.indexOf("=");
    const key = part.slice(prefix.length, cut);
    if (cut < 0 || !part.startsWith(prefix) || !Object.hasOwn(DEFAULTS, key)) continue;
    try {
      state[key] = decodeURIComponent(part.slice(cut + 1)).slice(0, LONGEST);
    } catch {
      continue; // a broken escape
    }
  }
  return state;
}

/** Hold the state, and tell listeners what changed. */
export function createState(initial) {
  let current = { ...DEFAULTS, ...initial };
  const listeners = new Set();
  return {
    get: () => current,
    set(change) {
      const next = { ...current, ...change };
      const changed = new Set(Object.keys(DEFAULTS).filter((key) => next[key] !== current[key]));
      if (changed.size === 0) return;
      current = next;
      for (const listener of listeners) listener(current, changed);
    },
    listen: (listener) => listeners.add(listener),
  };
}
