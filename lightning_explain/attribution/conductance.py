"""Conductance of hidden units, together with input integrated gradients, from the same passes."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lightning_explain.attribution.baselines import Baseline, check_baseline, resolve_baseline
from lightning_explain.attribution.batch_demands import check_rows_apart
from lightning_explain.attribution.contrast import Contrast, check_contrast, with_contrast_option
from lightning_explain.attribution.integrated_gradients.bypass import carries_everything
from lightning_explain.attribution.integrated_gradients.layer_paths import PathSums, Taps, accumulate
from lightning_explain.attribution.integrated_gradients.passes import RowLimit
from lightning_explain.attribution.integrated_gradients.path import StraightPath
from lightning_explain.attribution.integrated_gradients.quadrature import ERROR_PER_REFINEMENT, relative_distance
from lightning_explain.attribution.result import Attribution, Forward, Target, flat, shaped_like
from lightning_explain.attribution.scores import check_counts, check_finite, prepared
from lightning_explain.batches import Inputs
from lightning_explain.capture import Layer, select_layers, watched
from lightning_explain.errors import ConfigurationError, doubt
from lightning_explain.isolation import explaining
from lightning_explain.options.value_types import BY_NAME, check_fields


def integrated_gradients_and_conductance(
    model: Forward,
    inputs: Inputs,
    target: Target = None,
    *,
    layers: str | Sequence[str] | None = None,
    n_steps: int = 50,
    baseline: Baseline = "zeros",
    chunk_size: int | None = None,
) -> tuple[Attribution, dict[str, Attribution]]:
    """Explain the input and every watched layer from one walk along the path from baseline to input.

    The conductance of a unit y is the integral of dF/dy along the path, with respect to y itself. It is summed
    over steps as the mean of the gradients at both ends of a step times the change of y in that step; the input is
    treated the same way, which gives integrated gradients by the trapezoid rule. Error falls with the square of
    `n_steps` on smooth networks. What is said of the units of a layer through which all information flows sums to
    F(x) - F(baseline).

    Source: Dhamdhere, Sundararajan, Yan (2018), How Important Is a Neuron?, their definition of conductance;
    the form along the path: Shrikumar, Su, Kundaje (2018), Computationally Efficient Measures of Internal Neuron
    Importance; the input: Sundararajan, Taly, Yan (2017), Eq. 1.

    Args:
        model: A module; run in eval mode and left as found.
        inputs: Tensor [batch, ...], or a tuple of them, of floating-point type.
        target: Class index, LongTensor [batch], or None where the output is one number per sample.
        layers: Names or globs; None for the activation modules (see `select_layers`).
        n_steps: Equal steps from baseline to input.
        baseline: As for `IntegratedGradients`.
        chunk_size: Most rows (points times samples) in one pass; by default as many as there are samples.

    Returns:
        The attribution of the inputs, and for each layer (`name#1` for the second call of a module that runs
        several times) one whose `values` are shaped like that layer's output [batch, ...], signed, in units of the
        explained output. Every one has its own `convergence_delta`, `coarse` (half the steps) and `error`
        (estimated from the two, and never below |delta| / sum |values|; NaN for one step). For a layer that is
        bypassed (a skip connection), the delta is what goes past it, and no fault.

    Cost: `n_steps + 1` forward and backward passes however many layers are watched, and for each layer three
    element-wise operations per point, about seven tensors of its output's size for `chunk_size` rows, and two forward
    passes of two samples.

    Raises:
        ConfigurationError: The model is no `nn.Module`, a layer does not exist or does not run, an option or the
            target is impossible.
        ExplanationError: NaN or infinite gradients, an output that does not depend on the inputs, or samples whose
            scores depend on each other.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
        >>> at_input, at_layers = integrated_gradients_and_conductance(net, torch.ones(4, 2))
        >>> at_input.values.shape, {name: tuple(found.values.shape) for name, found in at_layers.items()}
        (torch.Size([4, 2]), {'1': (4, 3)})
    """
    check_counts(n_steps=n_steps, chunk_size=chunk_size)
    if not isinstance(model, nn.Module):
        raise ConfigurationError(
            f"Conductance got a {type(model).__name__}; it needs an nn.Module, to watch its layers. Wrap the "
            "function in a module that holds the network as a submodule."
        )
    with explaining(model):
        parts, indices = prepared(inputs, target)
        baselines = resolve_baseline(baseline, parts)
        path = StraightPath(model, parts, baselines, indices, RowLimit(chunk_size or len(parts[0])))
        chosen = select_layers(model, layers)
        if chunk_size != 1:
            check_rows_apart(model, parts, None)
        taps = Taps()
        with watched(chosen, reduce=taps.tap, differentiable=True) as recorder:
            sums = accumulate(path, recorder, taps, n_steps)
        _check_silent(chosen, sums)
        # by the modules that were watched: a wrapped model's layers go by their own names
        modules = {layer.name: layer.module for layer in chosen}
        calls = {name: name.partition("#") for name in sums.layers}
        closed = {name for name, (of, *call) in calls.items() if carries_everything(path, modules[of], "".join(call))}
        totals = (*(total for total, _ in sums.inputs), *(total for total, _ in sums.layers.values()))
        check_finite(totals, sums.change, parts)
        start = tuple(b.expand_as(x).clone() for b, x in zip(baselines, parts, strict=True))
    common = _Common(sums.change, indices, shaped_like(start, inputs), n_steps)
    values, coarse = (tuple(pair[which] for pair in sums.inputs) for which in (0, 1))
    at_input = common.attribution(shaped_like(values, inputs), shaped_like(coarse, inputs), complete=True)
    return at_input, {name: common.attribution(*pair, complete=name in closed) for name, pair in sums.layers.items()}


def neuron_importance(conductance: Attribution, *, unit_dim: int = 1) -> Tensor:
    """Sum a layer's conductance over positions: how much of the score flows through each neuron.

    Conductance adds up, so that the importance of a channel is exactly the sum over its positions, and that of all
    neurons sums to what the conductance sums to.

    Args:
        conductance: Of one layer, from `LayerConductance` or `integrated_gradients_and_conductance`.
        unit_dim: The dimension of the layer's output that counts neurons: 1 for channels first, -1 for features last.

    Returns:
        Importance [batch, neurons], signed, in units of the explained output.

    Example:
        >>> net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 1))
        >>> neuron_importance(LayerConductance("1")(net, torch.rand(5, 1, 4, 4))).shape
        torch.Size([5, 4])
    """
    (values,) = conductance.parts
    return values.movedim(unit_dim, 1).flatten(2).sum(2) if values.ndim > 2 else values


@dataclass(frozen=True)
class _Common:
    """Shared parts of the explanations of one walk."""

    change: Tensor
    target: Tensor | None
    baseline: Inputs
    n_steps: int

    def attribution(self, values: Inputs, coarse: Inputs, *, complete: bool) -> Attribution:
        """Put values and error together; the error of values that ought to be `complete` is at least their gap."""
        fine = flat(values)
        delta = fine.sum(1) - self.change
        error = ERROR_PER_REFINEMENT * relative_distance(fine, flat(coarse))
        if complete:
            gap = torch.where(delta == 0, torch.zeros_like(delta), delta.abs() / fine.abs().sum(1))
            error = torch.maximum(error, gap)
        # with one step there is nothing coarser to compare with
        unknown = torch.full_like(error, torch.nan)
        return Attribution(
            values=values,
            convergence_delta=delta,
            error=error if self.n_steps > 1 else unknown,
            target=self.target,
            baseline=self.baseline,
            n_evaluations=torch.full((len(fine),), self.n_steps + 1),
            coarse=coarse if self.n_steps > 1 else None,
        )


def _check_silent(chosen: list[Layer], sums: PathSums) -> None:
    """Refuse a choice of layers of which none ran; warn where only some did not."""
    silent = [layer.name for layer in chosen if layer.name not in sums.layers]
    if not silent:
        return
    message = (
        f"{len(silent)} of {len(chosen)} chosen layers gave no floating-point tensor [batch, ...] in the forward "
        f"pass: {', '.join(silent[:10])}. They did not run, or return something else; choose other layers."
    )
    if len(silent) == len(chosen):
        raise ConfigurationError(message)
    doubt(message, stacklevel=3)


@dataclass(frozen=True)
class LayerConductance:
    """Conductance of one layer's units: integrated gradients that flow through them.

    For several layers, or the input as well, `integrated_gradients_and_conductance` costs no more than this does
    for one.

    Source: see `integrated_gradients_and_conductance`.

    Args:
        layer: The layer's name (`name#1` for the second call of a module that runs several times).
        baseline: As for `IntegratedGradients`.
        n_steps: Equal steps from baseline to input.
        chunk_size: Most rows in one pass; by default as many as there are samples.
        contrast: Class whose score is subtracted from that of the explained one: an index, one for each sample
            (LongTensor [batch]), `"strongest"` for the other class with the highest score, or (in monitors) a name;
            None for the score of the explained class alone.

    Cost: `n_steps + 1` forward and backward passes.

    Raises:
        ConfigurationError: A count below 1.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
        >>> LayerConductance("1")(net, torch.ones(4, 2)).values.shape
        torch.Size([4, 3])
    """

    is_samplewise = True
    accepts_integers = False
    needs_module = True

    layer: str
    baseline: Baseline = "zeros"
    n_steps: int = 50
    chunk_size: int | None = None
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_baseline(self.baseline)
        check_fields(self, LayerConductance, {"layer": BY_NAME})
        check_counts(n_steps=self.n_steps, chunk_size=self.chunk_size)

    @property
    def n_passes(self) -> int:
        """Gradient passes per sample."""
        return self.n_steps + 1

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at the layer; values are signed and shaped like its output [batch, ...].

        Raises:
            ConfigurationError: The layer is none, or several, or does not run; or as
                `integrated_gradients_and_conductance`.
            ExplanationError: NaN or infinite gradients, an output that does not depend on the inputs, or samples whose
                scores depend on each other.
        """
        _, at_layers = integrated_gradients_and_conductance(
            model,
            inputs,
            target,
            layers=self.layer.partition("#")[0],
            n_steps=self.n_steps,
            baseline=self.baseline,
            chunk_size=self.chunk_size,
        )
        if self.layer in at_layers:
            return at_layers[self.layer]
        if len(at_layers) == 1 and "#" not in self.layer:
            return next(iter(at_layers.values()))
        raise ConfigurationError(
            f"layer={self.layer!r} stands for {len(at_layers)} layers: {', '.join(at_layers)}. Name one of them, or "
            "use integrated_gradients_and_conductance(layers=...) for all at once."
        )
