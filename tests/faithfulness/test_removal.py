"""Deletion and insertion: by hand, and by their properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from lightning_explain.attribution import Attribution, GradCAM, IntegratedGradients
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.faithfulness import deletion, insertion
from tests.faithfulness.nets import TARGET, X, convnet, drawn, net


def test_deletion_and_insertion_by_hand():
    def model(x):
        return x @ torch.tensor([4.0, 2.0, 1.0, 1.0])

    x, values = torch.ones(1, 4), torch.tensor([[4.0, 2.0, 1.0, 0.5]])
    gone = deletion(model, x, None, values, n_steps=4, scale="output")
    back = insertion(model, x, None, values, n_steps=4, scale="output")
    assert gone.shares.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert gone.scores.tolist() == [[8, 4, 2, 1, 0]]
    assert back.scores.tolist() == [[0, 4, 6, 7, 8]]
    # trapezoid: (8/2 + 4 + 2 + 1 + 0/2) / 4 and (0/2 + 4 + 6 + 7 + 8/2) / 4
    assert (gone.auc.item(), back.auc.item()) == (2.75, 5.25)


def test_baseline_fills_the_place():
    options = {"baseline": torch.tensor([5.0, 7.0]), "n_steps": 2, "scale": "output"}
    gone = deletion(lambda x: x.sum(1), torch.ones(1, 2), None, torch.tensor([[0.0, 1.0]]), **options)
    assert gone.scores.tolist() == [[2, 8, 12]]


def test_scores_are_probabilities():
    x = drawn(4, 4)
    curve = deletion(net(), x, TARGET, x, n_steps=2)
    torch.testing.assert_close(curve.scores[:, 0], net()(x).softmax(1).gather(1, TARGET[:, None])[:, 0].detach())
    single = deletion(lambda z: z.sum(1, keepdim=True), x, None, x, n_steps=2)
    torch.testing.assert_close(single.scores[:, 0], x.sum(1).sigmoid())


def test_pixels_go_with_all_channels_in_the_order_of_their_sum():
    seen = []

    def model(z):
        seen.append(z)
        return z.sum((1, 2, 3))

    x = torch.ones(1, 2, 1, 3)
    values = torch.tensor([[[[9.0, 0.0, 4.0]], [[-9.0, 1.0, 4.0]]]])
    deletion(model, x, None, values, n_steps=3, scale="output")
    assert [z[0, :, 0].tolist() for z in seen] == [
        [[1, 1, 1]] * 2, [[1, 1, 0]] * 2, [[1, 0, 0]] * 2, [[0, 0, 0]] * 2,
    ]  # fmt: skip


def test_one_channel_maps_serve_images():
    x = drawn(4, 2, 6, 6)
    found = GradCAM()(convnet(), x, TARGET)
    scores = deletion(convnet(), x, TARGET, found).scores
    assert scores.shape == (4, 21)
    # the map's order, and all channels of a pixel at once
    for each in (found.values, found.values.expand(-1, 2, -1, -1)):
        torch.testing.assert_close(deletion(convnet(), x, TARGET, each).scores, scores)
    ends = [functional.softmax(convnet()(z), 1)[torch.arange(4), TARGET] for z in (x, torch.zeros_like(x))]
    torch.testing.assert_close(scores[:, [0, -1]], torch.stack(ends, 1).detach())


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(4)), chunk_size=st.sampled_from([None, 1, 3]))
def test_permuting_the_batch_permutes_the_curves(order, chunk_size):
    x, values = drawn(4, 4), drawn(4, 4, seed=2)
    whole = insertion(net(), x, TARGET, values)
    found = insertion(net(), x[order], TARGET[order], values[order], chunk_size=chunk_size)
    torch.testing.assert_close(found.auc, whole.auc[order])


def test_a_true_explanation_beats_its_opposite():
    x = drawn(50, 4)
    values = IntegratedGradients(n_steps=20)(net(), x, 1).values
    assert deletion(net(), x, 1, values).auc.mean() < deletion(net(), x, 1, -values).auc.mean()
    assert insertion(net(), x, 1, values).auc.mean() > insertion(net(), x, 1, -values).auc.mean()


SEVERAL = Attribution(values=(X, X), convergence_delta=None, error=None, target=None, baseline=None, n_evaluations=X)


@pytest.mark.parametrize(
    ("target", "values", "options", "message"),
    [
        (1, X[:, :3], {}, r"shape \[4, 3\], the inputs \[4, 4\]"),
        (1, X[:2], {}, "expected the same"),
        (1, X, {"n_steps": 0}, "n_steps=0"),
        (9, X, {}, "class index 9"),
        (1, SEVERAL, {}, "has 2 parts"),
    ],
)
@pytest.mark.parametrize("curve", [deletion, insertion])
def test_what_does_not_fit_the_inputs_is_refused(curve, target, values, options, message):
    with pytest.raises(ConfigurationError, match=message):
        curve(net(), X, target, values, **options)


def test_nan_scores_are_refused():
    with pytest.raises(ExplanationError, match="NaN"):
        deletion(lambda z: z.sum(1) * torch.nan, X, None, X)
