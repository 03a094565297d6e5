"""The history of an attribution monitor."""

import pytest
import torch
from torch import Tensor

from lightning_explain import Attribution
from lightning_explain.callbacks.attribution.history import LONGEST_FILM, Film, History, Kept, Memory
from lightning_explain.drift import ComparableExplanation
from lightning_explain.errors import ExplanationError


def explanation(values: Tensor) -> ComparableExplanation:
    n = len(values)
    return ComparableExplanation.of(
        Attribution(
            values=values,
            convergence_delta=torch.zeros(n),
            error=torch.zeros(n),
            target=None,
            baseline=None,
            n_evaluations=torch.ones(n, dtype=torch.long),
            coarse=values.clone(),
        )
    )


A, B = torch.tensor([[1.0, 2.0], [3.0, 0.0]]), torch.tensor([[2.0, 1.0], [0.0, 3.0]])


def test_a_full_film_keeps_every_second_column_the_first_and_the_last() -> None:
    film = Film()
    for step in range(LONGEST_FILM + 1):
        film.add(step, torch.zeros(1), scale=float(step % 5))
    assert [step for step, _ in film.columns] == [0, 2, 4, 6, 8, 10, 11, 12]
    assert film.scale == 4.0
    film.widen(2.0)
    assert film.scale == 4.0


def test_the_first_stays_and_the_previous_moves_on() -> None:
    memory = Memory()
    assert memory.references == {}
    memory.add(explanation(A))
    memory.add(explanation(B))
    assert torch.equal(memory.references["first"].attribution.values, A)
    assert torch.equal(memory.references["previous"].attribution.values, B)
    drifts = memory.drifts(explanation(B), ("cosine",))
    assert drifts["previous"].mean("cosine") == 0
    expected = (1 - torch.cosine_similarity(A, B)).mean()
    assert drifts["first"].mean("cosine") == pytest.approx(float(expected), abs=1e-6)


def full_history() -> History:
    history = History(count=2, target=torch.tensor([0, 1]), caveat="why", probe="abc")
    memory = history.of("IG")
    memory.add(explanation(A))
    memory.add(explanation(B))
    memory.named["before"] = Kept(description="step 3", words="step 3 (epoch 0)", explanation=explanation(A))
    memory.film(0).add(3, torch.ones(2, 2), scale=1.5)
    return history


def test_a_history_comes_back_from_its_state(tmp_path) -> None:
    torch.save(full_history().state_dict(), tmp_path / "state.pt")
    back = History.from_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert (back.count, back.caveat, back.probe) == (2, "why", "abc")
    memory = back.memories["IG"]
    assert torch.equal(memory.references["before"].attribution.values, A)
    assert torch.equal(memory.references["previous"].attribution.values, B)
    assert memory.films[0].scale == 1.5
    assert memory.films[0].columns[0][0] == 3
    assert back.knows("before", ["IG"])
    assert not back.knows("before", ["IG", "LRP"])
    back.keep(["LRP"])
    assert back.memories == {}


def test_a_history_of_other_samples_is_refused() -> None:
    full_history().check(2)
    with pytest.raises(ExplanationError, match=r"explanations of \[2\] samples, its probe has 5"):
        full_history().check(5)
