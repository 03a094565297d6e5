"""Methods of other libraries as methods of this one."""

import inspect
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_explain.attribution.baselines import is_tensors
from lightning_explain.attribution.captum_access import ModelAccess, keep_outputs, seed_streams
from lightning_explain.attribution.contrast import Contrast, check_contrast, with_contrast_option
from lightning_explain.attribution.result import Attribution, Forward, Target, parts_of, shaped_like
from lightning_explain.attribution.scores import check_finite, prepared
from lightning_explain.attribution.traits import method_name
from lightning_explain.batches import Inputs
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import explaining
from lightning_explain.options.value_types import check_fields
from lightning_explain.randomness import rng_preserved

SAMPLEWISE = (
    *("Saliency", "InputXGradient", "IntegratedGradients", "DeepLift", "GuidedBackprop", "Deconvolution", "LRP"),
    *("GuidedGradCam", "FeatureAblation", "Occlusion", "LayerActivation", "LayerConductance", "LayerDeepLift"),
    *("LayerGradCam", "LayerGradientXActivation", "LayerIntegratedGradients", "LayerLRP", "InternalInfluence"),
)
"""Classes of captum that draw nothing and explain each sample of a batch on its own."""

MODEL_PARAMETERS = ("forward_func", "model")
"""Names in captum of the first argument of a class that explains a model directly."""


def from_captum(
    attribution_class: Callable[..., Any],
    *,
    seed: int = 0,
    one_by_one: bool = False,
    contrast: Contrast | None = None,
    **kwargs: Any,
) -> "CaptumMethod":
    """Make a captum attribution class a method, e.g. `from_captum(captum.attr.DeepLift)`.

    Args:
        attribution_class: A class of `captum.attr`, or any callable from a model to an object with captum's
            `attribute(inputs, target=...)`, e.g. `lambda model: NoiseTunnel(Saliency(model))`.
        seed: Seed of the global random streams while captum explains; they are put back afterwards. Methods that
            draw samples thus draw the same ones each time, and two explanations differ by the model alone.
        one_by_one: Explain each sample in a call of its own, seeded alike: then a method that draws samples explains
            a sample the same way whatever else is in the batch, so that several processes can share a probe. Tensors
            among the arguments must fit a single sample.
        contrast: Class whose score is subtracted from that of the explained one: an index, one for each sample
            (LongTensor [batch]), `"strongest"` for the other class with the highest score, or (in monitors) a name;
            None for the score of the explained class alone.
        **kwargs: For the class (e.g. `layer`, which may be a module's name) or for `attribute` (e.g.
            `sliding_window_shapes=(1, 3, 3)`, `baselines`, `internal_batch_size`); each goes where captum takes it,
            all to `attribute` where a plain callable is given.

    Raises:
        ConfigurationError: The class does not explain a model directly, or knows no such argument.

    Example:
        >>> from captum.attr import Occlusion
        >>> occlusion = from_captum(Occlusion, sliding_window_shapes=(1,))
        >>> occlusion(lambda x: 2 * x[:, 0], torch.tensor([[3.0, 1.0]])).values
        tensor([[6., 0.]])
    """
    if not isinstance(attribution_class, type):
        return CaptumMethod(attribution_class, {}, dict(kwargs), seed, one_by_one, contrast)
    constructor = _parameters(attribution_class.__init__)
    if next(iter(constructor), None) not in MODEL_PARAMETERS:
        raise ConfigurationError(
            f"{attribution_class.__name__} is not built from a model alone. Give a function from the model to it, "
            "e.g. from_captum(lambda model: NoiseTunnel(Saliency(model)), nt_samples=10)."
        )
    explain: Callable[..., Any] = getattr(attribution_class, "attribute")  # noqa: B009 - captum is untyped here
    attribute = _parameters(explain)
    _check_known(attribution_class.__name__, kwargs, {**constructor, **attribute})
    building = {name: value for name, value in kwargs.items() if name in constructor}
    rest = {name: value for name, value in kwargs.items() if name not in constructor}
    return CaptumMethod(attribution_class, building, rest, seed, one_by_one, contrast)


def _parameters(function: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Return a method's parameters by name, without self."""
    return dict(list(inspect.signature(function).parameters.items())[1:])


def _check_known(name: str, kwargs: Mapping[str, Any], known: Mapping[str, inspect.Parameter]) -> None:
    reserved = ("inputs", "target", *MODEL_PARAMETERS)
    taken = [key for key in kwargs if key in reserved]
    if taken:
        raise ConfigurationError(
            f"{name} got {taken[0]}=; model, inputs and target are given when the method is called."
        )
    if "return_convergence_delta" in kwargs:
        raise ConfigurationError(
            f"{name} got return_convergence_delta=, which changes what captum returns. Leave it out: the result's "
            "convergence_delta holds it wherever captum has one."
        )
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values()):
        return
    unknown = [key for key in kwargs if key not in known]
    if unknown:
        raise ConfigurationError(
            f"{name} knows no argument {unknown[0]!r}; expected some of "
            f"{', '.join(key for key in known if key not in reserved)}."
        )


@dataclass(frozen=True)
class CaptumMethod:
    """A captum attribution class in the form of a method; made by `from_captum`.

    Values have the shape that captum gives: that of the inputs, or of a layer for its layer methods, as the layer gave
    it whatever is written into it afterwards. `convergence_delta` is captum's where its method has one, with the sign
    of this package, sum(values) - (F(x) - F(baseline)), and the mean over the baselines or samples that it averages;
    None for other methods, and with `multiply_by_inputs=False`, where the values do not add up to a change. There is no
    estimate of the error. `n_evaluations` counts the rows that went through the model, per sample, rounded up.

    Attributes:
        build: From a model (or forward function) and `building` to an object with `attribute`.
        building: Keyword arguments for `build`; a `layer` given by name is looked up in the model.
        attributing: Keyword arguments for `attribute`.
        seed: Seed of the random streams that captum draws from.
        one_by_one: True if each sample is explained in a call of its own.
        contrast: Class whose score is subtracted, as for `from_captum`.

    Cost: whatever the captum method costs.
    """

    build: Callable[..., Any]
    building: Mapping[str, Any]
    attributing: Mapping[str, Any]
    seed: int = 0
    one_by_one: bool = False
    contrast: Contrast | None = None

    accepts_integers = False
    has_undeclared_baseline = True

    def __post_init__(self) -> None:
        check_contrast(self.contrast)
        check_fields(self, CaptumMethod, {"build": "Give captum's class, e.g. captum.attr.DeepLift."})
        # as a function has one: what the method is called
        object.__setattr__(self, "__name__", method_name(self.build))

    @property
    def baseline(self) -> Any:
        """The `baselines=` given to captum; captum's own otherwise."""
        return self.attributing.get("baselines")

    @property
    def named_options(self) -> dict[str, Any]:
        """The arguments given to captum."""
        contrast = {} if self.contrast is None else {"contrast": self.contrast}
        return {**self.building, **self.attributing, **contrast}

    @property
    def needs_module(self) -> bool:
        """True if captum hooks the layers of the model."""
        return "layer" in self.building or (
            isinstance(self.build, type) and next(iter(_parameters(self.build.__init__)), None) == "model"
        )

    @property
    def is_samplewise(self) -> bool | None:
        """True for captum's deterministic methods unless an argument has rows of its own; None if unknown."""
        if self.one_by_one:
            return True
        known = str(getattr(self.build, "__module__", "")).startswith("captum.") and method_name(self) in SAMPLEWISE
        given = [*self.building.values(), *self.attributing.values()]
        tensors = [part for value in given if is_tensors(value) for part in parts_of(value)]
        with_rows = any(part.ndim > 0 and len(part) > 1 for part in tensors)
        return True if known and not with_rows else None

    @with_contrast_option
    def __call__(self, model: Forward, inputs: Inputs, target: Target = None) -> Attribution:
        """Explain `target` of `model` at `inputs`; a module is run in eval mode and left as found.

        Raises:
            ConfigurationError: Integer inputs, a target that is no index per sample, or a layer that is not there.
            ExplanationError: NaN or infinite values.
        """
        access = ModelAccess(parts_of(inputs))
        with explaining(model), rng_preserved():
            parts, indices = prepared(inputs, target)
            for part in parts:
                part.requires_grad_(part.is_floating_point())  # captum would do it with a warning
            building = self._building(model)
            keep_outputs(building.get("layer"), at_input=bool(self.attributing.get("attribute_to_layer_input")))
            explainer = self.build(access.counting(model), **building)
            n_samples = len(parts[0])
            places = [slice(i, i + 1) for i in range(n_samples)] if self.one_by_one else [slice(None)]
            results = [self._of(explainer, access, parts, inputs, indices, place) for place in places]
            explained = _joined([values for values, _ in results])
            deltas = [delta for _, delta in results if delta is not None]
            values = tuple(part.detach() for part in parts_of(explained))
            check_finite(values, torch.zeros(n_samples, device=parts[0].device))
            if access.carried and len(values) == len(access.explained) and "layer" not in building:
                by_place = dict(zip(access.explained, values, strict=True))
                zeros = (torch.zeros(part.shape, device=part.device) for part in parts)
                values = tuple(by_place.get(place, zero) for place, zero in enumerate(zeros))
        return Attribution(
            values=shaped_like(values, explained),
            convergence_delta=torch.cat(deltas) if deltas else None,
            error=None,
            target=indices,
            baseline=None,
            n_evaluations=torch.full((n_samples,), -(-access.rows // n_samples)),
        )

    def _of(
        self,
        explainer: Any,
        access: ModelAccess,
        parts: tuple[Tensor, ...],
        inputs: Inputs,
        target: Tensor | None,
        place: slice,
    ) -> tuple[Any, Tensor | None]:
        """Explain some samples: values, and the convergence delta of each sample where there is one."""
        seed_streams(self.seed)
        samples = parts if place == slice(None) else tuple(part[place] for part in parts)
        here = None if target is None else target[place]
        explained = shaped_like(tuple(samples[i] for i in access.explained), inputs)
        kwargs = dict(self.attributing)
        if access.carried:
            further: Any = kwargs.get("additional_forward_args", ())
            carried = (samples[i] for i in access.carried)
            kwargs["additional_forward_args"] = (*carried, *(further if isinstance(further, tuple) else (further,)))
        if not _has_delta(explainer):
            return _attribute(explainer, explained, here, kwargs), None
        values, delta = _attribute(explainer, explained, here, {**kwargs, "return_convergence_delta": True})
        # one for each baseline or sample that was averaged, those of an input next to each other
        delta = delta.detach().reshape(len(samples[0]), -1).mean(1)
        return values, -delta if _is_relevance(explainer) else delta

    def _building(self, model: Forward) -> dict[str, Any]:
        building = dict(self.building)
        name = building.get("layer")
        if isinstance(name, str):
            modules = dict(model.named_modules()) if isinstance(model, nn.Module) else {}
            if name not in modules:
                raise ConfigurationError(
                    f"layer={name!r} is not in the {type(model).__name__} that is explained; it has "
                    f"{', '.join(list(modules)[1:40]) or 'no modules'}."
                )
            building["layer"] = modules[name]
        return building


def _has_delta(explainer: Any) -> bool:
    """Return True if captum gives a convergence delta of the values themselves."""
    if "return_convergence_delta" not in inspect.signature(explainer.attribute).parameters:
        return False
    has_delta: Callable[[], bool] = getattr(explainer, "has_convergence_delta", lambda: False)
    return has_delta() and getattr(explainer, "multiplies_by_inputs", True)


def _is_relevance(explainer: Any) -> bool:
    """Return True if captum's delta is F(x) - sum(values), the other sign, as in its relevance propagation."""
    captum = sys.modules.get("captum.attr")
    return captum is not None and isinstance(explainer, captum.LRP)


def _joined(found: list[Any]) -> Any:
    """Put attributions of single samples together."""
    if len(found) == 1:
        return found[0]
    if isinstance(found[0], tuple):
        return tuple(torch.cat(column) for column in zip(*found, strict=True))
    return torch.cat(found)


def _attribute(explainer: Any, inputs: Inputs, target: Tensor | None, kwargs: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        # it is true and harmless: hooks and attributes are put back by the isolation
        warnings.filterwarnings("ignore", message="Setting (forward, )?backward hooks", category=UserWarning)
        return explainer.attribute(inputs, target=target, **kwargs)
