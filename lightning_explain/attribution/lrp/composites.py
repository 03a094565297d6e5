"""Composites: the rule of each layer, and the layers that relevance cannot pass."""

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn

from lightning_explain.attribution.lrp.chosen_rules import FlatOrEpsilonRule
from lightning_explain.attribution.lrp.input_rules import AnyRule, FlatRule, InputRule, ZBoxRule
from lightning_explain.attribution.lrp.rules import EpsilonRule, GammaRule, Rule, ZPlusRule
from lightning_explain.errors import ConfigurationError
from lightning_explain.options.value_types import check_fields

LayerRules = Mapping[Any, AnyRule]
"""Layer type, or name or glob of names -> rule. Names win over types, a nearer base class over a farther one."""

CONVOLUTIONS = (
    nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
RULED = (nn.Linear, *CONVOLUTIONS)


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


COMPOSITES = (
    "Composites are Epsilon(), EpsilonPlusFlat() and EpsilonGammaBox(low, high); a mapping gives rules, e.g. "
    "{nn.Linear: EpsilonRule(), 'features.*': GammaRule()}."
)


def check_rules(rules: Mapping[Any, Any]) -> None:
    """Refuse a mapping that does not lead from layers to rules.

    Raises:
        ConfigurationError: A key is neither a type nor a name, or a value is no rule.
    """
    for key, rule in rules.items():
        if not isinstance(key, str | type):
            shown = f"a {type(key).__name__}" if isinstance(key, nn.Module) else repr(key)
            raise ConfigurationError(
                f"rules have {shown} as key; expected a layer's type, such as nn.Linear, or its name in the model, or "
                "a glob of names."
            )
        if not isinstance(rule, Rule | InputRule):
            shown = f"the class {rule.__name__}: write {rule.__name__}()" if isinstance(rule, type) else repr(rule)
            raise ConfigurationError(f"rules give {shown} for {key!r}; expected a rule, such as EpsilonRule().")


@dataclass(frozen=True)
class ByLayer:
    """One's own choice of rules.

    Args:
        layer_rules: Layer type, or name or glob -> rule.
        input_rules: The same, for layers that read the model's input; they take precedence there.

    Raises:
        ConfigurationError: A key is neither a type nor a name, or a value is no rule.

    Example:
        >>> ByLayer({nn.Linear: EpsilonRule(0.1), "features.*": GammaRule()}).input_rules
        {}
    """

    layer_rules: LayerRules
    input_rules: LayerRules = field(default_factory=dict[Any, AnyRule])

    def __post_init__(self) -> None:
        check_fields(self, ByLayer)
        check_rules({**self.layer_rules, **self.input_rules})


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


@dataclass(frozen=True)
class DefaultForConvolutions:
    """`EpsilonPlusFlat`, but epsilon for convolutions that cut the input into patches.

    Flat draws relevance into a picture through fields that overlap; where they do not, as in the patches of a vision
    transformer, it would draw squares.

    Source: Montavon et al. (2017), section 5 (z+); Kohlbrenner et al. (2020).
    """

    epsilon: float = 1e-6

    @property
    def layer_rules(self) -> LayerRules:
        """Return z+ for convolutions and epsilon for the rest."""
        return EpsilonPlusFlat(self.epsilon).layer_rules

    @property
    def input_rules(self) -> LayerRules:
        """Return flat for convolutions whose fields overlap (and a BatchNorm that comes before them)."""
        flat: dict[Any, AnyRule] = dict.fromkeys(CONVOLUTIONS, FlatOrEpsilonRule(self.epsilon))
        return {**flat, **dict.fromkeys(BATCH_NORMS, FlatRule())}


def default_composite(model: nn.Module) -> Composite:
    """Choose `DefaultForConvolutions` for a network with convolutions, `Epsilon` for others."""
    has_convolutions = any(isinstance(m, CONVOLUTIONS) for m in model.modules())
    return DefaultForConvolutions() if has_convolutions else Epsilon()


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


def check_names(model: nn.Module, composite: Composite) -> None:
    """Refuse a composite that names a layer which the model does not have, before anything runs.

    Raises:
        ConfigurationError: Names it, and the layers that take a rule.
    """
    given = [key for rules in (composite.layer_rules, composite.input_rules) for key in rules if isinstance(key, str)]
    if not given:
        return
    layers = dict(model.named_modules())
    ruled = [name for name, layer in layers.items() if isinstance(layer, (*RULED, *BATCH_NORMS))]
    callers = [name for name, layer in layers.items() if any(True for _ in layer.parameters(recurse=False))]
    for key in given:
        if not fnmatch.filter({*ruled, *callers}, key):
            raise ConfigurationError(
                f"The rules name {key!r}, which is no layer that takes a rule. Those are: {', '.join(ruled[:40])}."
            )
