"""DecisionPathMonitor: the way from the input over the neurons to the class, and how it forms."""

import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import lightning.pytorch as pl

from lightning_explain.attribution import Composite, Rule
from lightning_explain.callbacks.base.compatibility import ComparedOptions
from lightning_explain.callbacks.base.default_probe import to_device
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import BY_PROBE, CALLING
from lightning_explain.callbacks.base.forward import check_strategy, undisturbed
from lightning_explain.callbacks.base.options import check_types, checked_layers
from lightning_explain.callbacks.class_scores.output_check import check_outputs, settle_output
from lightning_explain.callbacks.class_scores.scores_monitor import ScoresMonitor
from lightning_explain.callbacks.paths.explanation import PathExplanation, explain_paths
from lightning_explain.callbacks.paths.images import path_pictures
from lightning_explain.callbacks.paths.path_history import PathHistory
from lightning_explain.callbacks.paths.path_options import PathOptions
from lightning_explain.callbacks.paths.reporter import PathReporter
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import is_whole
from lightning_explain.log import running_epoch
from lightning_explain.paths.path_graph import DRAWN, N_UNITS, check_drawn
from lightning_explain.probe import Probe
from lightning_explain.render.colour import Picture
from lightning_explain.weights.sharded import check_not_sharded

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
        ConfigurationError: The error raised inside, with advice.
    """
    try:
        yield
    except ConfigurationError as error:
        if OTHER_METHODS.search(str(error)):
            raise ConfigurationError(f"{error} {OWN_CURE}") from error
        raise


class DecisionPathMonitor(ScoresMonitor[PathExplanation, PathHistory]):
    """Follows the decision on a held-out probe from the class back to the input, while the network trains.

    For every probe sample the explained output is shared out layer by layer among the units that it came from, down to
    features, image patches or tokens (layer-wise relevance propagation, epsilon rule). The strongest units and edges
    are drawn, the strongest paths searched for, and compared with those of the explanation before. Weights, random
    streams and metrics of the run stay bit-identical.

    Units are neurons of linear layers, channels of convolutions, heads of attentions, states of recurrent layers step
    by step, features of tables, patches of images, and tokens, whose ids the model's own embedding looks up. Residual
    streams carry messages through. Whatever `LRP` explains can be followed; what it has no rule for is refused by
    module and operation, before training. See `contributions` for what a graph holds.

    Logs, with `{name}` being `path` by default, what follows with `detail="full"`. By default, with `detail="terse"`,
    the loggers get `turnover`, `shown_share`, `overhead`, with `ablation=True` `ablation` and `ablation_random`, each
    metric that another callback names, and the pictures of the first four classes; the record and the tab hold all of
    it.

    - `explain/{name}/{class}` (image): the mean path of the class's probe samples, or of the first of them; for the
      first ten classes; after 1, 2, 3, 4, 6, 8, 12, 16, ... explanations and at the end, where it would look other than
      the last one. Record (`pictures`) and tab name the step of the picture that still shows a graph.
    - `explain/{name}/turnover`: edges that changed since the explanation before (1 - Jaccard of the edges drawn
      between single units), mean over the classes; `.../class_turnover/{class}`: of each.
    - `explain/{name}/shown_share`: share of what reaches the inputs that takes the ways drawn;
      `.../top_paths_share`: share that the strongest paths carry; `.../absorbed_share`: share that comes from
      biases; each the mean over the classes.
    - `explain/{name}/effective_units/{layer}`: over how many units of a layer the decision is spread (e to the
      entropy of their shares); also for `input`.
    - with `ablation=True` `explain/{name}/ablation`: share of the class's score that is lost without the units drawn;
      `.../ablation_random`: without as many random units of the same layers; each the mean over the classes;
      `.../class_ablation/{class}`: of each.
    - `explain/{name}/overhead`: share of wall time spent so far.
    - `explain/{name}/ranking` (text): for each class the units in the order of best-first expansion, with their
      contributions; edges won and lost.
    - one JSON line per explanation in `explain/{name}/record.jsonl` in the run's folder: graphs, ranked units,
      strongest paths, edges won and lost, and every metric under `scalars`.

    The metrics also go through `pl_module.log`, so that `EarlyStopping(monitor="explain/path/turnover")` works.

    Args:
        layers: Names or globs of the layers shown; by default all, or six of more, of networks in blocks those of a
            few blocks. An activation belongs to the layer before it, heads to the module that computes the attention,
            and the states of a recurrent layer are named `lstm.l0 step 3`.
        explained: The output that is explained: the sample's `"label"`, or the class `"predicted"` for it at the first
            explanation. Either way it stays the same for the whole run.
        show: The pictures show the mean over a `"class"`, or its first `"sample"`.
        every_sample: Keep the graph of every single sample in `latest.samples`.
        ablation: Measure whether it is the way: what the class's score loses when the units drawn are set to their mean
            over the probe, beside as many random units of the same layers (ten more forward passes).
        rules: Rules of relevance propagation: a composite, or a mapping from layer type, name or glob to
            `ZeroRule`, `EpsilonRule`, `GammaRule` or `ZPlusRule`; by default epsilon everywhere.
        patch: Side of an image's patches in pixels; by default about seven along the longer side.
        keep_positions: Make each position of a channel a unit of its own (small networks only).
        drawn: Part of what reaches the inputs that is to be drawn: as few units and edges are as carry it.
        n_units: Most units of a layer that are drawn; the others are bundled.
        n_paths: Number of the strongest paths searched for.
        name: Prefix of the tags, and key of the state: several monitors can live in one Trainer.
        options: The options that all monitors share, such as `probe`, `every_n_epochs` and `max_overhead`: see
            `ProbeMonitor`.

    Raises:
        ConfigurationError: At construction or before the first training step: an option, the probe, or the model's
            form makes paths impossible.

    Example:
        >>> monitor = DecisionPathMonitor(every_n_epochs=5, name="route")
        >>> monitor.state_key
        "DecisionPathMonitor{'name': 'route'}"
    """

    _curve = "path turnover"
    _memory_advice = BY_PROBE

    def __init__(
        self,
        *,
        layers: str | Sequence[str] | None = None,
        explained: Literal["label", "predicted"] = "label",
        show: Literal["class", "sample"] = "class",
        every_sample: bool = False,
        ablation: bool = False,
        rules: Composite | Mapping[Any, Rule] | None = None,
        patch: int | None = None,
        keep_positions: bool = False,
        drawn: float = DRAWN,
        n_units: int = N_UNITS,
        n_paths: int = 10,
        name: str = "path",
        **options: Any,
    ) -> None:
        check_types(DecisionPathMonitor.__init__, locals())
        super().__init__(name=name, explained=explained, **options)
        if show not in ("class", "sample"):
            raise ConfigurationError(f"show={show!r}; expected 'class' or 'sample'.")
        check_drawn(drawn, n_units, n_paths)
        self.options = PathOptions(
            rules=rules,
            layers=checked_layers(layers),
            patch=patch,
            keep_positions=keep_positions,
            show=show,
            every_sample=every_sample,
            ablation=ablation,
            drawn=drawn,
            n_units=n_units,
            n_paths=n_paths,
        )
        self._reporter = PathReporter(
            name, options=self.options, guard=self._guard, schedule=self._schedule, detail=self._detail
        )

    @property
    def records(self) -> list[dict[str, Any]]:
        """One record per explanation of this process's run, as in `record.jsonl` but for the graphs, with `scalars`."""
        return self._reporter.records

    # -- state -------------------------------------------------------------------------------------------------

    @property
    def units_shown(self) -> dict[str, list[int]]:
        """Units in the graphs of the last explanation, by layer."""
        graphs = [] if self.latest is None else [found.graph for found in self.latest.classes]
        units = [(node.layer, node.unit) for graph in graphs for node in graph.nodes if node.unit is not None]
        return {name: [unit for layer, unit in units if layer == name] for name in {layer for layer, _ in units}}

    def _new_history(self, state: dict[str, Any] | None = None) -> PathHistory:
        return PathHistory() if state is None else PathHistory.from_state_dict(state)

    def _compared_options(self) -> ComparedOptions:
        return {**super()._compared_options(), **self.options.description}

    # -- explaining --------------------------------------------------------------------------------------------

    def _check_model(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Try the model with two samples, so that what cannot be followed is reported before training.

        Raises:
            ConfigurationError: Labels beyond the outputs, inputs without a gradient, operations without a rule, ...
        """
        check_strategy(trainer)
        check_not_sharded(pl_module, "DecisionPathMonitor")
        if self.probe is None:
            return
        if not is_whole(pl_module):
            return  # a trial forward would create the parameters of lazy layers before the run does
        inputs = to_device(trainer, self.probe.parts)
        target = check_outputs(self.question, pl_module, inputs, self._keeper, self._guard, self.explained)
        with undisturbed(pl_module), _with_own_cure():
            # copied in here: under `trainer.validate` a copy made outside could not be differentiated
            few = tuple(part[:TRIED].clone() for part in inputs)
            module, _ = self.question.module(pl_module, few)
            indices = None if target is None else target[:TRIED].to(few[0].device)
            found = self.options.contributions(module, few, indices, self.probe, pl_module)
            self.options.shown(found[0], found.units, "output")

    def _explain(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, probe: Probe, *, step: int
    ) -> PathExplanation | None:
        following = self._guard.doing("following the decision paths", cure=CALLING)
        with self._schedule.stopwatch.spending(), following, _with_own_cure():
            inputs = to_device(trainer, probe.parts)
            settle_output(self.question, pl_module, inputs, probe, self._guard)
            found = explain_paths(
                pl_module,
                inputs,
                probe,
                question=self.question,
                options=self.options,
                targets=self._targets,
                change=self._history.change,
                step=step,
                epoch=running_epoch(trainer) if trainer.global_step or self._history.count else None,
                ranks=Ranks.of(trainer),
            )
            self._tell_of_ablation(found)
            return found
        return None

    def _tell_of_ablation(self, explanation: PathExplanation) -> None:
        missing = [found.group.name for found in explanation.classes if found.ablation is None]
        if self.options.ablation and missing:
            self._guard.note(
                f"nothing is measured by ablation for {', '.join(missing[:10])}: no unit of a hidden layer is "
                "drawn, or no layer has as many others as are drawn of it to compare with, or the probe is one sample. "
                f"See drawn= (now {self.options.drawn:g}) and n_units= (now {self.options.n_units}).",
                about="nothing to compare in ablation",
            )

    def _report(self, trainer: pl.Trainer, explanation: PathExplanation, probe: Probe, *, monitored: bool) -> None:
        self._reporter.report(trainer, explanation, probe=probe, history=self._history, monitored=monitored)

    def _draw_last(self, trainer: pl.Trainer) -> None:
        if self.latest is not None and self.probe is not None:
            self._reporter.finish(trainer, self.latest, probe=self.probe, history=self._history)

    def pictures(self) -> dict[str, Picture]:
        """Draw the last explanation: class (as in the tags) -> uint8 [height, width, 3]; empty before the first."""
        if self.latest is None or self.probe is None:
            return {}
        return path_pictures(self.latest, self.probe, self._history, self.options)
