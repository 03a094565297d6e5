"""Cards of the units that matter: their exemplars fetched, cut to what the unit sees, with what in them excites it."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lightning_explain.attribution.gradients import InputXGradient
from lightning_explain.attribution.traits import method_name
from lightning_explain.callbacks.base.default_probe import to_device
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.callbacks.neurons.counting.layer_counts import layer_of
from lightning_explain.callbacks.neurons.exemplars.fetching import NotFetchedError, fetched
from lightning_explain.callbacks.neurons.exemplars.known_fields import KnownFields
from lightning_explain.callbacks.neurons.exemplars.sample_numbers import DataNumbers
from lightning_explain.capture import Layer
from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars import Exemplars, LayerExemplars
from lightning_explain.exemplars.cards import Box, Exemplar, UnitCard
from lightning_explain.exemplars.excitation import heat_method, heatmaps, values_at
from lightning_explain.exemplars.receptive_field import flat_place
from lightning_explain.exemplars.unit_outputs import UnitOutputs, layer_outputs, longest_first
from lightning_explain.probe import Probe
from lightning_explain.render.modalities import modality
from lightning_explain.render.modality import Modality, Shown
from lightning_explain.render.page_layout import colour_scale
from lightning_explain.render.shown_inputs import shown_inputs

FAR, OTHER = 0.02, 0.1
"""Shares of the largest value by which one is off when its sample is fetched again: from the first on the sample has
changed, which is said; from the second on it is taken for another sample, which is not shown."""

Chosen = Mapping[str, Mapping[int, str]]
"""By layer the units that are shown, and why."""

Fetch = Callable[[Sequence[int]], tuple[Tensor, ...]]
"""Returns samples by their numbers."""

Cards = dict[str, dict[int, UnitCard]]
"""By layer and unit."""


@dataclass
class _Fetched:
    """The exemplars of some units of one layer, in the order of `samples`.

    Attributes:
        parts: Inputs, each [samples, ...], on the model's device.
        shown: The input that is shown.
        units: Unit of each sample.
        samples: Numbers in the data.
        ranks: Place of each among its unit's exemplars.
    """

    parts: tuple[Tensor, ...]
    shown: Shown
    units: list[int]
    samples: list[int]
    ranks: list[int]

    @property
    def kind(self) -> Modality | None:
        """The kind of the input; None where there is no picture for it."""
        return None if self.shown.form is None else modality(self.shown.form)

    @property
    def axes(self) -> tuple[int, ...]:
        """Axes along which samples are cut."""
        return () if self.kind is None else self.kind.window_axes(self.shown.inputs)


@dataclass
class CardMaker:
    """Makes the cards of one monitor.

    Attributes:
        options: Which exemplars are shown, and by what method.
        question: How the model is called, and where batches hold the input.
        guard: For saying what could not be found out.
        display: How samples are shown.
        feature_names: Names of the features of tabular inputs.
        fields: What positions of the layers depend on.
    """

    options: Exemplars
    question: Question
    guard: Guard
    display: Display = field(default_factory=Display)
    feature_names: Sequence[str] = ()
    fields: KnownFields = field(default_factory=KnownFields)

    def cards(
        self,
        trainer: Any,
        pl_module: Any,
        numbers: DataNumbers,
        exemplars: Mapping[str, LayerExemplars],
        layers: Sequence[Layer],
        chosen: Chosen,
        kept: Mapping[int, tuple[Tensor, ...]],
    ) -> Cards:
        """Make the cards of some units; every process of a distributed run must call it.

        Args:
            trainer: The Trainer.
            pl_module: The module.
            numbers: What the numbers of samples stand for.
            exemplars: By layer.
            layers: The watched layers, with what is known of their calls.
            chosen: The units to show.
            kept: Samples that were kept as they passed, by number.

        Cost: for each layer a forward pass of the samples shown and the method's cost for them; once for inputs of a
        shape what `dependence` costs. Isolated.
        """
        by_name = {layer.name: layer for layer in layers}
        fetch = partial(fetched, trainer, self.question, numbers, kept=kept)
        found: Cards = {}
        shown = {key: by_name[layer_of(key)] for key, units in chosen.items() if units and layer_of(key) in by_name}
        for key in shown if self.options.shown else ():
            units = chosen[key]
            with self.guard.doing(f"showing the exemplars of {key!r}"):
                try:
                    found[key] = self._of_layer(trainer, pl_module, fetch, exemplars[key], shown, key, units)
                except (ConfigurationError, NotFetchedError, NotImplementedError) as error:
                    # no failure: exemplars are kept all the same
                    self.guard.note(
                        f"exemplars are kept, but not shown: {error or type(error).__name__}",
                        about="exemplars not shown",
                    )
        return {key: cards for key, cards in found.items() if cards}

    def _of_layer(
        self,
        trainer: Any,
        pl_module: Any,
        fetch: Fetch,
        exemplars: LayerExemplars,
        layers: Mapping[str, Layer],
        key: str,
        units: Mapping[int, str],
    ) -> dict[int, UnitCard]:
        layer = layers[key]
        own = self._fetch(trainer, fetch, exemplars, list(units))
        if own is None:
            return {}
        run = self.question.call(pl_module)
        with undisturbed(pl_module):
            # with a graph, as the heatmaps: transformer layers that run fused give other positions
            with torch.enable_grad():
                outputs = layer_outputs(run, tuple(part.clone() for part in own.parts), [layer], differentiable=True)
            if key not in outputs:
                return {}
            values = outputs[key].values.detach()
            places = self._places(own, exemplars, outputs[key].shape)
            same = self._compare(own, exemplars, values, places, key)
            longest = longest_first(values)
            tried = tuple(part[longest.to(part.device)] for part in own.parts)
            boxes = self.fields.boxes(tried, own.shown.index, own.axes, run, layers, key, places.tolist())
            if self.fields.refusal:
                self.guard.note(self.fields.refusal, about="exemplars shown whole")
            scores = UnitOutputs(pl_module, run, layer, key, values.shape[2])
            method = heat_method(self.options.method, own.parts)
            heat = heatmaps(scores, own.parts, torch.tensor(own.units), places, method=method)[own.shown.index]
        return self._put_together(own, exemplars, key, units, boxes, heat, same)

    def _fetch(self, trainer: Any, fetch: Fetch, exemplars: LayerExemplars, units: Sequence[int]) -> _Fetched | None:
        places = [
            (unit, rank, int(sample))
            for unit in units
            for rank, sample in enumerate(exemplars.samples[unit, : self.options.shown].tolist())
            if sample >= 0
        ]
        if not places:
            return None
        samples = [sample for _, _, sample in places]
        parts = to_device(trainer, fetch(samples))
        probe = Probe(
            inputs=parts[0] if len(parts) == 1 else parts, display=self.display, feature_names=self._names(parts)
        )
        shown = shown_inputs(probe)[0]
        return _Fetched(parts, shown, [unit for unit, _, _ in places], samples, [rank for _, rank, _ in places])

    def _names(self, parts: Sequence[Tensor]) -> Sequence[str]:
        fits = any(part[0].numel() == len(self.feature_names) for part in parts)
        return self.feature_names if fits else ()

    def _places(self, own: _Fetched, exemplars: LayerExemplars, shape: Sequence[int]) -> Tensor:
        positions = [exemplars.positions[unit, rank].tolist() for unit, rank in zip(own.units, own.ranks, strict=True)]
        return torch.tensor([flat_place(each, shape) if len(each) == len(shape) else 0 for each in positions])

    def _compare(
        self, own: _Fetched, exemplars: LayerExemplars, values: Tensor, places: Tensor, key: str
    ) -> list[bool]:
        """Return True for each sample that is the one that passed; warn about those that have changed since."""
        if exemplars.by != "activation":
            return [True] * len(own.units)
        again = values_at(values, torch.tensor(own.units), places).float().cpu()
        before = torch.stack([exemplars.values[unit, rank] for unit, rank in zip(own.units, own.ranks, strict=True)])
        off = (again - before).abs() / before.abs().amax().clamp_min(torch.finfo(before.dtype).tiny)
        # of units that do not fire any more other values are expected
        fires = torch.tensor([unit not in exemplars.earlier for unit in own.units])
        far, same = (off > FAR) & fires, (off <= OTHER) | ~fires
        if bool(far.any()):
            self.guard.note(
                f"{int(far.sum())} of {len(far)} exemplars of layer {key!r} excite their unit differently when they "
                f"are fetched from the data set again; {int((~same).sum())} that differ by more than {OTHER:.0%} are "
                "not shown. Does the data set change samples at random, does the collate function reorder them, or "
                "does the model depend on the batch? Validate without that, or give "
                "exemplars=0. Values and positions are of the samples that passed.",
                about="exemplars that differ when fetched",
            )
        return same.tolist()

    def _put_together(
        self,
        own: _Fetched,
        exemplars: LayerExemplars,
        key: str,
        units: Mapping[int, str],
        boxes: Sequence[Box],
        heat: Tensor,
        same: Sequence[bool],
    ) -> dict[int, UnitCard]:
        inputs = own.shown.inputs.cpu()
        made: dict[int, list[Exemplar]] = {unit: [] for unit in units}
        for row, (unit, rank, box) in enumerate(zip(own.units, own.ranks, boxes, strict=True)):
            if not same[row]:
                continue
            crop, values = (_cut(part[row : row + 1], own.axes, box) for part in (inputs, heat))
            map_, words = None, ()
            if own.kind is not None:
                map_ = own.kind.heat(values)
                shown = Shown(
                    inputs=crop,
                    form=own.shown.form,
                    display=self.display,
                    feature_names=own.shown.feature_names,
                    parts=(crop,),
                )
                words = own.kind.exemplar_words(shown, map_, 0)
            made[unit].append(
                Exemplar(
                    sample=int(exemplars.samples[unit, rank]),
                    label=int(exemplars.labels[unit, rank]),
                    value=float(exemplars.values[unit, rank]),
                    position=tuple(exemplars.positions[unit, rank].tolist()),
                    box=box,
                    crop=crop[0],
                    heatmap=None if map_ is None else map_[0],
                    words=words,
                )
            )
        limits = (float(inputs.min()), float(inputs.max()))
        return {
            unit: UnitCard(
                layer=key,
                unit=unit,
                reason=_reason(units[unit], exemplars.earlier.get(unit)),
                form=own.shown.form,
                by=exemplars.by,
                method=method_name(self.options.method or InputXGradient()),
                scale=_scale(each),
                limits=limits,
                epoch=exemplars.earlier.get(unit, exemplars.epoch),
                exemplars=tuple(each),
            )
            for unit, each in made.items()
            if each
        }


def _reason(reason: str, earlier: int | None) -> str:
    return reason if earlier is None else f"{reason}; as it last fired, after epoch {earlier}"


def _cut(part: Tensor, axes: Sequence[int], box: Box) -> Tensor:
    for axis, (start, stop) in zip(axes, box, strict=True):
        part = part.narrow(axis, start, stop - start)
    return part.clone()


def _scale(exemplars: Sequence[Exemplar]) -> float:
    maps = [each.heatmap.flatten() for each in exemplars if each.heatmap is not None]
    scale = colour_scale(torch.cat(maps)) if maps else 0.0
    return scale if math.isfinite(scale) else 0.0
