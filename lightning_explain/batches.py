"""Finding input and target in a user's batch, and the scores in a model's output."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeGuard

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
OUTPUT_KEYS = ("logits", "scores", "preds", "pred", "y_hat", "output", "outputs", "out")


def plain_selector(selector: Any) -> Any:
    """Return a selector with any other sequence of names, such as a configuration library's, made a list.

    Example:
        >>> from collections import UserList
        >>> plain_selector(UserList(["a", "b"])), plain_selector("a")
        (['a', 'b'], 'a')
    """
    is_other = isinstance(selector, Sequence) and not isinstance(selector, str | list | tuple)
    return list(selector) if is_other else selector


def fields_of(batch: Any) -> dict[str, Any] | None:
    """Name the parts of a mapping, dataclass or named tuple; None where parts have no names."""
    if isinstance(batch, Mapping):
        return {str(key): value for key, value in batch.items()}
    if dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        return {field.name: getattr(batch, field.name) for field in dataclasses.fields(batch)}
    if isinstance(batch, tuple) and type(batch) is not tuple:
        names: Sequence[str] = getattr(batch, "_fields", ())
        return dict(zip(names, batch, strict=True)) if names else None
    return None


def describe(batch: Any) -> str:
    """Say in one line what a batch looks like, for messages.

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
    """Take the part of `batch` that `selector` names; a tuple of parts where it names several.

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
    """Find a part by its usual name, or by its place in a plain (input, target) pair."""
    named = fields_of(batch)
    if named is not None:
        return _by_key(named, keys)
    if isinstance(batch, list | tuple):
        parts: Sequence[Any] = batch
        return parts[position] if position < len(parts) <= 2 else None
    return batch if isinstance(batch, Tensor) and position == 0 else None


def input_of(batch: Any, selector: Selector = None) -> Inputs:
    """Find what is explained in a batch: a tensor, or a tuple of tensors.

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
    raise ConfigurationError(
        f"No input found in a batch of the form {describe(batch)}: expected a pair (input, target) or one of the "
        f"keys {', '.join(INPUT_KEYS)}. Say where it is: input=0, input='my_key' or "
        "input=lambda batch: (batch.a, batch.b)."
    )


def target_of(batch: Any, selector: Selector = None) -> Tensor | None:
    """Find the target (label or regression value) of each sample, or None where there is none.

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


def _may_be_scores(value: Any) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.is_floating_point() and value.ndim > 0


def output_of(output: Any, selector: Selector = None) -> Tensor:
    """Find the scores in what a model returns: `.logits` and its like, else a tuple's first float tensor.

    Raises:
        ConfigurationError: No floating-point tensor with a batch dimension is found.
    """
    if selector is not None:
        found = select(output, selector, option="output")
    elif isinstance(output, Tensor):
        found = output
    else:
        named = fields_of(output)
        found = _by_key(named, OUTPUT_KEYS) if named is not None else None
        if found is None and isinstance(output, list | tuple):
            found = next((part for part in output if _may_be_scores(part)), None)
    if _may_be_scores(found):
        return found
    raise ConfigurationError(
        f"The model returned {describe(output)}, in which no score tensor [batch, classes] was found. "
        "Say where it is with output= (an index, a key or a callable), e.g. output='logits'."
    )


def class_labels(target: Tensor | None) -> Tensor | None:
    """Return labels as int64 [batch] where the target means classes, else None (regression, masks, none).

    One-hot targets [batch, classes] become their class; float targets, whatever their values, are regression
    unless they are a single 0/1 column (a binary classifier's labels).
    """
    if target is None or target.ndim == 0:
        return None
    flat = target.squeeze(-1) if target.ndim == 2 and target.shape[-1] == 1 else target
    if flat.ndim == 1 and flat.dtype in (
        torch.int64,
        torch.int32,
        torch.int16,
        torch.int8,
        torch.uint8,
        torch.bool,
    ):
        return flat.long()
    if flat.ndim == 1 and flat.numel() and bool(((flat == 0) | (flat == 1)).all()):
        return flat.long()
    if flat.ndim == 2 and bool((flat.sum(-1) == 1).all() & ((flat == 0) | (flat == 1)).all()):
        return flat.argmax(-1)
    return None
