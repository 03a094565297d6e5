"""Receptive fields of several layers, tried in the same passes for inputs of a shape, and remembered."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_explain.capture import Layer
from lightning_explain.errors import ExplanationError
from lightning_explain.exemplars.cards import Box
from lightning_explain.exemplars.receptive_field import ReceptiveFields, fitting_together
from lightning_explain.exemplars.unit_outputs import Run, layer_outputs


class _NotTriedError(ExplanationError):
    """The model refuses samples of which a part was replaced, as one does that looks for a mark in each."""


def _outputs(run: Run, layers: Sequence[Layer], parts: tuple[Tensor, ...]) -> dict[str, Tensor]:
    def tried(*inputs: Tensor) -> Any:
        try:
            return run(*inputs)
        except (ValueError, IndexError, AssertionError) as error:
            raise _NotTriedError(f"{type(error).__name__}: {error}") from error

    return {key: found.values for key, found in layer_outputs(tried, parts, layers).items()}


def _each_once(layers: Iterable[Layer]) -> list[Layer]:
    """Return each layer once: one that is called several times has several keys."""
    return list({layer.name: layer for layer in layers}.values())


class KnownFields:
    """The receptive fields of a monitor's layers, by layer and shape of the inputs.

    Attributes:
        refusal: Why samples are taken whole, in a sentence; empty where the model could be tried.
    """

    def __init__(self) -> None:
        self.refusal = ""
        self._known: dict[tuple[Any, ...], ReceptiveFields] = {}

    def clear(self) -> None:
        """Forget all."""
        self._known.clear()

    def boxes(
        self,
        parts: tuple[Tensor, ...],
        index: int,
        axes: Sequence[int],
        run: Run,
        layers: Mapping[str, Layer],
        key: str,
        places: Sequence[int],
    ) -> list[Box]:
        """Return the part of the input that each of some positions depends on: all where the model cannot be tried.

        Args:
            parts: Some samples, each [samples, ...]; the first two are tried, so begin with the longest.
            index: Which of the inputs is looked at.
            axes: Its axes that are looked at, counted from the last.
            run: Calls the model; isolate it.
            layers: The layers whose fields will be wanted, by their calls.
            key: The layer's call.
            places: Flat positions of its output.

        Cost: as `dependence` the first time, for all layers that fit into the same passes; then nothing.
        """

        def field(name: str) -> ReceptiveFields:
            asked = (name, *(tuple(part.shape[1:]) for part in parts))
            if asked not in self._known:
                self._known[asked] = ReceptiveFields(axes, [parts[index].shape[axis] for axis in axes])
            return self._known[asked]

        fields = field(key)
        if not axes or self.refusal:
            return [fields.box(place) for place in places]
        few = tuple(part[:2] for part in parts)
        with torch.no_grad():
            if not fields.is_tried:
                untried = {name: layer for name, layer in layers.items() if not field(name).is_tried}
                # another layer's fault: it is told of when its own turn comes
                with suppress(ExplanationError):
                    chosen = _fitting(few, run, untried, key)
                    outputs = partial(_outputs, run, _each_once(untried[name] for name in chosen))
                    ReceptiveFields.try_together({name: field(name) for name in chosen}, outputs, few, index=index)
            try:
                fields.look(key, partial(_outputs, run, [layers[key]]), few, index, places)
            except _NotTriedError as error:
                self.refusal = (
                    "exemplars are shown whole: the model takes no sample of which a part was replaced, so that what "
                    f"a position depends on cannot be tried. {error}"
                )
        return [fields.box(place) for place in places]


def _fitting(few: tuple[Tensor, ...], run: Run, untried: Mapping[str, Layer], key: str) -> list[str]:
    """Return a layer and others that fit into the same passes, by their sizes for one sample."""
    seen = _outputs(run, _each_once(untried.values()), tuple(part[:1].clone() for part in few))
    return fitting_together({name: values.numel() for name, values in seen.items() if name in untried}, key)
