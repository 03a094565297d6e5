"""The strongest features of every sample by name, for the record: what the pictures show, for machines."""

from typing import Any

from torch import Tensor

from lightning_explain.attribution.result import Attribution, flat
from lightning_explain.render.shown_inputs import Shown, is_of_units
from lightning_explain.render.signals import lanes_of

N_STRONGEST = 8
MOST_SAMPLES = 100
"""Samples of a probe whose features are listed; the sums are of all."""

Named = list[list[Any]]


def _number(value: float) -> float:
    return float(f"{value:.4g}")


def _top(values: Tensor) -> list[int]:
    """Return the places of the strongest values, those of 0 left out, the strongest first."""
    top = values.abs().topk(min(N_STRONGEST, len(values)))
    return [place for place, size in zip(top.indices.tolist(), top.values.tolist(), strict=True) if size > 0]


def _tokens(shown: Shown, values: Tensor, row: int) -> Named:
    """Return [place, word, value]: places count from 0, padding included."""
    places = shown.places(row)
    chosen = [places[i] for i in _top(values[row, places])]
    return [[place, shown.word(row, place), _number(float(values[row, place]))] for place in chosen]


def _features(shown: Shown, values: Tensor, row: int) -> Named:
    """Return [name, value]."""
    own = values[row].flatten()
    names = shown.feature_names
    return [[names[i] if names else f"feature {i}", _number(float(own[i]))] for i in _top(own)]


def _moments(values: Tensor, row: int) -> Named:
    """Return [channel, time step, value]."""
    lanes = lanes_of(values)[row]
    return [
        [place // lanes.shape[1], place % lanes.shape[1], _number(float(lanes.flatten()[place]))]
        for place in _top(lanes.flatten())
    ]


def _strongest(shown: Shown, values: Tensor, row: int) -> Named:
    if is_of_units(shown, values):
        return [[f"unit {i}", _number(float(values[row, i]))] for i in _top(values[row])]
    if shown.form == "tokens":
        return _tokens(shown, values, row)
    return _features(shown, values, row) if shown.form == "table" else _moments(values, row)


def input_records(attribution: Attribution, inputs: list[Shown]) -> list[dict[str, Any]]:
    """Describe what an explanation says of each input: its sums, and the strongest features by name.

    Args:
        attribution: The explanation.
        inputs: The explained inputs.

    Returns:
        For each input `name`, `form`, `shape` of a sample, `total_attribution` (sum of absolute values, by sample),
        `sum` (signed), and, except for images, `strongest`: of at most 100 samples the eight strongest features,
        each as [name, value] (tables, units of a layer), [place, word, value] (tokens) or [channel, time step, value]
        (signals).
    """
    records: list[dict[str, Any]] = []
    for shown in inputs:
        values = attribution.parts[shown.index].float()
        rows = flat(values)
        record: dict[str, Any] = {
            "name": shown.name,
            "form": shown.form,
            "shape": list(values.shape[1:]),
            "total_attribution": [_number(value) for value in rows.abs().sum(1).tolist()],
            "sum": [_number(value) for value in rows.sum(1).tolist()],
        }
        if shown.form in ("table", "signal", "tokens") or is_of_units(shown, values):
            record["strongest"] = [_strongest(shown, values, row) for row in range(min(len(values), MOST_SAMPLES))]
        records.append(record)
    return records
