#!/bin/sh
# captum's LRP multiplies relevance at a residual sum, without a word.
#
# One would guess: `x + f(x)` is either refused, as modules without a rule are, or shares relevance between its two
#   summands, so that a network of linear layers without biases conserves it (a score of 4 gives relevance 4).
# What is so: captum looks for rules by module. A sum written in `forward` is no module, gets none and passes all of
#   the relevance to both summands, which is then multiplied by each layer's own share: 12 for a score of 4.
#   The convergence delta shows it (return_convergence_delta=True), nothing else does.
# Seen with: captum 0.9.0, torch 2.13.0, numpy 2.4.6, Python 3.11.
# Source: Bach et al. (2015), On pixel-wise explanations, Eq. 2 (conservation from layer to layer).
set -eu
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
python3 -m venv "$room/venv"
"$room/venv/bin/pip" install --quiet torch==2.13.0 captum==0.9.0 numpy==2.4.6
"$room/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import captum
import torch
from captum.attr import LRP
from torch import nn

warnings.filterwarnings("ignore", message=".*did not already require gradients")


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        nn.init.ones_(self.first.weight)
        nn.init.ones_(self.second.weight)

    def forward(self, x):
        hidden = self.first(x)
        return self.second(hidden) + hidden


net, x = Residual(), torch.tensor([[2.0]])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    warnings.filterwarnings("ignore", message=".*did not already require gradients")
    relevance, delta = LRP(net).attribute(x, target=0, return_convergence_delta=True)
score, total = net(x).item(), relevance.sum().item()
print(f"captum {captum.__version__}, torch {torch.__version__}")
print(f"score {score:g}, sum of the relevance {total:g}, convergence delta {delta.item():g}, warnings {len(caught)}")
sys.exit(0 if (score, total, len(caught)) == (4.0, 12.0, 0) else 1)
PYTHON
