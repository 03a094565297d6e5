"""Functional activations of a LightningModule: watched at the layers that feed them, or named as not covered."""

from collections.abc import Sequence
from types import FunctionType
from typing import Any

from torch import nn

from lightning_explain.batches import input_of
from lightning_explain.callbacks.guard import Guard
from lightning_explain.callbacks.question import Question, undisturbed
from lightning_explain.capture import Layer, is_compiled
from lightning_explain.isolation import is_whole
from lightning_explain.neurons.functional import FUNCTIONS, FunctionalUse, functional_activations
from lightning_explain.neurons.units import with_functional

HOW = (
    "Make the function a module (nn.ReLU()), or name the block that applies it with layers=, whose output is then "
    "counted as it is."
)


def _mentioned(model: nn.Module) -> list[str]:
    """Name the classes of the model whose methods mention an activation function, torch's own left out."""
    kinds = {type(module) for module in model.modules() if not type(module).__module__.startswith("torch.")}
    mentioning: list[str] = []
    for kind in kinds:
        codes = [method.__code__ for method in vars(kind).values() if isinstance(method, FunctionType)]
        if any(FUNCTIONS & {name.rstrip("_") for name in code.co_names} for code in codes):
            mentioning.append(kind.__name__)
    return sorted(mentioning)


def _found(pl_module: nn.Module, batch: Any, question: Question) -> FunctionalUse:
    """Run two samples of a batch through the module, isolated, and see which functions meet which layers."""
    question.check(pl_module)
    inputs = input_of(batch, question.input)
    with undisturbed(pl_module):
        parts = tuple(part[:2].detach().clone() for part in (inputs if isinstance(inputs, tuple) else (inputs,)))
        call = question.call(pl_module)
        return functional_activations(pl_module, lambda: call(*parts))


def refined(
    pl_module: nn.Module, layers: Sequence[Layer], batch: Any, question: Question, guard: Guard
) -> list[Layer] | None:
    """Add to the layers watched by default those that feed functional activations; None where there are none.

    What is not covered is said by name. A compiled model keeps the layers it was compiled with.

    Cost: one isolated forward pass of two samples, at the first batch of a run.
    """
    if any(map(is_compiled, pl_module.modules())) or not is_whole(pl_module):
        return None
    try:
        use = _found(pl_module, batch, question)
    except Exception as error:  # noqa: BLE001 - a module that cannot be called so is watched all the same
        mentioned = _mentioned(pl_module)
        if mentioned:
            guard.note(
                f"{', '.join(mentioned)} may apply functional activations (F.relu), but which layers feed them could "
                f"not be found out ({type(error).__name__}: {error}). Watched are: "
                f"{', '.join(layer.name for layer in layers)}. {HOW}",
                about="functional activations",
            )
        return None
    if use.unseen:
        guard.note(
            f"these functional activations take what no single module returned (a sum, say), so their neurons are not "
            f"counted: {', '.join(use.unseen)}. {HOW}",
            about="functional activations",
        )
    chosen = with_functional(pl_module, layers, use.fed)
    return None if chosen == list(layers) else chosen
