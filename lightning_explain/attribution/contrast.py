"""Contrastive explanations: the score of a class minus that of another one, "why 3 and not 5"."""

import copy
import functools
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from types import FunctionType
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from lightning_explain.attribution.result import Attribution, Forward, Method, Target, parts_of
from lightning_explain.attribution.scores import target_tensor
from lightning_explain.attribution.traits import method_name, traits_of
from lightning_explain.attribution.wrapped_model import WrappedModel
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining

STRONGEST = "strongest"
"""The contrast with whichever other class has the highest score."""

Contrast = str | int | Tensor
"""The class that is subtracted: `"strongest"` or, in monitors, the name of a class; an index, or one for each sample
(LongTensor [batch])."""

R = TypeVar("R")


class ScoreDifferences(WrappedModel[Forward]):
    """A module whose scores are differences of the scores of another one: [batch, pairs].

    Args:
        model: A module or a callable from inputs to scores [batch, classes].
        pairs: The two classes of each difference, LongTensor [pairs, 2]: the second is subtracted from the first.
    """

    def __init__(self, model: Forward, pairs: Tensor) -> None:
        super().__init__(model)
        self._pairs = pairs
        self._highest = int(pairs.max())

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the differences [batch, pairs]; refuse outputs that have not both classes of each."""
        scores = self.model(*inputs)
        if not isinstance(scores, Tensor) or scores.ndim != 2 or scores.shape[1] <= self._highest:
            form = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise ConfigurationError(
                f"contrast= compares the scores of two classes, up to {self._highest}; the model returned {form}; "
                f"expected scores [batch, classes] with at least {self._highest + 1} classes. Leave contrast= out, or "
                "choose the scores with output= (monitors)."
            )
        pairs = self._pairs.to(scores.device)
        return scores.index_select(1, pairs[:, 0]) - scores.index_select(1, pairs[:, 1])


def highest_other(scores: Tensor, target: Tensor) -> Tensor:
    """Return the class with the highest score other than the target, LongTensor [batch]; of equal ones the first.

    Args:
        scores: [batch, classes].
        target: LongTensor [batch].

    Raises:
        ConfigurationError: There is no other class.

    Example:
        >>> highest_other(torch.tensor([[0.1, 3.0, 2.0], [9.0, 1.0, 1.0]]), torch.tensor([1, 0]))
        tensor([2, 1])
    """
    if scores.ndim != 2 or scores.shape[1] < 2:
        raise ConfigurationError(
            f"contrast='strongest' needs another class, and the scores have shape {list(scores.shape)}; expected "
            "[batch, classes] with at least 2 classes. Leave contrast= out for a model with one output."
        )
    others = scores.detach().scatter(1, target[:, None], -torch.inf)
    return others.argmax(1)


def contrast_classes(contrast: Contrast, target: Tensor, scores: Tensor | None) -> Tensor:
    """Return the class that is subtracted for each sample: LongTensor [batch].

    Args:
        contrast: As given to a method.
        target: Explained class of each sample [batch].
        scores: The model's scores [batch, classes]; needed for `"strongest"` only.

    Raises:
        ConfigurationError: It is no class, or the explained class itself for some sample.

    Example:
        >>> contrast_classes(2, torch.tensor([0, 1]), None)
        tensor([2, 2])
    """
    if isinstance(contrast, str):
        if contrast != STRONGEST or scores is None:
            raise ConfigurationError(
                f"contrast={contrast!r}; expected an index, a LongTensor with one for each sample, or 'strongest'; "
                "names are known to monitors only (Probe(class_names=...)), not to a method that is called alone."
            )
        return highest_other(scores, target)
    try:
        classes = target_tensor(contrast, len(target), target.device)
    except ConfigurationError as error:
        raise ConfigurationError(
            str(error).replace("target has", "contrast= has").split("; expected")[0]
            + (f"; expected a class index, or one for each sample, a LongTensor [{len(target)}].")
        ) from None
    assert classes is not None
    same = (classes == target).nonzero().flatten().tolist()
    if same or bool((classes < 0).any()):
        what = f"samples {same[:5]} are explained for that class itself" if same else "it has negative indices"
        raise ConfigurationError(
            f"contrast={_written(contrast)} cannot be compared with the explained class: {what}, so that there is no "
            "difference. Give another class for these samples (a LongTensor with one for each), or 'strongest'."
        )
    return classes


def _written(contrast: Contrast) -> str:
    return f"LongTensor {list(contrast.shape)}" if isinstance(contrast, Tensor) else repr(contrast)


def contrast_words(contrast: Contrast | None) -> str:
    """Name a contrast in titles and records; empty for none.

    Example:
        >>> contrast_words("strongest"), contrast_words(5), contrast_words("cat")
        ('the strongest other class', 'class 5', 'cat')
    """
    if contrast is None:
        return ""
    if isinstance(contrast, Tensor):
        return "a class given for each sample"
    return (
        {STRONGEST: "the strongest other class"}.get(contrast, contrast)
        if isinstance(contrast, str)
        else (f"class {contrast}")
    )


def check_contrast(contrast: Any) -> None:
    """Refuse a contrast that can be none.

    Raises:
        ConfigurationError: It is neither a class index nor one for each sample, nor a name.
    """
    is_tensor = isinstance(contrast, Tensor) and contrast.ndim == 1 and contrast.dtype in (torch.long, torch.int)
    is_index = isinstance(contrast, int) and not isinstance(contrast, bool) and contrast >= 0
    if not (contrast is None or isinstance(contrast, str) or is_tensor or is_index):
        raise ConfigurationError(
            f"contrast={contrast!r}; expected the index or (in monitors) the name of the class that is subtracted, "
            "'strongest', a LongTensor [batch], or None for the score of the explained class alone."
        )


def differences(model: Forward, target: Tensor, others: Tensor) -> tuple[ScoreDifferences, Tensor]:
    """Return a module of differences of scores, and which of them each sample is explained for, LongTensor [batch].

    Names of layers are those of the model. Every pair of classes that occurs is one output.

    Args:
        model: A module or a callable from inputs to scores [batch, classes].
        target: Explained class of each sample [batch].
        others: The class that is subtracted for each sample [batch].

    Example:
        >>> scores = lambda x: torch.cat([x, 2 * x, 4 * x], dim=1)
        >>> module, index = differences(scores, torch.tensor([2, 2, 1]), torch.tensor([0, 0, 2]))
        >>> module(torch.ones(3, 1))[torch.arange(3), index]
        tensor([ 3.,  3., -2.])
    """
    pairs, index = torch.stack([target, others], dim=1).unique(dim=0, return_inverse=True)
    return ScoreDifferences(model, pairs), index


def with_contrast_option(explain: Callable[..., R]) -> Callable[..., R]:
    """Make the function of a method that explains, `explain(method, model, inputs, target, ...)`, heed `contrast`.

    With a contrast it is given a model whose outputs are differences of scores; a resulting attribution states the
    explained class as its `target`, and the subtracted one as its `contrast`.

    Cost: for `"strongest"` one forward pass; otherwise none.
    """

    @functools.wraps(explain)
    def explained(method: Any, model: Forward, inputs: Inputs, target: Target = None, **options: Any) -> R:
        if method.contrast is None:
            return explain(method, model, inputs, target, **options)
        contrasted, index, indices, others = _contrasted(method, model, inputs, target)
        result = explain(method, contrasted, inputs, index, **options)
        if not isinstance(result, Attribution):
            return result
        return cast(R, replace(result, target=indices, contrast=others))

    return explained


def _contrasted(method: Any, model: Forward, inputs: Inputs, target: Target) -> tuple[Forward, Tensor, Tensor, Tensor]:
    parts = parts_of(inputs)
    indices = target_tensor(target, len(parts[0]), parts[0].device)
    if indices is None:
        raise ConfigurationError(
            f"contrast={_written(method.contrast)} with target=None: the score of a class is compared with that of "
            "another, so the explained class must be given as target=, an index or a LongTensor [batch]."
        )
    scores = None
    if isinstance(method.contrast, str) and method.contrast == STRONGEST:
        with explaining(model), torch.no_grad():
            scores = model(*(part.detach().clone() for part in parts))
    others = contrast_classes(method.contrast, indices, scores)
    contrasted, index = differences(model, indices, others)
    is_module = isinstance(model, nn.Module)
    return (contrasted if is_module else contrasted.forward), index, indices, others


def contrast_of(method: Any) -> Contrast | None:
    """Return the contrast that a method declares, or the method that it wraps; None for none."""
    return traits_of(method).contrast


def with_contrast(method: Any, contrast: Contrast | None) -> Any:
    """Return a copy of a method with another contrast.

    That is `method.with_contrast(contrast)` where the method defines it, its `contrast` field where it is a dataclass
    with one, and its attribute otherwise.

    Example:
        >>> from lightning_explain.attribution import Saliency
        >>> with_contrast(Saliency(contrast=3), None)
        Saliency(chunk_size=None, contrast=None)
    """
    if hasattr(method, "with_contrast"):
        return method.with_contrast(contrast)
    if is_dataclass(method) and any(option.name == "contrast" for option in fields(method)):
        return replace(cast(Any, method), contrast=contrast)
    if not hasattr(method, "__dict__"):
        raise ConfigurationError(f"contrast= cannot be given to {method_name(method)}, which has no such attribute.")
    if isinstance(method, functools.partial | FunctionType):
        # a copy of a partial would share its attributes
        changed: Any = functools.partial(cast(Any, method))
        vars(changed).update(vars(method))
    else:
        changed = copy.copy(method)
    object.__setattr__(changed, "contrast", contrast)
    return changed


def of_differences(
    method: Method, module: nn.Module, target: Tensor | None, others: Tensor | None
) -> tuple[Method, nn.Module, Tensor | None]:
    """Return a method, a module and targets that explain differences of scores where a class is subtracted.

    What is done with them (sharing among processes, measures of faithfulness) need not know of contrasts.

    Args:
        method: A method with a contrast, or without.
        module: The module from inputs to scores [batch, classes].
        target: Explained class of each sample [batch], or None.
        others: The class that is subtracted for each sample [batch]; None for none.
    """
    if others is None or target is None:
        return method, module, target
    return with_contrast(method, None), *differences(module, target, others.to(target.device))
