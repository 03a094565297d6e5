"""The words and inputs around a path monitor's pictures."""

from collections.abc import Collection, Sequence
from hashlib import sha256
from typing import Any

from lightning_explain.callbacks.base.forward import probabilities
from lightning_explain.callbacks.paths.explanation import MOST_CLASSES, Group, PathExplanation
from lightning_explain.callbacks.paths.path_history import PathHistory
from lightning_explain.callbacks.paths.path_options import PathOptions
from lightning_explain.callbacks.paths.record import parts_of_classes
from lightning_explain.callbacks.paths.shown_input import shown_input
from lightning_explain.paths import Ablation, PathGraph
from lightning_explain.probe import Probe
from lightning_explain.render.colour import Picture
from lightning_explain.render.paths import path_picture, percent, picture_content

NOTABLE = 0.005
"""Share of biases that is worth a sentence."""

LEAST_SAID = 0.001


def _output_lines(explanation: PathExplanation, group: Group, graph: PathGraph, rows: Sequence[int]) -> list[str]:
    scores = explanation.scores
    if not group.has_output:
        return ["output", f"{graph.output:.3g}"]
    lines = [group.name, f"score {graph.output:.3g}"]
    if scores.ndim == 2 and scores.shape[1] > 1:
        lines.append(f"p {percent(float(probabilities(scores)[list(rows), group.index].mean()))}")
    return lines


def _title(graph: PathGraph, group: Group, rows: Sequence[int], moment: str, rules: str) -> str:
    of = group.name if group.has_output else "the output"
    whose = "" if group.index is None else f" for samples of class {group.name}"
    subject = f"it {of}" if group.has_output else f"{of}{whose}"
    samples = f"sample {rows[0]} of the probe" if len(rows) == 1 else f"mean of {len(rows)} samples"
    signs = f"Red speaks for {of}, blue against it" if group.has_output else "Red raises the output, blue lowers it"
    words = [f"What makes {subject}{moment} ({samples}; {rules})."]
    if graph.is_spread:
        few = percent(max(graph.shown_share, LEAST_SAID))
        words += [
            f"No few ways carry it (the strongest units: {few}), so units are ranked by the share that passes each."
        ]
    else:
        words += [f"The ways drawn carry {percent(graph.shown_share)} of what comes from the input."]
        if sum(len(block.layers) for block in graph.blocks) < len(graph.layers):
            words += ["They pass through layers that are not shown."]
    words.append(f"{signs}.")
    if graph.absorbed_share >= NOTABLE:
        words.append(f"{percent(graph.absorbed_share)} of the decision comes from biases.")
    return " ".join(words)


def ablation_words(ablation: Ablation, *, is_mean: bool) -> str:
    """Describe the loss of a class's score without the units of its mean path."""
    which = "the units drawn" if is_mean else "the units of its class's mean path"
    return (
        f"Without {which} the score loses {_signed_percent(ablation.drawn)} ({ablation.n_units} set to their mean), "
        f"without as many random ones {_signed_percent(ablation.random)}."
    )


def _signed_percent(share: float) -> str:
    return f"{'-' if share < 0 else ''}{percent(abs(share))}"


def _words_of(
    explanation: PathExplanation, probe: Probe, history: PathHistory, *, place: int, options: PathOptions, moment: str
) -> tuple[dict[str, Any], tuple[int, ...]]:
    """Return the graph of a class's picture with the words in it, and the rows of the probe that it is of."""
    found = explanation.classes[place]
    graph, rows = explanation.drawn(found, options.show_of(probe))
    lost = "" if found.ablation is None else ablation_words(found.ablation, is_mean=graph is found.graph)
    title = _title(graph, found.group, rows, moment, options.rules_name)
    words = {
        "graph": graph,
        "title": " ".join(part for part in (title, lost, history.caveat) if part),
        "output_lines": _output_lines(explanation, found.group, graph, rows),
        "slots": history.slots[place],
    }
    return words, rows


def picture_of(
    explanation: PathExplanation, probe: Probe, history: PathHistory, *, place: int, options: PathOptions
) -> Picture:
    """Draw the mean path of a class, or that of its first sample.

    Args:
        explanation: The explanation.
        probe: The probe.
        history: Knows the places of the units.
        place: Place of the class in the explanation.
        options: The options of the monitor.
    """
    in_epoch = f", in epoch {explanation.epoch}, at step {explanation.step:,}"
    moment = ", before training" if explanation.epoch is None else in_epoch
    words, rows = _words_of(explanation, probe, history, place=place, options=options, moment=moment)
    return path_picture(**words, shown=shown_input(explanation, probe, rows))


def content_of(
    explanation: PathExplanation, probe: Probe, history: PathHistory, *, place: int, options: PathOptions
) -> str:
    """Return a digest of what `picture_of` would draw, but for the moment: equal ones look the same.

    Args:
        explanation: As in `picture_of`, like the others.
        probe: The probe.
        history: Knows the places of the units.
        place: Place of the class in the explanation.
        options: The options of the monitor.
    """
    words, rows = _words_of(explanation, probe, history, place=place, options=options, moment="")
    return sha256(repr((picture_content(**words), probe.fingerprint, rows)).encode()).hexdigest()


def path_contents(
    explanation: PathExplanation, probe: Probe, history: PathHistory, options: PathOptions, *, most: int
) -> dict[str, str]:
    """Return the digests of the pictures of the first classes: tag part -> digest, as `path_pictures` has them."""
    return {
        part: content_of(explanation, probe, history, place=place, options=options)
        for place, part in enumerate(parts_of_classes(explanation)[:most])
    }


def path_pictures(
    explanation: PathExplanation,
    probe: Probe,
    history: PathHistory,
    options: PathOptions,
    *,
    wanted: Collection[str] | None = None,
) -> dict[str, Picture]:
    """Draw the path of each class, of the first ones or those wanted: tag part -> picture."""
    parts = parts_of_classes(explanation)[:MOST_CLASSES]
    return {
        part: picture_of(explanation, probe, history, place=place, options=options)
        for place, part in enumerate(parts)
        if wanted is None or part in wanted
    }
