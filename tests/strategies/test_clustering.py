import pytest
import torch

from lightning_explain.strategies import affinity, n_by_eigengap, spectral_clusters, spectrum
from lightning_explain.strategies.clustering import likely_numbers, n_neighbours
from tests.strategies.planted import blob


def three_clouds(spread: float = 0.2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    truth = torch.arange(60) % 3
    centres = torch.eye(3, 8, dtype=torch.double)
    return centres[truth] + spread * torch.randn(60, 8, generator=generator, dtype=torch.double), truth


def test_neighbours_are_those_of_scikit_learn() -> None:
    neighbors = pytest.importorskip("sklearn.neighbors")
    rows = blob(40, 0)
    graph = neighbors.kneighbors_graph(rows.numpy(), 5).toarray()
    torch.testing.assert_close(affinity(rows, 5), torch.tensor((graph + graph.T) / 2))


def test_the_laplacian_has_the_eigenvalues_of_scipy() -> None:
    csgraph = pytest.importorskip("scipy.sparse.csgraph")
    weights = affinity(blob(40, 1))
    laplacian = torch.tensor(csgraph.laplacian(weights.numpy(), normed=True))
    found = spectrum(weights, 7)
    walk = torch.eye(40, dtype=torch.double) - weights / weights.sum(1, keepdim=True)
    torch.testing.assert_close(found.values, torch.linalg.eigvalsh(laplacian)[:7].clamp_min(0))
    torch.testing.assert_close(walk @ found.vectors, found.vectors * found.values)


def test_clusters_are_those_of_scikit_learn() -> None:
    cluster = pytest.importorskip("sklearn.cluster")
    metrics = pytest.importorskip("sklearn.metrics")
    rows, truth = three_clouds()
    weights = affinity(rows)
    other = cluster.SpectralClustering(3, affinity="precomputed", assign_labels="cluster_qr").fit_predict(
        weights.numpy()
    )
    found = spectral_clusters(spectrum(weights).vectors[:, :3])
    assert metrics.adjusted_rand_score(found.numpy(), other) == 1
    assert metrics.adjusted_rand_score(found.numpy(), truth.numpy()) == 1


def test_separate_clouds_give_as_many_zeros_and_the_gap_after_them() -> None:
    rows, _ = three_clouds(0.02)
    values = spectrum(affinity(rows)).values
    assert (values[:3] < 1e-9).all()
    assert values[3] > 0.05
    assert n_by_eigengap(values) == 3
    assert likely_numbers(values)[0] == 3


def test_equal_samples_are_all_neighbours() -> None:
    # ties: whichever of them came first would otherwise decide
    rows = blob(20, 0).index_select(0, torch.tensor([0] * 15 + list(range(1, 20))))
    weights = affinity(rows, 3)
    assert (weights[:15, :15].clone().fill_diagonal_(1) == 1).all()
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(affinity(rows[order], 3), weights[order][:, order])


def test_few_samples_have_fewer_neighbours() -> None:
    assert n_neighbours(3) == 2
    assert affinity(blob(3, 0)).shape == (3, 3)
