"""Metrics by tag, table and machine-readable record of an explanation by paths."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from lightning_explain.callbacks.paths.explanation import ALL, MOST_CLASSES, ClassPath, PathExplanation
from lightning_explain.callbacks.paths.path_options import PathOptions, Show
from lightning_explain.log import class_parts, tag
from lightning_explain.paths import PathGraph, Ranked
from lightning_explain.probe import Probe
from lightning_explain.render.words import LONGEST, markdown_safe

TAKEN = (
    "turnover",
    "class_turnover",
    "shown_share",
    "top_paths_share",
    "absorbed_share",
    "effective_units",
    "ablation",
    "ablation_random",
    "class_ablation",
    "overhead",
    "ranking",
)
TABLE_ROWS = 15


def parts_of_classes(explanation: PathExplanation) -> list[str]:
    """Give every class a tag part."""
    return class_parts([found.group.name for found in explanation.classes], taken=(*TAKEN, "record"))


def path_scalars(name: str, explanation: PathExplanation) -> dict[str, float]:
    """Return the metrics by tag, means over the classes; the turnover also by class.

    A class whose score is 0 for every sample has no decision to share out, and is left out of the means.
    """
    classes = explanation.classes
    decided = [found for found in classes if not np.isnan(list(found.effective.values())).all()] or classes
    metrics = {
        tag(name, "shown_share"): _mean(found.graph.shown_share for found in decided),
        tag(name, "top_paths_share"): _mean(found.graph.paths.share for found in decided),
        tag(name, "absorbed_share"): _mean(found.graph.absorbed_share for found in decided),
    }
    effective = {layer: _mean(found.effective[layer] for found in decided) for layer in classes[0].effective}
    # nothing ever flows to an input that is only carried along (token ids, a mask)
    is_any = not np.isnan(list(effective.values())).all()
    metrics |= {
        tag(name, "effective_units", layer): mean
        for layer, mean in effective.items()
        if not (is_any and np.isnan(mean))
    }
    turnovers = {
        part: found.change.turnover
        for part, found in zip(parts_of_classes(explanation), classes, strict=True)
        if found.change is not None
    }
    if turnovers:
        metrics[tag(name, "turnover")] = _mean(turnovers.values())
        # loggers that keep a file for each metric cannot have `turnover` and `turnover/cat`
        metrics |= {tag(name, "class_turnover", part): value for part, value in turnovers.items()}
    return metrics | _ablation_scalars(name, explanation)


def _ablation_scalars(name: str, explanation: PathExplanation) -> dict[str, float]:
    """Return the loss of the scores without the units drawn, and without random ones; empty if it was not measured."""
    parts = zip(parts_of_classes(explanation), explanation.classes, strict=True)
    found = {part: each.ablation for part, each in parts if each.ablation is not None}
    if not found:
        return {}
    lost = {
        tag(name, "ablation"): _mean(each.drawn for each in found.values()),
        tag(name, "ablation_random"): _mean(each.random for each in found.values()),
        **{tag(name, "class_ablation", part): each.drawn for part, each in found.items()},
    }
    return {name: share for name, share in lost.items() if not np.isnan(share)}


def _mean(values: Iterable[float]) -> float:
    """Return the mean of what is defined; NaN where nothing is."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")


def undecided_classes(explanation: PathExplanation) -> list[str]:
    """Name the classes without a decision: their score is 0, so that nothing flows to the input."""
    return [found.group.name for found in explanation.classes if np.isnan(list(found.effective.values())).all()]


def class_graphs(explanation: PathExplanation, show: Show) -> list[dict[str, Any]]:
    """Return the mean graph of each class as plain values that JSON takes, and the samples' where they are drawn."""
    return [
        graph.to_json(title=title["title"], class_name=title["class"], sample=title["sample"])
        for found in explanation.classes[:MOST_CLASSES]
        for title, graph, _ in graph_titles(explanation, found, show)
    ]


def graph_titles(
    explanation: PathExplanation, found: ClassPath, show: Show
) -> list[tuple[dict[str, Any], PathGraph, tuple[int, ...]]]:
    """Return the graphs of a class, each with what it is of and the rows of the probe that it is the mean of."""
    class_name = None if found.group.index is None else found.group.name
    of = ALL if class_name is None else f"class {class_name}"
    title: dict[str, Any] = {"title": of, "class": class_name, "sample": None}
    graphs = [(title, found.graph, found.group.members)]
    if show == "sample":
        row = found.group.members[0]
        graphs.append(({**title, "title": f"sample {row}", "sample": row}, explanation.samples[row], (row,)))
    return graphs


def _ranked(graph: PathGraph, ranked: Sequence[Ranked]) -> list[list[Any]]:
    """Return [layer, unit, contribution, share that reached it], in the order of the expansion."""
    return [
        [graph.layers[r.unit[0]], r.unit[1], float(f"{r.contribution:.4g}"), float(f"{r.share:.4g}")] for r in ranked
    ]


def _paths(graph: PathGraph) -> list[dict[str, Any]]:
    return [
        {"units": [f"{graph.layers[layer]}:{unit}" for layer, unit in path.units], "share": float(f"{path.share:.4g}")}
        for path in graph.paths.paths
    ]


def _class_keys(classes: Sequence[ClassPath]) -> list[str]:
    """Return the classes' names as keys: those that several classes have, with the index."""
    groups = [found.group for found in classes]
    count = Counter(group.name for group in groups)
    return [group.name if count[group.name] == 1 else f"{group.name} (class {group.index})" for group in groups]


def path_record(explanation: PathExplanation, probe: Probe, *, options: PathOptions) -> dict[str, Any]:
    """Return one explanation's graphs, rankings, paths and changes as plain lists."""
    all_named = dict(zip(_class_keys(explanation.classes), explanation.classes, strict=True))
    drawn = dict(islice(all_named.items(), MOST_CLASSES))
    measured = {name: found.ablation.to_json() for name, found in drawn.items() if found.ablation is not None}
    return {
        **({"ablation": measured} if measured else {}),
        "epoch": explanation.epoch,
        "rules": options.rules_name,
        "probe": probe.fingerprint,
        "graphs": class_graphs(explanation, options.show_of(probe)),
        "ranked": {name: _ranked(found.graph, found.graph.ranked) for name, found in drawn.items()},
        "paths": {name: _paths(found.graph) for name, found in drawn.items()},
        "turnover": {name: None if f.change is None else f.change.turnover for name, f in all_named.items()},
        "won": {name: [] if f.change is None else [list(edge) for edge in f.change.won] for name, f in drawn.items()},
        "lost": {name: [] if f.change is None else [list(edge) for edge in f.change.lost] for name, f in drawn.items()},
    }


def _escaped(words: str) -> str:
    return markdown_safe(words, longest=LONGEST)


def _unit_name(found: ClassPath, ranked: Ranked) -> str:
    layer = found.graph.layers[ranked.unit[0]]
    single = {node.unit: node.label for node in found.graph.of_layer(layer) if node.unit is not None}
    return single.get(ranked.unit[1], f"{layer} {ranked.unit[1]}")


def ranking_table(explanation: PathExplanation) -> str:
    """Write the ranked units of each class as markdown: a column for each class, the class itself left out."""
    drawn = explanation.classes[:MOST_CLASSES]
    names = [_escaped(found.group.name) for found in drawn]
    lines = ["| rank | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for rank in range(1, TABLE_ROWS + 1):
        cells: list[str] = []
        for found in drawn:
            ranked = found.graph.ranked[rank] if rank < len(found.graph.ranked) else None
            cells.append(
                "" if ranked is None else _escaped(f"{_unit_name(found, ranked)} ({ranked.contribution:+.2g})")
            )
        lines.append(f"| {rank} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", *_changes(drawn)])


def _changes(drawn: Sequence[ClassPath]) -> list[str]:
    if drawn[0].change is None:
        return []
    lines = ["| class | edges won | lost | kept | turnover |", "|---|---|---|---|---|"]
    for found in drawn:
        change = found.change
        if change is not None:
            counts = f"{len(change.won)} | {len(change.lost)} | {change.n_kept} | {change.turnover:.2f}"
            lines.append(f"| {_escaped(found.group.name)} | {counts} |")
    return lines
