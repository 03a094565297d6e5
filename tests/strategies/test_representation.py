import torch

from lightning_explain.strategies import centred, pooled, unit_rows


def test_rows_have_length_one_whatever_the_scale() -> None:
    maps = torch.randn(5, 3, 4, generator=torch.Generator().manual_seed(0))
    rows = unit_rows(maps)
    assert rows.shape == (5, 12)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5, dtype=torch.double))
    for scale in (1e-30, 7.0, 1e30):
        torch.testing.assert_close(unit_rows(maps * scale), rows, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(unit_rows(-maps), -rows)


def test_maps_without_direction_are_not_a_number() -> None:
    maps = torch.tensor([[0.0, 0.0], [float("nan"), 1.0], [float("inf"), 1.0], [1.0, 0.0]])
    assert unit_rows(maps).isfinite().all(1).tolist() == [False, False, False, True]


def test_pooling_keeps_the_mean_and_small_maps() -> None:
    maps = torch.rand(2, 32, 48, generator=torch.Generator().manual_seed(0))
    coarse = pooled(maps, 16)
    assert coarse.shape == (2, 16, 16)
    torch.testing.assert_close(coarse.mean((1, 2)), maps.mean((1, 2)))
    torch.testing.assert_close(coarse[:, 0, 0], maps[:, :2, :3].mean((1, 2)))
    assert pooled(maps[:, :8, :8]) is not None
    torch.testing.assert_close(pooled(maps[:, :8, :8]), maps[:, :8, :8])
    assert pooled(torch.rand(3, 100), 10).shape == (3, 10)
    assert pooled(torch.rand(3, 8, 20, 20), 10).shape == (3, 8, 10, 10)


def test_centring_undoes_shifts() -> None:
    spot = torch.zeros(1, 20, 20)
    spot[0, 5:8, 4:9] = torch.rand(3, 5, generator=torch.Generator().manual_seed(0)) + 0.5
    shifted = torch.cat([spot.roll((a, b), (1, 2)) for a, b in ((0, 0), (6, 3), (9, 9), (-2, 5))])
    found = centred(shifted)
    for each in found[1:]:
        torch.testing.assert_close(each, found[0])
    centre = (found[0].sum(1) * torch.arange(20.0)).sum() / found[0].sum()
    assert abs(float(centre) - 10) <= 0.5
    assert centred(torch.zeros(2, 4, 4)).equal(torch.zeros(2, 4, 4))
