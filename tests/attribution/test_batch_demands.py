"""Models that demand something of their batch are explained all the same, or refused clearly."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_explain.attribution import AtEmbedding, IntegratedGradients
from lightning_explain.attribution.batch_demands import check_rows_apart
from lightning_explain.errors import ExplanationError


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


class FixedBatch(nn.Module):
    """A recurrent network whose hidden state is made for four samples."""

    def __init__(self) -> None:
        super().__init__()
        self.gru, self.head = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        if len(x) != 4:
            raise ValueError(f"expected 4 samples, got {len(x)}")
        return self.head(self.gru(x, torch.zeros(1, 4, 5, dtype=x.dtype))[0][:, -1])


@pytest.mark.parametrize("options", [{}, {"n_steps": 7}], ids=str)
@pytest.mark.parametrize(("n", "chunk_size"), [(4, None), (4, 4), (3, 4), (11, 4)])
def test_a_fixed_batch_size_is_kept(n: int, chunk_size: int | None, options: dict[str, int]) -> None:
    torch.manual_seed(0)
    net, x = FixedBatch().double(), torch.randn(n, 6, 3).double()
    found = IntegratedGradients(chunk_size=chunk_size, **options)(net, x, 1)

    def one_by_one(rows: Tensor) -> Tensor:
        return torch.cat([net(row.expand(4, *row.shape))[:1] for row in rows])

    expected = IntegratedGradients(**options)(one_by_one, x, 1)
    torch.testing.assert_close(found.values, expected.values)
    torch.testing.assert_close(found.error, expected.error)


@pytest.mark.parametrize("norm", [nn.BatchNorm2d(3, track_running_stats=False), nn.Softmax(0)], ids=str)
def test_samples_that_depend_on_each_other_are_refused_or_explained_alone(norm: nn.Module) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3), norm, nn.Tanh(), nn.Flatten(), nn.Linear(48, 2))
    net, x = net.double(), torch.rand(3, 1, 6, 6).double()
    for options in ({}, {"n_steps": 5}, {"chunk_size": 3}):
        with pytest.raises(ExplanationError, match=r"sample 0 move by .*chunk_size=1"):
            IntegratedGradients(**options)(net, x, 0)
    alone = IntegratedGradients(chunk_size=1)(net, x, 0)
    for i in range(3):
        torch.testing.assert_close(alone.values[i], IntegratedGradients(chunk_size=1)(net, x[i : i + 1], 0).values[0])


def test_scores_drawn_at_random_are_no_dependence() -> None:
    net = mlp()
    x = torch.randn(4, 6)
    found = IntegratedGradients(n_steps=3)(lambda x: net(x) + torch.randn(len(x), 1), x, 0)
    # what is added does not depend on the input, so that it has no attribution
    torch.testing.assert_close(found.values, IntegratedGradients(n_steps=3)(net, x, 0).values)


@pytest.mark.parametrize("seed", range(8, 14))
def test_dropout_that_stays_on_is_no_dependence(seed: int) -> None:
    torch.manual_seed(seed)
    net, x = mlp(), torch.randn(4, 6)
    # of few outputs a draw may leave all as they are in one pass and not in another
    check_rows_apart(lambda x: functional.dropout(net(x)[:, :1], 0.3, training=True), (x,), None)


@pytest.mark.filterwarnings("ignore")  # torch says that its quantisation moves elsewhere
def test_steps_and_quantised_layers_are_refused() -> None:
    net, x = mlp(), torch.randn(4, 6)
    for stepped in (lambda v: net((4 * v).round() / 4), lambda v: v.clamp(0, 0) + (v > 0).float()):
        for options in ({}, {"n_steps": 5}):
            with pytest.raises(ExplanationError, match="zero everywhere"):
                IntegratedGradients(**options)(stepped, x, 0)
    quantised = torch.ao.quantization.quantize_dynamic(copy.deepcopy(net).eval(), {nn.Linear})
    with pytest.raises(ExplanationError, match="is a quantised Linear"):
        IntegratedGradients()(quantised, x, 0)


def test_the_error_of_tokens_is_that_of_their_sums() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Embedding(20, 8), nn.Flatten(), nn.Linear(192, 96), nn.ReLU(), nn.Linear(96, 3))
    net, ids = net.double(), torch.randint(0, 20, (96, 24))
    found = AtEmbedding(IntegratedGradients(tolerance=0.02, max_steps=2049))(net, ids, 1)
    true = AtEmbedding(IntegratedGradients(n_steps=2000, rule="midpoint"))(net, ids, 1)
    apart = (found.values - true.values).abs().sum(1) / found.values.abs().sum(1)
    assert found.error is not None and (found.error <= 0.02).all()
    assert (apart <= found.error + 1e-4).double().mean() >= 0.9
