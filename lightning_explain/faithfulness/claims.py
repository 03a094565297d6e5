"""Faithfulness metrics by name, for one explanation."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from lightning_explain.attribution.baselines import Baseline
from lightning_explain.attribution.result import Attribution, Forward, Method, Target
from lightning_explain.attribution.traits import traits_of
from lightning_explain.errors import ConfigurationError, ExplanationWarning, doubts_reported_to
from lightning_explain.faithfulness.randomisation import cascading_randomisation
from lightning_explain.faithfulness.removal import RemovalCurve, deletion, insertion
from lightning_explain.faithfulness.robustness import infidelity, max_sensitivity


@dataclass(frozen=True, kw_only=True)
class Claim:
    """An explanation together with what it explains, ready to be tested.

    Attributes:
        method: What explained: called as `method(model, inputs, target)`.
        model: What was explained: a module (left as found), or a callable from inputs to scores.
        inputs: What it was explained at [batch, ...].
        target: Explained output: class index, LongTensor [batch], or None.
        attribution: The explanation.
        removal_baseline: What a feature becomes when it is deleted. Give several methods the same, or their curves
            cannot be compared.
    """

    method: Method | Callable[..., Attribution]
    model: Forward
    inputs: Tensor
    target: Target
    attribution: Attribution
    removal_baseline: Baseline = "zeros"

    def removal(self, curve: Callable[..., RemovalCurve]) -> Tensor:
        """Return the area under the deletion or insertion curve: [batch].

        Of probabilities where there are classes; of a single output as it is, since that may be any quantity.
        """
        scale = "output" if self.target is None else "probability"
        found = curve(
            self.model, self.inputs, self.target, self.attribution, baseline=self.removal_baseline, scale=scale
        )
        return found.auc


def _infidelity(claim: Claim) -> dict[str, Tensor]:
    # a method that gives slopes says how the score changes with a feature; all others what the feature contributed
    slopes = traits_of(claim.method).gives_slopes
    start = claim.attribution.baseline
    baseline = "zeros" if start is None else start
    return {
        "infidelity": infidelity(
            claim.model, claim.inputs, claim.target, claim.attribution, baseline=None if slopes else baseline
        )
    }


def _randomisation(claim: Claim) -> dict[str, Tensor]:
    if not isinstance(claim.model, nn.Module):
        raise ConfigurationError(
            f"randomisation needs a module, whose weights can be lost; got {type(claim.model).__name__}."
        )
    check = cascading_randomisation(claim.method, claim.model, claim.inputs, claim.target)
    return {"randomisation": check.spearman[-1], "randomisation_absolute": check.spearman_absolute[-1]}


FAITHFULNESS: dict[str, Callable[[Claim], dict[str, Tensor]]] = {
    "deletion": lambda claim: {"deletion_auc": claim.removal(deletion)},
    "insertion": lambda claim: {"insertion_auc": claim.removal(insertion)},
    "infidelity": _infidelity,
    "max_sensitivity": lambda claim: {
        "max_sensitivity": max_sensitivity(claim.method, claim.model, claim.inputs, claim.target)
    },
    "randomisation": _randomisation,
}
"""The measures by name. Each returns metrics per sample [batch] by name."""


def examine(claim: Claim, measure: str) -> dict[str, Tensor]:
    """Compute a faithfulness metric of an explanation.

    Args:
        claim: The explanation and what it explains.
        measure: One of these, with its metrics and its cost:

            - `"deletion"`: `deletion_auc`, low is good; 21 forward passes.
            - `"insertion"`: `insertion_auc`, high is good; 21 forward passes.
            - `"infidelity"`: `infidelity` under noise, low is good, in squared units of the output; 11 forward passes.
              It is 0 only where the output is linear in the input around the sample: an exact explanation of a curved
              output gets more. Values count as contributions, slope times the way from the baseline (zeros where
              there is none), unless the method declares `gives_slopes`, as Saliency and SmoothGrad do.
            - `"max_sensitivity"`: `max_sensitivity`, 0 is best; 11 explanations.
            - `"randomisation"`: `randomisation` and `randomisation_absolute`, rank correlation with the explanation
              of a copy in which every layer's weights are lost, near 0 is good; an explanation for each layer with
              weights, and one more.

    Returns:
        Metrics per sample [batch], by name.

    Raises:
        ConfigurationError: The name is unknown, or the measure does not fit the explanation's form.
        ExplanationError: A score is NaN or infinite.

    Example:
        >>> import torch
        >>> from lightning_explain.attribution import InputXGradient
        >>> net, x = nn.Linear(3, 2), torch.rand(4, 3)
        >>> method = InputXGradient()
        >>> claim = Claim(method=method, model=net, inputs=x, target=0, attribution=method(net, x, 0))
        >>> {name: values.shape for name, values in examine(claim, "deletion").items()}
        {'deletion_auc': torch.Size([4])}
    """
    if measure not in FAITHFULNESS:
        raise ConfigurationError(f"faithfulness={measure!r} is unknown; expected some of {list(FAITHFULNESS)}.")
    # what a method says of itself was said when it explained; of a net with random weights it need not be said
    with doubts_reported_to(lambda _: None), warnings.catch_warnings():
        warnings.simplefilter("ignore", ExplanationWarning)
        return FAITHFULNESS[measure](claim)
