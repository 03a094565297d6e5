"""Check of a module's output for a probe: can it hold scores of the classes that the labels name."""

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.batch_demands import MOVED
from lightning_explain.attribution.contrast import Contrast
from lightning_explain.callbacks.base.contrast_choice import check_contrasts
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import TRIED, Question, undisturbed, with_graph
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.base.output_choice import explained_targets
from lightning_explain.callbacks.class_scores.class_metrics import MANY
from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe

NO_SCORES = "outputs that may be no class scores"
"""The subject of warnings of an embedding that is explained."""


def n_classes_of(probe: Probe) -> int | None:
    """Return the number of classes that a probe knows: by names, or by its largest label; None without labels."""
    labels = probe.labels
    if labels is None:
        return None
    return len(probe.class_names) or int(labels.max()) + 1


def _knows_all_classes(probe: Probe) -> bool:
    """Return True if a probe's classes may be all there are: named, or several without a gap, not a hand-picked few."""
    labels = probe.labels
    if labels is None:
        return False
    met = labels.unique()
    return bool(probe.class_names) or (len(met) > 1 and len(met) == int(met.max()) + 1)


def settle_output(question: Question, pl_module: Any, inputs: tuple[Tensor, ...], probe: Probe, guard: Guard) -> None:
    """Find out once a fit which tensor holds the scores, where the module returns several; say which is taken.

    Args:
        question: How the explained function is reached; it keeps what is found.
        pl_module: The module.
        inputs: The probe's inputs on the module's device.
        probe: The probe.
        guard: For saying so.
    """
    if question.choice.is_settled:
        return
    said = question.settle(pl_module, inputs, n_classes_of(probe))
    if said:
        guard.note(said)


def output_words(probe: Probe, scores: Tensor) -> str:
    """Describe outputs that outnumber the classes; empty where they do not.

    Args:
        probe: The probe.
        scores: What the module returns for it.

    Raises:
        ConfigurationError: There are as many outputs as input values, as an autoencoder has, and fewer classes.
    """
    n_classes = n_classes_of(probe)
    if n_classes is None or scores.ndim != 2 or scores.shape[1] in (1, n_classes) or not _knows_all_classes(probe):
        return ""
    n_outputs = scores.shape[1]
    if n_outputs in [part[0].numel() for part in probe.parts]:
        raise ConfigurationError(
            f"The model returns {n_outputs} values for each sample, as many as its input has, while the labels name "
            f"{n_classes} classes: does it rebuild its input? Then no output belongs to a label. Choose what is "
            "explained with output=, e.g. output=lambda out: out.mean(1), or forward_fn=lambda module, x: "
            "module.head(module.encoder(x)); if these are class scores, say so with output=lambda out: out."
        )
    if n_outputs > MANY * n_classes:
        return (
            f"the model has {n_outputs} outputs, while labels go up to {n_classes - 1}; output i is explained for "
            "class i. If its outputs are no class scores (an embedding, say), choose what is explained with output= or "
            "forward_fn=."
        )
    return ""


def check_rows(question: Question, pl_module: Any, inputs: tuple[Tensor, ...], scores: Tensor) -> None:
    """Refuse a module that does not return a row of scores for each sample, such as one that takes time first.

    As many rows as samples may be a coincidence of sizes, so two samples are tried as well; a module that takes no
    other batch size than its own is left alone.

    Args:
        question: How the explained function is reached.
        pl_module: The module, isolated.
        inputs: The probe's inputs.
        scores: Its scores for them.

    Raises:
        ConfigurationError: There are more rows or fewer.
    """
    n_samples, n_rows, shape = len(inputs[0]), len(scores), list(scores.shape)
    if n_rows == n_samples > 2:
        with suppress(Exception):
            fewer = question.scores(pl_module)(*(part[:2].clone() for part in inputs))
            n_samples, n_rows, shape = 2, len(fewer), list(fewer.shape)
    if n_rows != n_samples:
        raise ConfigurationError(
            f"The model returns scores of shape {shape} for {n_samples} samples of the probe; expected a row for each, "
            f"[{n_samples}, classes]. If it takes samples along the second dimension (time first), give "
            "forward_fn=lambda module, x: module(x.transpose(0, 1)), and where batches hold them so, "
            "input=lambda batch: batch[0].transpose(0, 1); if it returns them there, output=lambda scores: "
            "scores.transpose(0, 1)."
        )


def gradient_mode_words(question: Question, pl_module: Any, inputs: tuple[Tensor, ...]) -> str:
    """Describe a module whose scores differ where gradients are taken; empty if they do not, or are random anyway.

    Explanations take gradients, validation does not, so such a module is explained as another function than the one
    whose metrics are logged.

    Args:
        question: How the explained function is reached.
        pl_module: The module; left as found.
        inputs: The probe's inputs on the module's device.

    Cost: three forward passes of 8 samples.
    """

    def scores() -> Tensor:
        return question.scores(pl_module)(*(with_graph(part[:TRIED]) for part in inputs)).detach().double()

    with undisturbed(pl_module):
        with torch.no_grad():
            plain, again = scores(), scores()
        with torch.enable_grad():
            tracked = scores()
    moved, noise = ((other - plain).abs().max() / plain.abs().max() for other in (tracked, again))
    if not moved > MOVED or noise > MOVED:
        return ""
    return (
        "the module gives other scores where gradients are taken, as explanations do, than where none are, as in "
        f"validation: up to {100 * float(moved):.2g} % apart for samples of the probe. The former are explained. "
        "nn.TransformerEncoder does so: its fused form leaves 0 at padded positions, which a mean over positions then "
        "takes in. enable_nested_tensor=False, or a mean without the padded positions, makes both alike."
    )


def check_outputs(
    question: Question,
    pl_module: Any,
    inputs: tuple[Tensor, ...],
    keeper: ProbeKeeper,
    guard: Guard,
    explained: str,
    contrasts: Iterable[Contrast | None] = (),
) -> Tensor | None:
    """Try the model on the whole probe; return the explained outputs.

    Labels of more than two classes for a model with a single output are taken for real values, as regression has them.

    Args:
        question: How the explained function is reached.
        pl_module: The module.
        inputs: The probe's inputs on the module's device.
        keeper: Of the probe.
        guard: For saying what is doubtful.
        explained: As for `explained_targets`.
        contrasts: Classes that methods subtract; None for none.

    Raises:
        ConfigurationError: The outputs do not fit the labels or a contrast, or nothing indicates which tensor holds
            them.
    """
    probe = keeper.probe
    assert probe is not None
    settle_output(question, pl_module, inputs, probe, guard)
    with undisturbed(pl_module), torch.no_grad():
        scores = question.module(pl_module, inputs)[1].detach().cpu()
        check_rows(question, pl_module, inputs, scores)
    with suppress(Exception):  # a module that takes no other batch than the whole probe
        differing = gradient_mode_words(question, pl_module, inputs)
        if differing:
            guard.note(differing)
    n_classes = n_classes_of(probe)
    free = question.output is None and question.forward_fn is None
    if free and n_classes is not None and n_classes > 2 and scores.numel() == len(scores):
        keeper.without_classes()
        guard.note(
            f"the model has a single output for labels from 0 to {n_classes - 1}, so they are taken for real values "
            "rather than classes."
        )
        check_contrasts(contrasts, probe, None, scores)
        return None
    target = explained_targets(probe, scores, explained)
    check_contrasts(contrasts, probe, target, scores)
    said = output_words(probe, scores) if free and explained == "label" else ""
    if said:
        guard.note(said, about=NO_SCORES)
    return target
