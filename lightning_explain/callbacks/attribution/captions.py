"""Captions of a probe's samples: the label of each, and the model's prediction."""

import torch
from torch import Tensor

from lightning_explain.attribution.scores import explained_score
from lightning_explain.attribution.traits import traits_of
from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.methods import Methods
from lightning_explain.callbacks.base.forward import probabilities
from lightning_explain.probe import Probe
from lightning_explain.render.modality import Shown
from lightning_explain.render.shown_inputs import check_shown, shown_inputs


def is_multi_label(probe: Probe) -> bool:
    """Return True if classes do not exclude each other: as the display says, or the targets show."""
    if probe.display is not None and probe.display.multi_label:
        return True
    targets = probe.targets
    if targets is None or probe.labels is not None or targets.ndim != 2 or targets.shape[1] < 2:
        return False
    return bool(((targets == 0) | (targets == 1)).all())


def independent_confidence(probe: Probe, explanation: Explanation) -> Tensor | None:
    """Return the probability of each sample's explained class alone [batch]; None for exclusive classes."""
    scores, target = explanation.scores, explanation.target
    if target is None or scores.ndim != 2 or not is_multi_label(probe):
        return None
    return torch.sigmoid(explained_score(scores.float(), target))


def captions(probe: Probe, explanation: Explanation) -> list[str]:
    """Return the caption of each sample, label and prediction: `7 (as 1, 63 %)`, `7 (98 %)`, `1: -0.3`.

    Where the first method subtracts the score of another class, it is named too: `7 (98 %) vs 1`.
    """
    words, against = _predictions(probe, explanation), explanation.contrast
    if against is None:
        return words
    return [f"{said} vs {probe.class_name(c)}" for said, c in zip(words, against.tolist(), strict=True)]


def _predictions(probe: Probe, explanation: Explanation) -> list[str]:
    labels, scores = probe.labels, explanation.scores
    if scores.ndim != 2 or scores.shape[1] < 2:
        values = scores.flatten().tolist()
        if labels is None or len(values) != len(labels):
            return [f"output {value:.3g}" for value in values]
        return [f"{probe.class_name(c)}: {value:.3g}" for c, value in zip(labels.tolist(), values, strict=True)]
    alone = independent_confidence(probe, explanation)
    if alone is not None and explanation.target is not None:
        return [
            f"{probe.class_name(c)} ({_percent(share)})"
            for c, share in zip(explanation.target.tolist(), alone.tolist(), strict=True)
        ]
    confidence, predicted = probabilities(scores).max(1)
    words: list[str] = []
    for row, (p, c) in enumerate(zip(confidence.tolist(), predicted.tolist(), strict=True)):
        share = _percent(p)
        if labels is None:
            words.append(f"as {probe.class_name(c)}, {share}")
        elif c == int(labels[row]):
            words.append(f"{probe.class_name(c)} ({share})")
        else:
            words.append(f"{probe.class_name(int(labels[row]))} (as {probe.class_name(c)}, {share})")
    return words


def _percent(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def group_names(probe: Probe) -> list[str]:
    """Name the groups that samples are averaged over: the probe's classes, or all samples together."""
    labels = probe.labels
    return ["all samples"] if labels is None else [probe.class_name(c) for c in labels.unique().tolist()]


def explained_inputs(probe: Probe, methods: Methods) -> list[Shown]:
    """List the probe's inputs that these methods explain."""
    return shown_inputs(probe, explains_tokens=_explains_tokens(methods))


def check_kinds(probe: Probe, methods: Methods) -> None:
    """Refuse a probe with an input that cannot be of the kind that it is declared to be.

    Raises:
        ConfigurationError: As said.
    """
    check_shown(probe, explains_tokens=_explains_tokens(methods))


def _explains_tokens(methods: Methods) -> bool:
    return any(traits_of(method).accepts_integers is not False for method in methods.values())
