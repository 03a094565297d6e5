// Fetching what the state asks for, and handing it to the view of the monitor's kind.

import * as api from "../api.js";
import { attributionView } from "./attribution.js";
import { mapping, number, pointsOf, words } from "../checked.js";
import { count, el, short } from "../dom.js";
import { neuronView } from "./neurons.js";
import { pathView } from "./paths.js";
import { exemplarStep, unitsOf } from "../units/faces.js";
import { closeStale } from "../units/popover.js";
import { indexOf, timeline } from "./timeline.js";

const VIEWS = { attribution: attributionView, neurons: neuronView, paths: pathView };
const NAME_UNITS = new Set(["neurons", "paths"]);
const AHEAD = 3;
const IDLE = 150; // milliseconds

/** Read the server's list: [{run, monitors: [{tag, kind, ...}], probes: Map}] with at least one monitor. */
export function readRuns(found) {
  return Object.entries(mapping(found))
    .map(([run, series]) => ({ run, series: Array.isArray(series) ? series : [] }))
    .map(({ run, series }) => ({ run, monitors: series.filter((s) => words(s.tag).endsWith("/tab")), series }))
    .filter(({ monitors }) => monitors.length)
    .sort((one, other) => one.run.localeCompare(other.run, undefined, { numeric: true }));
}

function lastUpTo(events, step) {
  let found = events[0];
  for (const event of events) if (event.step <= step) found = event;
  return found;
}

/** Make the page's body for one run after another. */
export function createView(store, stage) {
  const line = timeline(store);
  const trouble = el("p", { class: "trouble", role: "alert", hidden: true });
  const body = el("main", {});
  const node = el("div", {}, line.node, trouble, body);
  let data = null; // what is known of the run and monitor shown
  let view = null;
  let turn = 0;

  const pick = (step, second) => {
    if (!second) return store.set({ a: step === data.steps[data.steps.length - 1] ? "" : String(step) });
    return store.set({ b: String(step) });
  };
  const say = (words_) => {
    trouble.textContent = words_;
    trouble.hidden = !words_;
  };

  const eventsOf = async (run, entry, known) => {
    const old = known?.get(entry.tag);
    if (old && old.stamp === `${entry.max_step}/${entry.max_wall_time}`) return old;
    return { stamp: `${entry.max_step}/${entry.max_wall_time}`, events: await api.events(run, entry.tag) };
  };

  const facts = () => {
    const { points, own } = data;
    const logged = Math.max(...points.map((p) => p.count).filter(Number.isFinite), own.length);
    const what = data.monitor.kind === "attribution" ? "explanations" : "records";
    const kept = own.length === logged
      ? `${count(own.length)} ${what}, all kept`
      : `${count(own.length)} of ${count(logged)} logged ${what} are kept: --samples_per_plugin explain=${logged} keeps more`;
    return { kept, epochs: data.epochs };
  };

  /** Fetch what changed of a run; null if there is nothing to show. */
  async function fetchRun(entry, monitor) {
    const same = data?.run === entry.run ? data : null;
    const listed = await Promise.all(entry.series.map(async (s) => [s.tag, await eventsOf(entry.run, s, same?.series)]));
    const series = new Map(listed);
    const own = series.get(monitor.tag).events;
    const steps = [...new Set(entry.monitors.flatMap((m) => series.get(m.tag).events.map((e) => e.step)))].sort((x, y) => x - y);
    const stale = (tag) => !same || same.series.get(tag)?.stamp !== series.get(tag).stamp || !same.curves.has(tag);
    const scorer = monitor.kind === "neurons" ? monitor : entry.monitors.find((m) => m.kind === "neurons");
    const curves = new Map(same?.curves ?? []);
    await Promise.all([...new Set([monitor.tag, scorer?.tag])].filter((tag) => tag && stale(tag)).map(async (tag) => {
      curves.set(tag, pointsOf(await api.curves(entry.run, tag)));
    }));
    const points = curves.get(monitor.tag);
    const epochs = new Map([...curves.values()].flat().map((p) => [p.step, p.epoch]));
    const scores = scorer ? curves.get(scorer.tag) : [];
    return { run: entry.run, monitor, watcher: scorer, series, own, steps, curves, points, scores, epochs, names: same?.names ?? new Map() };
  }

  const loaded = (step) => {
    const event = lastUpTo(data.own, step);
    return event ? api.content(event) : null;
  };

  async function probeFor(content) {
    const tag = data.monitor.tag.replace(/tab$/, "probe");
    const events = data.series.get(tag)?.events ?? [];
    const all = await Promise.all(events.slice(-8).map((event) => api.content(event).catch(() => null)));
    return all.filter(Boolean).findLast((p) => p.header?.probe === content.header?.probe) ?? null;
  }

  /** Read what the run's neuron monitor knows of units at a step, or the last time before it; null where nothing is known. */
  async function unitsAt(step) {
    const events = data.watcher ? data.series.get(data.watcher.tag)?.events ?? [] : [];
    const event = events.length && Number.isFinite(step) ? lastUpTo(events, step) : null;
    const content = event && await api.content(event).catch(() => null);
    if (!content) return null;
    const elsewhere = events.find((e) => e.step === exemplarStep(content.header));
    return unitsOf(content, elsewhere ? await api.content(elsewhere).catch(() => null) : content);
  }

  /** Load the neighbours of A, one by one, so that nobody who moves on has to wait for them. */
  const prefetch = async (mine) => {
    const at = indexOf(data.steps, store.get().a);
    for (let by = 1; by <= AHEAD; by++) {
      for (const step of [data.steps[at + by], data.steps[at - by]]) {
        if (mine !== turn) return;
        if (step !== undefined) await loaded(step)?.catch(() => {});
      }
    }
  };

  /** Draw A and B of the state; only the newest call draws. */
  async function draw() {
    const mine = ++turn;
    const began = performance.now();
    const state = store.get();
    const stepOf = (key) => data.steps[indexOf(data.steps, state[key])];
    line.show(state, data.steps, facts());
    view.cursors?.(stepOf("a"), state.b === "" ? NaN : stepOf("b"));
    let problem = "";
    try {
      const [a, b] = await Promise.all([loaded(stepOf("a")), state.b === "" ? null : loaded(stepOf("b"))]);
      if (!a) throw new Error("there is no event yet");
      const probe = data.monitor.kind === "attribution" ? await probeFor(a) : null;
      const ready = await view.prepare?.(a);
      const units = NAME_UNITS.has(data.monitor.kind) ? { a: await unitsAt(stepOf("a")), b: state.b === "" ? null : await unitsAt(stepOf("b")) } : null;
      if (mine !== turn) return;
      ready?.();
      learnNames(a.header);
      view.draw(state, { ...data, a, b, probe, units });
      closeStale();
    } catch (error) {
      if (mine !== turn) return;
      problem = `The record of step ${count(stepOf("a"))}${state.b === "" ? "" : ` or ${count(stepOf("b"))}`} cannot be shown: ${short(error.message, 200)}.`;
    }
    body.classList.toggle("unreadable", Boolean(problem));
    say(problem);
    stage.dataset.drawn = `${stepOf("a")}/${state.b === "" ? "" : stepOf("b")}`;
    stage.dataset.took = String(Math.round(performance.now() - began));
    setTimeout(() => prefetch(mine), IDLE);
  }

  function learnNames(header) {
    const before = data.names.size;
    for (const [key, name] of Object.entries(mapping(mapping(header).class_names))) data.names.set(number(Number(key)), words(name));
    if (data.names.size !== before) view.curves?.(store.get(), data);
  }

  return {
    node,
    stop: line.stop,
    /** Show a monitor of a run, with what has arrived since. */
    async open(entry, monitor) {
      const fetched = await fetchRun(entry, monitor);
      const other = !data || data.run !== fetched.run || data.monitor.tag !== monitor.tag;
      data = fetched;
      if (other) {
        view = (VIEWS[monitor.kind] ?? unknownView)(store, pick, { run: entry.run, tag: monitor.tag });
        body.replaceChildren(view.node);
      }
      view.curves?.(store.get(), data);
      await draw();
    },
    draw,
    curves: () => view?.curves?.(store.get(), data),
    get ready() {
      return data !== null;
    },
  };
}

function unknownView() {
  const node = el("p", { class: "panel", text: "This monitor is of a kind that this version does not know. Update lightning-explain." });
  return { node, draw() {} };
}
