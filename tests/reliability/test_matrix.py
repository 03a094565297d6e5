"""A share of the matrix, and proof that it can fail; `python benchmarks/reliability.py` runs all of it."""

import itertools

import pytest

from tests.reliability.matrix import AXES, IMPOSSIBLE, Case, pairwise, run, share
from tests.reliability.mutations import MUTATIONS, switched_off

CASES = [
    *share(8),
    # what the whole matrix once found
    Case(compiled="aot_eager", checkpointing="body", watching="fixed steps"),
    Case(lazy="layers", validation="in the middle, no sanity check", watching="saliency"),
    Case(lazy="inference tensors", precision="bf16-true", watching="captum's GradientShap"),
    Case(compiled="in place", layers="by name", watching="fixed steps", epochs=1),
    Case(block="padded, norm first", layers="by name", watching="saliency"),
    Case(loaders="workers", watching="mean of the training data"),
    # every mechanism that the pairs leave to the command
    *(
        Case(epochs=1, watching=watching)
        for watching in (
            "several methods, every measure",
            "SmoothGrad",
            "feeding features by LRP, all maps",
            "compared with other weights",
        )
    ),
]

MUTATED = [name for name, (_, case) in MUTATIONS.items() if case.compiled in ("nothing", "in place")]
"""Those that compile take ten times as long; the command has them."""


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_watched_run_is_the_same_to_the_last_bit(case: Case) -> None:
    assert run(case) == []


@pytest.mark.parametrize("name", MUTATED)
def test_the_matrix_sees_what_is_not_put_back(name: str) -> None:
    with switched_off(name) as case:
        assert run(case) != []


def test_every_possible_pair_of_values_is_in_a_case() -> None:
    cases = pairwise()
    axes = {axis: sorted({getattr(case, axis) for case in cases}, key=str) for axis in AXES}
    assert set(axes["precision"]) == set(AXES["precision"]) and set(axes["lazy"]) == set(AXES["lazy"])
    met = {
        frozenset(pair)
        for case in cases
        for pair in itertools.combinations(((axis, getattr(case, axis)) for axis in AXES), 2)
    }
    for one, other in itertools.combinations(axes, 2):
        for pair in itertools.product(axes[one], axes[other]):
            wanted = frozenset(zip((one, other), pair, strict=True))
            assert wanted in met or wanted in IMPOSSIBLE, wanted
    assert not met & IMPOSSIBLE.keys()
