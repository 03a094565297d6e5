"""The exemplars of one monitor over a run: collected in each validation that is reported, compared with the last."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor

from lightning_explain.batches import input_of
from lightning_explain.callbacks.base.default_probe import flat_loaders, to_device
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question, undisturbed
from lightning_explain.callbacks.base.monitor import units_elsewhere
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.neurons.counting.stage_counts import StageCounts
from lightning_explain.callbacks.neurons.exemplars.card_maker import CardMaker, Cards, Chosen
from lightning_explain.callbacks.neurons.exemplars.exemplar_collector import ExemplarCollector
from lightning_explain.callbacks.neurons.exemplars.exemplar_pictures import shown_layers, units_each
from lightning_explain.callbacks.neurons.exemplars.passing import PassingSamples
from lightning_explain.callbacks.neurons.exemplars.sample_numbers import DataNumbers, SampleNumbers
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.capture import Layer
from lightning_explain.display import Display
from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars import Exemplars, LayerExemplars
from lightning_explain.exemplars.last_fired import LastFired
from lightning_explain.exemplars.layer_exemplars import Remembered
from lightning_explain.exemplars.unit_choice import DIED, choose_units
from lightning_explain.exemplars.unit_relevance import unit_relevance
from lightning_explain.probe import Probe


class MonitorExemplars:
    """Collects and compares the exemplars of one monitor.

    Args:
        options: What is kept.
        keeper: Knows how samples are shown.
        question: Where batches hold the input.
        guard: The monitor's error handling.

    Attributes:
        options: What is kept.
        layers: The last exemplars by layer.
        cards: What is shown of the units that matter, as last made.
        passing: Samples of the last pass that have no index to fetch them by.
        numbers: What the numbers of their samples stand for; None before the first pass of this run.
    """

    def __init__(self, options: Exemplars, *, keeper: ProbeKeeper, question: Question, guard: Guard) -> None:
        self.options = options
        self.layers: dict[str, LayerExemplars] = {}
        self.cards: Cards = {}
        self.numbers: DataNumbers | None = None
        self.maker = CardMaker(options, question, guard)
        self.passing = PassingSamples(options.shown)
        self._passing_batch: tuple[Tensor, tuple[Tensor, ...]] | None = None
        self._dead: dict[str, Tensor] = {}
        self._last_fired: dict[str, LastFired] = {}
        self._remembered: dict[str, Remembered] = {}
        self._keeper = keeper
        self._question = question
        self._guard = guard
        self._collector: ExemplarCollector | None = None
        self._counting: SampleNumbers | None = None
        self._counts: StageCounts | None = None

    def check(self, trainer: Any, pl_module: Any, probe: Probe | None) -> None:
        """Check before training that samples have one class score each; every process must call it.

        Raises:
            ConfigurationError: Exemplars by relevance were asked for, and the output has no score for each sample.
        """
        if not self.options.k or self.options.by != "relevance" or probe is None:
            return
        parts = to_device(trainer, probe.parts)
        with torch.inference_mode(mode=False), torch.no_grad(), undisturbed(pl_module):
            found: Any = self._question.scores(pl_module)(*(part[:2].clone() for part in parts))
        if not isinstance(found, Tensor) or found.ndim not in (1, 2):
            given = f"shape {list(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigurationError(
                f"exemplars=Exemplars(by='relevance') ranks samples by what units do for the score of the sample's "
                f"class, but the output is of {given}; expected scores [batch, classes], or [batch] of a single "
                "output. Say with output= what score a sample has (a function of the output, such as the mean over "
                "positions), or give exemplars=Exemplars(by='activation')."
            )

    # -- a validation pass -------------------------------------------------------------------------------------

    def begin(self, trainer: Any, counts: StageCounts | None) -> None:
        """Begin a validation pass.

        Args:
            trainer: The Trainer.
            counts: The counts of validation, in whose hooks exemplars are collected; None to collect none.
        """
        self._stop()
        self.passing = PassingSamples(self.options.shown)
        if counts is not None and self.options.k:
            self._counts = counts
            self._counting = SampleNumbers(flat_loaders(trainer.val_dataloaders), Ranks.of(trainer))
            self._collector = counts.exemplars = ExemplarCollector(
                self.options.k, by_activation=self.options.by == "activation"
            )

    def begin_batch(self, batch: Any, batch_idx: int, loader: int, labels: Tensor | None) -> None:
        """Number the samples of a batch.

        Args:
            batch: The batch.
            batch_idx: Its index in this process and loader.
            loader: Index of its loader.
            labels: Class of each sample: int64 [batch]; None for none.
        """
        if self._collector is None or self._counting is None or self._counts is None:
            return
        numbers = self._counting.of_batch(loader, batch_idx, self._n_samples(batch, labels))
        if self.options.shown and not self._counting.has_index(loader):
            with suppress(ConfigurationError):
                inputs = input_of(batch, self._question.input)
                self._passing_batch = numbers, inputs if isinstance(inputs, tuple) else (inputs,)
        self._collector.begin_batch(numbers, labels, self._counts.of_class(labels))

    def _n_samples(self, batch: Any, labels: Tensor | None) -> int:
        if labels is not None:
            return len(labels)
        with suppress(ConfigurationError):
            inputs = input_of(batch, self._question.input)
            return len(inputs[0] if isinstance(inputs, tuple) else inputs)
        return 0  # layers give another number of rows, and are left out

    def end_batch(self, pl_module: Any, batch: Any, labels: Tensor | None, layers: Sequence[Layer]) -> None:
        """Merge the outputs of the batch.

        Args:
            pl_module: The module.
            batch: The batch.
            labels: Class of each sample: int64 [batch]; None for none.
            layers: The watched layers.
        """
        if self._collector is not None:
            if not self._collector.by_activation:
                self._add_relevance(self._collector, pl_module, batch, labels, layers)
            self._collector.end_batch()
            if self._passing_batch is not None:
                (numbers, parts), self._passing_batch = self._passing_batch, None
                self.passing.add(self._collector.current(), numbers.tolist(), parts)

    def _add_relevance(
        self, collector: ExemplarCollector, pl_module: Any, batch: Any, labels: Tensor | None, layers: Sequence[Layer]
    ) -> None:
        inputs = input_of(batch, self._question.input)
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        with torch.inference_mode(mode=False), undisturbed(pl_module):
            clones = tuple(part.clone() for part in parts)
            found = unit_relevance(self._question.scores(pl_module), clones, labels, layers)
        for key, (peaks, shape) in found.items():
            collector.add_peaks(key, peaks, shape)
        left_out = [layer.name for layer in layers if not any(key.split("#")[0] == layer.name for key in found)]
        if left_out:
            self._guard.note(
                f"there are no exemplars by relevance of {', '.join(left_out[:10])}: the class scores do not depend on "
                "what is seen of them there (they lie beside the way to the scores, or give what autograd does not "
                "follow). Exemplars(by='activation') has those of every watched layer.",
                about="no exemplars by relevance",
            )

    def finish(self, trainer: Any, epoch: int, *, has_labels: bool) -> dict[str, LayerExemplars]:
        """Return the exemplars of the pass by layer; a collective call in a distributed run.

        Args:
            trainer: The Trainer.
            epoch: Index of the epoch.
            has_labels: False where labels turned out to be none.
        """
        collector, counting = self._collector, self._counting
        if collector is None or counting is None:
            return self.layers
        self._stop()
        tops, shapes = collector.tops(Ranks.of(trainer))
        self.numbers = counting.finish()
        found = dict[str, LayerExemplars]()
        for key, top in tops.items():
            found[key] = LayerExemplars.of(
                top if has_labels else top._replace(labels=torch.full_like(top.labels, -1)),
                self.numbers.of(top.numbers),
                shape=shapes[key],
                by=self.options.by,
                epoch=epoch,
                before=self._remembered.get(key),
            )
        self.layers = found
        self._last_fired = {key: LastFired.of(each, self._last_fired.get(key)) for key, each in found.items()}
        self._remembered = {key: each.remembered for key, each in found.items()}
        return found

    def note_dead(self, report: NeuronReport) -> None:
        """Note the dead units of the first report, which later cards tell from those that died since."""
        if not self._dead:
            self._dead = {key: found.profile.dead for key, found in report.layers.items()}

    def make_cards(self, trainer: Any, pl_module: Any, report: NeuronReport, layers: Sequence[Layer]) -> Cards:
        """Make the cards of the units that matter now; every process of a distributed run must call it.

        Args:
            trainer: The Trainer.
            pl_module: The module.
            report: Of the validation.
            layers: The watched layers.
        """
        if self.numbers is None:
            return {}
        on_path = units_elsewhere(trainer)
        keys = shown_layers([key for key in self.layers if key in report.layers])
        chosen = {
            key: choose_units(
                report.layers[key].profile,
                most=units_each(len(keys)),
                excited=self._shown(key, self.numbers),
                dead_before=self._dead.get(key),
                on_path=on_path.get(key, ()),
                class_names=report.class_names,
            )
            for key in keys
        }
        self._dead = {key: found.profile.dead for key, found in report.layers.items()}
        self.maker.display, self.maker.feature_names = self._keeper.display, self._keeper.feature_names
        kept = self._kept(Ranks.of(trainer), self.numbers, chosen)
        shown = self._with_last_fired(self.numbers, chosen)
        self.cards = self.maker.cards(trainer, pl_module, self.numbers, shown, layers, chosen, kept)
        return self.cards

    def _with_last_fired(self, numbers: DataNumbers, chosen: Chosen) -> dict[str, LayerExemplars]:
        """Return the exemplars by layer; units that died have those from when they last fired, if they can be had."""
        if not all(numbers.indexed):
            return self.layers
        died = {key: [unit for unit, reason in units.items() if reason == DIED] for key, units in chosen.items()}
        return self.layers | {key: self._last_fired[key].shown(self.layers[key], units) for key, units in died.items()}

    def _shown(self, key: str, numbers: DataNumbers) -> Tensor:
        """Return the units of a layer that some sample excites and whose samples can be had: boolean [units]."""
        excited = self.layers[key].excited
        if all(numbers.indexed):
            return excited
        followed = torch.zeros_like(excited)
        followed[self.passing.units(len(excited))] = True
        return excited & followed

    def _kept(self, ranks: Ranks, numbers: DataNumbers, chosen: Chosen) -> dict[int, tuple[Tensor, ...]]:
        """Return the samples kept as they passed, by their numbers in the data, of all processes."""
        if all(numbers.indexed):
            return {}
        shown = [self.layers[key].samples[list(units), : self.options.shown].flatten() for key, units in chosen.items()]
        in_pass = {numbers.in_pass(sample): sample for part in shown for sample in part.tolist() if sample >= 0}
        everywhere = ranks.exchanged(self.passing.of(in_pass))
        return {in_pass[number]: sample for own in everywhere for number, sample in own.items()}

    @property
    def display(self) -> Display:
        """The display of samples."""
        return self._keeper.display

    def _stop(self) -> None:
        if self._counts is not None:
            self._counts.exemplars = None
        self._collector, self._counting, self._counts = None, None, None

    # -- state -------------------------------------------------------------------------------------------------

    def start_over(self) -> None:
        """Forget all exemplars: they belonged to another run."""
        self.layers, self.cards, self.numbers, self._remembered, self._dead = {}, {}, None, {}, {}
        self._last_fired = {}
        self.maker.fields.clear()

    def state_dict(self) -> dict[str, Any]:
        """Return the state that the next report compares with, as plain tensors, numbers and strings."""
        return {layer: found.state_dict() for layer, found in self._remembered.items()}

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        """Continue from what `state_dict` returned; None of a checkpoint that has none."""
        self._remembered = {layer: Remembered.from_state_dict(saved) for layer, saved in (state or {}).items()}
