// Asking the server. Every address is relative to this file, so that path prefixes and proxies do not matter.

import { readSprite } from "./sprite.js";

const MOST_BYTES = 96_000_000;

function address(route, parameters) {
  const url = new URL(route, import.meta.url);
  for (const [key, value] of Object.entries(parameters)) url.searchParams.set(key, value);
  return url;
}

async function answer(route, parameters) {
  const response = await fetch(address(route, parameters), { credentials: "same-origin" });
  if (response.ok) return response;
  let reason = `the server answered ${response.status}`;
  try {
    reason = (await response.json()).error || reason;
  } catch {
    // no words came with it
  }
  throw new Error(reason);
}

const json = async (route, parameters) => (await answer(route, parameters)).json();

export const runs = async () => (await json("runs", {})).runs;

/** Read the curves of a monitor, all points or, evenly spread over them, `most`. */
export const curves = async (run, tag, most = 0) => (await json("curves", { run, tag, ...(most ? { most } : {}) })).points;
export const history = async (run, tag, layer, neuron) => (await json("history", { run, tag, layer, neuron })).points;

/** List a monitor's events: [{step, at, header, sprite}] in order of steps. */
export async function events(run, tag) {
  const { events: rows } = await json("events", { run, tag });
  return rows.map(([step, at, header, sprite]) => ({ step, at, header, sprite }));
}

const kept = new Map(); // address of an event -> {content: Promise, bytes}
let keptBytes = 0;

async function load(event) {
  // the browser may keep it for long: another run's event has another moment
  const response = await answer("event", { header: event.header, sprite: event.sprite, at: event.at });
  const bytes = await response.arrayBuffer();
  const end = 4 + new DataView(bytes).getUint32(0);
  const header = JSON.parse(new TextDecoder().decode(bytes.slice(4, end)));
  if (!event.sprite) return { header, sprite: null, trouble: "" };
  try {
    return { header, sprite: await readSprite(new Blob([bytes.slice(end)], { type: "image/png" })), trouble: "" };
  } catch (error) {
    return { header, sprite: null, trouble: String(error.message ?? error) };
  }
}

/** Load an event's header and sprite; kept in memory up to a limit, the least recently used go first. */
export function content(event) {
  const key = `${event.at}/${event.header}`;
  const entry = kept.get(key) ?? { promise: null, bytes: 0 };
  kept.delete(key);
  kept.set(key, entry);
  if (!entry.promise) {
    entry.promise = load(event);
    entry.promise.then(
      ({ sprite }) => {
        entry.bytes = 20_000 + (sprite ? sprite.bytes.length : 0);
        keptBytes += entry.bytes;
        for (const [oldest, { bytes }] of kept) {
          if (keptBytes <= MOST_BYTES || kept.size < 3) break;
          kept.delete(oldest);
          keptBytes -= bytes;
        }
      },
      () => kept.delete(key), // so that the next look tries again
    );
  }
  return entry.promise;
}
