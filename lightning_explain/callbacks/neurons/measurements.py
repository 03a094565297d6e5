"""Measurements that take passes of their own: feeding features, cards of exemplars, accuracy without neurons."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
from torch import Tensor

from lightning_explain.attribution import Attribution
from lightning_explain.attribution.traits import traits_of
from lightning_explain.batches import fields_of
from lightning_explain.budget import FORWARD, GRADIENT, PassBudget
from lightning_explain.callbacks.base.error_handling import CALLING, Guard
from lightning_explain.callbacks.base.monitor_schedule import MonitorSchedule, largest
from lightning_explain.callbacks.neurons.ablated_units import room_for_units
from lightning_explain.callbacks.neurons.counting.not_counted import not_ablated_message
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch
from lightning_explain.callbacks.neurons.exemplars.card_maker import Cards
from lightning_explain.callbacks.neurons.exemplars.exemplar_pictures import shown_layers, units_each
from lightning_explain.callbacks.neurons.exemplars.monitor_exemplars import MonitorExemplars
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.report_builder import Fresh, ReportBuilder
from lightning_explain.callbacks.neurons.results import NeuronReport
from lightning_explain.callbacks.neurons.tab_exemplars import TabUnits
from lightning_explain.errors import ConfigurationError
from lightning_explain.faithfulness.unit_effects import UnitEffects
from lightning_explain.feeding.shared_passes import passes_of_features
from lightning_explain.schedule import is_left_to_last, worth_measuring

SHARE = 0.05
"""Largest share of the passes of training so far that measurements take before the end of a run."""

UNKNOWN_PASSES = 50
"""Gradient passes of a sample by a method that does not say how many it takes."""

KINDS = ("exemplars", "ablation", "feeding")
"""The kinds of measurements, the cheapest first."""


def n_samples_of(batch: Any) -> int:
    """Return the number of samples of a batch, by the first tensor in it; 1 where there is none.

    Example:
        >>> import torch
        >>> n_samples_of({"x": (torch.zeros(8, 3), torch.zeros(8))}), n_samples_of("text")
        (8, 1)
    """
    if isinstance(batch, Tensor):
        return len(batch) if batch.ndim else 1
    named = fields_of(batch)
    parts = list(named.values()) if named is not None else batch if isinstance(batch, list | tuple) else ()
    return next((n for n in map(n_samples_of, parts) if n > 1), 1)


class Measurements:
    """Takes the measurements of one monitor: after 1, 2, 4, 8, ... reports as far as a budget goes, and at the end.

    Args:
        builder: Keeps what was measured for the reports that follow.
        probe: The samples that are sent through the model.
        watch: Knows the watched layers.
        exemplars: The monitor's exemplars.
        guard: The monitor's error handling.
        schedule: Measures the time spent, and knows how far the run is.
        feeding: Neurons of each class and layer whose feeding features are computed.
        method: Attribution method for them.
        ablation: Neurons of each layer whose ablation is measured; None for as many as the cost allows where feeding
            features are computed, else none.
        every_n_reports: Measure at every n-th report and the last, whatever it costs; None for the budget.

    Attributes:
        units: What events of the Explain tab say of units.
        budget: The passes that training and measurements took so far.

    Raises:
        ConfigurationError: A number is impossible.
    """

    def __init__(
        self,
        *,
        builder: ReportBuilder,
        probe: NeuronProbe,
        watch: NeuronWatch,
        exemplars: MonitorExemplars,
        guard: Guard,
        schedule: MonitorSchedule,
        feeding: int,
        method: Callable[..., Attribution] | None,
        ablation: int | None,
        every_n_reports: int | None = None,
    ) -> None:
        if every_n_reports is not None and every_n_reports < 1:
            raise ConfigurationError(
                f"measure_every_n_reports={every_n_reports}; expected at least 1, or None to measure after 1, 2, 4, 8, "
                f"... reports as far as {SHARE:.0%} of the training's passes go, and at the end. feeding=0, ablation=0 "
                "and exemplars=0 switch measurements off."
            )
        self._builder, self._probe, self._watch, self._exemplars = builder, probe, watch, exemplars
        self._guard, self._schedule, self._stopwatch = guard, schedule, schedule.stopwatch
        self._n_feeding, self._method = feeding, method
        self._n_ablated = 0 if ablation is None and not feeding else ablation
        self._every = every_n_reports
        self.start_over()

    def start_over(self) -> None:
        """Forget all measurements and their cost."""
        self.budget = PassBudget(SHARE)
        self.units = TabUnits()
        self._pending = set(KINDS)
        self._is_first = set(KINDS)
        self._missing: set[str] = set()

    def begin_run(self) -> None:
        """Begin a fit: nothing is missing from its last report yet."""
        self._missing = set()

    def state_dict(self) -> dict[str, float]:
        """Return the passes so far, as plain numbers."""
        return self.budget.state_dict()

    def load_state_dict(self, state: dict[str, float] | None) -> None:
        """Continue from what `state_dict` returned; None of a checkpoint that has none."""
        if state is not None:
            self.budget.load_state_dict(state)

    # -- when --------------------------------------------------------------------------------------------------

    def _costs(self, report: NeuronReport) -> dict[str, float]:
        """Return the passes that each kind of measurement takes of a report, about; without those that are off."""
        n_probe, n_layers = 0 if self._probe.probe is None else len(self._probe.probe), len(report.layers)
        costs: dict[str, float] = {}
        if self._exemplars.options.k and self._exemplars.options.shown and report.stage == "val":
            shown = len(shown_layers(list(report.layers)))
            each = FORWARD + GRADIENT * self._passes_of(self._exemplars.options.method, otherwise=1)
            costs["exemplars"] = shown * units_each(shown) * self._exemplars.options.shown * each
        if self._n_ablated != 0 and report.scores and n_probe:
            counted = int(next(iter(report.profiles.values())).n_samples.sum()) if n_layers else 0
            room = room_for_units(n_probe, counted) if self._n_ablated is None else n_layers * self._n_ablated
            costs["ablation"] = FORWARD * n_probe * (1 + room)
        if self._n_feeding and n_probe:
            alone = GRADIENT * n_layers * self._n_feeding * n_probe * self._passes_of(self._method, otherwise=0)
            costs["feeding"] = alone or passes_of_features(n_probe, n_layers, self._n_feeding)
        return costs

    @staticmethod
    def _passes_of(method: Callable[..., Attribution] | None, *, otherwise: int) -> int:
        return otherwise if method is None else traits_of(method).n_passes or UNKNOWN_PASSES

    def _chosen(self, trainer: Any, costs: Mapping[str, float], count: int, *, is_last: bool) -> set[str]:
        """Choose the measurements that come with the count-th report; a collective call in a distributed run."""
        to_come = self._schedule.n_to_come(trainer)
        if is_last or to_come == 0 or self._is_last_epoch(trainer) or trainer.state.fn != "fit":
            return set(costs)
        if self._every is not None:
            return set(costs) if count % self._every == 0 else set()
        last = None if to_come is None else count + to_come
        if worth_measuring(count, last):
            self._pending = set(KINDS)
        if is_left_to_last(count, last):
            return set()
        due = {kind: cost for kind, cost in costs.items() if kind in self._pending}
        return self._affordable(trainer, due, at_end=sum(costs.values()))

    def _is_last_epoch(self, trainer: Any) -> bool:
        return self._schedule.progress(trainer) == 1

    def _affordable(self, trainer: Any, costs: Mapping[str, float], *, at_end: float) -> set[str]:
        """Choose those due measurements that the budget allows; a collective call in a distributed run."""
        progress, budget = self._schedule.progress(trainer), PassBudget(self.budget.share)
        budget.load_state_dict(self.budget.state_dict())
        verdict = 0
        for bit, kind in enumerate(KINDS):
            is_first = kind in self._is_first
            if kind in costs and budget.allows(costs[kind], at_end=at_end, progress=progress, is_first=is_first):
                budget.spend(costs[kind])
                verdict |= 1 << bit
        # processes may have trained on different numbers of samples
        verdict = largest(trainer, verdict)
        return {kind for bit, kind in enumerate(KINDS) if verdict >> bit & 1 and kind in costs}

    # -- measuring ---------------------------------------------------------------------------------------------

    def take(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, report: NeuronReport, count: int, *, is_last: bool
    ) -> tuple[NeuronReport, Fresh]:
        """Take the measurements due with a report; every process of a distributed run must call it.

        Args:
            trainer: The Trainer.
            pl_module: The module.
            report: The report.
            count: Its number, from 1 on.
            is_last: True if no report of this run follows.

        Returns:
            The report with what was measured now, and else what was measured last; what is new.
        """
        costs = self._costs(report)
        self._exemplars.note_dead(report)
        if not trainer.validating:  # after a validation within the epoch the weights have moved on
            costs.pop("exemplars", None)
        chosen = self._chosen(trainer, costs, count, is_last=is_last)
        self._missing = set(costs) - chosen
        return self._measured(trainer, pl_module, report, chosen, costs)

    def complete(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, report: NeuronReport, *, is_current: bool
    ) -> tuple[NeuronReport, Fresh] | None:
        """Measure at the end of a run what its last report lacks; None if nothing. Every process must call it.

        Args:
            trainer: The Trainer.
            pl_module: The module.
            report: The last report.
            is_current: True if the model's weights are those that the report is of.
        """
        chosen = self._missing if is_current else self._missing - {"exemplars"}
        self._missing = set()
        if not chosen:
            return None
        return self._measured(trainer, pl_module, report, chosen, self._costs(report))

    def _measured(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        report: NeuronReport,
        chosen: set[str],
        costs: Mapping[str, float],
    ) -> tuple[NeuronReport, Fresh]:
        fresh, layers = Fresh(), self._watch.layers
        self.budget.spend(sum(costs.get(kind, 0.0) for kind in chosen))
        self._pending -= chosen
        self._is_first -= chosen
        if "feeding" in chosen:
            with self._stopwatch.spending(), self._guard.doing("working out what feeds the neurons", cure=CALLING):
                given: dict[str, Any] = {"method": self._method, "most_neurons": self._n_feeding}
                features = self._probe.features(trainer, pl_module, report.profiles, layers, **given)
                self._builder.add_feeding(features, report.epoch)
                report, fresh.features = report.with_feeding(features), list(features)
        if "exemplars" in chosen:
            fresh.cards = self._cards(trainer, pl_module, report)
        report = replace(report, cards=self._exemplars.cards, display=self._exemplars.display)
        with self._stopwatch.spending(), self._guard.doing("naming the layers before activations", cure=CALLING):
            self.units.know(report.cards, lambda: self._probe.producers(trainer, pl_module, layers))
        if "ablation" in chosen:
            effects = self._effects(trainer, pl_module, report)
            self._builder.add_effects(effects, report.epoch)
            report, fresh.effects = report.with_effects(effects), list(effects)
        return report, fresh

    def cards_within_epoch(self, trainer: pl.Trainer, pl_module: pl.LightningModule, report: NeuronReport) -> Cards:
        """Make the cards of a validation within an epoch if the budget allows; every process must call it."""
        every = self._costs(report)
        costs = {kind: cost for kind, cost in every.items() if kind == "exemplars"}
        in_any_case = self._every is not None or self._is_last_epoch(trainer)
        chosen = set(costs) if in_any_case else self._affordable(trainer, costs, at_end=sum(every.values()))
        self.budget.spend(sum(costs[kind] for kind in chosen))
        self._is_first -= chosen
        return self._cards(trainer, pl_module, report) if chosen else {}

    def _cards(self, trainer: pl.Trainer, pl_module: pl.LightningModule, report: NeuronReport) -> Cards:
        with self._stopwatch.spending(), self._guard.doing("showing exemplars", cure=CALLING):
            return self._exemplars.make_cards(trainer, pl_module, report, self._watch.layers)
        return {}

    def _effects(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, report: NeuronReport
    ) -> Mapping[str, UnitEffects]:
        """Measure the accuracy without neurons where the report's scores are known to be those of its classes."""
        measuring = self._guard.doing("measuring the accuracy without single neurons", cure=CALLING)
        chosen: dict[str, Any] = {"most_of_layer": self._n_ablated, "shown": report.cards}
        with self._stopwatch.spending(), measuring:
            found = self._probe.effects(trainer, pl_module, report.profiles, self._watch.layers, **chosen)
            if found is None:
                return {}
            if found.not_measured and self._n_ablated is not None:
                self._guard.note(not_ablated_message(found.not_measured), about=f"not ablated {found.not_measured}")
            return found.effects
        return {}

    # -- the record --------------------------------------------------------------------------------------------

    def record(self) -> dict[str, Any]:
        """Return the record's entry: passes of samples so far, and what waits for the budget or the end of the run."""
        passes = {"training": self.budget.trained, "measurements": self.budget.spent}
        if self._every is None:
            passes["limit"] = SHARE
        waiting: Sequence[str] = [kind for kind in KINDS if kind in self._missing]
        return {"passes": passes, "not_measured_now": waiting}
