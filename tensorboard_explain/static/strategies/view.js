// The view of strategies: the ways in which a class is decided at A and B, each sample a point, and those selected.

import { chart } from "../chart.js";
import { list, mapping, number } from "../checked.js";
import { classColour, classDash } from "../colours.js";
import { count, el, labelled, options, panel, percent, short } from "../dom.js";
import { modalityOf } from "../modality.js";
import { runName } from "../sides/chosen.js";
import { className, valuesAt } from "../views/sample_card.js";
import { strategyCard } from "./card.js";
import { sampleOf, understood } from "./read.js";
import { scatter } from "./scatter.js";

const [TYPICAL, MOST_SHOWN, MOST_PLACES] = [4, 24, 400];

const hasSeveral = (one) => one.strategies.length > 1;
const nameOf = (at, one) => one.name || className(at.header.classNames, one.c);

/** The class that the state names, else the first, which is one of several strategies if there is any. */
const chosenClass = (at, state) => at.classes.find(({ c }) => String(c) === state.class) ?? at.classes[0];

/** The same class of another record, which may number it otherwise. */
const classLike = (at, one, name, otherRun) => at.classes.find((each) => (otherRun ? nameOf(at, each) === name : each.c === one.c)) ?? null;

/** Say whether a sample is recognised; null where nobody knows. */
const verdict = ({ labels, predicted }, row) => (labels && predicted ? labels[row] === predicted[row] : null);

function accuracyWords(at, one, rows) {
  const inside = new Set(rows);
  const known = one.samples.filter(({ row }) => verdict(at.header, row) !== null);
  if (!known.length || !rows.length) return "";
  const share = (part) => (part.length ? `${percent(part.filter(({ row }) => verdict(at.header, row)).length / part.length)} of ${count(part.length)}` : "–");
  const [own, others] = [known.filter(({ row }) => inside.has(row)), known.filter(({ row }) => !inside.has(row))];
  return `Accuracy: ${share(own)} selected, ${share(others)} others.`;
}

/** What is said of a class at a step. */
function classWords(at, one, where) {
  const n = one.strategies.length;
  const shares = hasSeveral(one) ? ` (${one.strategies.map(({ share }) => percent(share)).join(", ")}; chance of as clear a gap ${one.p < 0.0001 ? "below 0.0001" : String(one.p)})` : "";
  return `${where}${n} ${n === 1 ? "strategy" : "strategies"} in ${count(one.samples.length)} samples${shares}.${one.caveat ? ` ${short(one.caveat, 200)}.` : ""}`;
}

/** The curves of the share that does not follow the largest strategy, or of the number of strategies. */
function seriesOf(points, state, names, place) {
  const found = points.filter((p) => Object.keys(mapping(p.curve.strategies)).length);
  const classes = [...new Set(found.flatMap((p) => Object.keys(mapping(p.curve.strategies))))].sort((a, b) => a - b);
  return classes.map((c) => ({
    name: names.get(Number(c)) ?? `class ${c}`, colour: classColour(Number(c)), dash: classDash(Number(c)), bold: state.class === c, faint: state.class !== "" && state.class !== c,
    points: found.map((p) => ({ x: p.step, y: number(list(mapping(p.curve.strategies)[c])[place]), ...(typeof p.curve.alert === "string" && place === 1 && number(list(mapping(p.curve.strategies)[c])[1]) > 0 ? { marked: `alert: ${p.curve.alert}`, loud: true } : {}) })),
  }));
}

/** Make the view. */
export function strategiesView(store, onPick) {
  const ofClass = el("select", { on: { change: () => { selected = new Set(); store.set({ class: ofClass.value, strategy: "", sample: "" }); } } });
  const [note, plots, cards, legend] = [el("p", { class: "note", role: "status" }), el("div", { class: "scatters" }), el("div"), el("div")];
  const [chosenWords, places, shown] = [el("p", { class: "note", role: "status" }), el("div"), el("div")];
  const clear = el("button", { type: "button", on: { click: () => choose([]) } }, "✕ Clear the selection");
  const charts = el("div", { class: "charts" });
  const node = el("div", { class: "view strategies" },
    panel("Strategies of a class", "main", el("div", { class: "controls" }, labelled("Class", ofClass), legend), note,
      plots, el("p", { class: "note", text: "A point is a sample, near those whose maps are alike; hollow: not recognised. Drag over points to select them (with Shift: more of them), or use the arrow keys and Enter." }),
      cards, el("h3", { class: "run-title", text: "Samples" }), el("div", { class: "controls" }, chosenWords, clear), places, shown),
    el("div", { class: "side" }, el("section", { class: "panel", "aria-label": "Strategies over time" }, charts)));
  let selected = new Set();
  let again = () => {};
  let kind = null; // {module, drawings: by group}
  let drawn = [];
  let cursor = [NaN, NaN];

  function choose(rows, isAdded = false) {
    const next = new Set(isAdded ? selected : []);
    for (const row of rows) if (!(isAdded && rows.length === 1 && next.delete(row))) next.add(row);
    selected = next;
    if (store.get().strategy !== "" || store.get().sample !== "") store.set({ strategy: "", sample: "" });
    else again();
  }

  const drawingOf = (key) => {
    if (!kind.drawings.has(key)) kind.drawings.set(key, kind.module.create((row) => store.set({ sample: store.get().sample === String(row) ? "" : String(row) })));
    return kind.drawings.get(key);
  };

  /** Draw the samples that are selected, or the most typical ones, strategy by strategy. */
  function drawSamples(state, { a, b, one, sample, full }) {
    const rows = [...selected];
    const alone = state.sample !== "" && one.known.has(Number(state.sample)) ? Number(state.sample) : -1;
    const groups = one.strategies.map((strategy, k) => {
      const own = strategy.members.filter((row) => (selected.size ? selected.has(row) : true));
      return { key: String(k), title: `Strategy ${k + 1}${selected.size ? `: ${own.length} selected` : ": the most typical"}`, rows: own.slice(0, selected.size ? MOST_SHOWN : TYPICAL), n: own.length };
    });
    const given = alone >= 0 ? [{ key: "alone", title: "", rows: [alone], n: 1 }] : groups;
    const parts = given.filter((group) => group.rows.length).map((group) => {
      const held = group.rows.filter((row) => valuesAt(a, row) || sample?.header.places.has(row));
      const grid = el("div", { class: "cards" });
      if (held.length) drawingOf(group.key).draw(grid, a, b, { probe: sample, positions: held, full, large: alone >= 0, state: { ...state, sample: alone >= 0 ? String(alone) : "" } });
      const left = selected.size ? group.n - held.length : 0;
      return el("section", { class: "strategy-samples", "aria-label": short(group.title, 60) || "One sample" }, group.title && el("h4", { text: group.title }), grid, left > 0 && el("p", { class: "note", text: `${count(left)} more are not shown.` }));
    });
    shown.replaceChildren(...parts);
    clear.hidden = !selected.size && alone < 0;
    chosenWords.textContent = selected.size ? `${count(rows.length)} of ${count(one.samples.length)} selected. ${accuracyWords(a, one, rows)}` : "Nothing is selected: the most typical samples of each strategy.";
    const known = sample?.indices ? rows.map((row) => sample.indices[row]).filter((i) => i >= 0).sort((x, y) => x - y) : [];
    places.replaceChildren(...(known.length ? [el("details", {}, el("summary", { text: `Places of the ${count(known.length)} selected in the data set` }), el("code", { text: `${known.slice(0, MOST_PLACES).join(", ")}${known.length > MOST_PLACES ? ", …" : ""}` }))] : []));
  }

  function plotOf(at, one, { letter, label, isSelectable }) {
    return scatter(one, {
      letter, label, selected: isSelectable ? selected : new Set(), select: isSelectable ? choose : () => {},
      verdictOf: (row) => verdict(at.header, row), nameOf: (row) => `sample ${row + 1}`,
    });
  }

  /** Draw A and B. */
  function draw(state, sides) {
    const { a: sideA, b: sideB, otherRun } = sides;
    const [a, b] = [understood(sideA.record), understood(sideB?.record)];
    if (!a.classes.length) throw new Error("it holds no class");
    const one = chosenClass(a, state);
    options(ofClass, a.classes.map((each) => [String(each.c), `${nameOf(a, each)}${hasSeveral(each) ? ` (${each.strategies.length} strategies)` : ""}`]), String(one.c));
    const other = b && classLike(b, one, nameOf(a, one), otherRun);
    const same = Boolean(b && a.header.probe && a.header.probe === b.header.probe);
    if (state.strategy !== "") selected = new Set(one.strategies[Number(state.strategy) - 1]?.members ?? []);
    selected = new Set([...selected].filter((row) => one.known.has(row)));
    const where = (letter, side) => `${letter}${otherRun ? ` (${runName(side.run)})` : ""}, step ${count(side.step)}: `;
    note.replaceChildren([classWords(a, one, b ? where("A", sideA) : ""), other && classWords(other === null ? b : b, other, where("B", sideB)),
      b && !other && "B has no samples of this class.", b && !same && "The samples differ, so each point is of its own side and only those of A can be selected.",
      a.nClasses > a.classes.length && `${count(a.nClasses - a.classes.length)} more classes are not in this record.`,
      a.trouble && `A picture could not be read: ${short(a.trouble, 200)}.`].filter(Boolean).join(" "));
    const label = `${nameOf(a, one)}: samples by their maps (${short(a.method?.name ?? "", 60)})`;
    const focused = plots.contains(document.activeElement) ? [...plots.children].findIndex((each) => each.contains(document.activeElement)) : -1;
    const row = focused >= 0 ? document.activeElement.dataset?.row : null;
    plots.replaceChildren(plotOf(a, one, { letter: b ? "A" : "", label: short(label, 120), isSelectable: true }), ...(other ? [plotOf(b, other, { letter: "B", label: short(label, 120), isSelectable: same })] : []));
    plots.children[focused]?.querySelector(`[data-row="${row}"]`)?.focus({ preventScroll: true });
    const pick = (k) => { selected = new Set(); store.set({ strategy: state.strategy === String(k + 1) ? "" : String(k + 1), sample: "" }); };
    const cardsOf = (at, each, letter) => el("div", { class: "strategy-cards" }, ...each.strategies.map((_, k) => strategyCard(at, each, k, {
      letter, isPressed: letter !== "B" && state.strategy === String(k + 1),
      onPick: () => (letter === "B" ? (same ? choose(each.strategies[k].members.filter((r) => one.known.has(r))) : null) : pick(k)),
    })));
    const headOf = (letter, side) => el("h3", {}, el("span", { class: `step-letter ${letter.toLowerCase()}`, text: letter }), ` Strategies at step ${count(side.step)}`);
    cards.replaceChildren(...(other ? [headOf("A", sideA)] : []), cardsOf(a, one, b ? "A" : ""), ...(other ? [headOf("B", sideB), cardsOf(b, other, "B")] : []));
    const scale = Number.isFinite(a.method?.full) ? Math.max(a.method.full, b?.method?.full || 0) : null;
    legend.replaceChildren(drawingOf("0").legend(scale, a.header.unit, same));
    drawSamples(state, { a, b: same ? b : null, one, sample: sampleOf(sideA.probe), full: scale });
    again = () => draw(store.get(), sides);
    const missing = [];
    if (state.class !== "" && String(one.c) !== state.class) missing.push(`There is no class ${short(state.class, 20)} in this record; this is ${short(nameOf(a, one), 60)}.`);
    if (state.strategy !== "" && !one.strategies[Number(state.strategy) - 1]) missing.push(`There is no strategy ${short(state.strategy, 20)} of ${short(nameOf(a, one), 60)} at A.`);
    return missing;
  }

  return {
    node,
    draw,
    /** Load what draws this kind of input; the returned function puts it to use. */
    async prepare(loaded) {
      const module = await modalityOf(loaded?.header);
      if (!module) throw new Error("nothing draws this kind of input");
      return () => { if (kind?.module !== module) kind = { module, drawings: new Map() }; };
    },
    curves(state, { points, names, steps, other }) {
      const made = [["Share of samples that do not follow the largest strategy", "share", 1, [0, 1]], ["Number of strategies", "strategies", 0, null]].map(([title, unit, place, range]) => chart({
        title, unit, range, steps, onPick,
        series: [...seriesOf(points, state, names, place), ...(other ? seriesOf(other.points, state, other.names, place).filter((s) => s.bold).map((s) => ({ ...s, name: `B, ${runName(other.run)}: ${s.name}`, dash: "5 3", colour: "var(--b)" })) : [])],
        empty: "Nothing is known of it yet.",
      }));
      drawn = made;
      charts.replaceChildren(...made.map((each) => each.node));
      for (const each of made) each.cursors(...cursor);
    },
    cursors(a, b) {
      cursor = [a, b];
      for (const each of drawn) each.cursors(a, b);
    },
  };
}
