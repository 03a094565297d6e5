"""The words around an attribution monitor's pictures: captions and titles."""

from lightning_explain.callbacks.explanation import Explanation, History
from lightning_explain.callbacks.question import probabilities
from lightning_explain.log import Journal, tag
from lightning_explain.probe import Probe
from lightning_explain.render.colour import Picture
from lightning_explain.render.explanation import explanation_picture, film_frame, film_picture, kind_of
from lightning_explain.render.heatmaps import colour_scale, maps_of
from lightning_explain.schedule import worth_redrawing


def captions(probe: Probe, explanation: Explanation) -> list[str]:
    """Say of each sample what it is and what the model takes it for: `7 (as 1, 63 %)`, `7 (98 %)`."""
    labels, scores = probe.labels, explanation.scores
    if scores.ndim != 2 or scores.shape[1] < 2:
        return [f"output {value:.3g}" for value in scores.flatten().tolist()]
    confidence, predicted = probabilities(scores).max(1)
    words: list[str] = []
    for row, (p, c) in enumerate(zip(confidence.tolist(), predicted.tolist(), strict=True)):
        share = f"{p:.0%}".replace("%", " %")
        if labels is None:
            words.append(f"as {probe.class_name(c)}, {share}")
        elif c == int(labels[row]):
            words.append(f"{probe.class_name(c)} ({share})")
        else:
            words.append(f"{probe.class_name(int(labels[row]))} (as {probe.class_name(c)}, {share})")
    return words


def group_names(probe: Probe) -> list[str]:
    """Name the groups that samples are averaged over: the probe's classes, or all samples together."""
    labels = probe.labels
    return ["all samples"] if labels is None else [probe.class_name(c) for c in labels.unique().tolist()]


def _moment(step: int, epoch: int, count: int) -> str:
    return "before training" if count == 1 and step == 0 else f"in epoch {epoch}, at step {step:,}"


def heatmaps(
    probe: Probe, explanation: Explanation, history: History, *, method: str, epoch: int, trust: str
) -> Picture | None:
    """Draw the explanation; None where the probe's form has no picture."""
    inputs, values = probe.parts[0], explanation.attribution.parts[0]
    if kind_of(inputs) is None:
        return None
    if kind_of(inputs) == "image":
        history.scale = max(history.scale, colour_scale(maps_of(values)))
    reading = "Over each pair: label (confidence)." if kind_of(inputs) == "image" else "Bars: means; points: samples."
    title = f"What the network looks at {_moment(explanation.step, epoch, history.count)}. {method}. {reading} {trust}"
    return explanation_picture(
        inputs,
        values,
        labels=probe.labels,
        captions=captions(probe, explanation),
        group_names=group_names(probe),
        feature_names=probe.feature_names,
        scale=history.scale,
        title=title,
    )


def _short(step: int) -> str:
    """Write a step in at most four letters: 629, 1.2k, 13k, 2M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if step >= size:
            return f"{step / size:.1f}{letter}" if step < 10 * size else f"{step // size}{letter}"
    return str(step)


def filmstrip(probe: Probe, history: History, *, method: str) -> Picture:
    """Draw the explanations over time."""
    labels = probe.labels
    row_names = ["" for _ in range(len(probe))] if labels is None else [probe.class_name(c) for c in labels.tolist()]
    return film_picture(
        probe.parts[0],
        [maps for _, maps in history.film],
        labels=labels,
        column_names=["start" if step == 0 else _short(step) for step, _ in history.film],
        row_names=row_names,
        group_names=group_names(probe),
        feature_names=probe.feature_names,
        title=(
            f"How the explanation forms: one column per explanation, named by training step. {method}. One colour "
            "scale for all: before a network has learnt, its scores are small and its maps pale."
        ),
    )


def log_pictures(
    journal: Journal,
    name: str,
    probe: Probe,
    explanation: Explanation,
    history: History,
    *,
    method: str,
    epoch: int,
    trust: str,
) -> None:
    """Draw and log the heatmaps, and the filmstrip when it has grown enough."""
    inputs = probe.parts[0]
    if not journal.shows_pictures or kind_of(inputs) is None:
        return
    history.add_film(explanation.step, film_frame(explanation.attribution.parts[0], probe.labels))
    picture = heatmaps(probe, explanation, history, method=method, epoch=epoch, trust=trust)
    if picture is not None:
        journal.image(tag(name, "heatmaps"), picture)
    if worth_redrawing(history.count):
        log_filmstrip(journal, name, probe, history, method=method)


def log_filmstrip(journal: Journal, name: str, probe: Probe, history: History, *, method: str) -> None:
    """Draw and log the filmstrip as it is."""
    if journal.shows_pictures and history.film:
        journal.image(tag(name, "filmstrip"), filmstrip(probe, history, method=method))
