"""Random explanations that the tests of their distances share."""

import dataclasses

import torch
from torch import Tensor

from lightning_explain.attribution import Attribution
from lightning_explain.drift import MEASURES

TABULAR = [measure for measure in MEASURES if measure != "ssim"]


def rows(seed: int, n_samples: int, n_features: int, *, ties: bool = False) -> Tensor:
    values = torch.randn(n_samples, n_features, generator=torch.Generator().manual_seed(seed))
    return (values * 2).round() if ties else values


def explanation(values: Tensor, coarse: Tensor | None = None) -> Attribution:
    return Attribution(
        values=values,
        convergence_delta=None,
        error=None,
        target=None,
        baseline=None,
        n_evaluations=torch.ones(len(values)),
        coarse=coarse,
    )


def asked(values: Tensor, target: Tensor | None) -> Attribution:
    return dataclasses.replace(explanation(values), target=target)
