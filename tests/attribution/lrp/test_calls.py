"""From calls of torch functions, by position or by name, to the affine maps that they apply."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from lightning_explain.attribution.lrp.calls import layer_of, scaling_of
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import drawn

X, WEIGHT, BIAS = drawn(2, 4, 6, 5), drawn(6, 2, 3, 2, seed=2), drawn(6, seed=3)


@pytest.mark.parametrize(
    ("args", "options"),
    [
        ((X, WEIGHT, BIAS, 2, 1, 1, 2), {}),
        ((X, WEIGHT), {"groups": 2, "stride": (1, 2)}),
        ((), {"input": X, "weight": WEIGHT, "bias": None, "padding": "same", "groups": 2}),
        ((X, WEIGHT, BIAS), {"padding": "valid", "dilation": (2, 1), "groups": 2}),
    ],
)
@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
def test_convolutions_are_understood_as_torch_understands_them(args: Any, options: dict[str, Any]) -> None:
    read, layer = layer_of(nn.Conv2d, args, options)
    assert read is X
    torch.testing.assert_close(layer.apply(X, layer.weight, layer.bias), functional.conv2d(*args, **options))


def test_transposed_convolutions_have_their_own_order_of_arguments() -> None:
    weight = drawn(4, 3, 3, 3, seed=4)
    args = (X, weight, None, (2, 1), 1, (1, 0), 1, (1, 2))
    _, layer = layer_of(nn.ConvTranspose2d, args, {})
    torch.testing.assert_close(layer.apply(X, layer.weight), functional.conv_transpose2d(*args))


def test_weights_are_read_without_their_graph() -> None:
    weight = torch.ones(2, 3, requires_grad=True)
    _, layer = layer_of(nn.Linear, (torch.ones(1, 3), weight, weight[:, 0]), {})
    assert not layer.weight.requires_grad and layer.bias is not None and not layer.bias.requires_grad


def test_batch_norm_is_a_scaling_by_its_running_statistics() -> None:
    mean, var = drawn(4, seed=5), drawn(4, seed=6).square()
    for weight, bias in ((None, None), (drawn(4, seed=7), drawn(4, seed=8))):
        read, scaling = scaling_of(X, mean, var, weight, bias, eps=0.1)
        assert read is X
        wanted = functional.batch_norm(X, mean, var, weight, bias, eps=0.1)
        torch.testing.assert_close(scaling.apply(X, scaling.weight, scaling.bias), wanted)


@pytest.mark.parametrize("options", [{"training": True}, {"running_var": None}, {"running_mean": None}])
def test_batch_norm_of_the_batch_is_refused(options: dict[str, Any]) -> None:
    given = {"running_mean": torch.zeros(4), "running_var": torch.ones(4), **options}
    with pytest.raises(ConfigurationError, match="statistics of the batch"):
        scaling_of(X, **given)
