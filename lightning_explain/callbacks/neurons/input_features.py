"""The probe of a neuron monitor: what feeds its neurons, accuracy without them, activation maps of a sample."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from lightning_explain.attribution import Attribution
from lightning_explain.attribution.scores import check_differentiable
from lightning_explain.callbacks.base.default_probe import flat_loaders, to_device
from lightning_explain.callbacks.base.error_handling import DRAWING_A_PROBE, Guard
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.neurons.ablated_units import chosen_units
from lightning_explain.callbacks.neurons.activation_maps import activation_maps
from lightning_explain.capture import Layer
from lightning_explain.faithfulness.inner_clamping import can_clamp
from lightning_explain.faithfulness.unit_ablation import ablated_effects
from lightning_explain.faithfulness.unit_effects import AblationResult
from lightning_explain.feeding import FeedingFeatures, feeding_features
from lightning_explain.feeding.unit_producers import unit_producers
from lightning_explain.neurons import LayerProfile
from lightning_explain.probe import Probe
from lightning_explain.render.shown_inputs import is_of_grid

MOST_FEATURES = 20
"""Features kept of each neuron."""

COLLECTING = "collecting a probe"

NO_FEEDING = (
    "Token ids feed no neuron with a sign: give feeding=0 to do without, or, for numbers that are none, "
    "input=lambda batch: batch[0].float() (or batch['x'].float() where batches are mappings)."
)


class NeuronProbe:
    """The probe of a neuron monitor, where there is one: it is drawn from validation data if none was given.

    Args:
        keeper: Keeps the monitor's probe.
        question: Where batches hold input and target, and how the module is called.
        guard: The monitor's error handling.
        wanted: Find a probe. None is drawn for nothing: token ids, say, feed no neuron with a sign and have no maps.
    """

    def __init__(self, keeper: ProbeKeeper, *, question: Question, guard: Guard, wanted: bool) -> None:
        self._guard = guard
        self._wanted = wanted
        self._question = question
        self._keeper = keeper
        self._sought = False

    @property
    def probe(self) -> Probe | None:
        """The probe; None while there is none."""
        return self._keeper.probe

    def find(self, trainer: Any) -> None:
        """Draw the probe, or begin to collect it; tried once, since a failure is reported once."""
        if self._wanted and not self._sought and flat_loaders(trainer.val_dataloaders):
            self._sought = True
            drawing = "drawing a probe for feeding features and activation maps"
            with self._guard.doing(drawing, cure=DRAWING_A_PROBE):
                self._keeper.find(trainer)

    def collect(self, batch: Any) -> None:
        """Take the samples still missing from a validation batch, while the probe is being collected."""
        if self._keeper.collecting:
            with self._guard.doing(COLLECTING, cure=DRAWING_A_PROBE):
                self._keeper.collect(batch)

    def finish(self) -> None:
        """Make the probe of the samples collected."""
        if self._keeper.collecting:
            with self._guard.doing(COLLECTING, cure=DRAWING_A_PROBE):
                self._keeper.finish_collecting()

    def start_over(self) -> None:
        """Drop a probe that was drawn: it belonged to another run."""
        self._keeper.forget()
        self._sought = False

    def without_classes(self) -> None:
        """Treat the probe's labels as real values: the samples counted showed that they are no classes."""
        self._keeper.without_classes()

    def features(
        self,
        trainer: Any,
        pl_module: nn.Module,
        profiles: Mapping[str, LayerProfile],
        layers: Sequence[Layer],
        *,
        method: Callable[..., Attribution] | None,
        most_neurons: int,
    ) -> dict[str, FeedingFeatures]:
        """Find the feeding features of neurons, isolated; every process of a distributed run must call it.

        Raises:
            ConfigurationError: The module cannot be called with the probe, or its input is no real number.
            ExplanationError: A layer's units cannot be seen or do not depend on the input.
        """
        if self.probe is None:
            return {}
        self._question.check(pl_module)
        check_differentiable(self.probe.parts, tokens=NO_FEEDING)
        inputs = to_device(trainer, self.probe.parts)
        with undisturbed(pl_module):
            return feeding_features(
                pl_module,
                inputs if isinstance(self.probe.inputs, tuple) else inputs[0],
                self.probe.labels,
                profiles,
                layers,
                method=method,
                most_neurons=most_neurons,
                n_top=MOST_FEATURES,
                as_maps=is_of_grid(self.probe),
                forward=self._question.call(pl_module),
            )

    def effects(
        self,
        trainer: Any,
        pl_module: nn.Module,
        profiles: Mapping[str, LayerProfile],
        layers: Sequence[Layer],
        *,
        most_of_layer: int | None,
        shown: Mapping[str, Iterable[int]],
    ) -> AblationResult | None:
        """Measure the classes' accuracy without listed neurons, isolated; every process must call it.

        Returns:
            None where there is no probe, or its samples have no classes.

        Raises:
            ConfigurationError: The module cannot be called with the probe, or its scores do not fit the labels.
        """
        probe = self.probe
        labels = None if probe is None else probe.labels
        if probe is None or labels is None or not profiles:
            return None
        self._question.check(pl_module)
        counted = next(iter(profiles.values())).n_samples
        if most_of_layer is None:  # the cost is shared out among layers that can be measured
            known = {layer.name for layer in layers if can_clamp(layer)}
            profiles = {key: profile for key, profile in profiles.items() if key.split("#")[0] in known}
        n_samples = int(counted.sum())
        units = chosen_units(profiles, most_of_layer, n_probe=len(probe), n_samples=n_samples, shown=shown)
        inputs = to_device(trainer, probe.parts)
        with undisturbed(pl_module):
            return ablated_effects(pl_module, inputs, labels, layers, units, forward=self._question.scores(pl_module))

    def producers(self, trainer: Any, pl_module: nn.Module, layers: Sequence[Layer]) -> Mapping[str, Sequence[str]]:
        """Find the modules whose units the watched layers' are, one by one; every process must call it."""
        if self.probe is None:
            return {}
        self._question.check(pl_module)
        inputs, run = to_device(trainer, self.probe.parts), self._question.call(pl_module)
        with undisturbed(pl_module):
            return unit_producers(pl_module, lambda: run(*(part[:1].clone() for part in inputs)), layers)

    def maps(self, trainer: Any, pl_module: nn.Module, layers: Sequence[Layer]) -> dict[str, Tensor]:
        """Return the activation maps of the first sample; every process of a distributed run must call it."""
        if self.probe is None:
            return {}
        self._question.check(pl_module)
        return activation_maps(pl_module, to_device(trainer, self.probe.parts), self._question, layers)
