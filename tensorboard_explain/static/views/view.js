// Fetching what the state asks for, and handing it to the view of the monitor's kind.

import { mapping, number, words } from "../checked.js";
import { count, el, short } from "../dom.js";
import { closeStale } from "../units/popover.js";
import { LATEST, monitorName, runName } from "../sides/chosen.js";
import { fetchSide, indexOf, nearest, overTime, probeOf, readCurves, recordAt, unitsAt } from "../sides/side.js";
import { KINDS } from "./kinds.js";
import { timeline } from "./timeline.js";

const AHEAD = 3;
const IDLE = 150; // milliseconds

/** How many of the logged records are there, in words. */
function keptWords(side, record) {
  const logged = Math.max(number(mapping(record?.header).count) || 0, ...overTime(side).points.map((p) => p.count).filter(Number.isFinite), side.own.length);
  const what = side.monitor.kind === "attribution" ? "explanations" : "records";
  return side.own.length === logged ? `${count(side.own.length)} ${what}, all kept`
    : `${count(side.own.length)} of ${count(logged)} logged ${what} are kept: --samples_per_plugin explain=${logged} keeps more`;
}

/** Say which step stands for one that has no record; "" where it has one. */
function stepWords(letter, wanted, side, step) {
  if (!side || wanted === "" || wanted === LATEST || Number(wanted) === step) return "";
  const named = Number.isFinite(Number(wanted)) ? `step ${count(Number(wanted))}` : `“${short(wanted, 20)}”`;
  return `${letter}: ${monitorName(side.monitor.tag)} has no record of ${named}${side.run ? ` in run ${runName(side.run)}` : ""}; ${letter} stands at step ${count(step)}.`;
}

/** Make the page's body for one run after another. */
export function createView(store, stage) {
  const line = timeline(store);
  const trouble = el("p", { class: "trouble", role: "alert", hidden: true });
  const body = el("main", {});
  const node = el("div", {}, line.node, trouble, body);
  let sides = null; // {a, b, missing, runs}
  let view = null;
  let [turn, opening] = [0, 0];

  const pick = (step, second) => {
    const side = second && sides.b ? sides.b : sides.a;
    const found = nearest(side.steps, step);
    if (!second) return store.set({ a: found === side.steps.at(-1) ? "" : String(found) });
    return store.set({ b: String(found) });
  };
  const say = (words_) => {
    trouble.textContent = words_;
    trouble.hidden = !words_;
  };
  const stepOf = (key) => (sides[key] ? sides[key].steps[indexOf(sides[key].steps, store.get()[key])] : NaN);

  /** Load the neighbours of A, one by one, so that nobody who moves on has to wait for them. */
  const prefetch = async (mine) => {
    const { steps } = sides.a;
    const at = indexOf(steps, store.get().a);
    for (let by = 1; by <= AHEAD; by++) {
      for (const step of [steps[at + by], steps[at - by]]) {
        if (mine !== turn) return;
        if (step !== undefined) await recordAt(sides.a, step)?.catch(() => {});
      }
    }
  };

  const drawCurves = () => view.curves?.(store.get(), { ...overTime(sides.a), other: sides.b && sides.b.run !== sides.a.run ? overTime(sides.b) : null });

  /** Read what is drawn of one side at a step: {record, probe, units}. */
  async function loaded(side, step) {
    const kind = KINDS[side.monitor.kind] ?? {};
    const record = await recordAt(side, step);
    return {
      record,
      probe: record && kind.hasProbe ? await probeOf(side, record) : null,
      units: kind.namesUnits ? await unitsAt(side, step) : null,
    };
  }

  function problemWords(error, a, b) {
    return `The record of step ${count(a)}${Number.isFinite(b) ? ` or ${count(b)}` : ""} cannot be shown: ${short(error.message, 200)}.`;
  }

  /** Draw A and B of the state; only the newest call draws. */
  async function draw() {
    const mine = ++turn;
    const began = performance.now();
    const state = store.get();
    const [stepA, stepB] = [stepOf("a"), stepOf("b")];
    const absent = [...sides.missing, stepWords("A", state.a, sides.a, stepA), stepWords("B", state.b, sides.b, stepB)].filter(Boolean);
    const showLine = (record) => {
      const timed = (side) => side && { steps: side.steps, epochs: overTime(side).epochs };
      line.show(state, { a: timed(sides.a), b: timed(sides.b), runs: sides.runs, run: sides.a.run }, keptWords(sides.a, record));
    };
    showLine(null);
    view.cursors?.(stepA, stepB);
    let problem = "";
    try {
      const [a, b] = await Promise.all([loaded(sides.a, stepA), sides.b ? loaded(sides.b, stepB) : null]);
      if (!a.record) throw new Error("there is no event yet");
      const ready = await view.prepare?.(a.record);
      if (mine !== turn) return;
      ready?.();
      learnNames(sides.a, a.record.header);
      if (b?.record) learnNames(sides.b, b.record.header);
      showLine(a.record);
      const side = (key, read) => read && { ...overTime(sides[key]), ...read, step: stepOf(key), monitor: sides[key].monitor, own: sides[key].own };
      const otherRun = Boolean(b) && sides.b.run !== sides.a.run;
      const unknown = view.draw(state, { a: side("a", a), b: side("b", b?.record ? b : null), otherRun });
      absent.push(...(unknown ?? []));
      closeStale();
    } catch (error) {
      if (mine !== turn) return;
      problem = problemWords(error, stepA, stepB);
    }
    body.classList.toggle("unreadable", Boolean(problem));
    say(problem);
    line.say(absent);
    stage.dataset.drawn = `${stepA}/${Number.isFinite(stepB) ? stepB : ""}`;
    stage.dataset.took = String(Math.round(performance.now() - began));
    setTimeout(() => prefetch(mine), IDLE);
  }

  function learnNames(side, header) {
    const before = side.names.size;
    for (const [key, name] of Object.entries(mapping(mapping(header).class_names))) side.names.set(number(Number(key)), words(name));
    if (side.names.size !== before) drawCurves();
  }

  /** Read the curves after what is drawn of A and B, since there may be many of them. */
  async function addCurves(mine) {
    const changed = () => {
      if (mine !== opening) return;
      drawCurves();
      draw();
    };
    await Promise.all([sides.a, sides.b].filter((side, i, all) => side && all.findIndex((each) => each?.run === side.run) === i).map((side) => readCurves(side, changed)));
    if (mine === opening) stage.dataset.curves = "all";
  }

  return {
    node,
    stop: line.stop,
    /** Show a monitor of a run, beside B if that is given, with what has arrived since. */
    async open({ a, b, missing, runs }) {
      const mine = ++opening;
      const known = sides;
      const own = await fetchSide(a, known?.a);
      const other = b && (b.entry.run === a.entry.run && b.monitor.tag === a.monitor.tag ? own : await fetchSide(b, b.entry.run === a.entry.run ? own : known?.b));
      if (mine !== opening) return;
      const isNew = !known || known.a.run !== own.run || known.a.monitor.tag !== own.monitor.tag;
      sides = { a: own, b: other ?? null, missing, runs: runs.map(({ run }) => run) };
      if (isNew) {
        delete stage.dataset.curves;
        view?.stop?.();
        view = (KINDS[a.monitor.kind]?.create ?? unknownView)(store, pick, { run: a.entry.run, tag: a.monitor.tag });
        body.replaceChildren(view.node);
      }
      await draw();
      drawCurves();
      addCurves(mine).catch((error) => { if (mine === opening) say(`The curves cannot be read: ${short(error.message, 200)}.`); });
    },
    draw,
    curves: () => view && drawCurves(),
    get ready() {
      return sides !== null;
    },
  };
}

function unknownView() {
  const node = el("p", { class: "panel", text: "This monitor is of a kind that this version does not know. Update lightning-explain." });
  return { node, draw() {} };
}
