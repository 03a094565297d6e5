import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lightning_explain.attribution import IntegratedGradients, NamedBaseline, blurred, data_mean, uniform_noise
from lightning_explain.attribution.baselines import baseline_name, resolve_baseline
from lightning_explain.errors import ConfigurationError
from tests.attribution.nets import convnet, drawn, mlp


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


# -- several draws ----------------------------------------------------------------------------------------------


def product(x):
    return x[:, 0] * x[:, 1]


def test_expected_gradients_of_a_product_are_the_mean_over_the_candidates():
    """Closed form: from (b0, b1), the first of two factors gets (x0 - b0)(x1 + b1) / 2."""
    x, candidates = drawn(5, 2, seed=1), drawn(6, 2, seed=2)
    result = IntegratedGradients(candidates, n_draws=6, n_steps=3)(product, x)
    step, middle = x[:, None] - candidates, (x[:, None] + candidates) / 2
    expected = (step * middle.flip(2)).mean(1)
    torch.testing.assert_close(result.values, expected)
    torch.testing.assert_close(result.baseline, candidates.mean(0).expand(5, 2))
    torch.testing.assert_close(result.convergence_delta, torch.zeros(5, dtype=torch.double))
    assert result.n_evaluations.tolist() == [18] * 5


def test_draws_are_seeded_and_average_single_ones():
    net, x = convnet(), drawn(3, 2, 8, 8)
    several = IntegratedGradients("noise", n_draws=3, seed=5, n_steps=8)(net, x, 1)
    single = [IntegratedGradients("noise", seed=5 + draw, n_steps=8)(net, x, 1) for draw in range(3)]
    torch.testing.assert_close(several.values, torch.stack([one.values for one in single]).mean(0))
    torch.testing.assert_close(
        several.convergence_delta, torch.stack([one.convergence_delta for one in single]).mean(0)
    )
    again = IntegratedGradients("noise", n_draws=3, seed=5, n_steps=8)(net, x, 1)
    assert torch.equal(several.values, again.values)
    other = IntegratedGradients("noise", n_draws=3, seed=6, n_steps=8)(net, x, 1)
    assert not torch.allclose(several.values, other.values)


@pytest.mark.filterwarnings("ignore:IntegratedGradients used max_steps")
@pytest.mark.parametrize("options", [{}, {"n_steps": 16}])
def test_the_error_of_several_draws_is_that_of_their_mean(options):
    net, x = convnet(), drawn(8, 2, 8, 8)
    result = IntegratedGradients("noise", n_draws=4, **options)(net, x, 1)
    reference = IntegratedGradients("noise", n_draws=4, n_steps=600, chunk_size=200)(net, x, 1)
    true = (result.values - reference.values).flatten(1).abs().sum(1) / reference.values.flatten(1).abs().sum(1)
    assert (true <= 2 * result.error).all()
    assert (result.error > 0).all()


@pytest.mark.parametrize(
    ("baseline", "message"),
    [
        ("zeros", "baseline='zeros': every draw would be the same"),
        ("mean", "every draw would be the same"),
        (lambda x: x, "every draw would be the same"),
        (torch.zeros(2, 2), "only 2 candidates"),
    ],
)
def test_draws_of_what_cannot_be_drawn_are_refused(baseline, message):
    with pytest.raises(ConfigurationError, match=message):
        IntegratedGradients(baseline, n_draws=3)(product, torch.rand(4, 2))


def test_names_of_baselines():
    names = [
        baseline_name("noise"),
        baseline_name("noise", n_draws=8, seed=3),
        baseline_name(torch.zeros(100, 2), n_draws=8),
        baseline_name((torch.zeros(2), torch.zeros(1, 3))),
        baseline_name(NamedBaseline("grey", torch.zeros(2))),
        baseline_name(blurred),
    ]
    assert names == [
        "noise, seed 0",
        "noise, 8 draws, seed 3",
        "tensor [100, 2], 8 draws, seed 0",
        "tensor [2] and [1, 3]",
        "grey",
        "blurred",
    ]


def test_the_midpoint_rule_is_the_better_one_for_relu_networks():
    net, x = convnet(), drawn(20, 2, 8, 8)
    reference = IntegratedGradients(n_steps=2000, chunk_size=2000)(net, x, 1).values
    errors = {
        rule: float((IntegratedGradients(n_steps=24, rule=rule)(net, x, 1).values - reference).abs().sum())
        for rule in ("midpoint", "gauss_legendre")
    }
    assert errors["midpoint"] < errors["gauss_legendre"]
    linear = IntegratedGradients(n_steps=1, rule="midpoint")(
        lambda v: v.sum(1) ** 2, torch.ones(1, 3, dtype=torch.double)
    )
    torch.testing.assert_close(linear.values, torch.full((1, 3), 3.0, dtype=torch.double))
