"""Paths of a probe: how its samples are grouped, whose mean is drawn, and that the module is left alone."""

import pytest
import torch

from lightning_explain.callbacks.paths.explanation import ALL, Group, groups_of
from tests.callbacks.paths.small_explanations import X, Y, explained, net, options, small_probe


def test_samples_are_grouped_by_explained_output_or_class_or_not_at_all() -> None:
    probe = small_probe()
    assert groups_of(probe, Y) == [Group("cat", 0, (0, 2)), Group("dog", 1, (1, 3, 4, 5))]
    # predicted rather than labelled
    assert groups_of(probe, torch.ones(6, dtype=torch.long)) == [Group("dog", 1, tuple(range(6)))]
    single = groups_of(probe, None)
    assert [group.output_name for group in single] == ["output", "output"] and single[0].members == (0, 2)
    assert groups_of(small_probe(targets=None), None) == [Group(ALL, None, tuple(range(6)), has_output=False)]
    assert groups_of(probe, Y)[1].output_name == "dog"


def test_the_graph_of_a_class_is_the_mean_of_its_samples() -> None:
    found = explained(chosen=options(every_sample=True))
    scores = net()(X).detach()
    torch.testing.assert_close(found.scores, scores)
    assert list(found.samples) == list(range(6))
    for path in found.classes:
        rows = list(path.group.members)
        assert path.graph.output == pytest.approx(float(scores[rows, path.group.index].mean()), abs=1e-6)
        assert list(path.effective) == ["input", "0"] and path.change is None
        assert 1 <= path.effective["0"] <= 5 and 1 <= path.effective["input"] <= 3
        totals = torch.tensor([found.samples[row].totals for row in rows]).mean(0)
        assert totals.tolist() == pytest.approx(path.graph.totals, abs=1e-6)


def test_of_samples_only_those_are_kept_that_are_drawn() -> None:
    found = explained(chosen=options(show="sample"))
    assert list(found.samples) == [0, 1]
    dog = found.classes[1]
    assert found.drawn(dog, "sample") == (found.samples[1], (1,))
    assert found.drawn(dog, "class") == (dog.graph, (1, 3, 4, 5))
    assert explained().samples == {}
    assert found.samples[1].output == pytest.approx(float(found.scores[1, 1]), abs=1e-6)


def test_the_module_is_left_as_it_was() -> None:
    model = net().train()
    model[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    explained(model)
    assert [module.training for module in model] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model)
