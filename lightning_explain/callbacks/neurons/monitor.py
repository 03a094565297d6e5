"""ActiveNeuronMonitor: which neurons each class uses, and how that changes as the network learns."""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Literal

from lightning_explain.attribution import Attribution
from lightning_explain.callbacks.base.compatibility import in_words
from lightning_explain.callbacks.base.options import check_types, checked_layers
from lightning_explain.callbacks.neurons.counting.batch_choice import BatchChoice
from lightning_explain.callbacks.neurons.counting.stage_counts import ActivityRule
from lightning_explain.callbacks.neurons.counting.watch import NeuronWatch
from lightning_explain.callbacks.neurons.exemplars.monitor_exemplars import MonitorExemplars
from lightning_explain.callbacks.neurons.input_features import NeuronProbe
from lightning_explain.callbacks.neurons.reporter import NeuronReporter
from lightning_explain.callbacks.neurons.reporting_monitor import ReportingMonitor
from lightning_explain.errors import ConfigurationError
from lightning_explain.exemplars import Exemplars


class ActiveNeuronMonitor(ReportingMonitor):
    """Records the active neurons of each class, in training and in validation.

    Forward hooks reduce each watched layer's output to one yes or no per sample and neuron; the run is not changed, and
    no activation is kept. Neurons are linear units, channels, hidden units of recurrent layers, units of a
    transformer's MLPs, and attention heads (active when their output is at least half as large as the mean over the
    layer's heads). Padding of packed sequences and of transformer layers does not count.

    Logs, with `{name}` being `neurons` by default, from the validation that ends an epoch (from training where an
    epoch has none), what follows with `detail="full"`. By default, with `detail="terse"`, the loggers get of the
    metrics `all_layers` (but for `dormant`, `overlap`, `stayed` and `settled`), `macro_f1`, `overhead`, and each that
    another callback names; of pictures the last layer's `rates` and `features`, the first and the last layer's
    `exemplars`, the first layer's `maps`; the record and the tab hold all of it.

    - `explain/{name}/all_layers/...`: each metric of layers over all watched ones. Shares are those of their neurons
      together, others the mean over the layers. `explain/{name}/macro_f1`: the mean F1 of the classes.
    - `explain/{name}/{layer}/dead`, `.../dormant`, `.../always_on`, `.../exclusive`: shares of the layer's
      neurons that pass the threshold nowhere, are on average smaller than 2.5 % of the layer's mean neuron, are
      active for every sample, or are in the active set of one class only.
    - `explain/{name}/{layer}/selectivity` (mean class selectivity), `.../overlap` (mean Jaccard index of two
      classes' active sets), `.../turnover` (1 - Jaccard with the previous epoch's sets, mean over classes),
      `.../gap` (mean difference between training and validation rates).
    - `explain/{name}/{layer}/purity`, `.../stayed`, `.../settled`: of the exemplars, the validation samples that
      excite each neuron most: mean share of a neuron's commonest label among them, share that was there in the report
      before, share of neurons of which three quarters have stayed from report to report.
    - `explain/{name}/precision/{class}`, `.../recall/{class}`, `.../f1/{class}`: of the validation, and of the tensor
      that the explained forward returns, also where the steps call parts of the module. Where its width does not fit
      the labels, or its accuracy is far from the one that the module logs, nothing is logged, and a warning says so.
    - `explain/{name}/overhead`: share of wall time spent counting so far.
    - `explain/{name}/{layer}/rates`, `.../overlaps` (images): class x neuron activation rates; overlap of the
      active sets of every two classes.
    - `explain/{name}/{layer}/features` (image and text), `.../ablation` (text): which input features feed the most
      telling neurons of each class, and accuracy without single neurons, of the reports that are measured (below).
    - `explain/{name}/{layer}/maps` (image): activation maps of one probe sample, for convolutional layers; at
      every `every_n_train_steps` as well.
    - `explain/{name}/train/{layer}/...`: the metrics of the training batches of the epoch so far, at every
      `every_n_train_steps`.
    - `explain/{name}/notes` (text): limits of these metrics (layers that never fired, saturated layers, NaN), where
      there are any; a layer that never fired gets this text in place of its rates.
    - `explain/{name}/tab` (blobs): the same for TensorBoard's Explain tab.
    - one JSON line per epoch in `explain/{name}/record.jsonl` in the run's folder, with every metric under `scalars`.

    Other callbacks can monitor these metrics. From Python, `latest` holds the last report: arrays, and `to_rows()`.

    Cost: about two passes over each watched output. Feeding features take four forward passes of the probe, and for
    each layer that does not read the input `4 * feeding` backward passes from there; maps a forward pass of a sample,
    ablation one of the probe for each neuron. Features, ablation and cards of exemplars are measured after 1, 2, 4, 8,
    ... reports and the last; before that as far as they take at most 5 % of the passes of samples that training took
    so far, and with those at the end at most 5 % of the whole run (of which the first report may take its part early).
    Passes are counted, so a run decides alike each time. Reports between show what was measured last, and its epoch; a
    record's `passes` has the counts, `not_measured_now` what waits. A run that is stopped early is measured when it has
    ended. The heads of `nn.MultiheadAttention` are recomputed, which costs its
    forward pass: in every batch of the validation, in every 8th of training. `nn.TransformerEncoderLayer` runs a second
    time where it runs fused (in validation).

    Targets are labels if they are integers, or real values of 0 and 1 in one column or with a single 1 in each row.
    Where a later batch shows that they are none (several labels for a sample, regression), all samples count as one
    class, those counted before included; so do those of a single output for more than two different integers.

    Half of `max_overhead` is for counting: where it does not suffice, every 2nd, 4th, ... training batch is counted. A
    validation that is reported is counted wholly, others like training.

    Args:
        layers: Names or globs of the modules to watch; default: the activation modules, recurrent layers, attention
            modules, custom activations, and the layers that feed functional activations (counted after the
            function; functions that cannot be covered are named in a warning). A module that runs several times in
            a step is counted per call, as `name`, `name#1`, ...
        unit_dims: Names or globs of layers -> the dimension of their output that counts units, e.g.
            `{"net.mix.*": -1}`. By default it is found out call by call, by following the operations of a stage's
            first step; a layer of which nothing indicates it is not counted, and named.
        threshold: Activation above which a position counts as active.
        min_fraction: For maps and sequences: share of positions that must be active for the channel to be.
        min_rate: A neuron is in a class's active set when it is active in at least this share of its samples.
        by: Group samples by their `"label"` or by the model's `"prediction"`.
        feeding: Neurons of each class and layer whose feeding features are computed; 0 for none.
        method: Attribution method for feeding features deeper in the network; default integrated gradients at 4 points.
        exemplars: Samples of the validation kept of each neuron, those that excite it most, in
            `latest.layers[name].exemplars`; or `Exemplars(k=8, by="relevance", ...)`. 0 for none.
        maps: Channels of the activation maps: how many of those most active for the sample's class, or which; 0 for
            none.
        ablation: Neurons of each layer without which the accuracy is measured; 0 for none. By default, with `feeding`,
            as many of the exclusive or selective ones as send half the validation's samples forward, or 12 probes.
        measure_every_n_reports: Feeding features, cards of exemplars and ablation come with every n-th report and the
            last, whatever they cost. By default they come after 1, 2, 4, 8, ... reports, but later where they would
            take more than 5 % of the training's own passes so far, and with the last report in any case.
        count_every_n_batches: Count every n-th training batch: 1 for all of them. None for as many as rates need: all
            of the first epoch; then, in epochs that end with a validation, every 2nd, 4th, ... as long as at least 200
            samples of each class, and as many as the validation has, are counted. A record's `counted`, the notes and
            the tab say what is left out, with the standard error of a rate. Validations are counted wholly.
        name: Prefix of the tags, and key of the state: several monitors can live in one Trainer.
        options: The options that all monitors share, such as `probe`, `every_n_epochs` and `max_overhead`: see
            `ProbeMonitor`. The probe is for feeding features and activation maps.

    Raises:
        ConfigurationError: At construction or when fitting starts: an option is impossible, or a layer glob matches
            nothing.

    Example:
        >>> ActiveNeuronMonitor(layers="features.*", min_rate=0.9).state_key
        "ActiveNeuronMonitor{'name': 'neurons'}"
    """

    def __init__(
        self,
        *,
        layers: str | Sequence[str] | None = None,
        unit_dims: dict[str, int] | None = None,
        threshold: float = 0.0,
        min_fraction: float = 0.25,
        min_rate: float = 0.5,
        by: Literal["label", "prediction"] = "label",
        feeding: int = 4,
        method: Callable[..., Attribution] | None = None,
        maps: int | Sequence[int] = 16,
        ablation: int | None = None,
        exemplars: int | Exemplars = 8,
        measure_every_n_reports: int | None = None,
        count_every_n_batches: int | None = 1,
        name: str = "neurons",
        **options: Any,
    ) -> None:
        check_types(ActiveNeuronMonitor.__init__, locals())
        super().__init__(name=name, **options)
        if by not in ("label", "prediction"):
            raise ConfigurationError(f"by={by!r}; expected 'label' or 'prediction'.")
        self.layers = checked_layers(layers)
        self._choice = BatchChoice(self._schedule, count_every_n_batches)
        rule = ActivityRule(threshold=threshold, min_fraction=min_fraction, min_rate=min_rate)
        self._compared = {key: in_words(option) for key, option in {**asdict(rule), "by": by}.items()}
        self._watch = NeuronWatch(
            rule=rule,
            by=by,
            n_classes=len(self._class_names),
            question=self.question,
            guard=self._guard,
            stopwatch=self._schedule.stopwatch,
            unit_dims=unit_dims,
        )
        chosen = Exemplars.of(exemplars)
        wanted = feeding > 0 or maps != 0 or bool(ablation) or chosen.by == "relevance"
        self._probe = NeuronProbe(self._keeper, question=self.question, guard=self._guard, wanted=wanted)
        self._exemplars = MonitorExemplars(chosen, keeper=self._keeper, question=self.question, guard=self._guard)
        shown: dict[str, Any] = {"feeding": feeding, "method": method, "maps": maps, "ablation": ablation}
        self._reporter = NeuronReporter(
            name,
            watch=self._watch,
            probe=self._probe,
            guard=self._guard,
            schedule=self._schedule,
            choice=self._choice,
            class_names=self._class_names,
            **shown,
            exemplars=self._exemplars,
            detail=self._detail,
            measure_every_n_reports=measure_every_n_reports,
        )
