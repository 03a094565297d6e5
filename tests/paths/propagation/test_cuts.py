"""Running a model in pieces: what is cut, what each piece came from, and what cannot be passed."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_explain.attribution import AlphaBetaRule, EpsilonPlusFlat
from lightning_explain.errors import ConfigurationError, ExplanationError
from lightning_explain.paths import contributions
from tests.paths.by_hand import Recurrent, Transformer
from tests.paths.nets import lenet, seeded
from tests.paths.propagation.cut_nets import Function, walked


def test_a_batch_norm_belongs_to_the_layer_before_it():
    net, x, target = lenet()
    assert contributions(net, x, target).layers == ("conv1", "conv2", "fc1")


def test_a_layer_used_twice_is_two_layers():
    net = Function(lambda n, x: n.b(n.a(n.a(x).relu()).relu()), (3, 3), (3, 1))
    assert contributions(net, torch.rand(1, 3)).layers == ("a", "a#1")


def test_attentions_and_recurrent_states_are_cut_and_what_lies_inside_is_known():
    x = torch.rand(2, 3, 2)
    assert [c.name for c in walked(Transformer(), x).cuts if c.kind == "heads"] == ["blocks.0", "blocks.1"]
    cuts = walked(Recurrent(), x).cuts
    assert [c.name for c in cuts if c.kind == "state"] == ["lstm.l0"] * 3
    # the weights of the inputs for all steps, those of the state for each step but the first, whose state is constant
    assert sum(c.kind == "inner" for c in cuts) == 3


def test_each_piece_gives_what_the_model_computed():
    seeded()
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    first, hidden, last = walked(net, x).cuts
    torch.testing.assert_close(first.leaf, x)
    torch.testing.assert_close(hidden.leaf, net[0](x))
    torch.testing.assert_close(last.before, net[0](x).relu())
    torch.testing.assert_close(last.leaf, net(x))
    torch.testing.assert_close(last.back(torch.ones(5, 2)), net[2].weight.sum(0).expand(5, 4))


def test_what_lrp_refuses_is_refused_alike():
    net = Function(lambda n, x: n.b(n.a(x).cumprod(1)), (3, 3), (3, 2))
    with pytest.raises(ConfigurationError, match=r"LRP has no rule for the model itself \(Function\): .*cumprod"):
        contributions(net, torch.rand(2, 3), 0)


def test_rules_that_cannot_be_shared_out_are_refused():
    net, x, target = lenet()
    with pytest.raises(ConfigurationError, match="FlatRule to conv1.*ZeroRule, EpsilonRule, GammaRule, ZPlusRule"):
        contributions(net, x, target, rules=EpsilonPlusFlat())
    with pytest.raises(ConfigurationError, match="AlphaBetaRule"):
        contributions(net, x, target, rules={nn.Linear: AlphaBetaRule(), nn.Conv2d: AlphaBetaRule()})


def test_a_detached_output_and_ids_that_nothing_looks_up_are_errors():
    net = Function(lambda n, x: n.a(x).detach(), (3, 2))
    with pytest.raises(ExplanationError, match="no path to follow"):
        contributions(net, torch.rand(2, 3), 0)
    net = Function(lambda n, ids: n.a(functional.one_hot(ids, 3).float().sum(1)), (3, 2))
    with pytest.raises(ConfigurationError, match="only where the model looks them up in an embedding"):
        contributions(net, torch.tensor([[0, 1], [2, 2]]), 0)


def test_nan_is_an_error():
    net, x, target = lenet()
    net.fc1.weight.data[0, 0] = torch.nan
    with pytest.raises(ExplanationError, match="NaN"):
        contributions(net, x, target)


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
@pytest.mark.parametrize("padding", [None, 1])
def test_bags_of_tokens_give_what_torch_gives(mode, padding):
    net = nn.Sequential(nn.EmbeddingBag(6, 4, mode=mode, padding_idx=padding), nn.Linear(4, 2))
    ids = torch.tensor([[1, 2, 3], [5, 0, 1]])
    way = walked(net, ids)
    torch.testing.assert_close(way.score, net(ids)[:, 0])
    assert way.cuts[0].kind == "input" and way.cuts[0].leaf.shape == (2, 3, 4)


def test_values_of_a_place_can_be_changed():
    from lightning_explain.attribution import Epsilon
    from lightning_explain.attribution.lrp.choices import Choices
    from lightning_explain.isolation import explaining
    from lightning_explain.paths.propagation.cuts import run_in_cuts

    net, x = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), torch.randn(2, 3)
    with explaining(net):
        run = run_in_cuts(
            net, (x,), torch.tensor([1, 1]), Epsilon(), Choices(), names_from=net, changes={1: torch.zeros_like}
        )
    torch.testing.assert_close(run.score, net[2].bias[1].expand(2))
