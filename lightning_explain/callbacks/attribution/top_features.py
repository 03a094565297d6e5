"""The strongest features of every sample by name, for the record: what the pictures show, for machines."""

from typing import Any

from lightning_explain.attribution.result import Attribution, flat
from lightning_explain.render.modalities import drawn_as, modality_of
from lightning_explain.render.modality import Named, Shown, rounded

MOST_SAMPLES = 100
"""Samples of a probe whose features are listed; the sums are of all."""


def input_records(attribution: Attribution, inputs: list[Shown]) -> list[dict[str, Any]]:
    """Return a row for each input: its sums, and its top features by name.

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
            "total_attribution": [rounded(value) for value in rows.abs().sum(1).tolist()],
            "sum": [rounded(value) for value in rows.sum(1).tolist()],
        }
        drawn = drawn_as(shown, values)
        if drawn.form is not None:
            listed = [
                modality_of(drawn).top_features(drawn, values, row) for row in range(min(len(values), MOST_SAMPLES))
            ]
            named: list[Named] = [features for features in listed if features is not None]
            record |= {"strongest": named} if named else {}
        records.append(record)
    return records
