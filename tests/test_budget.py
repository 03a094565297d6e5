"""How much of a run's wall time may be spent: decisions against a clock that the tests turn."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lightning_explain import schedule as schedule_module
from lightning_explain.budget import Budget, BudgetDecision, PassBudget, SkipRule, check_budget, stride_within
from lightning_explain.errors import ConfigurationError
from lightning_explain.schedule import Schedule, Stopwatch


class Run:
    """A run with a clock of its own: pauses of training, and moments that are due, at which explaining costs time."""

    def __init__(self, budget: Budget, *, n_sharing: int = 1) -> None:
        self.now = 0.0
        self._real = schedule_module.time
        schedule_module.time = SimpleNamespace(perf_counter=lambda: self.now)  # type: ignore[assignment]
        self.watch = Stopwatch()
        self.rule = SkipRule(budget, self.watch)
        self.rule.n_sharing = n_sharing
        self.explained: list[int] = []
        self.shares: list[float] = []

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: Any) -> None:
        schedule_module.time = self._real

    def moment(self, number: int, cost: float, *, is_last: bool = False) -> BudgetDecision:
        verdict = self.rule.decision(is_last=is_last)
        if verdict is BudgetDecision.TOO_EXPENSIVE:
            self.rule.skip()
            return verdict
        self.rule.begin_report()
        with self.watch.spending():
            self.now += cost
        self.rule.end_report()
        self.explained.append(number)
        self.shares.append(self.watch.share())
        return verdict

    def of_even_epochs(self, n_epochs: int, *, pause: float, cost: float) -> None:
        self.moment(0, cost)
        for epoch in range(1, n_epochs + 1):
            self.now += pause
            self.moment(epoch, cost, is_last=epoch == n_epochs)


shares = st.floats(0.01, 0.5)
seconds = st.floats(0.01, 10)


@given(share=shares, n_epochs=st.integers(1, 300), pause=seconds, cost=seconds)
def test_the_share_ends_within_the_budget_wherever_the_first_and_the_last_fit(
    share: float, n_epochs: int, pause: float, cost: float
) -> None:
    with Run(Budget(max_overhead=share)) as run:
        run.of_even_epochs(n_epochs, pause=pause, cost=cost)
    assert run.explained[0] == 0
    assert run.explained[-1] == n_epochs
    two_fit = 2 * cost <= share * (n_epochs * pause + 2 * cost)
    assert run.shares[-1] <= share + 1e-9 or not two_fit
    # what is made by choice is within the budget at that moment, and leaves room for the last one
    assert all(each <= share + 1e-9 for each in run.shares[1:-1])


@given(share=shares, pause=seconds, costs=st.lists(seconds, min_size=2, max_size=200))
def test_costs_that_vary_overdraw_the_budget_by_no_more_than_the_dearest(
    share: float, pause: float, costs: list[float]
) -> None:
    with Run(Budget(max_overhead=share)) as run:
        for number, cost in enumerate(costs):
            run.now += pause
            run.moment(number, cost)
            made_by_choice = run.explained[-1] == number and number > 0
            assert not made_by_choice or run.watch.spent <= share * run.now + max(costs) + 1e-9


@given(share=shares, cost=seconds, pause=seconds)
def test_the_budget_is_used_and_not_saved_up(share: float, cost: float, pause: float) -> None:
    n_epochs = int(20 * cost / (share * pause)) + 20
    if n_epochs > 5000:
        return
    with Run(Budget(max_overhead=share)) as run:
        run.of_even_epochs(n_epochs, pause=pause, cost=cost)
    affordable = share * (n_epochs * pause) / cost
    assert len(run.explained) >= min(n_epochs, affordable) / 2


def test_everything_is_explained_where_it_fits() -> None:
    with Run(Budget(max_overhead=0.5)) as run:
        run.of_even_epochs(20, pause=10, cost=1)
    assert run.explained == list(range(21))


def test_the_cadence_stretches_evenly_to_what_fits() -> None:
    with Run(Budget(max_overhead=0.1)) as run:
        run.of_even_epochs(60, pause=1, cost=1)
    assert run.explained[2:-1] == list(range(run.explained[2], 60, 9))


@given(min_every=st.integers(1, 7), share=shares)
def test_one_of_min_every_moments_is_explained_whatever_it_costs(min_every: int, share: float) -> None:
    with Run(Budget(max_overhead=share, min_every=min_every)) as run:
        run.of_even_epochs(50, pause=0.01, cost=5)
    gaps = [b - a for a, b in zip(run.explained, run.explained[1:], strict=False)]
    assert set(gaps[:-1]) == {min_every}
    assert gaps[-1] <= min_every
    assert run.rule.n_skipped == 0


def test_the_next_explanation_is_taken_to_be_as_dear_as_the_dearer_of_the_last_two() -> None:
    def verdict_after(*costs: float) -> BudgetDecision:
        with Run(Budget(max_overhead=0.5)) as run:
            for number, cost in enumerate(costs):
                run.moment(number, cost, is_last=True)
            run.now += sum(costs) + 12
            return run.rule.decision(is_last=False)

    # 12 s to spare at half the time are room for two explanations of 6 s
    assert verdict_after(5.9, 1.0) is BudgetDecision.AFFORDABLE
    assert verdict_after(6.1, 1.0) is BudgetDecision.TOO_EXPENSIVE
    assert verdict_after(1.0, 6.1) is BudgetDecision.TOO_EXPENSIVE
    assert verdict_after(6.1, 1.0, 1.0) is BudgetDecision.AFFORDABLE


def test_no_budget_lets_nothing_pass() -> None:
    with Run(Budget()) as run:
        run.of_even_epochs(9, pause=0.01, cost=5)
    assert run.explained == list(range(10))


def test_several_monitors_share_a_budget_evenly() -> None:
    with Run(Budget(max_overhead=0.3), n_sharing=3) as run:
        assert run.rule.limit == pytest.approx(0.1)
        run.of_even_epochs(100, pause=1, cost=1)
    assert run.shares[-1] <= 0.1


def test_a_run_goes_on_from_its_state() -> None:
    with Run(Budget(max_overhead=0.1)) as whole:
        whole.of_even_epochs(60, pause=1, cost=1)
    with Run(Budget(max_overhead=0.1)) as first:
        first.moment(0, 1)
        for epoch in range(1, 31):
            first.now += 1
            first.moment(epoch, 1)
        state = first.rule.state_dict()
    with Run(Budget(max_overhead=0.1)) as second:
        second.rule.load_state_dict(state)
        for epoch in range(31, 61):
            second.now += 1
            second.moment(epoch, 1, is_last=epoch == 60)
        assert second.watch.share() == pytest.approx(whole.shares[-1])
    assert first.explained + second.explained == whole.explained


@pytest.mark.parametrize("share", [0, 1, -0.1, 1.5, float("nan"), float("inf"), "5 %", True, [0.05]])
def test_what_is_no_share_is_refused(share: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"max_overhead=.*between 0 and 1"):
        check_budget(share, None)


@pytest.mark.parametrize("number", [0, -3, 2.5, "2", True])
def test_what_is_no_number_of_moments_is_refused(number: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"min_every=.*at least 1"):
        check_budget(0.05, number)


def test_min_every_alone_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="min_every=3 without max_overhead"):
        Budget(min_every=3)


@given(share=shares, cost=st.floats(1e-6, 1), pause=st.floats(1e-6, 10))
def test_the_stride_is_the_smallest_power_of_two_that_fits(share: float, cost: float, pause: float) -> None:
    stride = stride_within(share, cost=cost, pause=pause)
    fits = [2**k for k in range(17) if cost / (2**k * pause + cost) <= share]
    if fits and all(abs(cost - share * (2**k * pause + cost)) > 1e-12 for k in range(17)):
        assert stride == fits[0]
    assert stride & (stride - 1) == 0


@given(n=st.integers(1, 12), epochs=st.integers(1, 60))
def test_the_last_epoch_that_is_due_is_known(n: int, epochs: int) -> None:
    schedule = Schedule(every_n_epochs=n)
    due = [epoch for epoch in range(epochs) if schedule.due_after_epoch(epoch)]
    found = [schedule.is_last(epoch=e, max_epochs=epochs, n_steps=10 * e, max_steps=-1) for e in due]
    assert found == [epoch == due[-1] for epoch in due]


@given(n=st.integers(1, 12), steps=st.integers(1, 60))
def test_the_last_step_that_is_due_is_known(n: int, steps: int) -> None:
    schedule = Schedule(every_n_epochs=None, every_n_train_steps=n)
    due = [step for step in range(1, steps + 1) if schedule.due_after_step(step)]
    found = [schedule.is_last(epoch=0, max_epochs=-1, n_steps=step, max_steps=steps) for step in due]
    assert found == [step == due[-1] for step in due]


def test_where_no_end_is_set_no_moment_is_the_last() -> None:
    assert not Schedule().is_last(epoch=99, max_epochs=-1, n_steps=10**6, max_steps=-1)
    by_step = Schedule(every_n_epochs=None, every_n_train_steps=5)
    assert not by_step.is_last(epoch=9, max_epochs=10, n_steps=10**6, max_steps=-1)


@given(
    st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 400), st.integers(0, 900)), min_size=1, max_size=40),
    st.floats(0.01, 0.3),
    st.booleans(),
)
def test_passes_stay_within_their_share_of_training(
    epochs: list[tuple[int, int, int]], share: float, is_length_known: bool
) -> None:
    budget, spent, trained, is_first = PassBudget(share), 0.0, 0, True
    for done, (n_samples, cost, at_end) in enumerate(epochs, 1):
        budget.train(n_samples)
        trained += 3 * n_samples
        progress = done / len(epochs) if is_length_known else None
        planned = None if progress is None else trained / progress
        allowed = budget.allows(cost, at_end=at_end, progress=progress, is_first=is_first)
        fits_now = spent + cost <= share * trained
        fits_run = planned is None or spent + cost + at_end <= share * planned
        assert allowed == (fits_run and (fits_now or (is_first and planned is not None)))
        if allowed:
            budget.spend(cost)
            spent, is_first = spent + cost, False
    resumed = PassBudget(share)
    resumed.load_state_dict(budget.state_dict())
    assert (resumed.trained, resumed.spent) == (budget.trained, budget.spent) == (trained, spent)
