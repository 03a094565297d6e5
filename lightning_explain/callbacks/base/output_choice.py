"""The explained output: the tensor that holds the scores, found by evidence, and the output of each sample."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lightning_explain.attribution.scores import check_target
from lightning_explain.batches import two_dimensional
from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe

Place = int | str | None


def feeds(a: Tensor, b: Tensor) -> bool:
    """Return True if `b` was computed from `a`, as far as their graph tells.

    Example:
        >>> a = torch.ones(2, requires_grad=True) * 2
        >>> feeds(a, a + 1), feeds(a + 1, a)
        (True, False)
    """
    if a.grad_fn is None or a is b:
        return False
    waiting, seen = [b.grad_fn], set[object]()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if node is a.grad_fn and b.grad_fn is not node:
            return True
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return False


def are_probabilities_of(probabilities: Tensor, scores: Tensor) -> bool:
    """Return True if one tensor is the softmax, its logarithm, or the sigmoid of the other."""
    if probabilities.shape != scores.shape or scores.ndim != 2:
        return False
    forms = (scores.softmax(1), scores.log_softmax(1), scores.sigmoid())
    return any(torch.allclose(probabilities, form, rtol=1e-3, atol=1e-5) for form in forms)


def _may_hold(scores: Tensor, n_samples: int, n_classes: int | None) -> bool:
    if scores.ndim > 2 or len(scores) != n_samples:
        return False
    n_columns = scores.shape[1] if scores.ndim == 2 else 1
    return n_classes is None or n_columns >= n_classes or (n_columns == 1 and n_classes <= 2)


def _fits(scores: Tensor, n_classes: int | None) -> bool:
    n_columns = scores.shape[1] if scores.ndim == 2 else 1
    return n_classes is None or n_columns == n_classes or (n_columns == 1 and n_classes <= 2)


def likeliest_scores(candidates: Mapping[Place, Tensor], n_samples: int, n_classes: int | None) -> Place:
    """Return the place of the one tensor that must hold the scores; None where the evidence is not enough.

    It is as wide as there are classes, nothing else is computed from it, and all others are too narrow, are maps, or
    are what it was computed from: width alone could be a coincidence. Of scores and their probabilities it is the
    scores.

    Args:
        candidates: Tensors by their place in the output, with their graph.
        n_samples: Samples that went in.
        n_classes: How many classes there are; None where there are no class labels.
    """
    rows = {place: two_dimensional(found) for place, found in candidates.items() if len(found) == n_samples}
    for place, scores in rows.items():
        others = {p: t for p, t in rows.items() if p != place and not are_probabilities_of(t, scores)}
        if not _may_hold(scores, n_samples, n_classes) or not _fits(scores, n_classes):
            continue
        rivals = {p: t for p, t in others.items() if _may_hold(t, n_samples, n_classes)}
        given = candidates[place]
        is_last = not any(feeds(given, candidates[p]) for p in others)
        if is_last and all(
            feeds(candidates[p], given) and not are_probabilities_of(scores, t) for p, t in rivals.items()
        ):
            return place
    return None


def named_scores(named: Place, candidates: Mapping[Place, Tensor], n_samples: int, n_classes: int | None) -> Place:
    """Return the place of the scores in a mapping in which one tensor has a usual name such as `preds`.

    A name is a guess. The named one it is not where it holds the probabilities of another tensor, nor where it does
    not fit the classes and all evidence is for another.

    Args:
        named: Place of the tensor with the usual name.
        candidates: All floating-point tensors by their place, with their graph.
        n_samples: Samples that went in.
        n_classes: How many classes there are; None where there are no class labels.
    """
    if len(candidates[named]) != n_samples:
        return named
    rows = {place: two_dimensional(found) for place, found in candidates.items() if len(found) == n_samples}
    raw = [place for place, scores in rows.items() if _is_made_into(scores, rows[named])]
    if len(raw) == 1:
        return raw[0]
    if n_classes is None or _fits(rows[named], n_classes):
        return named
    likeliest = likeliest_scores(candidates, n_samples, n_classes)
    return named if likeliest is None else likeliest


def _is_made_into(scores: Tensor, probabilities: Tensor) -> bool:
    return are_probabilities_of(probabilities, scores) and not are_probabilities_of(scores, probabilities)


def explained_targets(probe: Probe, scores: Tensor, explained: str) -> Tensor | None:
    """Return the explained output of each probe sample: LongTensor [batch]; None for a single output.

    Args:
        probe: The probe, with its labels.
        scores: The model's scores for it.
        explained: `"label"` or `"predicted"`.

    Raises:
        ConfigurationError: The probe has no labels though the model has several outputs, a label is beyond the
            model's outputs, or the scores are no [batch, classes].
    """
    if scores.numel() == len(scores):
        return None
    if scores.ndim != 2:
        others = tuple(range(2, scores.ndim))
        raise ConfigurationError(
            f"The model gives scores of shape {list(scores.shape)} for the probe; expected [batch, classes]. Choose "
            f"one score of each class with output=, e.g. output=lambda scores: scores.mean(dim={others}) where "
            "dimension 1 counts classes, or output=lambda scores: scores[:, -1] for the last step of a sequence."
        )
    if explained == "predicted":
        return scores.argmax(1)
    labels = probe.labels
    if labels is None:
        raise ConfigurationError(
            f"The model gives {scores.shape[1]} outputs, but the probe has no class labels that say which to explain. "
            "Give target= to say where a batch holds them (where a sample has several, a callable that chooses one: "
            "target=lambda batch: batch[1].argmax(1)), Probe(targets=...), output=lambda scores: scores[:, 0] for one "
            "output of all samples, or explained='predicted'."
        )
    check_target(labels, scores.shape[1])
    return labels
