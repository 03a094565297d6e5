"""Padding masks as models are given them."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks

from lightning_explain.capture import MaskSource, PaddingMasks
from lightning_explain.capture.padding_masks import arguments_of

PADDING = torch.tensor([[False, False, True], [False, True, True]])


class Encoder(nn.Module):
    """Takes a mask by place or by name, as transformers do."""

    def forward(self, ids: Tensor, attention_mask: Any = None, *, scale: float = 1.0, **rest: Any) -> Tensor:
        return ids * scale


@pytest.mark.parametrize(
    ("parameter", "mask"),
    [
        ("attention_mask", (~PADDING).long()),
        ("encoder_attention_mask", ~PADDING),
        ("src_key_padding_mask", PADDING),
        ("key_padding_mask", torch.zeros(2, 3).masked_fill(PADDING, -torch.inf)),
    ],
)
def test_every_convention_says_where_padding_is(parameter: str, mask: Tensor) -> None:
    found = MaskSource(nn.Identity(), parameter).padding_of(mask)
    assert found.dtype == torch.bool and torch.equal(found, PADDING)


def test_arguments_have_their_names_however_they_were_given() -> None:
    net, extra = Encoder(), {"attention_mask": 2}
    assert arguments_of(net, (1,), extra) == {"ids": 1, "attention_mask": 2}
    assert arguments_of(net, (1, 2), {"scale": 3, "other": 4}) == {
        "ids": 1, "attention_mask": 2, "scale": 3, "other": 4
    }  # fmt: skip
    assert arguments_of(net, (), {}) == {}


def test_the_mask_of_the_call_that_is_going_on_is_known_and_no_earlier_one() -> None:
    net, ids, mask = Encoder(), torch.ones(2, 3), (~PADDING).long()
    source = MaskSource(net, "attention_mask")
    masks = PaddingMasks()
    masks.attach([source])
    try:
        net(ids, mask)
        assert torch.equal(masks.padding(source), PADDING)
        net(ids, attention_mask=mask.flip(0))
        assert torch.equal(masks.padding(source), PADDING.flip(0))
        for none in (None, mask[:, None]):  # a mask of other form says nothing of tokens
            net(ids, none)
            assert masks.padding(source) is None
        net(ids, mask)
        masks.forget()
        assert masks.padding(source) is None and masks.padding(None) is None
    finally:
        masks.detach()
    net(ids, mask)
    assert masks.padding(source) is None and not net._forward_pre_hooks


def test_a_layer_that_may_run_fused_is_watched_from_outside() -> None:
    layer = nn.TransformerEncoderLayer(4, 2, 4, batch_first=True).eval()
    source = MaskSource(layer, "src_key_padding_mask")
    masks = PaddingMasks()
    masks.attach([source])
    try:
        assert not layer._forward_pre_hooks and not layer._forward_hooks
        layer(torch.ones(2, 3, 4), src_key_padding_mask=PADDING)
        assert torch.equal(masks.padding(source), PADDING)
    finally:
        masks.detach()
    assert not module_hooks._has_any_global_hook()


def test_a_copy_of_a_watched_model_notes_nothing() -> None:
    net, mask = Encoder(), (~PADDING).long()
    source = MaskSource(net, "attention_mask")
    masks = PaddingMasks()
    masks.attach([source])
    twin = copy.deepcopy(net)
    net(torch.ones(2, 3), mask)
    twin(torch.ones(2, 3), mask.flip(0))
    assert torch.equal(masks.padding(source), PADDING)
    masks.detach()


def test_hooks_that_are_attached_again_stay_those_of_a_call_that_has_begun() -> None:
    net, mask = Encoder(), (~PADDING).long()
    source, other = MaskSource(net, "attention_mask"), MaskSource(nn.Identity(), "padding_mask")
    masks = PaddingMasks()

    def before(module: nn.Module, args: Any, kwargs: Any) -> None:
        masks.attach([source, other])
        masks.enter(module, args, kwargs)

    with net.register_forward_pre_hook(before, with_kwargs=True):
        for own in (mask, mask.flip(0)):
            net(torch.ones(2, 3), attention_mask=own)
            assert torch.equal(masks.padding(source), own == 0)
    assert len(net._forward_pre_hooks) == 1
    masks.detach()
    assert not net._forward_pre_hooks and not other.module._forward_pre_hooks


def test_two_transformer_layers_are_watched_by_one_hook_from_outside() -> None:
    layers = [nn.TransformerEncoderLayer(4, 2, 4, batch_first=True).eval() for _ in range(2)]
    sources = [MaskSource(layer, "src_key_padding_mask") for layer in layers]
    masks = PaddingMasks()
    masks.attach(sources[:1])
    masks.attach(sources)
    for layer, source, padding in zip(layers, sources, (PADDING, PADDING.flip(0)), strict=True):
        layer(torch.ones(2, 3, 4), src_key_padding_mask=padding)
        assert torch.equal(masks.padding(source), padding)
    masks.detach()
    assert not module_hooks._has_any_global_hook()
