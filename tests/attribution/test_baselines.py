import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.attribution import IntegratedGradients, blurred, data_mean, uniform_noise
from lightning_explain.attribution.baselines import resolve_baseline
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import drawn, mlp


def test_mean_is_that_of_the_explained_batch():
    x = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    assert resolve_baseline("mean", (x,))[0].tolist() == [[2.0, 4.0]]
    assert IntegratedGradients("mean")(mlp(), drawn(4, 4), 1).baseline.shape == (4, 4)


def test_blur_agrees_with_a_dense_sum():
    x = drawn(2, 3, 5, 7)
    found = blurred(x, sigma=1.3)
    rows, columns = torch.arange(5.0), torch.arange(7.0)
    weights = torch.exp(-((rows[:, None] - 2) ** 2 + (columns - 3) ** 2) / (2 * 1.3**2)).double()
    torch.testing.assert_close(found[:, :, 2, 3], (x * weights).sum((2, 3)) / weights.sum(), rtol=1e-6, atol=1e-6)
    assert found.shape == x.shape


@settings(max_examples=20, deadline=None)
@given(height=st.integers(1, 9), width=st.integers(1, 9), value=st.floats(-5, 5), sigma=st.floats(0.1, 20))
def test_blur_keeps_constants_and_stays_within_the_range(height, width, value, sigma):
    constant = torch.full((1, 2, height, width), value, dtype=torch.float64)
    torch.testing.assert_close(blurred(constant, sigma=sigma), constant)
    x = drawn(1, 2, height, width)
    found = blurred(x, sigma=sigma)
    assert float(found.max()) <= float(x.max()) + 1e-9
    assert float(found.min()) >= float(x.min()) - 1e-9


def test_default_blur_is_a_tenth_of_the_shorter_side():
    x = drawn(1, 1, 20, 30)
    assert torch.equal(blurred(x), blurred(x, sigma=2.0))
    assert torch.equal(resolve_baseline("blur", (x,))[0], blurred(x))


def test_noise_is_seeded_shared_and_within_the_range_of_the_batch():
    x = 3 + 2 * torch.rand(6, 2000)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    found = uniform_noise(x)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(found, resolve_baseline("noise", (x,))[0])
    assert not torch.equal(found, uniform_noise(x, seed=1))
    assert found.shape == (1, 2000)
    assert 3 <= float(found.min()) < 3.1
    assert 4.9 < float(found.max()) <= 5
    assert float(found.mean()) == pytest.approx(4, abs=0.05)


def test_data_mean_of_a_tensor_and_of_batches_agree():
    data = drawn(10, 3, 4, 5)
    expected = data.mean(0, keepdim=True)
    torch.testing.assert_close(data_mean(data), expected)
    torch.testing.assert_close(data_mean([data[:7], data[7:]]), expected)
    torch.testing.assert_close(data_mean([(data[:7], torch.zeros(7)), {"image": data[7:]}]), expected)
    torch.testing.assert_close(data_mean(data, per_channel=True), expected.mean((2, 3), keepdim=True))
    assert data_mean(data.float()).dtype == torch.float32
    assert data_mean(torch.tensor([[0, 255], [1, 0]], dtype=torch.uint8)).tolist() == [[0.5, 127.5]]


def test_data_mean_of_a_loader_leaves_the_random_state():
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(drawn(10, 4)), batch_size=3)
    state = torch.get_rng_state()
    mean = data_mean(loader)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(mean, drawn(10, 4).mean(0, keepdim=True))
    assert IntegratedGradients(mean)(mlp(), drawn(4, 4), 1).baseline.shape == (4, 4)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: resolve_baseline("median", (drawn(2, 3),)), r"expected one of \['blur', 'mean', 'noise', 'zeros'\]"),
        (lambda: resolve_baseline("blur", (drawn(2, 3),)), "needs images"),
        (lambda: blurred(drawn(1, 1, 4, 4), sigma=0), "sigma=0"),
        (lambda: data_mean([]), "no samples"),
        (lambda: data_mean([[drawn(2, 3), drawn(2, 3), drawn(2, 3)]]), "No input found"),
    ],
)
def test_errors(run, message):
    with pytest.raises(ConfigurationError, match=message):
        run()
