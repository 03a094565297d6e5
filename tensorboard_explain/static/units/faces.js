// What is known of the units of a neuron monitor's record: the exemplars of each, and what else a card shows of it.

import { list, mapping, neuronsOf, number, refusal, tile, whole, words } from "../checked.js";
import { count } from "../dom.js";
import { asTag } from "../words/names.js";
import { tilePixels, tileValues } from "../sprite.js";

const MOST_SHOWN = 8;

function exemplarOf(value) {
  const one = mapping(value);
  return {
    sample: whole(one.sample),
    label: whole(one.label),
    value: number(one.value),
    tile: whole(one.tile),
    heat: whole(one.heat),
    heatScale: number(one.heat_scale) || 0,
    words: list(one.words).slice(0, 60).map(words),
    inputs: list(one.inputs).slice(0, 200).map(number),
    values: list(one.values).slice(0, 200).map(number),
  };
}

/** Read a layer's exemplars: {form, by, method, tile, top, heatTile, heatTop, units: Map}; null where there are none. */
function exemplarsOf(value) {
  const found = mapping(value);
  const units = list(found.units).map(mapping).map((unit) => [whole(unit.unit), {
    reason: words(unit.reason), scale: number(unit.scale), purity: number(unit.purity), stayed: number(unit.stayed), settled: whole(unit.settled),
    shown: list(unit.shown).slice(0, MOST_SHOWN).map(exemplarOf),
  }]);
  if (!units.length) return null;
  return {
    form: words(found.form), by: words(found.by) || "activation", method: words(found.method),
    tile: tile(found.tile), top: whole(found.top, 0), heatTile: tile(found.heat_tile), heatTop: whole(found.heat_top, 0),
    units: new Map(units),
  };
}

/**
 * Read the units of a neuron monitor's record; `source` is the record that holds the exemplars, mostly the same one. `at` = {step,
 * wanted}: the record's step, and the one that the page shows.
 */
export function unitsOf(loaded, source = loaded, at = { step: NaN, wanted: NaN }) {
  if (!loaded || refusal(mapping(loaded.header), "neurons")) return null;
  const header = neuronsOf(loaded.header);
  const held = source && !refusal(mapping(source.header), "neurons") ? source : null;
  const exemplars = new Map(list(held?.header.layers).map(mapping).map((layer) => [words(layer.name), exemplarsOf(layer.exemplars)]));
  const layers = new Map(header.layers.map((layer) => [layer.name, layer]));
  const producers = new Map();
  for (const layer of header.layers) for (const name of layer.of) if (!layers.has(name)) producers.set(name, layer.name);
  return { header, layers, producers, exemplars, sprite: held?.sprite ?? null, from: number(held?.header.step), ...at, faces: new Map() };
}

/** Say at which step the exemplars of a record were fetched, if that was another one; NaN if they are its own. */
export const exemplarStep = (header) => number(mapping(header).exemplars_step);

/** Find a unit by the name of its layer, or of the layer whose units are the same; null where nothing is known of it. */
export function faceOf(units, layerName, unit) {
  const name = units?.layers.has(layerName) ? layerName : units?.producers.get(layerName);
  const layer = units?.layers.get(name);
  if (!layer || !(unit >= 0) || unit >= layer.nNeurons) return null;
  const key = `${name}:${unit}`;
  if (!units.faces.has(key)) units.faces.set(key, made(units, layer, unit));
  return units.faces.get(key);
}

function made(units, layer, unit) {
  const own = units.exemplars.get(layer.name);
  const found = own?.units.get(unit);
  const shown = (found?.shown ?? []).map((one) => ({ ...one, ...pictures(units.sprite, own, one) }));
  return {
    layer, unit, names: units.header.classNames, classes: units.header.classes, epoch: units.header.epoch,
    dated: datesOf(units, found), label: `neuron ${unit} of ${asTag(layer.name)}`, form: own?.form ?? "", by: own?.by ?? "", method: own?.method ?? "",
    reason: found?.reason ?? "", scale: found?.scale ?? NaN, purity: found?.purity ?? NaN, stayed: found?.stayed ?? NaN, settled: found?.settled ?? -1,
    shown, picture: shown.find((one) => one.pixels)?.pixels ?? null,
  };
}

/** Say of which steps the facts are, where that is not the step shown; "" where it is. */
function datesOf({ step, wanted, from }, found) {
  const said = [];
  if (Number.isFinite(wanted) && step !== wanted) said.push(`known from step ${count(step)}`);
  if (found && Number.isFinite(from) && Number.isFinite(wanted) && from !== wanted) said.push(`exemplars of step ${count(from)}`);
  return said.join("; ");
}

function pictures(sprite, own, one) {
  if (!sprite) return { pixels: null, map: null };
  return {
    pixels: own.tile && one.tile >= 0 ? tilePixels(sprite, own.tile, one.tile, own.top) : null,
    map: own.heatTile && one.heat >= 0 ? tileValues(sprite, own.heatTile, one.heat, one.heatScale, own.heatTop) : null,
    mapSize: own.heatTile,
  };
}

/** How often a unit is active for each class, the most often first: [class, rate] pairs. */
export function ratesOf({ layer, unit, classes }) {
  const column = layer.neurons.indexOf(unit);
  if (column < 0) return [];
  return classes.map((c, row) => [c, layer.rates[row * layer.neurons.length + column]])
    .filter(([, rate]) => Number.isFinite(rate)).sort((one, other) => other[1] - one[1] || one[0] - other[0]);
}

/** Say in words what a unit is listed as. */
export function kindsOf({ layer, unit, names }, named) {
  const said = [];
  if (layer.dead.has(unit)) said.push("dead: active at no position of any sample");
  if (layer.alwaysOn.has(unit)) said.push("always on: active for every sample");
  if (layer.exclusive.has(unit)) said.push(`exclusive to ${named(names, layer.exclusive.get(unit))}`);
  const selectivity = layer.selectivity[layer.neurons.indexOf(unit)];
  if (Number.isFinite(selectivity)) said.push(`class selectivity ${(100 * selectivity).toFixed(0)} %`);
  return said;
}

/** The units of a layer that have exemplars, in the order in which they were written. */
export const facedUnits = (units, layerName) => [...(units?.exemplars.get(layerName)?.units.keys() ?? [])];

