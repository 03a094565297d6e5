"""Layer-wise relevance propagation in one forward and one backward pass."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.contrast import Contrast, check_contrast, with_contrast_option
from lightning_explain.attribution.lrp.choices import Choices
from lightning_explain.attribution.lrp.composites import (
    COMPOSITES,
    ByLayer,
    Composite,
    LayerRules,
    check_names,
    check_rules,
    default_composite,
)
from lightning_explain.attribution.lrp.propagation import Pass, Seen, heads_of, run_by_rules
from lightning_explain.attribution.lrp.softmax_losses import SoftmaxLosses
from lightning_explain.attribution.result import Attribution, Forward, Target, flat, parts_of, shaped_like
from lightning_explain.attribution.scores import (
    check_differentiable,
    check_finite,
    target_tensor,
)
from lightning_explain.batches import Inputs
from lightning_explain.capture import Layer, select_layers, watched
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.options.value_types import check_fields


def _stash(output: Tensor, layer: Layer, key: str) -> Seen | None:
    del layer, key
    return Seen.of(output) if output.requires_grad else None


@dataclass(frozen=True)
class LRP:
    """Layer-wise relevance propagation: the output is shared out operation by operation, down to the inputs.

    Linear layers and convolutions have the rules of a composite, a BatchNorm that follows is merged with them. Sums,
    views, concatenation, indexing and pooling pass relevance on in proportion; elementwise activations pass it on as it
    is; the spread of a normalisation is a constant; in a product of a signal and a gate (SE, GLU, LSTM, GRU) the signal
    gets all; attention, fused or not, has a rule of its own; recurrent layers are gone through step by step. Relevance
    is carried as `activation * gradient` with a gradient that the rules modify, so whatever the model computes is
    computed as always, and one backward pass does it.

    `convergence_delta` is `sum(values) - F(x)` (LRP has no baseline). Relevance of offsets (biases, norm offsets,
    learned positions, class tokens) reaches no input: `absorbed_share` says which part of the output that was. Without
    offsets, `attention="cp"` conserves the output up to rounding and epsilon. `"attnlrp"` and a softmax at the end do
    not: a softmax hands on the first-order Taylor expansion, and `softmax_share` says which part that loses. The sum of
    relevance and both shares make up the output.

    Source: Bach et al. (2015), On pixel-wise explanations; Montavon et al. (2019), LRP: an overview; Ali et al. (2022),
    XAI for Transformers; Achtibat et al. (2024), AttnLRP; Arras et al. (2017), recurrent networks.

    Args:
        rules: A composite (`EpsilonPlusFlat()`, `Epsilon()`, `EpsilonGammaBox(low, high)`), or a mapping from layer
            type, layer name or glob to rule, names first. By default epsilon; in networks with convolutions flat where
            these read the input through overlapping fields, and z+ in the others.
        attention: `"attnlrp"` or `"cp"`: whether the weights of an attention are explained too, or count as constants.
        gates: `"signal"` or `"uniform"`: whether the signal gets all the relevance of a product with a gate, or half.
        contrast: Class whose score is subtracted from that of the explained one: an index, one for each sample
            (LongTensor [batch]), `"strongest"` for the other class with the highest score, or (in monitors) a name;
            None for the score of the explained class alone.

    Cost: one forward and one backward pass, and for z+ and gamma one more application of each layer (two where it reads
    inputs of both signs).

    Raises:
        ConfigurationError: `rules` is neither a composite nor a mapping, or another name for `attention` or `gates`.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
        >>> for parameter in net.parameters():
        ...     _ = parameter.data.fill_(2.0)
        >>> result = LRP()(net, torch.tensor([[1.0, 3.0]]))
        >>> result.values.round()
        tensor([[ 8., 24.]])
    """

    baseline = None
    is_samplewise = True
    n_passes = 1
    accepts_integers = False
    needs_module = True
    rereads_weights = True

    rules: Composite | LayerRules | None = None
    attention: str = "attnlrp"
    gates: str = "signal"
    contrast: Contrast | None = None

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        _ = self._choices
        check_fields(self, LRP, {"rules": COMPOSITES})
        if isinstance(self.rules, Mapping):
            check_rules(self.rules)

    @property
    def _choices(self) -> Choices:
        return Choices(self.attention, self.gates)

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`.

        Args:
            model: A module (run in eval mode and left as found); LRP needs its layers, so no other callable.
            inputs: Tensor [batch, ...], or a tuple of them, of floating-point type.
            target: Class index, LongTensor [batch], or None where the output is one number per sample.

        Raises:
            ConfigurationError: No module, a layer or operation without a rule (by module and name), a forward that
                decides by values of its input, no input of floating-point type, a target out of range.
            ExplanationError: NaN or infinite relevance, or an output that does not depend on the inputs.
        """
        values, _, run, indices, losses = self._propagate(model, inputs, target, ())
        change = run.score.detach()
        lost = losses.total()
        arrived = flat(values).sum(1) if lost is None else flat(values).sum(1) + lost
        return Attribution(
            values=shaped_like(values, inputs),
            convergence_delta=flat(values).sum(1) - change,
            error=None,
            target=indices,
            baseline=None,
            n_evaluations=torch.ones(len(change), dtype=torch.long),
            absorbed_share=torch.where(change == 0, torch.nan, 1 - arrived / change),
            softmax_share=None if lost is None else torch.where(change == 0, torch.nan, lost / change),
        )

    @with_contrast_option
    def layer_relevance(
        self, model: Forward, inputs: Inputs, target: Target = None, *, layers: str | Sequence[str] | None = None
    ) -> dict[str, Tensor]:
        """Return the relevance of every neuron of the given layers.

        Args:
            model: As in the call.
            inputs: As in the call.
            target: As in the call.
            layers: Names or globs, as `select_layers` takes them; by default the activation modules.

        Returns:
            Layer name (`#n` for its n-th further call) -> signed relevance, shaped like the layer's output. A layer
            that was merged into the BatchNorm after it has the BatchNorm's.

        Cost: as the call, and a copy of each output.

        Raises:
            ConfigurationError: As the call, or a name that the model does not have.

        Example:
            >>> net = nn.Sequential(nn.Linear(1, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
            >>> for parameter in net.parameters():
            ...     _ = parameter.data.fill_(2.0)
            >>> LRP().layer_relevance(net, torch.tensor([[1.0]]), layers="1")["1"].round()
            tensor([[4., 4.]])
        """
        chosen = select_layers(_module(model), layers)
        return self._propagate(model, inputs, target, chosen)[1]

    @with_contrast_option
    def head_relevance(self, model: Forward, inputs: Inputs, target: Target = None) -> dict[str, Tensor]:
        """Return the relevance of every head of every attention, fused or not, for each token.

        Args:
            model: As in the call.
            inputs: As in the call.
            target: As in the call.

        Returns:
            Path of the module that computes the attention (`#n` for its n-th further call) -> signed relevance of what
            each head gave, [batch, heads, tokens]; in attention within windows [batch * windows, heads, tokens]. Empty
            for a model without attention.

        Cost: as the call.

        Raises:
            ConfigurationError: As the call.

        Example:
            >>> layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
            >>> net = nn.Sequential(layer, nn.Flatten(), nn.Linear(24, 2))
            >>> LRP().head_relevance(net, torch.randn(5, 3, 8), 0)["0.self_attn"].shape
            torch.Size([5, 2, 3])
        """
        return self._propagate(model, inputs, target, (), of_heads=True)[1]

    def _propagate(
        self, model: Forward, inputs: Inputs, target: Target, layers: Sequence[Layer], *, of_heads: bool = False
    ) -> tuple[tuple[Tensor, ...], dict[str, Tensor], Pass, Tensor | None, SoftmaxLosses]:
        module = _module(model)
        composite = self._composite(module)
        check_names(module, composite)
        given = parts_of(inputs)
        check_differentiable(given)
        with explaining(module), watched(layers, reduce=_stash, differentiable=True) as recorder:
            indices = target_tensor(target, len(given[0]), given[0].device)
            # a clone, as of the inputs: it may have been made under inference mode
            indices = None if indices is None else indices.clone()
            recorder.start()
            run = run_by_rules(module, composite, self._choices, inputs, indices)
            seen = {name: entry for name, entry in recorder.stop().items() if entry is not None}
            merged = {
                name: Seen.after(run.trace.layers.merged[entry.edge.node])
                for name, entry in seen.items()
                if entry.edge.node in run.trace.layers.merged
            }
            heads = heads_of(run.trace) if of_heads else {}
            losses = SoftmaxLosses(run.trace.expansions, run.inputs, run.trace.layers.first)
            of_heads_seen = {name: entry for name, (entry, _) in heads.items()}
            values, hidden = run.relevance({**seen, **merged, **of_heads_seen}, losses)
            for name, (_, n_heads) in heads.items():
                by_token = hidden[name].sum(-1)
                hidden[name] = by_token.unflatten(0, (-1, n_heads)) if n_heads else by_token
        check_finite(values, run.score.detach(), given)
        return values, hidden, run, indices, losses

    def _composite(self, model: nn.Module) -> Composite:
        rules: Any = self.rules
        if rules is None:
            return default_composite(model)
        return ByLayer(rules) if isinstance(rules, Mapping) else rules


def _module(model: Forward) -> nn.Module:
    if isinstance(model, nn.Module):
        return model
    raise ConfigurationError(
        f"LRP was given a plain callable ({type(model).__name__}); expected an nn.Module, since its rules go by "
        "layer. Wrap the function in a module that holds the layers, or use IntegratedGradients."
    )
