"""Temporary replacement of a model's weights by others, such as those of a checkpoint."""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_explain.errors import ConfigurationError

MOST_NAMES = 4


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the weights that a checkpoint saves of a model: parameters and persistent buffers by name, not copied.

    A tensor that has several names is there under each, as in a `state_dict`.

    Example:
        >>> list(weights_of(nn.BatchNorm1d(2)))
        ['weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked']
    """
    # not `state_dict`: modules override it and hang hooks on it, and these names must lead back to the modules
    found: dict[str, Tensor] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        # there is no public way to ask which buffers are saved
        passing: set[str] = vars(module)["_non_persistent_buffers_set"]
        own = {
            **dict(module.named_parameters(recurse=False, remove_duplicate=False)),
            **{
                name: buffer
                for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False)
                if name not in passing
            },
        }
        found |= {f"{prefix}.{name}" if prefix else name: tensor for name, tensor in own.items()}
    return found


def check_fits(model: nn.Module, weights: Mapping[str, Tensor], source: str, *, strict: bool = True) -> None:
    """Refuse weights that do not fit a model; additional ones are allowed.

    Args:
        model: Is only read.
        weights: Tensors by name.
        source: Where they are from, in words.
        strict: Whether all of the model's must be there; otherwise one is enough, as where only adapters are saved.

    Raises:
        ConfigurationError: Some are missing, or of another shape.
    """
    own = weights_of(model)
    missing = [name for name in own if name not in weights]
    if missing and (strict or len(missing) == len(own)):
        raise ConfigurationError(
            f"{source} has no {_listed(missing)}, which {type(model).__name__} needs; it has "
            f"{_listed([name for name in weights if name not in own]) or 'nothing else'}. Give a checkpoint of this "
            "model: its state_dict must have the same names."
        )
    other = [
        f"{name} {list(weights[name].shape)} instead of {list(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    if other:
        raise ConfigurationError(
            f"{source} has weights of other shapes: {_listed(other)}. Explanations are compared for the same outputs "
            "of the same network, so give a checkpoint of this one."
        )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:MOST_NAMES]) + (f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else "")


def put_in(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Replace a model's weights temporarily, without modifying them; call it inside `isolated(model)`.

    The isolation puts the model's own parameters and buffers back. What was tied to one tensor is tied to one again,
    also in lists and dicts that a module keeps of its weights. A function that holds weights of its own goes on with
    these.

    Args:
        model: The model.
        weights: Tensors by name, as `check_fits` accepts them; they are copied to the device and type of the model's.
            What is not among them keeps its value.

    Cost: as much memory as the weights take.
    """
    modules = dict(model.named_modules(remove_duplicate=False))
    made: dict[int, Tensor] = {}
    for name, tensor in weights_of(model).items():
        place, _, own_name = name.rpartition(".")
        if id(tensor) not in made:
            values = torch.empty_like(tensor, requires_grad=False).copy_(weights.get(name, tensor.detach()))
            is_parameter = isinstance(tensor, nn.Parameter)
            made[id(tensor)] = nn.Parameter(values, tensor.requires_grad) if is_parameter else values
        # as an attribute: some modules keep lists of their own weights up to date that way
        setattr(modules[place], own_name, made[id(tensor)])
    for module in modules.values():
        for kept in vars(module).values():
            _exchange(kept, made)


def _exchange(kept: Any, made: Mapping[int, Tensor]) -> None:
    """Replace a model's weights in a list or dict, by identity."""
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(kept, list):
        pairs = list(enumerate(cast(list[Any], kept)))
    elif isinstance(kept, dict):
        pairs = list(cast(dict[Any, Any], kept).items())
    for key, value in pairs:
        if id(value) in made:
            kept[key] = made[id(value)]
