"""DecisionPathMonitor: the way from the input over the neurons to the class, and how it forms."""

import re
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import lightning.pytorch as pl

from lightning_explain.attribution import Composite, Rule
from lightning_explain.attribution.scores import check_differentiable
from lightning_explain.budget import Budget
from lightning_explain.callbacks.base.cadence import Cadence
from lightning_explain.callbacks.base.compatibility import in_words
from lightning_explain.callbacks.base.continuity import Continuity
from lightning_explain.callbacks.base.default_probe import to_device
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.early_stopping import update_callback_metrics
from lightning_explain.callbacks.base.error_handling import CALLING, NOT_IN_TESTS, WRITING, Guard, OnError
from lightning_explain.callbacks.base.forward import Question, check_strategy, undisturbed
from lightning_explain.callbacks.base.loaded_state import LoadedState
from lightning_explain.callbacks.base.moments import Moments
from lightning_explain.callbacks.base.monitor_probe import ProbeKeeper
from lightning_explain.callbacks.base.overhead import Pacing
from lightning_explain.callbacks.base.troubleshooting import BY_PROBE
from lightning_explain.callbacks.class_scores.output_check import check_outputs, settle_output
from lightning_explain.callbacks.paths.explanation import (
    MOST_CLASSES,
    PathExplanation,
    PathHistory,
    PathOptions,
    explain_paths,
)
from lightning_explain.callbacks.paths.images import path_pictures
from lightning_explain.callbacks.paths.record import path_record, path_scalars, ranking_table, undecided_classes
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import is_whole
from lightning_explain.log import Journal, running_epoch, tag
from lightning_explain.probe import Probe
from lightning_explain.render.colour import Picture
from lightning_explain.render.words import markdown_safe
from lightning_explain.schedule import Schedule, worth_redrawing
from lightning_explain.weights.sharded import check_not_sharded

NO_TOKENS = (
    "Token ids have no paths: give input= and forward_fn= that hand the network embedded tokens, or explain them with "
    "AttributionMonitor(method=AtEmbedding(IntegratedGradients())). Numbers that are no token ids: "
    "input=lambda batch: batch[0].float()."
)
OTHER_METHODS = re.compile(r"IntegratedGradients|GradCAM|Saliency|method=|chunk_size")
OWN_CURE = (
    "(DecisionPathMonitor has no method= to choose: leave it out for this network, or give forward_fn= a part of it "
    "that can be followed. AttributionMonitor(method=IntegratedGradients()) explains the whole.)"
)
TRIED = 2
"""Probe samples with which the paths are tried before training."""


@contextmanager
def _with_own_cure() -> Generator[None, None, None]:
    """Add to a refusal that names another method what can be done in this monitor, which has none to choose.

    Raises:
        ConfigurationError: What was raised inside, with a cure.
    """
    try:
        yield
    except ConfigurationError as error:
        if OTHER_METHODS.search(str(error)):
            raise ConfigurationError(f"{error} {OWN_CURE}") from error
        raise


class DecisionPathMonitor(pl.Callback):
    """Follows the decision on a held-out probe from the class back to the input, while the network trains.

    For every probe sample the explained output is shared out layer by layer among the units that it came from, down to
    features or image patches (layer-wise relevance propagation, epsilon rule). The strongest units and edges are drawn,
    the strongest paths searched for, and compared with those of the explanation before. Weights, random streams and
    metrics of the run stay bit-identical.

    Units are neurons of linear layers, channels of convolutions, features of tables, patches of images. Networks of
    linear layers and convolutions with activations, BatchNorm, pooling, dropout, flattening, concatenation and residual
    sums can be followed; attention, recurrent layers and a softmax inside the model are refused by name, before
    training.

    Logs, with `{name}` being `path` by default:

    - `explain/{name}/{class}` (image): the mean path of the class's probe samples, or of the first of them; for the
      first ten classes; after 1, 2, 3, 4, 6, 8, 12, 16, ... explanations and at the end.
    - `explain/{name}/turnover`: edges that changed since the explanation before (1 - Jaccard of the edges drawn
      between single units), mean over the classes; `.../class_turnover/{class}`: of each.
    - `explain/{name}/shown_share`: share of the decision that reaches the input through drawn single units alone;
      `.../top_paths_share`: share that the strongest paths carry; `.../absorbed_share`: share that comes from
      biases; each the mean over the classes.
    - `explain/{name}/effective_units/{layer}`: over how many units of a layer the decision is spread (e to the
      entropy of their shares); also for `input`.
    - `explain/{name}/overhead`: share of wall time spent so far.
    - `explain/{name}/ranking` (text): for each class the units in the order of best-first expansion, with their
      contributions; edges won and lost.
    - one JSON line per explanation in `explain/{name}/record.jsonl` in the run's folder: graphs, ranked units,
      strongest paths, edges won and lost.

    The figures also go through `pl_module.log`, so that `EarlyStopping(monitor="explain/path/turnover")` works.

    Args:
        layers: Names or globs of the linear layers and convolutions shown; by default all, or six of more. An
            activation belongs to the layer before it.
        probe: What is explained; by default a class-balanced one of at most 64 samples from the validation data.
        input: Where a batch holds the input: index, key, attribute, a list of them, or a callable. Where the module's
            forward takes keywords only, the keys are the keywords.
        target: Where a batch holds the target.
        output: Where the model's output holds the scores; of several tensors the one is taken that alone fits the
            classes and is computed from the others, and where nothing tells, this must be said.
        forward_fn: Called as `forward_fn(module, *inputs)` instead of `module(*inputs)`.
        explained: Which output is explained: the sample's `"label"`, or what was `"predicted"` for it at the first
            explanation. Either way it stays the same for the whole run.
        show: Whether the pictures show the mean over a `"class"`, or its first `"sample"`.
        every_sample: Keep the graph of every single sample in `latest.samples`.
        rules: How contributions are shared out: a composite, or a mapping from layer type, name or glob to
            `ZeroRule`, `EpsilonRule`, `GammaRule` or `ZPlusRule`; by default epsilon everywhere.
        patch: Side of an image's patches in pixels; by default about seven along the longer side.
        keep_positions: Make each position of a channel a unit of its own (small networks only).
        n_units: Most nodes of a layer in the graph: a larger layer shows `n_units - 2` units and bundles the others.
        n_paths: How many of the strongest paths are searched for.
        class_names: Names of the classes, if the probe brings none.
        feature_names: Names of the features of tabular inputs, if the probe brings none.
        every_n_epochs: Explain at the end of every n-th epoch; None for never.
        every_n_train_steps: Explain after every n-th training step; None for never.
        max_overhead: Share of the run's wall time that this monitor may take, e.g. `0.05`; None for any. Moments that
            are due are let pass until it fits in; turnover then spans the time since the last explanation.
            The first and the last explanation are always made. Monitors of one Trainer that have a `max_overhead`
            share it evenly, so that together they stay within it. Under DDP the slowest process decides for all.
        min_every: With `max_overhead`: of so many moments that are due, at least one is used, whatever it costs.
        on_error: `"warn"` once and go on when an explanation fails, or `"raise"`.
        name: Prefix of the tags, and key of the state: several monitors can live in one Trainer.

    Raises:
        ConfigurationError: At construction or before the first training step: an option, the probe, or the model's
            form makes paths impossible.

    Example:
        >>> monitor = DecisionPathMonitor(every_n_epochs=5, name="route")
        >>> monitor.state_key
        "DecisionPathMonitor{'name': 'route'}"
    """

    def __init__(
        self,
        *,
        layers: str | Sequence[str] | None = None,
        probe: Probe | None = None,
        input: int | str | Sequence[int | str] | Callable[..., Any] | None = None,  # noqa: A002 - the option's public name
        target: int | str | Callable[..., Any] | None = None,
        output: int | str | Callable[..., Any] | None = None,
        forward_fn: Callable[..., Any] | None = None,
        explained: Literal["label", "predicted"] = "label",
        show: Literal["class", "sample"] = "class",
        every_sample: bool = False,
        rules: Composite | Mapping[Any, Rule] | None = None,
        patch: int | None = None,
        keep_positions: bool = False,
        n_units: int = 8,
        n_paths: int = 10,
        class_names: Sequence[str] = (),
        feature_names: Sequence[str] = (),
        every_n_epochs: int | None = 1,
        every_n_train_steps: int | None = None,
        max_overhead: float | None = None,
        min_every: int | None = None,
        on_error: OnError = "warn",
        name: str = "path",
    ) -> None:
        super().__init__()
        for option, value, choices in (
            ("explained", explained, ("label", "predicted")),
            ("show", show, ("class", "sample")),
        ):
            if value not in choices:
                raise ConfigurationError(f"{option}={value!r}; expected {choices[0]!r} or {choices[1]!r}.")
        self.name = name
        self.explained = explained
        self.options = PathOptions(
            rules=rules,
            layers=layers if layers is None or isinstance(layers, str) else list(layers),
            patch=patch,
            keep_positions=keep_positions,
            show=show,
            every_sample=every_sample,
            n_units=n_units,
            n_paths=n_paths,
        )
        self.records: list[dict[str, Any]] = []
        """One record per explanation of this process's run, as in `record.jsonl` but for the graphs, with `scalars`."""
        self.latest: PathExplanation | None = None
        """The last explanation."""
        self._question = Question(input=input, target=target, output=output, forward_fn=forward_fn)
        self._guard = Guard(f"DecisionPathMonitor(name={name!r})", on_error, memory=BY_PROBE)
        self._keeper = ProbeKeeper(
            probe,
            question=self._question,
            guard=self._guard,
            class_names=class_names,
            feature_names=feature_names,
        )
        schedule = Schedule(every_n_epochs=every_n_epochs, every_n_train_steps=every_n_train_steps)
        self._moments = Moments(schedule)
        self._pacing = Pacing(
            name,
            schedule=schedule,
            budget=Budget(max_overhead=max_overhead, min_every=min_every),
            guard=self._guard,
        )
        self._cadence: Cadence[PathExplanation] = Cadence(
            self._moments,
            self._pacing,
            self._keeper,
            self._guard,
            try_probe=self._try_probe,
            explain=self._explain,
            report=self._report,
        )
        self._loaded = LoadedState()
        self._continuity: Continuity[PathHistory] = Continuity(
            PathHistory,
            PathHistory.from_state_dict,
            keeper=self._keeper,
            moments=self._moments,
            pacing=self._pacing,
            guard=self._guard,
            explained=explained,
            asked={"explained": in_words(explained), **self._question.asked, **self.options.asked},
            curve="path turnover",
        )

    @property
    def _history(self) -> PathHistory:
        return self._continuity.history

    @property
    def state_key(self) -> str:
        """Identifies this monitor's state in a checkpoint."""
        return self._generate_state_key(name=self.name)

    @property
    def probe(self) -> Probe | None:
        """What is explained; None until it was drawn from the validation data."""
        return self._keeper.probe

    def state_dict(self) -> dict[str, Any]:
        """Return probe and last edges, so that a resumed run compares with the explanation before."""
        if self._loaded.waiting is not None:
            return self._loaded.waiting
        return self._continuity.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep a checkpoint's probe and history until a fit takes them up."""
        self._loaded.load(state_dict)

    def _try_probe(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Try the model with two samples, so that what cannot be followed is said before training.

        Raises:
            ConfigurationError: Labels beyond the outputs, integer inputs, layers that no contribution can pass, ...
        """
        check_strategy(trainer)
        check_not_sharded(pl_module, "DecisionPathMonitor")
        if self.probe is None:
            return
        check_differentiable(self.probe.parts, tokens=NO_TOKENS)
        if not is_whole(pl_module):
            return  # a trial forward would create the parameters of lazy layers before the run does
        inputs = to_device(trainer, self.probe.parts)
        target = check_outputs(self._question, pl_module, inputs, self._keeper, self._guard, self.explained)
        with undisturbed(pl_module), _with_own_cure():
            # copied in here: under `trainer.validate` a copy made outside could not be differentiated
            few = tuple(part[:TRIED].clone() for part in inputs)
            module, _ = self._question.module(pl_module, few)
            indices = None if target is None else target[:TRIED].to(few[0].device)
            found = self.options.contributions(module, few, indices, self.probe, pl_module)
            self.options.shown(found[0], found.units, "output")

    def _explain(self, trainer: pl.Trainer, pl_module: pl.LightningModule, step: int) -> PathExplanation | None:
        """Explain the probe now; None if it fails or there is no probe yet."""
        if self.probe is None:
            return None
        self._continuity.check_probe()
        following = self._guard.doing("following the decision paths", cure=CALLING)
        with self._pacing.stopwatch.spending(), following, _with_own_cure():
            inputs = to_device(trainer, self.probe.parts)
            settle_output(self._question, pl_module, inputs, self.probe, self._guard)
            return explain_paths(
                pl_module,
                inputs,
                self.probe,
                question=self._question,
                options=self.options,
                targets=self._continuity.targets,
                history=self._history,
                step=step,
                epoch=running_epoch(trainer) if trainer.global_step or self._history.count else None,
                ranks=Ranks.of(trainer),
            )
        return None

    def _report(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, explanation: PathExplanation, monitored: bool
    ) -> None:
        """Log an explanation and remember it."""
        del pl_module
        scalars: dict[str, float] = {}
        with self._pacing.stopwatch.spending(), self._guard.doing("logging the decision paths", cure=WRITING):
            self._history.add(explanation, show=self.options.show)
            self.latest = explanation
            overhead = self._pacing.stopwatch.share()
            scalars = {**path_scalars(self.name, explanation), tag(self.name, "overhead"): overhead}
            if monitored:
                update_callback_metrics(trainer, scalars)
            Journal(trainer, explanation.step).scalars(scalars)
        writing = self._guard.doing("recording and drawing the decision paths", cure=WRITING)
        with self._pacing.stopwatch.spending(), writing, Journal(trainer, explanation.step) as journal:
            self._write(journal, explanation, scalars)

    def _write(self, journal: Journal, explanation: PathExplanation, scalars: dict[str, float]) -> None:
        assert self.probe is not None
        entry = {**path_record(explanation, self.probe, options=self.options), **self._pacing.record()}
        entry["caveat"] = self._history.caveat
        kept = {key: value for key, value in entry.items() if key != "graphs"}  # those of a long run take gigabytes
        self.records.append({"step": explanation.step, **kept, "scalars": scalars})
        # each for itself: what fails takes nothing else along
        with self._guard.doing("recording the decision paths", cure=WRITING):
            journal.record(tag(self.name, "record"), entry)
        moment = {"name": self.name, "step": explanation.step, "epoch": explanation.epoch, "count": self._history.count}
        with self._guard.doing("writing the decision paths for the Explain tab", cure=WRITING):
            journal.tab(
                self.name, {"kind": "paths", **moment, "caveat": self._history.caveat, "graphs": entry["graphs"]}
            )
        with self._guard.doing("writing the ranking", cure=WRITING):
            words = [markdown_safe(self._history.caveat), ranking_table(explanation)]
            journal.text(tag(self.name, "ranking"), "\n\n".join(word for word in words if word))
        undecided = undecided_classes(explanation)
        if undecided:
            self._guard.note(
                f"the score of {', '.join(undecided[:5])} is 0 for its probe samples, so there is no decision to "
                "follow; the means over the classes leave it out. If a ReLU ends the network, forward_fn= can return "
                "what comes before it.",
                about="undecided",
            )
        if len(explanation.classes) > MOST_CLASSES:
            self._guard.note(
                f"the probe has {len(explanation.classes)} classes; the paths of the first {MOST_CLASSES} are drawn. "
                "Give a probe of the classes that matter."
            )
        if worth_redrawing(self._history.count):
            self._draw(journal)

    def _draw(self, journal: Journal) -> None:
        if journal.shows_pictures:
            for part, picture in self.pictures().items():
                journal.image(tag(self.name, part), picture)

    def pictures(self) -> dict[str, Picture]:
        """Draw the last explanation: class (as in the tags) -> uint8 [height, width, 3]; empty before the first."""
        if self.latest is None or self.probe is None:
            return {}
        return path_pictures(self.latest, self.probe, self._history, self.options)

    # -- hooks -------------------------------------------------------------------------------------------------

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Take up the checkpoint's history, or begin a new one for a new module; start the clock."""
        self._guard.begin()
        self._cadence.begin(trainer)
        loaded = self._loaded.begin_fit()
        self._continuity.begin(pl_module, loaded)
        self._question.check(pl_module)
        self._question.choice.is_settled = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe, try it on the model, and explain the network as it is before training."""
        self._cadence.train_start(trainer, pl_module, is_first=self._history.count == 0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Explain after every n-th step."""
        del outputs, batch, batch_idx
        self._cadence.step_done(trainer, pl_module)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Find the probe if training had no chance to."""
        self._cadence.validation_start(trainer, pl_module)

    def on_validation_batch_start(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Explain at the first batch of the validation that ends a due epoch."""
        self._cadence.validation_batch(trainer, pl_module, batch, batch_idx=batch_idx, loader=dataloader_idx)

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Log what was explained, in time for callbacks that monitor it."""
        self._cadence.validation_done(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain at the end of a due epoch in which no validation did."""
        self._cadence.epoch_done(trainer, pl_module)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain what came out, if a budget let the last moment pass; draw the last explanation if not drawn yet."""
        self._cadence.train_end(trainer, pl_module)
        self._draw_last(trainer)
        self._pacing.close(trainer)

    def _draw_last(self, trainer: pl.Trainer) -> None:
        if self.latest is not None and not worth_redrawing(self._history.count):
            drawing = self._guard.doing("drawing the decision paths")
            with self._pacing.stopwatch.spending(), drawing, Journal(trainer, self.latest.step) as journal:
                self._draw(journal)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Explain averaged weights that a callback listed later brought in `on_train_end`."""
        self._loaded.end_fit()
        if self._cadence.new_weights(trainer, pl_module):
            self._draw_last(trainer)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        """End the fit: what is loaded from here on is for the next one."""
        del trainer, pl_module, exception
        self._loaded.end_fit()

    def on_test_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Say that testing is not watched, where nothing else was."""
        del trainer, pl_module
        if not self.records:
            self._guard.note(NOT_IN_TESTS)

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Be ready for a checkpoint, whatever became of the run before."""
        del trainer, pl_module, stage
        self._loaded.end_fit()
