"""How monitors reach the explained function of modules that others wrote."""

import lightning as L
import pytest
import torch
from lightning.pytorch.demos.boring_classes import BoringModel
from torch import Tensor, nn

from lightning_explain import GradCAM, LayerConductance
from lightning_explain.batches import select, target_of
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.errors import ConfigurationError
from lightning_explain.isolation import isolated


class ByKeyword(L.LightningModule):
    """Takes its batch by keyword, as wrapped models of transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))

    def forward(self, **batch: Tensor) -> dict[str, Tensor]:
        return {"logits": self.net(batch["image"]) * batch.get("weight", torch.ones(()))}


IMAGES = torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(0))
TARGET = torch.tensor([0, 1, 2, 0, 1])


def test_a_forward_of_keywords_gets_the_keys_of_the_batch():
    module = ByKeyword()
    Question(input="image").check(module)
    assert torch.equal(Question(input="image").scores(module)(IMAGES), module.net(IMAGES))
    weight = torch.full((5, 1), 2.0)
    assert torch.equal(Question(input=["image", "weight"]).scores(module)(IMAGES, weight), 2 * module.net(IMAGES))
    # in the order of the keys, not of the call
    assert torch.equal(Question(input=["weight", "image"]).scores(module)(weight, IMAGES), 2 * module.net(IMAGES))


@pytest.mark.parametrize("named", [None, 0, lambda batch: batch["image"]])
def test_a_forward_of_keywords_without_keys_is_refused_with_the_cure(named: object):
    with pytest.raises(
        ConfigurationError, match=r"ByKeyword\.forward takes its inputs by keyword only.*input='pixel_values'"
    ):
        Question(input=named).check(ByKeyword())  # type: ignore[arg-type]
    Question(input=named, forward_fn=lambda module, x: module(image=x)).check(ByKeyword())  # type: ignore[arg-type]


def test_what_takes_positions_is_called_by_position():
    module = nn.Linear(3, 2)
    assert Question(input="x").call(module) is module


def test_a_framework_s_own_model_has_a_forward_but_its_base_class_has_none():
    Question().check(BoringModel())
    with pytest.raises(ConfigurationError, match="defines no forward"):
        Question().check(L.LightningModule())


def test_several_parts_of_a_batch_are_named_by_a_list():
    batch = {"ids": torch.arange(3), "mask": torch.ones(3), "labels": TARGET[:3]}
    ids, mask = select(batch, ["ids", "mask"], option="input")
    assert torch.equal(ids, batch["ids"])
    assert torch.equal(mask, batch["mask"])
    with pytest.raises(ConfigurationError, match="input='musk' names nothing"):
        select(batch, ["ids", "musk"], option="input")


def test_a_callable_may_say_that_there_is_no_target_but_a_key_may_not():
    batch = (IMAGES, TARGET)
    assert target_of(batch, lambda _: None) is None
    with pytest.raises(ConfigurationError, match="not to a tensor"):
        target_of({"x": IMAGES, "y": None}, "y")


def test_layers_of_a_wrapped_module_go_by_their_own_names():
    module = ByKeyword()
    inputs = (IMAGES.clone(),)
    with torch.no_grad():
        wrapped, scores = Question(input="image").module(module, inputs)
    assert wrapped is not module
    assert torch.equal(scores, module.net(IMAGES))
    assert GradCAM(layer="net.1")(wrapped, IMAGES, TARGET).values.shape == IMAGES.shape
    assert LayerConductance("net.1")(wrapped, IMAGES, TARGET).values.shape == (5, 4, 4, 4)
    names = dict(wrapped.named_modules())
    assert {"net", "net.0", "net.3"} <= set(names)
    assert list(dict(wrapped.named_parameters())) == list(dict(module.named_parameters()))


def test_isolation_reaches_through_the_wrap():
    module = ByKeyword()
    wrapped, _ = Question(input="image").module(module, (IMAGES,))
    with isolated(wrapped):
        assert not module.training
        module.left_behind = 1
    assert module.training
    assert "left_behind" not in vars(module)
