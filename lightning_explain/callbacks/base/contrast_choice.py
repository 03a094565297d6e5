"""The class that each probe sample is contrasted with: chosen at the first explanation, the same for the whole run."""

from collections.abc import Iterable

import torch
from torch import Tensor

from lightning_explain.attribution.contrast import STRONGEST, Contrast, contrast_classes, highest_other
from lightning_explain.errors import ConfigurationError
from lightning_explain.probe import Probe


def named_class(contrast: Contrast, probe: Probe) -> Contrast:
    """Return the index of a class that is given by name; any other contrast as it is.

    Raises:
        ConfigurationError: No class has that name, or the probe knows no names.
    """
    if not isinstance(contrast, str) or contrast == STRONGEST:
        return contrast
    names = list(probe.class_names or [])
    if contrast in names:
        return names.index(contrast)
    if not names and contrast.isdecimal():
        return int(contrast)  # without names a class is called by its index
    known = f"the classes are {', '.join(names[:20])}" if names else "the probe has no names of classes"
    raise ConfigurationError(
        f"contrast={contrast!r} names no class: {known}. Give one of them, the index of a class, 'strongest', or the "
        "names with Probe(class_names=[...]) or Display(class_names=[...])."
    )


def chosen_contrast(contrast: Contrast, probe: Probe, target: Tensor | None, scores: Tensor) -> tuple[Tensor, str]:
    """Return the class that is subtracted for each sample, LongTensor [batch], and what is to be said of it.

    Samples of a class that was named as the contrast cannot be compared with themselves: for them it is the other class
    with the highest score.

    Args:
        contrast: As given to a method.
        probe: The probe, with the names of its classes.
        target: The explained class of each sample [batch]; None for a single output.
        scores: The model's scores [batch, classes].

    Raises:
        ConfigurationError: There is no other class, or the contrast names none.
    """
    check_contrasts([contrast], probe, target, scores)
    assert target is not None
    known = named_class(contrast, probe)
    if not isinstance(known, int):
        classes, said = contrast_classes(known, target, scores), ""
    else:
        own = target == known
        classes = torch.full_like(target, known)
        said = ""
        if bool(own.any()):
            classes = torch.where(own, highest_other(scores, target), classes)
            said = (
                f"{int(own.sum())} of {len(target)} probe samples are explained for the class of contrast={contrast!r} "
                "itself; they are contrasted with the other class that has the highest score at the first explanation."
            )
    return classes, said


def check_contrasts(contrasts: Iterable[Contrast | None], probe: Probe, target: Tensor | None, scores: Tensor) -> None:
    """Refuse contrasts that no explanation of the probe can have, before training.

    Args:
        contrasts: As given to methods.
        probe: The probe.
        target: The explained class of each sample; None for a single output.
        scores: The model's scores [batch, classes].

    Raises:
        ConfigurationError: There is a single output, no class has the given name or index, or a tensor is no class per
            sample.
    """
    for contrast in contrasts:
        if contrast is None:
            continue
        if target is None:
            raise ConfigurationError(
                f"contrast={contrast!r} compares the scores of two classes, and the model has a single output. Leave "
                "contrast= out of the method, or say with output= where the class scores are."
            )
        known = named_class(contrast, probe)
        if isinstance(known, Tensor):
            contrast_classes(known, target, None)
        highest = int(known.max()) if isinstance(known, Tensor) else known
        if isinstance(highest, int) and highest >= scores.shape[1]:
            raise ConfigurationError(
                f"contrast={contrast!r} is beyond the model's {scores.shape[1]} outputs (classes 0 to "
                f"{scores.shape[1] - 1})."
            )
