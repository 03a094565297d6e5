"""Which rule goes to which layer, and which layers relevance cannot pass."""

import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from lightning_explain.attribution.lrp.input_rules import AnyRule, FlatRule, InputRule, ZBoxRule
from lightning_explain.attribution.lrp.rules import EpsilonRule, GammaRule, Rule, ZPlusRule
from lightning_explain.errors import ConfigurationError

LayerRules = Mapping[Any, AnyRule]
"""Layer type, or name or glob of names -> rule. Names win over types, a nearer base class over a farther one."""

CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RULED = (nn.Linear, *CONVOLUTIONS)

HANDLED = (
    nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ReLU6, nn.Hardtanh, nn.GELU, nn.SiLU, nn.Mish, nn.ELU, nn.SELU,
    nn.CELU, nn.Tanh, nn.Hardswish, nn.Softsign,
    nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout,
    nn.MaxPool1d, nn.MaxPool2d, nn.MaxPool3d, nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d,
    nn.AvgPool1d, nn.AvgPool2d, nn.AvgPool3d, nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d,
    nn.Identity, nn.Flatten, nn.Unflatten, nn.Upsample, nn.UpsamplingNearest2d, nn.UpsamplingBilinear2d,
    nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Fold, nn.Unfold,
    nn.ZeroPad1d, nn.ZeroPad2d, nn.ZeroPad3d, nn.ConstantPad1d, nn.ConstantPad2d, nn.ConstantPad3d,
    nn.ReflectionPad1d, nn.ReflectionPad2d, nn.ReflectionPad3d,
    nn.ReplicationPad1d, nn.ReplicationPad2d, nn.ReplicationPad3d,
    nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict,
)  # fmt: skip
"""Layers that need no rule: relevance passes them as it stands, or by their own gradient."""


@runtime_checkable
class Composite(Protocol):
    """A choice of rules for a whole network."""

    @property
    def layer_rules(self) -> LayerRules:
        """Rules for all layers."""
        ...

    @property
    def input_rules(self) -> LayerRules:
        """Rules that take precedence in layers that read the model's input."""
        ...


@dataclass(frozen=True)
class ByLayer:
    """One's own choice of rules.

    Args:
        layer_rules: Layer type, or name or glob -> rule.
        input_rules: The same, for layers that read the model's input; they take precedence there.

    Example:
        >>> ByLayer({nn.Linear: EpsilonRule(0.1), "features.*": GammaRule()}).input_rules
        {}
    """

    layer_rules: LayerRules
    input_rules: LayerRules = field(default_factory=dict[Any, AnyRule])


@dataclass(frozen=True)
class Epsilon:
    """Epsilon in every layer: the default for networks without convolutions.

    Source: Bach et al. (2015), Eq. 58.
    """

    epsilon: float = 1e-6

    @property
    def layer_rules(self) -> LayerRules:
        """Return epsilon for every layer type that takes a rule."""
        return dict.fromkeys((*RULED, *BATCH_NORMS), EpsilonRule(self.epsilon))

    @property
    def input_rules(self) -> LayerRules:
        """Return none."""
        return {}


def _convolutional(inner: Rule, first: InputRule, epsilon: float) -> ByLayer:
    rules = {**Epsilon(epsilon).layer_rules, **dict.fromkeys(CONVOLUTIONS, inner)}
    return ByLayer(rules, dict.fromkeys((*CONVOLUTIONS, *BATCH_NORMS), first))


@dataclass(frozen=True)
class EpsilonPlusFlat:
    """Flat in convolutions that read the input, z+ in the others, epsilon in linear layers: the convnet default.

    Without convolutions it equals `Epsilon`: unlike zennit's composite of this name, it gives the flat rule to no
    linear layer that reads the input, where every feature of a sample would get the same relevance.

    Source: Kohlbrenner et al. (2020), Towards best practice in explaining neural network decisions with LRP.
    """

    epsilon: float = 1e-6

    @property
    def layer_rules(self) -> LayerRules:
        """Return z+ for convolutions and epsilon for the rest."""
        return _convolutional(ZPlusRule(), FlatRule(), self.epsilon).layer_rules

    @property
    def input_rules(self) -> LayerRules:
        """Return flat for convolutions (and a BatchNorm that comes before them)."""
        return _convolutional(ZPlusRule(), FlatRule(), self.epsilon).input_rules


@dataclass(frozen=True)
class EpsilonGammaBox:
    """zB in convolutions that read the input, gamma in the others, epsilon in linear layers.

    Source: Montavon et al. (2019), Layer-wise relevance propagation: an overview, section 10.3.

    Args:
        low: Smallest possible input, as in `ZBoxRule`.
        high: Largest possible input.
        epsilon: Of the linear layers.
        gamma: Of the convolutions.
    """

    low: float | Tensor
    high: float | Tensor
    epsilon: float = 1e-6
    gamma: float = 0.25

    @property
    def layer_rules(self) -> LayerRules:
        """Return gamma for convolutions and epsilon for the rest."""
        return _convolutional(GammaRule(self.gamma), self._box, self.epsilon).layer_rules

    @property
    def input_rules(self) -> LayerRules:
        """Return zB for convolutions (and a BatchNorm that comes before them)."""
        return _convolutional(GammaRule(self.gamma), self._box, self.epsilon).input_rules

    @property
    def _box(self) -> ZBoxRule:
        return ZBoxRule(self.low, self.high)


def default_composite(model: nn.Module) -> Composite:
    """Choose `EpsilonPlusFlat` for a network with convolutions, `Epsilon` for others."""
    return EpsilonPlusFlat() if any(isinstance(m, CONVOLUTIONS) for m in model.modules()) else Epsilon()


def rule_for(rules: LayerRules, name: str | None, kind: type[nn.Module]) -> AnyRule | None:
    """Look a layer up by name first, then by the nearest base class of its type.

    Example:
        >>> rules = {nn.Linear: EpsilonRule(), "head*": ZPlusRule()}
        >>> rule_for(rules, "head", nn.Linear), rule_for(rules, "body", nn.Conv2d)
        (ZPlusRule(), None)
    """
    for key, rule in rules.items():
        if isinstance(key, str) and name is not None and fnmatch.fnmatchcase(name, key):
            return rule
    return next((rules[base] for base in kind.__mro__ if base in rules), None)


def _torch_type(module: nn.Module) -> type[nn.Module]:
    """Return the nearest base class that torch itself defines: what the layer is, under a user's subclass."""
    return next(base for base in type(module).__mro__ if base.__module__.startswith("torch.nn.modules"))


def _is_covered(module: nn.Module, name: str, choices: Sequence[LayerRules]) -> bool:
    kind = _torch_type(module)
    if kind in RULED:
        return any(rule_for(rules, name, type(module)) is not None for rules in choices)
    # plain modules are read through to their operations, a loss is not part of the forward pass
    is_outside = kind is nn.Module or kind.__module__ == "torch.nn.modules.loss"
    return is_outside or kind in (*HANDLED, *BATCH_NORMS)


def check_covered(model: nn.Module, composite: Composite) -> None:
    """Refuse a model with layers that relevance cannot pass, before anything runs.

    Raises:
        ConfigurationError: Names every layer without a rule, or a name in the composite that no layer has.
    """
    layers, choices = dict(model.named_modules()), (composite.layer_rules, composite.input_rules)
    missing = [
        f"{name or 'the model itself'!r} ({type(layer).__name__})"
        for name, layer in layers.items()
        if not _is_covered(layer, name, choices)
    ]
    if missing:
        raise ConfigurationError(
            f"LRP has no rule for {', '.join(missing[:8])}{', ...' if len(missing) > 8 else ''}. Rules can be given "
            f"to {', '.join(kind.__name__ for kind in (*RULED, *BATCH_NORMS))}. Explain other layers by "
            "IntegratedGradients, or the part of the model that has rules on its own."
        )
    ruled = [name for name, layer in layers.items() if isinstance(layer, (*RULED, *BATCH_NORMS))]
    for key in (key for rules in choices for key in rules):
        if isinstance(key, str) and not fnmatch.filter(ruled, key):
            raise ConfigurationError(
                f"The rules name {key!r}, which is no layer that takes a rule. Those are: {', '.join(ruled[:40])}."
            )
