"""Looking for strategies: explain the larger sample, divide each class, follow what is found from time to time."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.callbacks.attribution.explainer import Explanation
from lightning_explain.callbacks.attribution.strategies.larger_sample import LargerSample
from lightning_explain.callbacks.attribution.strategies.sample_explainer import OfInput, SampleExplainer
from lightning_explain.callbacks.attribution.strategies.strategy_film import StrategyFilm
from lightning_explain.callbacks.attribution.strategies.strategy_report import ClassReport, StrategyReport
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question, probabilities
from lightning_explain.log import running_epoch
from lightning_explain.probe import Probe
from lightning_explain.render.profiles import Profile, profile_of
from lightning_explain.strategies import ClassStrategies, discoveries, find_strategies, unit_rows
from lightning_explain.strategies.following import Followed, Sighting, follow
from lightning_explain.strategies.strategy_alert import STRATEGIES, StrategyAlert
from lightning_explain.strategies.strategy_options import Strategies

LEAST_KNOWN = 0.1
"""Of the way from chance to certainty: a network that is less sure of a strategy's samples decides nothing yet."""

MOST_TYPICAL = 8


class StrategyWatch:
    """Looks for the strategies of a network at its explanations.

    Args:
        options: The options of strategies; None to look for none.
        name: The monitor's name.
        question: How the explained function is reached.
        guard: The monitor's error handling.
    """

    def __init__(self, options: Strategies | None, *, name: str, question: Question, guard: Guard) -> None:
        self._is_on = options is not None
        options = options or Strategies()
        self.sample = LargerSample(options, question=question, guard=guard)
        self._options = options
        self._name = name
        self._guard = guard
        self._explainer = SampleExplainer(options.method, question=question, guard=guard)
        self._count = 0
        self._known: dict[int, list[Followed]] = {}
        self._resumed: str | None = None
        self._film = StrategyFilm()

    def begin(self) -> None:
        """Begin a fit."""
        self._explainer.begin()

    def start_over(self) -> None:
        """Forget sample and strategies: another network's strategies are no news of this one."""
        self._count, self._known, self._film = 0, {}, StrategyFilm()
        self.sample.forget()

    def state_dict(self) -> dict[str, Any]:
        """Return plain numbers, strings and lists; of the sample only what tells whether it is the same."""
        if not self._is_on:
            return {}
        sample = self.sample.probe
        return {
            "count": self._count,
            "sample": None if sample is None else sample.fingerprint,
            "known": {str(c): [each.state_dict() for each in known] for c, known in self._known.items()},
            "film": self._film.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any] | None) -> None:
        """Take up what `state_dict` returned; nothing of a checkpoint without strategies."""
        if not state:
            return
        self._count = int(state["count"])
        self._known = {
            int(c): [Followed.from_state_dict(each) for each in known] for c, known in state["known"].items()
        }
        self._resumed = state["sample"]
        # checkpoints of before there was one have none
        self._film = StrategyFilm.from_state_dict(state.get("film"))

    def _check_sample(self, sample: Probe) -> None:
        """Begin anew if a checkpoint followed strategies in other samples."""
        if self._resumed is not None and self._resumed != sample.fingerprint:
            self._known, self._film = {}, StrategyFilm()
            self._guard.note(
                "the sample for strategies is not that of the checkpoint, so every strategy counts as new again. To go "
                "on, leave data and options of strategies= as they were."
            )
        self._resumed = None

    def added_to(
        self, explanation: Explanation | None, trainer: Any, pl_module: nn.Module, probe: Probe, *, ranks: Ranks
    ) -> Explanation | None:
        """Return an explanation of the probe with the strategies found at its step."""
        if explanation is None:
            return None
        report = self.look(trainer, pl_module, probe, step=explanation.step, ranks=ranks)
        return replace(explanation, strategies=report)

    def look(
        self, trainer: Any, pl_module: nn.Module, probe: Probe, *, step: int, ranks: Ranks
    ) -> StrategyReport | None:
        """Explain the sample and find the strategies of each class; None where it is not the time, or it fails.

        A collective call in a distributed run: each process explains a share of the samples.
        """
        self._count += 1
        if not self._is_on or (self._count - 1) % self._options.every:
            return None
        self.sample.find(trainer, ranks, like=probe)
        sample = self.sample.probe
        if sample is None:
            return None
        self._check_sample(sample)
        report: StrategyReport | None = None
        with self._guard.doing("looking for strategies"):
            explained = self._explainer.explain(trainer, pl_module, sample, step=step, ranks=ranks)
            if explained is not None:
                report = self._found(sample, *explained, step=step, epoch=running_epoch(trainer))
        return report

    def _found(self, sample: Probe, scores: Tensor, inputs: list[OfInput], *, step: int, epoch: int) -> StrategyReport:
        profile = [profile_of(shown, example, heat) for shown, example, heat in inputs]
        maps = torch.cat([each.values.flatten(1).double() for each in profile], 1)
        several = scores.ndim == 2 and scores.shape[1] > 1
        predicted = scores.argmax(1) if several else None
        labels = sample.labels if sample.labels is not None else predicted
        groups = torch.zeros(len(sample), dtype=torch.long) if labels is None else labels
        members = {c: (groups == c).nonzero().flatten().tolist() for c in groups.unique().tolist() if c >= 0}
        found = self._divided(maps, members)
        known = _certainty(scores, sample.labels)
        right = None if sample.labels is None or predicted is None else (predicted == sample.labels)
        classes: dict[int, ClassReport] = {}
        alerts: list[StrategyAlert] = []
        for c, strategies in found.items():
            classes[c], news = self._class_report(
                sample, c, members[c], strategies, profile, known=known, right=right, step=step, epoch=epoch
            )
            alerts += [self._alert(sample, classes[c], number, step=step, epoch=epoch) for number in news]
        if not profile[0].names:
            cells = tuple(profile[0].values.shape[1:])
            self._film.add(step, found, cells, lambda c: classes[c].name)
        return StrategyReport(
            step=step,
            epoch=epoch,
            method=self._explainer.method,
            sample=sample,
            classes=classes,
            profile=profile,
            shown=[shown for shown, _, _ in inputs],
            heat=inputs[0][2],
            predicted=predicted,
            alerts=tuple(alerts),
            film=self._film,
            count=1 + (self._count - 1) // self._options.every,
        )

    def _divided(self, maps: Tensor, members: Mapping[int, list[int]]) -> dict[int, ClassStrategies]:
        """Divide each class, and keep what is more than chance among all of them."""
        least, seed, rows = self._options.least_separation, self._options.seed, unit_rows(maps)
        found = {
            c: find_strategies(rows[own], relevance=maps[own], seed=seed, least_separation=least)
            for c, own in members.items()
        }
        real = discoveries([each.p_value for each in found.values()], self._options.false_discoveries)
        return {
            c: each if is_real else each.merged(rows[members[c]])
            for (c, each), is_real in zip(found.items(), real, strict=True)
        }

    def _class_report(
        self,
        sample: Probe,
        c: int,
        own: list[int],
        found: ClassStrategies,
        profile: list[Profile],
        *,
        known: Tensor | None,
        right: Tensor | None,
        step: int,
        epoch: int,
    ) -> tuple[ClassReport, list[int]]:
        """Return the report of a class, and the strategies in it that are news."""
        strategies = found.strategies
        sightings = [
            Sighting(
                members=frozenset(own[member] for member in strategy.members),
                separation=strategy.separation,
                share=strategy.share,
                decides=known is None or float(known[[own[m] for m in strategy.members]].mean()) > LEAST_KNOWN,
            )
            for strategy in strategies[1:]
        ]
        self._known[c], followed, news = follow(self._known.get(c, []), sightings, epoch=epoch, step=step)
        inside, outside = _accuracies(found, own, right)
        is_one = len(strategies) == 1
        report = ClassReport(
            index=c,
            name="all samples" if sample.labels is None and known is None else sample.class_name(c),
            rows=own,
            strategies=found,
            where=["" if is_one else _where(profile, each.difference) for each in strategies],
            inside=inside,
            outside=outside,
            followed=[None] * bool(strategies) + followed,
        )
        return report, [1 + number for number in news]

    def _alert(self, sample: Probe, report: ClassReport, number: int, *, step: int, epoch: int) -> StrategyAlert:
        strategy, followed = report.strategies.strategies[number], report.followed[number]
        assert followed is not None
        typical = tuple(report.members(number)[:MOST_TYPICAL])
        return StrategyAlert(
            monitor=self._name,
            method=self._explainer.method,
            measure=STRATEGIES,
            step=step,
            epoch=epoch,
            excesses=(),
            samples=typical,
            indices=tuple(sample.indices[row] for row in typical) if sample.indices else (),
            class_name=report.name,
            share=strategy.share,
            where=report.where[number],
            since_epoch=followed.epoch,
            since_step=followed.step,
            separation=strategy.separation,
            effect=strategy.effect,
            inside=report.inside[number],
            outside=report.outside[number],
        )


def _certainty(scores: Tensor, labels: Tensor | None) -> Tensor | None:
    """Return the certainty of each sample's class [n], 0 for chance, 1 for certainty; None if unknown."""
    if labels is None:
        return None
    if scores.ndim != 2 or scores.shape[1] == 1:
        chance, share = 0.5, scores.flatten().float().sigmoid()
        return (torch.where(labels == 1, share, 1 - share) - chance) / (1 - chance)
    chance = 1 / scores.shape[1]
    return (probabilities(scores)[torch.arange(len(labels)), labels] - chance) / (1 - chance)


def _accuracies(found: ClassStrategies, own: list[int], right: Tensor | None) -> tuple[list[float], list[float]]:
    if right is None:
        return [math.nan] * len(found.strategies), [math.nan] * len(found.strategies)
    hits = right[own].float()
    inside = [float(hits[found.assignment == number].mean()) for number in range(len(found.strategies))]
    outside = [
        float(hits[(found.assignment != number) & (found.assignment >= 0)].mean())
        for number in range(len(found.strategies))
    ]
    return inside, outside


def _where(profile: list[Profile], difference: Tensor) -> str:
    """Describe the places where a strategy's relevance is larger than the others', of one input."""
    sizes = [each.values[0].numel() for each in profile]
    parts = [part.reshape(each.values.shape[1:]) for part, each in zip(difference.split(sizes), profile, strict=True)]
    strongest = max(range(len(parts)), key=lambda i: float(parts[i].max()))
    return profile[strongest].where(parts[strongest])
