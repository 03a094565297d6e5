"""Which features a tabular picture shows."""

import torch

from lightning_explain.render import features
from lightning_explain.render.features import LARGEST, bars_picture


def test_features_whose_attributions_cancel_out_in_the_mean_are_shown(monkeypatch):
    n_weak = 30
    strong = torch.tensor([[5.0], [-5.0]])  # the largest for every sample, 0 on average
    values = torch.cat([torch.full((2, n_weak), 0.1), strong], dim=1)
    chosen = []
    original = features._strongest
    monkeypatch.setattr(features, "_strongest", lambda rows: chosen.append(original(rows)) or chosen[-1])
    bars_picture(values, labels=None, group_names=["all samples"], feature_names=(), title="")
    assert n_weak in chosen[0]
    assert len(chosen[0]) == LARGEST
