"""The default probe: drawn by index without a random number of the run's, or kept as batches pass."""

from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lightning_explain.callbacks.base.default_probe import (
    MAX_SHAPES,
    PassingProbe,
    check_one_each,
    flat_loaders,
    like_the_trainer,
    probe_from_loader,
    to_device,
)
from lightning_explain.callbacks.base.forward import Question
from lightning_explain.errors import ConfigurationError
from lightning_explain.sampling import NotPickableError

X, Y = torch.rand(40, 4), torch.arange(40) % 3
DATA = TensorDataset(X, Y)


def fake_trainer(change: Callable[[Any], Any] = lambda batch: batch) -> Any:
    """What is asked of a Trainer; its module's hook changes batches, and notes the stage that it sees."""
    state, stages = SimpleNamespace(stage="training"), list[Any]()

    class Trainer:
        def __init__(self) -> None:
            self.state, self.stages = state, stages
            self.precision_plugin = SimpleNamespace(convert_input=lambda batch: batch)
            self.strategy = SimpleNamespace(
                root_device=torch.device("cpu"), batch_to_device=lambda batch, dataloader_idx: batch
            )
            self.lightning_module = nn.Linear(4, 3)
            self.lightning_module._on_before_batch_transfer = hook  # type: ignore[assignment]

        def __setattr__(self, name: str, value: Any) -> None:
            if name == "validating":
                state.stage = "validating"
            else:
                super().__setattr__(name, value)

    def hook(batch: Any, dataloader_idx: int) -> Any:
        stages.append(state.stage)
        return change(batch)

    return Trainer()


class Stream(IterableDataset):
    def __iter__(self) -> Any:
        return iter(DATA)


def test_loaders_are_found_in_whatever_they_are_given_in() -> None:
    assert flat_loaders(None) == []
    assert flat_loaders("a") == ["a"]
    assert flat_loaders({"x": ["a", ("b", None)], "y": {"z": "c"}}) == ["a", "b", "c"]


def test_hooks_see_a_validating_trainer_and_the_stage_comes_back() -> None:
    trainer = fake_trainer(lambda batch: batch + 1)
    assert like_the_trainer(trainer, torch.zeros(2)).tolist() == [1.0, 1.0]
    assert trainer.stages == ["validating"] and trainer.state.stage == "training"

    def fail(_: Any) -> Any:
        raise ValueError("of the user's")

    trainer = fake_trainer(fail)
    with pytest.raises(ValueError, match="of the user's"):
        like_the_trainer(trainer, torch.zeros(2))
    assert trainer.state.stage == "training"


def test_hooks_see_a_module_in_eval_mode_and_what_they_note_in_it_is_taken_back() -> None:
    def augment(batch: Any) -> Any:
        module = trainer.lightning_module
        module.seen.add_(1)
        module.n_batches = 1
        return batch + 1 if module.training or module.child.training or torch.is_grad_enabled() else batch

    trainer = fake_trainer(augment)
    module = trainer.lightning_module
    module.register_buffer("seen", torch.zeros(()))
    module.child, module.n_batches = nn.Dropout(), 0
    assert like_the_trainer(trainer, torch.zeros(2)).tolist() == [0.0, 0.0]
    assert module.training and module.child.training and module.n_batches == int(module.seen) == 0


def test_a_probe_goes_to_where_the_model_is() -> None:
    trainer = fake_trainer()
    trainer.lightning_module.to("meta")
    (part,) = to_device(trainer, (X,))
    assert part.device.type == "meta"


def test_each_class_gets_as_many_samples_and_the_random_stream_none() -> None:
    trainer, loader, before = fake_trainer(), DataLoader(DATA, 8, shuffle=True), torch.get_rng_state()
    probe = probe_from_loader(trainer, loader, Question(), per_class=2, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert probe.labels is not None
    assert Counter(probe.labels.tolist()) == {0: 2, 1: 2, 2: 2}
    assert torch.equal(probe.parts[0], X[list(probe.indices)])
    assert probe.labels.tolist() == Y[list(probe.indices)].tolist()
    again = probe_from_loader(fake_trainer(), DataLoader(DATA, 5), Question(), per_class=2, seed=1)
    assert again.fingerprint == probe.fingerprint
    assert len(probe_from_loader(fake_trainer(), loader, Question(), max_samples=4)) <= 4


def test_what_the_run_makes_of_a_batch_is_what_is_explained() -> None:
    trainer = fake_trainer(lambda batch: [batch[0] * 2, batch[1]])
    probe = probe_from_loader(trainer, DataLoader(DATA, 8), Question())
    assert torch.equal(probe.parts[0], 2 * X[list(probe.indices)])


@pytest.mark.parametrize(
    "loader",
    [[(X, Y)], DataLoader(Stream(), 4), DataLoader(DATA, batch_size=None)],
    ids=["a list of batches", "a stream", "no batches"],
)
def test_data_without_an_index_must_be_kept_as_they_pass(loader: Any) -> None:
    with pytest.raises(NotPickableError):
        probe_from_loader(fake_trainer(), loader, Question())


def test_an_empty_data_set_and_a_collate_function_that_drops_items_are_told() -> None:
    with pytest.raises(ConfigurationError, match=r"data set \(TensorDataset\) is empty.*probe=Probe.from_dataset"):
        probe_from_loader(fake_trainer(), DataLoader(TensorDataset(X[:0], Y[:0]), 4), Question())

    def collate(items: list[Any]) -> Any:
        kept = items[:-1] or items
        return torch.stack([x for x, _ in kept]), torch.stack([y for _, y in kept])

    with pytest.raises(NotPickableError, match="makes 39 samples of 40 items"):
        probe_from_loader(fake_trainer(), DataLoader(DATA, 4, collate_fn=collate), Question())


def test_lists_of_samples_and_missing_targets_are_refused() -> None:
    check_one_each(None, X, Y)
    check_one_each(None, X, None)
    check_one_each(None, (X, X), Y)
    sizes = (torch.rand(3, 5), torch.rand(3, 6))
    with pytest.raises(ConfigurationError, match=r"list of 2 samples.*lambda module, x: module\(list\(x\)\)"):
        check_one_each(list(sizes), sizes, Y[:2])
    with pytest.raises(ConfigurationError, match=r"\[40\] rows of input but 7 targets.*input= and target="):
        check_one_each((X, Y), X, Y[:7])
    steps = torch.rand(5, 7, 4)
    with pytest.raises(ConfigurationError, match=r"\[5\] rows .* 7 targets.*batch\[0\].transpose.*forward_fn="):
        check_one_each((steps, Y[:7]), steps, Y[:7])


def passed(*batches: tuple[Tensor, Tensor]) -> PassingProbe:
    passing = PassingProbe(Question())
    for batch in batches:
        passing.add(batch)
    return passing


def test_of_what_passes_each_class_gets_some_and_clones_are_kept() -> None:
    x = X.clone()
    passing = passed(*zip(x.split(7), Y.split(7), strict=True))
    x.zero_()
    probe = passing.probe()
    assert probe is not None and probe.labels is not None
    assert sorted(Counter(probe.labels.tolist()).values()) == [13, 13, 14]
    assert torch.equal(probe.parts[0], X[list(probe.indices)])
    assert PassingProbe(Question()).probe() is None


def test_the_commonest_shape_is_explained_and_only_so_many_are_told_apart() -> None:
    large, small = torch.rand(5, 6), torch.rand(3, 2)
    passing = passed((small, Y[:3]), (large, Y[:5]))
    probe = passing.probe()
    assert passing.shapes == ["[6]", "[2]"]
    assert probe is not None and {*map(tuple, probe.parts[0].tolist())} == {*map(tuple, large.tolist())}
    many = passed(*((torch.rand(1, size), Y[:1]) for size in range(1, MAX_SHAPES + 3)), (torch.rand(9, 99), Y[:9]))
    probe = many.probe()
    assert probe is not None and probe.parts[0].shape[1] <= MAX_SHAPES  # not of 99: others had come before
    assert len(many.shapes) == MAX_SHAPES + 3
