"""What of methods is checked before training, and how their failures are told."""

import warnings
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from lightning_explain import LRP, IntegratedGradients, Probe, Saliency
from lightning_explain.attribution import AtEmbedding, as_method
from lightning_explain.callbacks.attribution import explainer
from lightning_explain.callbacks.attribution.explainer import Examiner, removal_baseline
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.errors import ConfigurationError


def examiner(**methods: Any) -> Examiner:
    return Examiner(methods=methods, measures=(), question=Question(), guard=Guard("Monitor", "warn"))


def words() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 2))


IDS = torch.tensor([[1, 5, 5], [2, 0, 8]])


def explained(found: Examiner, net: nn.Module, inputs: torch.Tensor) -> tuple[Any, list[str]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = found.explain(
            net, (inputs,), single=True, targets=lambda scores: scores.argmax(1), step=0, ranks=Ranks()
        )
    return result, [str(warning.message) for warning in caught]


def test_methods_that_reread_weights_are_refused_where_these_are_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    refused: list[str] = []
    monkeypatch.setattr(explainer, "check_not_sharded", lambda _model, name: refused.append(name))
    own = as_method(lambda model, inputs, target=None: None, rereads_weights=True)
    examiner(ig=IntegratedGradients(), lrp=LRP(), tokens=AtEmbedding(LRP()), own=own).check_weights(words())
    assert refused == ["lrp", "tokens", "own"]


def test_integers_are_refused_by_declaration_and_by_trial() -> None:
    probe = Probe(inputs=IDS, targets=torch.tensor([0, 1]))
    examiner(at=AtEmbedding(Saliency())).check_probe(probe)
    with pytest.raises(ConfigurationError, match="int64, which has no gradient.*AtEmbedding"):
        examiner(at=AtEmbedding(Saliency()), ig=IntegratedGradients()).check_probe(probe)
    calls: list[int] = []

    def mine(model: Any, inputs: Any, target: Any = None) -> Any:
        calls.append(len(inputs))
        return Saliency()(model, inputs, target)

    with pytest.raises(ConfigurationError, match="mine does not explain the probe, whose inputs are integers.*AtEmb"):
        examiner(mine=mine).try_integers(words(), (IDS,), torch.tensor([0, 1]), single=True)
    assert calls == [2]
    declared = as_method(mine, accepts_integers=True)
    examiner(mine=declared).try_integers(words(), (IDS,), torch.tensor([0, 1]), single=True)
    examiner(mine=mine).try_integers(words(), (IDS.float(),), torch.tensor([0, 1]), single=True)
    assert calls == [2]  # neither is tried


def test_a_method_that_runs_out_of_memory_in_the_trial_is_not_refused() -> None:
    def greedy(model: Any, inputs: Any, target: Any = None) -> Any:
        raise MemoryError

    examiner(greedy=greedy).try_integers(words(), (IDS,), torch.tensor([0, 1]), single=True)


@pytest.mark.parametrize("declared", [True, False])
def test_halves_are_explained_where_memory_runs_out_only_if_samples_are_independent(declared: bool) -> None:
    calls: list[int] = []

    def mine(model: Any, inputs: Any, target: Any = None) -> Any:
        calls.append(len(inputs))
        if len(inputs) > 2:
            raise MemoryError
        return Saliency()(model, inputs, target)

    net, x = nn.Linear(3, 2), torch.rand(4, 3)
    found, said = explained(examiner(mine=as_method(mine, is_samplewise=declared)), net, x)
    assert calls == ([4, 2, 2] if declared else [4])
    assert (found is not None) is declared
    assert any("smaller probe" in words for words in said)
    if declared:
        assert torch.equal(found.attribution.values, Saliency()(net, x, net(x).argmax(1)).values)


def test_one_method_that_fails_is_reported_and_the_others_go_on() -> None:
    def broken(model: Any, inputs: Any, target: Any = None) -> Any:
        raise ValueError("not today")

    found, said = explained(examiner(broken=broken, saliency=Saliency()), nn.Linear(3, 2), torch.rand(4, 3))
    assert list(found.attributions) == ["saliency"]
    assert len(said) == 1 and "broken" in said[0] and "not today" in said[0]


def test_deleted_features_get_the_first_methods_baseline_where_it_can_be_resolved() -> None:
    black: Any = SimpleNamespace(baseline="black")
    assert removal_baseline({"a": IntegratedGradients(baseline="mean"), "b": LRP()}) == "mean"
    assert removal_baseline({"a": LRP(), "b": IntegratedGradients(baseline="mean")}) == "zeros"
    assert removal_baseline({"a": as_method(lambda *_: None, **vars(black))}) == "zeros"
