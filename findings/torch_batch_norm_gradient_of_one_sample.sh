#!/bin/sh
# torch's batch norm gives wrong gradients for a batch of one whose gradient has other strides than its input.
#
# One would guess: the gradient of `F.batch_norm` in eval mode is the incoming gradient times a constant for each channel,
#   however the two tensors lie in memory, as it is for two samples and more.
# What is so: on the CPU, for one sample, an input [1, C, H, W] that lies contiguous and a gradient that lies channels last
#   by a permute of tokens [1, H*W, C] (or the other way round) give a gradient whose entries are in wrong places: off by
#   as much as they are large, without a warning, in 32 and in 64 bits. The output is right. With two samples all is right.
#   Vision transformers with convolutions meet it (tokens folded into maps and back), whenever one image is explained.
# Seen with: torch 2.13.0 on the CPU, numpy 2.4.6, Python 3.11.
# Source: Ioffe and Szegedy (2015), Batch Normalization, Algorithm 2 (at inference a fixed affine map of each channel).
set -eu
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet torch==2.13.0 numpy==2.4.6
"$room/venv/bin/python" - <<'PYTHON'
import sys

import torch
from torch.nn import functional

torch.manual_seed(0)
channels, side = 8, 4
mean, variance = torch.randn(channels).double(), torch.rand(channels).double() + 0.5


def as_tokens(n):
    return torch.randn(n, side * side, channels).double().permute(0, 2, 1).reshape(n, channels, side, side)


def error(x, gradient):
    x = x.detach().requires_grad_()
    y = functional.batch_norm(x, mean, variance, training=False, eps=0.0)
    (found,) = torch.autograd.grad(y, x, gradient)
    return float((found - gradient / variance.sqrt()[:, None, None]).abs().max())


print("torch", torch.__version__)
found = {}
for n in (1, 2):
    plain = torch.randn(n, channels, side, side).double()
    for name, x, gradient in (
        ("same strides", plain, torch.randn_like(plain)),
        ("input contiguous, gradient of tokens", plain, as_tokens(n)),
        ("input of tokens, gradient contiguous", as_tokens(n), torch.randn_like(plain)),
    ):
        found[n, name] = error(x, gradient)
        print(f"{n} sample{'s'[: n > 1]}, {name}: largest error of the gradient {found[n, name]:.2g}")
wrong = {key for key, size in found.items() if size > 1}
right = all(size < 1e-9 for key, size in found.items() if key not in wrong)
expected = {(1, "input contiguous, gradient of tokens"), (1, "input of tokens, gradient contiguous")}
sys.exit(0 if right and wrong == expected else 1)
PYTHON
