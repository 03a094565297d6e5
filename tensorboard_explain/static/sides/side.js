// One side of a comparison, A or B: the events of a monitor of a run, read when they are needed.

import * as api from "../api.js";
import { pointsOf } from "../checked.js";
import { exemplarStep, unitsOf } from "../units/faces.js";
import { LATEST } from "./chosen.js";

const THINNED = 24; // points of curves that are read before all of them

const stampOf = (entry) => `${entry.max_step}/${entry.max_wall_time}`;

/** Find the position of the step at or before the one that is wanted, of the first one if there is none before it. */
export function indexOf(steps, step) {
  if (step === "" || step === LATEST || !Number.isFinite(Number(step))) return steps.length - 1;
  let found = 0;
  for (let i = 0; i < steps.length && steps[i] <= Number(step); i++) found = i;
  return found;
}

/** The step among some that is nearest to one. */
export const nearest = (steps, step) => steps.reduce((best, each) => (Math.abs(each - step) < Math.abs(best - step) ? each : best), steps[0]);

async function eventsOf(run, entry, known) {
  const old = known?.series.get(entry.tag);
  return old?.stamp === stampOf(entry) ? old : { stamp: stampOf(entry), events: await api.events(run, entry.tag) };
}

/** List the events of a monitor, of its probe, and of the run's neuron monitor; nothing of them is read yet. */
export async function fetchSide({ entry, monitor }, known) {
  const same = known?.run === entry.run ? known : null;
  const watcher = monitor.kind === "neurons" ? monitor : entry.monitors.find(({ kind }) => kind === "neurons");
  const wanted = new Set([monitor.tag, monitor.tag.replace(/tab$/, "probe"), watcher?.tag]);
  const listed = await Promise.all(entry.series.filter(({ tag }) => wanted.has(tag)).map(async (each) => [each.tag, await eventsOf(entry.run, each, same)]));
  const series = new Map(listed);
  const own = series.get(monitor.tag).events;
  return { run: entry.run, monitor, watcher, series, own, steps: own.map(({ step }) => step), curves: same?.curves ?? new Map(), names: same?.names ?? new Map() };
}

const pointsOfTag = (side, tag) => side.curves.get(tag)?.points ?? [];

/** What is drawn over time: {points of the monitor, scores of the neuron monitor, epochs by step, all steps, names}. */
export function overTime(side) {
  const [points, scores] = [pointsOfTag(side, side.monitor.tag), side.watcher ? pointsOfTag(side, side.watcher.tag) : []];
  const epochs = new Map([...points, ...scores].map((p) => [p.step, p.epoch]));
  return { run: side.run, points, scores, epochs, steps: [...new Set([...side.steps, ...scores.map((p) => p.step)])].sort((x, y) => x - y), names: side.names };
}

const reading = new Map(); // what is asked for -> promise, since the page looks again before a long answer is there

function pointsOnce(run, tag, most, stamp) {
  const key = JSON.stringify([run, tag, most, stamp]);
  if (!reading.has(key)) reading.set(key, api.curves(run, tag, most).then(pointsOf).finally(() => reading.delete(key)));
  return reading.get(key);
}

/** Read the curves of a side, a few points of each before all of them; `changed()` is called when there are more. */
export async function readCurves(side, changed) {
  const tags = [...new Set([side.monitor.tag, side.watcher?.tag])].filter((tag) => {
    const [known, now] = [side.curves.get(tag), side.series.get(tag)];
    return now && !(known?.stamp === now.stamp && known.whole);
  });
  const read = async (tag, most) => {
    const { stamp, events } = side.series.get(tag);
    const thinned = most < events.length;
    const points = await pointsOnce(side.run, tag, thinned ? most : 0, stamp);
    side.curves.set(tag, { stamp, points, whole: !thinned });
  };
  if (!tags.length) return;
  await Promise.all(tags.map((tag) => (side.curves.has(tag) ? null : read(tag, THINNED))));
  changed();
  const rest = tags.filter((tag) => !side.curves.get(tag).whole || side.curves.get(tag).stamp !== side.series.get(tag).stamp);
  if (!rest.length) return;
  await Promise.all(rest.map((tag) => read(tag, Infinity)));
  changed();
}

/** Load the record of a step; null where there is none at just this step. */
export function recordAt(side, step) {
  const event = side.own.find((each) => each.step === step);
  return event ? api.content(event) : null;
}

/** Load the probe that a record is of; null where it is not there. */
export async function probeOf(side, record) {
  const events = side.series.get(side.monitor.tag.replace(/tab$/, "probe"))?.events ?? [];
  const all = await Promise.all(events.slice(-8).map((event) => api.content(event).catch(() => null)));
  return all.filter(Boolean).findLast((p) => p.header?.probe === record.header?.probe) ?? null;
}

/** Read what the run's neuron monitor knows of units at a step, else the last time before it; null where nothing is known. */
export async function unitsAt(side, step) {
  const events = side.watcher ? side.series.get(side.watcher.tag)?.events ?? [] : [];
  const event = events.findLast((each) => each.step <= step);
  const content = event && await api.content(event).catch(() => null);
  if (!content) return null;
  const elsewhere = events.find((each) => each.step === exemplarStep(content.header));
  return unitsOf(content, elsewhere ? await api.content(elsewhere).catch(() => null) : content, { step: event.step, wanted: step });
}
