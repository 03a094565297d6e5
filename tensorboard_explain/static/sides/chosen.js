// Which run and monitor A and B are of, and what a link names that is not there.

import { mapping, number, words } from "../checked.js";
import { short } from "../dom.js";

export const LATEST = "last"; // of B, whose empty step means that nothing is compared

/** Read the server's list: [{run, monitors: [{tag, kind, ...}], series, written}] with at least one monitor. */
export function readRuns(found) {
  return Object.entries(mapping(found))
    .map(([run, series]) => ({ run, series: Array.isArray(series) ? series : [] }))
    .map(({ run, series }) => ({
      run, series,
      // by name, so that what belongs to a monitor stands behind it
      monitors: series.filter((s) => words(s.tag).endsWith("/tab")).sort((one, other) => (monitorName(one.tag) < monitorName(other.tag) ? -1 : 1)),
      written: Math.max(...series.map((s) => number(s.max_wall_time)).filter(Number.isFinite), 0),
    }))
    .filter(({ monitors }) => monitors.length)
    .sort((one, other) => one.run.localeCompare(other.run, undefined, { numeric: true }));
}

/** The run that was written last. */
export const newest = (runs) => runs.reduce((best, entry) => (best && best.written >= entry.written ? best : entry), null);

/** Name a monitor by its tag, explain/{name}/tab. */
export const monitorName = (tag) => tag.split("/").slice(1, -1).join("/") || tag;

/** Name a run. */
export const runName = (run) => (run === "." ? "(this folder)" : short(run, 80));

const monitorNamed = (entry, tag) => entry.monitors.find((monitor) => monitor.tag === tag);

/** The monitor to begin with: one of attributions, if there is any. */
const firstOf = ({ monitors }) => monitors.find(({ kind }) => kind === "attribution") ?? monitors[0];

/** The monitor of another run that is compared with one: of the same name, else the only one of its kind. */
function counterpart(entry, monitor) {
  const sameKind = entry.monitors.filter(({ kind }) => kind === monitor.kind);
  return sameKind.find(({ tag }) => tag === monitor.tag) ?? (sameKind.length === 1 ? sameKind[0] : null);
}

/** Find what the state names: {a: {entry, monitor}, b: likewise or null, missing: sentences}; null without any run. */
export function chosen(runs, state) {
  if (!runs.length) return null;
  const missing = [];
  const named = runs.find(({ run }) => run === state.run);
  const entry = named ?? newest(runs);
  if (state.run !== "" && !named) missing.push(`There is no run “${runName(state.run)}” here (any more); this is ${runName(entry.run)}, the newest one.`);
  const monitor = monitorNamed(entry, state.monitor) ?? firstOf(entry);
  if (state.monitor !== "" && monitor.tag !== state.monitor) {
    missing.push(`Run ${runName(entry.run)} has no monitor “${short(monitorName(state.monitor), 60)}”; this is ${monitorName(monitor.tag)}.`);
  }
  const a = { entry, monitor };
  if (state.b === "") return { a, b: null, missing };
  const other = state.runb === "" ? entry : runs.find(({ run }) => run === state.runb);
  if (!other) missing.push(`There is no run “${runName(state.runb)}” here (any more), so nothing is compared; choose another run for B.`);
  const match = other && counterpart(other, monitor);
  if (other && !match) missing.push(`Run ${runName(other.run)} has no monitor to compare with ${monitorName(monitor.tag)}.`);
  return { a, b: match ? { entry: other, monitor: match } : null, missing };
}
