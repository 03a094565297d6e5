// Headers come from files that anybody may have written: what is not as it should be becomes empty, not an exception.

import { asTag } from "./words/names.js";
import { aloneWords } from "./words/pieces.js";

const VERSION = 2;
const MOST = 100_000;
const MOST_METRICS = 20;

export const number = (value) => (typeof value === "number" && Number.isFinite(value) ? value : NaN);
export const whole = (value, otherwise = -1) => (Number.isSafeInteger(value) ? value : otherwise);
export const words = (value) => (typeof value === "string" ? value : typeof value === "number" ? String(value) : "");
export const list = (value) => (Array.isArray(value) ? value.slice(0, MOST) : []);
export const mapping = (value) => (value && typeof value === "object" && !Array.isArray(value) ? value : {});
const numbers = (value) => list(value).map(number);
export const indices = (value) => list(value).map((v) => whole(v));
const orNull = (value, read) => (Array.isArray(value) ? read(value) : null);
const names = (value) => new Map(Object.entries(mapping(value)).map(([key, name]) => [Number(key), words(name)]));

/** Read height and width of tiles; null if they are none. */
export function tile(value) {
  const [height, width] = list(value).map((v) => whole(v));
  return height > 0 && width > 0 && height * width <= 4_000_000 ? [height, width] : null;
}

/** Say what is wrong with a header as such; "" if nothing is. */
export function refusal(header, kind) {
  if (whole(header.v) > VERSION) return `it is of a newer form (${header.v}); update lightning-explain`;
  if (whole(header.v) < 1) return "it does not say of which form it is";
  return header.kind === kind ? "" : `it is not of kind “${kind}”`;
}

function moment(header) {
  return {
    step: number(header.step),
    epoch: number(header.epoch),
    count: number(header.count),
    name: words(header.name),
    classNames: names(header.class_names),
    caveat: words(header.caveat),
  };
}

/** Read the header of a probe. */
export function probeOf(header) {
  return {
    ...moment(header),
    raw: header, // fields that only one kind of input has
    probe: words(header.probe),
    form: words(header.form),
    tile: tile(header.tile),
    size: tile(header.size),
    samples: indices(header.samples),
    nSamples: number(header.n_samples),
    labels: orNull(header.labels, indices),
    features: list(header.features).map(words),
    inputs: orNull(header.inputs, (rows) => rows.map(numbers)),
    texts: orNull(header.tokens, (rows) => list(rows).map((text) => list(text).slice(0, 2000).map((word) => (word === null ? null : words(word))))),
  };
}

/** Read the header of an explanation. */
export function attributionOf(header) {
  return {
    ...moment(header),
    probe: words(header.probe),
    form: words(header.form),
    unit: words(header.unit) || "output",
    tile: tile(header.tile),
    labels: orNull(header.labels, indices),
    predicted: orNull(header.predicted, indices),
    confidence: orNull(header.confidence, numbers),
    outputs: orNull(header.outputs, numbers),
    methods: list(header.methods).map(mapping).map((method) => ({
      name: words(method.name) || "method",
      firstTile: whole(method.first_tile, 0),
      scales: numbers(method.scales),
      full: number(method.full_colour),
      error: orNull(method.error, numbers),
      moved: orNull(method.moved, numbers),
      contrast: orNull(method.contrast, indices),
      rows: orNull(method.rows, indices), // of each sample, where not all have attributions; -1 for none
      numbers: typeof method.values === "string" ? floats(method.values, method.values_type, numbers(method.scales)) : null,
    })),
  };
}

/** Read a 16-bit float. */
function half(bits) {
  const [sign, exponent, fraction] = [bits & 0x8000 ? -1 : 1, (bits >> 10) & 31, bits & 1023];
  if (exponent === 31) return NaN;
  return sign * (exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : 2 ** -14 * (fraction / 1024));
}

/** Read numbers that were written as base64: 32-bit floats, or 16-bit ones in the scale of their sample; null where they are none. */
function floats(value, type, scales) {
  try {
    const bytes = Uint8Array.from(atob(value), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    if (type !== "f2") return Float32Array.from({ length: bytes.length >> 2 }, (_, i) => view.getFloat32(4 * i, true));
    const n = bytes.length >> 1;
    return Float32Array.from({ length: n }, (_, i) => half(view.getUint16(2 * i, true)) * scales[Math.floor((i * scales.length) / n)]);
  } catch {
    return null;
  }
}

const UNDEFINED = 255;
const FULL = 250;

function shares(value) {
  try {
    return Float32Array.from(atob(words(value)), (letter) => {
      const byte = letter.charCodeAt(0);
      return byte === UNDEFINED ? NaN : byte / FULL;
    });
  } catch {
    return new Float32Array(0);
  }
}

/** A layer's metrics by name; of events that have none, those that follow from its counts. */
function metricsOf(layer, nNeurons) {
  const given = Object.entries(mapping(layer.metrics)).slice(0, MOST_METRICS).map(([name, value]) => [name, number(value)]);
  const counted = () => [...["dead", "always_on", "exclusive"].map((kind) => [kind, number(layer[`n_${kind}`]) / nNeurons]), ["overlap", number(layer.overlap)]];
  return new Map([...(given.length ? given : counted()), ["turnover", number(layer.turnover)]]);
}

/** Read the ablation of a layer's units: Map unit -> [{c, change, error, accuracy, n, changed}]; null where there is none. */
function effectsOf(value) {
  const found = mapping(value);
  const [classes, n, right] = [indices(found.classes), numbers(found.n_samples), numbers(found.n_correct)];
  const units = list(found.units).map(list).map(([unit, lost, gained, errors]) => {
    const [minus, plus, error] = [numbers(lost), numbers(gained), numbers(errors)];
    return [whole(unit), classes.map((c, i) => ({
      c, n: n[i], accuracy: right[i] / n[i], change: (plus[i] - minus[i]) / n[i], error: error[i] ?? NaN, changed: plus[i] + minus[i],
    })).filter((row) => row.n > 0)];
  });
  return units.length ? { epoch: number(found.epoch), units: new Map(units) } : null;
}

/** Read the pictures of what feeds neurons: [{neuron, className, values}], in one size. */
function fedMapsOf(layer) {
  const size = tile(layer.fed_size);
  if (!size) return [];
  return list(layer.fed_maps).map(list).map(([neuron, name, levels, scale]) => {
    let values = new Float32Array(0);
    try {
      values = Float32Array.from(atob(words(levels)), (letter) => ((letter.charCodeAt(0) << 24) >> 24) / 127 * (number(scale) || 0));
    } catch {
      // none then
    }
    return { neuron: whole(neuron), className: words(name), values, size };
  }).filter(({ values }) => values.length === size[0] * size[1]);
}

function layerOf(value, nClasses) {
  const layer = mapping(value);
  const all = Math.max(0, Math.min(MOST, whole(layer.n_neurons, 0)));
  const neurons = orNull(layer.neurons, indices) ?? Array.from({ length: all }, (_, i) => i);
  let rates = shares(layer.rates);
  if (rates.length !== neurons.length * nClasses) rates = new Float32Array(neurons.length * nClasses).fill(NaN);
  return {
    name: words(layer.name),
    nNeurons: all,
    neurons,
    rates, // [class][neuron], as one array
    selectivity: shares(layer.selectivity),
    saturated: layer.saturated === true,
    nNotFinite: whole(layer.n_not_finite, 0),
    dead: new Set(indices(layer.dead)),
    alwaysOn: new Set(indices(layer.always_on)),
    exclusive: new Map(list(layer.exclusive).map(indices).map(([neuron, owner]) => [neuron, owner])),
    metrics: metricsOf(layer, all),
    minRate: number(layer.min_rate),
    effects: effectsOf(layer.effects),
    of: list(layer.of).slice(0, 20).map(words),
    fedMaps: fedMapsOf(layer),
    fedEpoch: number(layer.feeding_epoch),
    fedShape: list(layer.feeding_shape).slice(-2).map((side) => whole(side)),
    exemplarLabels: list(layer.exemplar_labels).map(indices),
    feeding: list(layer.feeding).map(list).map(([neuron, name, fed]) => ({
      neuron: whole(neuron),
      className: words(name),
      features: list(fed).map(list).map(([feature, value]) => [words(feature), number(value)]),
    })),
  };
}

/** Read the header of a neuron monitor. */
export function neuronsOf(header) {
  const classes = indices(header.classes);
  return {
    ...moment(header),
    stage: words(header.stage),
    classes,
    nClasses: whole(header.n_classes, classes.length),
    nSamples: numbers(header.n_samples),
    nLayers: whole(header.n_layers, 0),
    training: words(header.training),
    neverFired: list(header.never_fired).slice(0, 20).map(words),
    layers: list(header.layers).map((layer) => layerOf(layer, classes.length)),
  };
}

const isInput = (layer) => layer === "input" || layer.startsWith("input ");

function columnOf(value) {
  const column = mapping(value);
  const layers = list(column.layers).slice(0, 200).map(words);
  return { name: words(column.name) || layers[0] || "", layers, isInput: isInput(layers[0] ?? ""), kind: words(column.kind) || "units", nUnits: whole(column.n_units), contribution: number(column.contribution) };
}

/** Read nodes and edges that are rows of numbers. */
function rowsOf(graph) {
  const columns = list(graph.columns).slice(0, 100).map(columnOf);
  const layers = columns.flatMap((column, i) => column.layers.map((layer) => ({ layer, column: i })));
  const nodes = list(graph.nodes).slice(0, 1000).map(list).map(([place, unit, label, contribution, share, n]) => {
    const { layer = "", column = -1 } = layers[whole(place)] ?? {};
    const [number_, size] = [whole(unit), whole(n, 1)];
    const side = number(contribution) < 0 ? "against" : "for";
    const named = words(label) || (number_ < 0 ? `${size} other${size > 1 ? "s" : ""} ${side}` : `${asTag(layer)} ${number_}`);
    return { id: `${layer}:${number_ < 0 ? named : number_}`, layer, column, unit: number_, label: named, contribution: number(contribution), share: number(share) };
  }).filter((node) => node.column >= 0);
  const edges = list(graph.edges).slice(0, 5000).map(list).map(([source, target, share, contribution]) => ({
    source: nodes[whole(source)]?.id, target: nodes[whole(target)]?.id, share: number(share), contribution: number(contribution),
  }));
  return { columns, nodes, edges: edges.filter((edge) => edge.source !== undefined && edge.target !== undefined) };
}

/** Read nodes and edges of the first form, as objects: a column is a layer. */
function objectsOf(graph) {
  const columns = [];
  const nodes = list(graph.nodes).slice(0, 1000).map(mapping).map((node) => {
    const layer = words(node.layer);
    let column = columns.findIndex(({ name }) => name === layer);
    if (column < 0) column = columns.push({ name: layer, layers: [layer], isInput: isInput(layer), nUnits: -1, contribution: NaN }) - 1;
    return { id: words(node.id), layer, column, unit: whole(node.unit), label: words(node.label) || words(node.id), contribution: number(node.contribution), share: NaN };
  });
  const known = new Set(nodes.map((node) => node.id));
  const edges = list(graph.edges).slice(0, 5000).map(mapping).map((edge) => ({
    source: words(edge.source), target: words(edge.target), share: number(edge.share), contribution: number(edge.contribution),
  }));
  return { columns, nodes, edges: edges.filter((edge) => known.has(edge.source) && known.has(edge.target)) };
}

/** Write the tokens of a graph one by one: pieces of words without their tokenizer's marks, in the nodes of the input too. */
function writtenWords(tokens, { nodes, columns }) {
  if (!tokens) return null;
  const written = aloneWords(tokens.map((token) => token || null));
  for (const node of nodes) if (columns[node.column]?.isInput && tokens[node.unit] === node.label) node.label = written[node.unit];
  return written;
}

function graphOf(value) {
  const graph = mapping(value);
  const drawn = Array.isArray(graph.columns) ? rowsOf(graph) : objectsOf(graph);
  const boxes = Object.entries(mapping(graph.boxes)).slice(0, 1000).map(([unit, box]) => [Number(unit), numbers(box)]);
  return {
    title: words(graph.title) || "path",
    className: words(graph.class),
    sample: whole(graph.sample),
    output: number(graph.output),
    shownShare: number(graph.shown_share),
    absorbedShare: number(graph.absorbed_share),
    threshold: number(graph.threshold),
    nLayers: whole(graph.n_layers, 0),
    isSpread: graph.is_spread === true,
    ablation: number(graph.ablation),
    ablationRandom: number(graph.ablation_random),
    words: writtenWords(orNull(graph.words, (all) => list(all).slice(0, 512).map(words)), drawn),
    picture: whole(graph.picture),
    tileIndex: whole(graph.tile),
    boxes: new Map(boxes.filter(([, box]) => box.length === 4 && box.every((side) => side >= 0 && side <= 1))),
    ...drawn,
  };
}

/** Read the header of a path monitor. */
export function pathsOf(header) {
  return { ...moment(header), probe: words(header.probe), tile: tile(header.tile), graphs: list(header.graphs).map(graphOf) };
}

/** Read a drift curve's points: {step, epoch, count, curve} each. */
export function pointsOf(points) {
  return list(points).map(mapping).map((point) => ({
    step: number(point.step),
    epoch: number(point.epoch),
    count: number(point.count),
    curve: mapping(point.curve),
  }));
}
