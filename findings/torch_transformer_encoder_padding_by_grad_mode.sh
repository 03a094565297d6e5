#!/bin/sh
# In eval mode nn.TransformerEncoder returns other values where gradients are recorded than where they are not.
#
# One would guess: in eval mode, without dropout, `torch.no_grad()` changes what autograd records and nothing else. So
#   the mean over a padded sequence's outputs, and any score made of it, are the same with and without it.
# What is so: by default (`enable_nested_tensor=True`, post-norm layers) a pass with `src_key_padding_mask` and without
#   gradients goes through a nested tensor, and padded positions come back as 0; where gradients are recorded (in
#   training, or when a saliency map is computed of the same network in eval mode) they come back as what the layers
#   make of the padding. The positions that are no padding agree. Freezing the parameters has the effect of no_grad.
#   With `norm_first=True` or `enable_nested_tensor=False` the values agree everywhere.
# Seen with: torch 2.13.0 on the CPU, numpy 2.4.6, Python 3.11; the path is there since torch 1.12.
# Source: pytorch/pytorch issues 86120 (two paths in training and evaluation) and 97111 (shorter outputs by the same path).
set -eu
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$room/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from torch import nn

print("torch", torch.__version__)
inputs = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(0))
padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])


def outputs(*, frozen=False, **options):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True, norm_first=options.pop("norm_first", False))
    encoder = nn.TransformerEncoder(layer, 2, **options).eval().requires_grad_(not frozen)
    with torch.no_grad():
        without = encoder(inputs, src_key_padding_mask=padding)
    return without, encoder(inputs, src_key_padding_mask=padding).detach()


def differences(without, recorded):
    apart = (without - recorded).abs()
    return {
        "padded": apart[padding].max().item(),
        "other positions": apart[~padding].max().item(),
        "mean over positions": (without.mean(1) - recorded.mean(1)).abs().max().item(),
    }


without, recorded = outputs()
print("first unit of the second sequence, under no_grad:", without[1, :, 0].tolist())
print("the same where gradients are recorded:           ", recorded[1, :, 0].tolist())
cases = {
    "default": differences(without, recorded),
    "frozen parameters": differences(*outputs(frozen=True)),
    "enable_nested_tensor=False": differences(*outputs(enable_nested_tensor=False)),
    "norm_first=True": differences(*outputs(norm_first=True)),
}
for name, found in cases.items():
    print(f"{name}: largest difference between the modes", found)
default = cases.pop("default")
as_expected = (
    bool((without[padding] == 0).all())
    and default["padded"] > 0.5
    and default["mean over positions"] > 0.1
    and default["other positions"] < 1e-5
    and all(value < 1e-5 for found in cases.values() for value in found.values())
)
sys.exit(0 if as_expected else 1)
PYTHON
