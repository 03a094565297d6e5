"""Evidence from the loss: does it read what the explained forward returns, or what another layer makes of it."""

from collections.abc import Generator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from torch import Tensor, nn

from lightning_explain.batches import fields_of, label_form, score_candidates, target_of, tensors_in
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.callbacks.class_scores.label_use import PLACE, LabelUse
from lightning_explain.callbacks.class_scores.loss_graph import LossReading, Source
from lightning_explain.callbacks.class_scores.output_source import OutputSource, Place, score_sources
from lightning_explain.capture import Hook, Removable, is_compiled


class LossEvidence:
    """Listens in one training step to what the explained forward returns, and looks how the loss reads it.

    Args:
        question: How the explained function is reached.
    """

    def __init__(self, question: Question) -> None:
        self._question = question
        self.forget()

    def forget(self) -> None:
        """Forget everything."""
        self._handles: list[Removable] = []
        self._own: list[list[Source]] = []
        self._parts: list[Source] = []
        self._frozen: dict[Source, Tensor] = {}
        self._labels: Tensor | None = None
        self._place = PLACE
        self.reading = LossReading()
        self.label_use = LabelUse()

    def attach(self, pl_module: nn.Module, batch: Any) -> None:
        """Put the hooks on: of the module, of the parts that return the same, and of layers that are not trained.

        Nothing compiled is listened to.

        Cost: a forward pass of 8 samples.
        """
        self.detach()
        if any(map(is_compiled, pl_module.modules())):
            return
        self._labels = _labels_of(batch, self._question)
        self._place = _place_of(self._labels, batch)
        sources: list[OutputSource] = []
        with suppress(Exception):  # batches of training may have another form than those of validation
            sources = score_sources(pl_module, batch, self._question)
        modules = dict(pl_module.named_modules())
        self._handles = [pl_module.register_forward_hook(Hook(self._catch_own))]
        for source in sources:
            catch = Hook(partial(self._catch_part, place=source.place))
            self._handles.append(modules[source.name].register_forward_hook(catch))
        for layer, matrix in _frozen_layers(pl_module):
            self._handles.append(layer.register_forward_hook(Hook(partial(self._catch_frozen, matrix=matrix))))

    def detach(self) -> None:
        """Take the hooks off and forget everything."""
        for handle in self._handles:
            handle.remove()
        self.forget()

    def _catch_own(self, output: Any) -> None:
        place = self._question.choice.place
        found = score_candidates(output) if place is None else {None: tensors_in(output).get(place)}
        self._own.append(_sources(list(found.values())) if len(found) == 1 else [])

    def _catch_part(self, output: Any, *, place: Place) -> None:
        self._parts += _sources([tensors_in(output).get(place)])

    def _catch_frozen(self, output: Any, *, matrix: Tensor) -> None:
        if isinstance(output, Tensor):
            self._frozen.update(dict.fromkeys(_sources([output]), matrix))

    def read(self, loss: Tensor, *, redirected: bool) -> None:
        """Follow a loss back to the module's output so far.

        Args:
            loss: Before its backward pass.
            redirected: Whether the module's last output is what the step returned, as under DDP.
        """
        own = self._own[:-1] if redirected else self._own
        returned = {source for sources in own for source in sources} | set(self._parts)
        if returned:
            self.reading.add(loss.grad_fn, returned, self._frozen)
            self.label_use = LabelUse.of(self._labels, self.reading.by_label.values(), self._place)


def _labels_of(batch: Any, question: Question) -> Tensor | None:
    with suppress(Exception):
        target = target_of(batch, question.target)
        return target if label_form(target) == "index" else None
    return None


def _place_of(labels: Tensor | None, batch: Any) -> str:
    """Return the place of the labels in a batch, as an expression."""
    named = fields_of(batch) or {}
    if isinstance(batch, Mapping):
        places = {f"batch[{key!r}]": part for key, part in named.items()}
    elif named:
        places = {f"batch.{name}": part for name, part in named.items()}
    else:
        places = (
            {f"batch[{place}]": part for place, part in enumerate(batch)} if isinstance(batch, list | tuple) else {}
        )
    return next((place for place, part in places.items() if part is labels), PLACE)


def _frozen_layers(pl_module: nn.Module) -> Generator[tuple[nn.Module, Tensor], None, None]:
    """Yield layers with a weight matrix that is not trained; none inside what may run fused, where no hook may sit."""
    inside = {
        part
        for module in pl_module.modules()
        if isinstance(module, nn.TransformerEncoderLayer | nn.MultiheadAttention)
        for part in module.modules()
    }
    for module in pl_module.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, nn.Parameter) and weight.ndim > 1 and not weight.requires_grad and module not in inside:
            yield module, weight


def _sources(tensors: list[Tensor | None]) -> list[Source]:
    return [(t.grad_fn, t.output_nr) for t in tensors if t is not None and t.grad_fn is not None]
