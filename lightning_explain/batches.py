"""Inputs and targets of a user's batch, and scores of a model's output."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeGuard

import torch
from torch import Tensor

from lightning_explain.errors import ConfigurationError

Selector = int | str | Sequence[int | str] | Callable[..., Any] | None
"""An index, a key or attribute name, several of them, or a callable that takes the whole batch or output."""

Inputs = Tensor | tuple[Tensor, ...]
"""One tensor, or several that are explained together; the first dimension is the sample."""

INPUT_KEYS = (
    "image", "images", "pixel_values", "x", "input", "inputs", "input_values", "input_features",
    "features", "data",
)  # fmt: skip
TARGET_KEYS = ("label", "labels", "y", "target", "targets")
SHARES_OFF = 1e-3
"""By how much shares may miss a sum of 1, for rounding in 16 bits."""

OUTPUT_KEYS = ("logits", "scores", "preds", "pred", "y_hat", "output", "outputs", "out")


def plain_selector(selector: Any) -> Any:
    """Return a selector in which any other sequence of names, such as a configuration library's, is a list.

    Example:
        >>> from collections import UserList
        >>> plain_selector(UserList(["a", "b"])), plain_selector("a")
        (['a', 'b'], 'a')
    """
    is_other = isinstance(selector, Sequence) and not isinstance(selector, str | list | tuple)
    return list(selector) if is_other else selector


def fields_of(batch: Any) -> dict[str, Any] | None:
    """Return the names of the parts of a mapping, dataclass or named tuple; None where parts have no names."""
    if isinstance(batch, Mapping):
        return {str(key): value for key, value in batch.items()}
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    if isinstance(batch, tuple) and type(batch) is not tuple:
        names: Sequence[str] = getattr(batch, "_fields", ())
        return dict(zip(names, batch, strict=True)) if names else None
    return None


def describe(batch: Any) -> str:
    """Return a one-line description of a batch, for messages.

    Example:
        >>> describe({"x": torch.zeros(2, 3), "name": "a"})
        'dict(x=Tensor[2, 3], name=str)'
    """
    if isinstance(batch, Tensor):
        return f"Tensor{list(batch.shape)}"
    named = fields_of(batch)
    if named is not None:
        parts = ", ".join(f"{key}={describe(value)}" for key, value in named.items())
        return f"{type(batch).__name__}({parts})"
    if isinstance(batch, list | tuple):
        return f"{type(batch).__name__}({', '.join(describe(part) for part in batch)})"
    return type(batch).__name__


def select(batch: Any, selector: Selector, *, option: str) -> Any:
    """Return the part of `batch` that `selector` names; a tuple of parts if it names several.

    Args:
        batch: The user's batch or the model's output.
        selector: Index, key, attribute name, several of them, or a callable.
        option: The argument's name (`input`, `target` or `output`), for messages.

    Raises:
        ConfigurationError: The selector names nothing in this batch.
    """
    if callable(selector):
        return selector(batch)
    if isinstance(selector, list | tuple):
        return tuple(select(batch, part, option=option) for part in selector)
    named = fields_of(batch)
    try:
        if isinstance(selector, str):
            return named[selector] if named is not None else getattr(batch, selector)
        return batch[selector]
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise ConfigurationError(
            f"{option}={selector!r} names nothing in {describe(batch)}. "
            f"Give {option}= an index, a key or attribute that is there, or a callable taking the whole value."
        ) from error


def _by_key(named: dict[str, Any], keys: Sequence[str]) -> Any:
    lowered = {name.lower(): value for name, value in named.items()}
    return next((lowered[key] for key in keys if lowered.get(key) is not None), None)


def _default_part(batch: Any, keys: Sequence[str], position: int) -> Any:
    """Return a part by its usual name, or by its place in a plain (input, target) pair."""
    named = fields_of(batch)
    if named is not None:
        return _by_key(named, keys)
    if isinstance(batch, list | tuple):
        parts: Sequence[Any] = batch
        return parts[position] if position < len(parts) <= 2 else None
    return batch if isinstance(batch, Tensor) and position == 0 else None


def input_of(batch: Any, selector: Selector = None) -> Inputs:
    """Return the explained input of a batch: a tensor, or a tuple of tensors.

    Args:
        batch: Tuple `(input, target)`, mapping, dataclass or named tuple.
        selector: Where to look instead: index, key, attribute or callable.

    Raises:
        ConfigurationError: No input is recognised; the message lists what was found.

    Example:
        >>> input_of((torch.zeros(2, 3), torch.zeros(2))).shape
        torch.Size([2, 3])
    """
    found = _default_part(batch, INPUT_KEYS, 0) if selector is None else select(batch, selector, option="input")
    if isinstance(found, Tensor):
        return found
    if isinstance(found, list | tuple):
        parts: tuple[Any, ...] = tuple(found)
        if parts and all(isinstance(part, Tensor) for part in parts):
            return parts
        if any(isinstance(part, Tensor) for part in parts) and any(part is None for part in parts):
            raise ConfigurationError(_none_among(parts, batch, selector))
    raise ConfigurationError(
        f"No input found in a batch of the form {describe(batch)}: expected a pair (input, target) or one of the "
        f"keys {', '.join(INPUT_KEYS)}. Say where it is: input=0, input='my_key' or "
        "input=lambda batch: (batch.a, batch.b); and with target= where the labels are."
    )


def _none_among(parts: Sequence[Any], batch: Any, selector: Selector) -> str:
    given = [place for place, part in enumerate(parts) if isinstance(part, Tensor)]
    missing = [place for place, part in enumerate(parts) if part is None]
    return (
        f"The input in a batch of the form {describe(batch)} is None at place {', '.join(map(str, missing))} (input="
        f"{selector!r}), and only tensors can be explained. Name with input= the tensors alone, those at place "
        f"{', '.join(map(str, given))}, and give the module its None with forward_fn=, e.g. "
        "forward_fn=lambda module, x: module(x, None)."
    )


def target_of(batch: Any, selector: Selector = None) -> Tensor | None:
    """Return the target (label or regression value) of each sample, or None if there is none.

    A callable that returns None says that there is none: labels that are in the batch, but not of what is explained
    (an autoencoder's).

    Raises:
        ConfigurationError: `selector` was given and leads to something that is no tensor.
    """
    if selector is None:
        found = _default_part(batch, TARGET_KEYS, 1)
        return found if isinstance(found, Tensor) else None
    found = select(batch, selector, option="target")
    if isinstance(found, Tensor) or (found is None and callable(selector)):
        return found
    raise ConfigurationError(
        f"target={selector!r} leads to {describe(found)} in {describe(batch)}, not to a tensor. "
        "Give target= an index, key or callable that returns the labels as a tensor [batch]."
    )


def two_dimensional(output: Tensor) -> Tensor:
    """Remove dimensions of one element after the first, if one other is left: [batch, 1, classes] and similar.

    Example:
        >>> two_dimensional(torch.zeros(4, 1, 3)).shape, two_dimensional(torch.zeros(4, 2, 3)).shape
        (torch.Size([4, 3]), torch.Size([4, 2, 3]))
    """
    is_row = output.ndim > 2 and output[0:1].numel() == max(output.shape[1:])
    return output.reshape(len(output), -1) if is_row and len(output) else output


def tensors_in(output: Any) -> dict[int | str | None, Tensor]:
    """Return the tensors of a model's output by their place: a key, an index, or None for the output itself."""
    if isinstance(output, Tensor):
        return {None: output}
    named = fields_of(output)
    places: dict[Any, Any] = dict(enumerate(output)) if named is None and isinstance(output, list | tuple) else {}
    return {place: part for place, part in (places if named is None else named).items() if isinstance(part, Tensor)}


def _may_be_scores(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0


def floating_parts(output: Any) -> dict[int | str | None, Tensor]:
    """Return the floating-point tensors of a model's output by their place, named or not."""
    return {place: part for place, part in tensors_in(output).items() if _may_be_scores(part)}


def score_candidates(output: Any) -> dict[int | str | None, Tensor]:
    """Return candidates for the scores in a model's output: parts with a usual name; else a tuple's float tensors."""
    parts = floating_parts(output)
    named = fields_of(output)
    usual = None if named is None else _by_key(named, OUTPUT_KEYS)
    if usual is not None:
        return {place: part for place, part in parts.items() if part is usual}
    # a mapping's tensors of other names may be anything
    return parts if isinstance(output, Tensor | list | tuple) else {}


def output_of(output: Any, selector: Selector = None) -> Tensor:
    """Return the scores in a model's output: the only tensor, or `.logits` and similar; dimensions of 1 removed.

    Raises:
        ConfigurationError: No floating-point tensor with a batch dimension is found, or several that may be meant.
    """
    if selector is not None:
        found = select(output, selector, option="output")
        found = found if _may_be_scores(found) else None
    else:
        candidates = score_candidates(output)
        if len(candidates) > 1:
            raise ConfigurationError(
                f"The model returned {describe(output)}, and nothing indicates which tensor holds the scores. "
                f"Say so with output= (an index, a key or a callable), e.g. output={list(candidates)[-1]!r}."
            )
        found = next(iter(candidates.values()), None)
    if found is not None:
        return two_dimensional(found)
    raise ConfigurationError(
        f"The model returned {describe(output)}, in which no score tensor [batch, classes] was found. "
        "Say where it is with output= (an index, a key or a callable), e.g. output='logits'."
    )


LabelForm = Literal["index", "binary", "one-hot"]
"""What labels may look like: integers; a column of 0.0 and 1.0; rows of 0 and 1 with a single 1."""


def label_form(target: Tensor | None) -> LabelForm | None:
    """Return the form in which a target may hold class labels, by its shape and type alone; None for neither.

    Integers are labels whatever their values. The other two forms depend on every value: `label_oddities`.
    """
    if target is None or target.ndim == 0:
        return None
    if target.ndim == 1 or (target.ndim == 2 and target.shape[1] == 1):
        return "binary" if target.is_floating_point() else "index"
    return "one-hot" if target.ndim == 2 and target.shape[1] > 1 else None


def labels_as(form: LabelForm, target: Tensor) -> Tensor:
    """Convert a target to labels of this form: int64 [batch]; does not wait for the device.

    Example:
        >>> labels_as("one-hot", torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
        tensor([1, 0])
    """
    if form == "one-hot":
        return target.long().argmax(-1) if target.dtype == torch.bool else target.argmax(-1)
    flat = target.reshape(len(target))
    return flat.long() if form == "index" else (flat == 1).long()


def label_oddities(form: LabelForm, target: Tensor) -> Tensor:
    """Check for values that contradict labels of this form: boolean [2], on the target's device.

    The first says that some sample has no label of this form. The second says that it has no label at all: softened
    labels (label smoothing, mixup) still are shares that lie from 0 to 1 and, by row, add up to 1.

    Example:
        >>> label_oddities("one-hot", torch.tensor([[0.3, 0.7]])), label_oddities("binary", torch.tensor([2.5]))
        (tensor([ True, False]), tensor([True, True]))
    """
    if form == "index":
        return torch.zeros(2, dtype=torch.bool, device=target.device)
    odd, beyond = ((target != 0) & (target != 1)).any(), ~((target >= 0) & (target <= 1)).all()
    if form == "one-hot":
        total = target.sum(-1)
        odd, beyond = odd | (total != 1).any(), beyond | ((total - 1).abs() > SHARES_OFF).any()
    return torch.stack([odd, beyond])


def class_labels(target: Tensor | None) -> Tensor | None:
    """Return labels as int64 [batch] where all of the target means classes, else None (regression, masks, none).

    One-hot targets [batch, classes] become their class; float targets, whatever their values, are regression
    unless they are a single 0/1 column (a binary classifier's labels).
    """
    form = label_form(target)
    if form is None or target is None or (form != "index" and not target.numel()):
        return None
    return None if bool(label_oddities(form, target)[0]) else labels_as(form, target)
