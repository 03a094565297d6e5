"""Which features a tabular picture shows."""

import torch

from lightning_explain.render.modalities import table as features
from lightning_explain.render.modalities.table import LARGEST, bars_picture
from lightning_explain.render.page_layout import Panel


def test_features_whose_attributions_cancel_out_in_the_mean_are_shown(monkeypatch):
    n_weak = 30
    strong = torch.tensor([[5.0], [-5.0]])  # the largest for every sample, 0 on average
    values = torch.cat([torch.full((2, n_weak), 0.1), strong], dim=1)
    chosen = []
    original = features._shown
    monkeypatch.setattr(features, "_shown", lambda rows, most: chosen.append(original(rows, most=most)) or chosen[-1])
    panels = [Panel(name="a", values=values, scale=5.0)]
    bars_picture(panels, labels=None, group_names=["all samples"], feature_names=(), title="")
    assert n_weak in chosen[0]
    assert len(chosen[0]) == LARGEST
