// Reading the events of strategies; what is not as it should be becomes empty.

import { attributionOf, indices, list, mapping, number, probeOf, refusal, whole, words } from "../checked.js";
import { nSamples } from "../views/sample_card.js";

const [MOST_CLASSES, MOST_STRATEGIES, MOST_SAMPLES, MOST_NAMES] = [100, 12, 20_000, 12];
const [FULL, NONE] = [127, -128];

/** Read points that were written as pairs of signed bytes: [[x, y]], null for none; all of them null where they are not n pairs. */
function pointsOf(value, n) {
  const nothing = Array.from({ length: n }, () => null);
  try {
    const bytes = Int8Array.from(atob(words(value)), (letter) => (letter.charCodeAt(0) << 24) >> 24);
    if (bytes.length !== 2 * n) return nothing;
    return nothing.map((_, i) => (bytes[2 * i] === NONE || bytes[2 * i + 1] === NONE ? null : [bytes[2 * i] / FULL, bytes[2 * i + 1] / FULL]));
  } catch {
    return nothing;
  }
}

function strategyOf(value, known) {
  const one = mapping(value);
  return {
    share: number(one.share), separation: number(one.separation), stability: number(one.stability), effect: number(one.effect), where: words(one.where),
    inside: number(one.inside), outside: number(one.outside), epoch: number(one.since_epoch), step: number(one.since_step),
    members: indices(one.members).filter((row) => known.has(row)), mean: whole(one.mean),
    named: list(one.named).slice(0, MOST_NAMES).map(list).map(([name, size]) => [words(name), number(size)]),
  };
}

function classOf(value, n) {
  const one = mapping(value);
  const all = list(one.rows).slice(0, MOST_SAMPLES).map((row) => whole(row));
  const [places, own] = [pointsOf(one.points, all.length), list(one.assignment).map((k) => whole(k))];
  const samples = all.map((row, i) => ({ row, point: places[i], strategy: own[i] ?? -1 })).filter(({ row }) => row >= 0 && row < n);
  const known = new Map(samples.map((sample) => [sample.row, sample]));
  return {
    c: whole(one.class), name: words(one.name), samples, known, axes: list(one.axes).slice(0, 2).map(words), p: number(one.p_value), caveat: words(one.caveat),
    strategies: list(one.strategies).slice(0, MOST_STRATEGIES).map((each) => strategyOf(each, known)),
  };
}

const read = new WeakMap(); // what was loaded -> what was read of it

/** Read what was loaded of an event: {header, sprite, method, classes, trouble}; null for none. */
export function understood(loaded) {
  if (!loaded) return null;
  if (!read.has(loaded)) {
    const wrong = refusal(loaded.header, "strategies");
    if (wrong) throw new Error(wrong);
    const header = attributionOf(loaded.header);
    const n = Math.min(nSamples(header), MOST_SAMPLES);
    const classes = list(loaded.header.classes).slice(0, MOST_CLASSES).map((one) => classOf(one, n)).filter(({ samples }) => samples.length);
    read.set(loaded, { header, sprite: loaded.sprite, method: header.methods[0] ?? null, classes, nClasses: whole(loaded.header.n_classes, classes.length), trouble: loaded.trouble });
  }
  return read.get(loaded);
}

const at = (values, places, n) => {
  if (!values) return null;
  const found = Array.from({ length: n });
  places.forEach((row, i) => { if (row >= 0 && row < n) found[row] = values[i]; });
  return found;
};

/** Read the sample, whose event may hold a part of it: {header, sprite, indices}, what is by sample at its place; null for none. */
export function sampleOf(loaded) {
  if (!loaded || refusal(loaded.header, "probe")) return null;
  if (!read.has(loaded)) {
    const header = probeOf(loaded.header);
    const n = Math.min(MOST_SAMPLES, Number.isFinite(header.nSamples) ? header.nSamples : header.samples.length);
    const raw = mapping(header.raw);
    const spread = (key) => (Array.isArray(raw[key]) ? { [key]: at(list(raw[key]), header.samples, n) } : {});
    read.set(loaded, {
      header: { ...header, raw: { ...raw, ...spread("names"), ...spread("graphs") }, places: new Map(header.samples.map((row, i) => [row, i])), texts: at(header.texts, header.samples, n), inputs: at(header.inputs, header.samples, n) },
      sprite: loaded.sprite, indices: at(Array.isArray(raw.indices) ? indices(raw.indices) : null, header.samples, n),
    });
  }
  return read.get(loaded);
}
