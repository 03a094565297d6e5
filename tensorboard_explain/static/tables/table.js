// A table that is sorted by a click on the head of a column, and says how many of its rows are shown.

import { count, el } from "../dom.js";

const compared = (one, other) => {
  if (typeof one === "string" || typeof other === "string") return String(one).localeCompare(String(other), undefined, { numeric: true });
  const [x, y] = [one, other].map((v) => (Number.isFinite(v) ? v : -Infinity));
  return x === y ? 0 : x - y;
};

/**
 * Make a table.
 *
 * columns: [{key, words, value(row), cell(row), isName, small}]; `value` is sorted by, `cell` is a node or words; names
 * begin upwards, numbers with the largest. `order` = {key, down} is changed by clicks, and may be shared by several tables:
 * `onOrder` is called then. At most `most` rows are shown until the reader asks for all; `what` names them.
 * Returns {node, update(rows)}.
 */
export function createTable({ label, what, columns, most = Infinity, order, className = "", rowClass = () => "", onOrder = null }) {
  const state = { rows: [], columns, all: false };
  const head = el("tr", {});
  const body = el("tbody", {});
  const said = el("span", { class: "shown-of" });
  const more = el("button", { type: "button", on: { click: () => { state.all = !state.all; draw(); } } });
  const foot = el("p", { class: "table-foot" }, said, more);
  const table = el("table", { class: className, "aria-label": label }, el("thead", {}, head), body);
  const node = el("div", { class: "table-block" }, el("div", { class: "scroll" }, table), foot);

  const sortBy = (column) => {
    const same = order.key === column.key;
    order.down = same ? !order.down : !column.isName;
    order.key = column.key;
    if (onOrder) onOrder();
    else draw();
    [...head.children][state.columns.indexOf(column)]?.querySelector("button")?.focus();
  };

  const headCell = (column) => {
    const on = order.key === column.key;
    const arrow = el("span", { class: "arrow", "aria-hidden": "true", text: on ? (order.down ? "▾" : "▴") : "" });
    return el("th", { scope: "col", class: column.isName ? "is-name" : "", "aria-sort": on ? (order.down ? "descending" : "ascending") : undefined },
      column.value ? el("button", { type: "button", class: "sort", title: `sort by ${column.words}`, on: { click: () => sortBy(column) } }, column.words, arrow) : column.words || el("span", { class: "unseen", text: "value" }));
  };

  function draw() {
    const by = state.columns.find(({ key }) => key === order.key);
    const sorted = by?.value ? state.rows.map((row, i) => [row, by.value(row), i]).sort((one, other) => (order.down ? -1 : 1) * compared(one[1], other[1]) || one[2] - other[2]).map(([row]) => row) : state.rows;
    const shown = state.all ? sorted : sorted.slice(0, most);
    head.replaceChildren(...state.columns.map(headCell));
    body.replaceChildren(...shown.map((row) => el("tr", { class: rowClass(row) }, ...state.columns.map((column) =>
      (column.isName ? el("th", { scope: "row" }, column.cell(row)) : el("td", { class: column.small ?? "" }, column.cell(row)))))));
    const cut = state.rows.length > most;
    foot.hidden = !cut;
    said.textContent = `${count(shown.length)} of ${count(state.rows.length)} ${what}`;
    more.textContent = state.all ? "Show fewer" : "Show all";
  }

  return {
    node,
    update(rows, own = columns) {
      Object.assign(state, { rows, columns: own });
      draw();
    },
  };
}
