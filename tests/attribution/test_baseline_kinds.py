"""Baselines from data, against their definitions."""

import pytest
import torch

from lightning_explain.attribution.baseline_kinds import blurred, data_mean, uniform_noise
from lightning_explain.errors import ConfigurationError


def test_a_blur_is_the_separable_gaussian_with_rows_that_sum_to_one() -> None:
    image = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    image[0, 0, 2, 2] = 1.0
    weights = torch.exp(-0.5 * ((torch.arange(5.0).double()[:, None] - torch.arange(5.0)) / 0.8) ** 2)
    line = (weights / weights.sum(1, keepdim=True))[:, 2]
    torch.testing.assert_close(blurred(image, sigma=0.8)[0, 0], line[:, None] * line)


def test_the_default_blur_is_a_tenth_of_the_shorter_side() -> None:
    images = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(blurred(images), blurred(images, sigma=2.0))
    for wrong, said in ((lambda: blurred(images[0]), "needs images"), (lambda: blurred(images, sigma=0.0), "sigma=0")):
        with pytest.raises(ConfigurationError, match=said):
            wrong()


def test_noise_is_its_seeds_and_lies_between_the_inputs() -> None:
    inputs = torch.tensor([[-2.0] * 50, [6.0] * 50])
    before = torch.get_rng_state()
    one, again, other = uniform_noise(inputs), uniform_noise(inputs), uniform_noise(inputs, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(one, again) and not torch.equal(one, other) and one.shape == (1, 50)
    assert -2 <= float(one.min()) < 0 and 4 < float(one.max()) <= 6


def test_the_mean_of_batches_is_that_of_all_samples_and_draws_nothing() -> None:
    data = torch.rand(7, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(data, torch.arange(7)), batch_size=3, shuffle=True
    )
    before = torch.get_rng_state()
    torch.testing.assert_close(data_mean(loader), data.mean(0, keepdim=True))
    assert torch.equal(torch.get_rng_state(), before)
    torch.testing.assert_close(data_mean(data, per_channel=True), data.mean((0, 2, 3)).reshape(1, 2, 1, 1))


def test_no_samples_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no samples"):
        data_mean([])
