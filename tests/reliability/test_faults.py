"""Every fault is survived: the run goes on, is warned once, nothing is left behind and every file is whole.

Each fault is tried with one of the monitors here, in turns; `benchmarks/reliability.py` tries it with each.
"""

import pytest

from tests.reliability.fault_list import FAULTS
from tests.reliability.faults import ALL, Fault, Outcome, run, table

BY_NAME = {name: [fault for fault in FAULTS if fault.name == name] for name in dict.fromkeys(f.name for f in FAULTS)}
IN_TURNS = [faults[turn % len(faults)] for turn, faults in enumerate(BY_NAME.values())]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", IN_TURNS, ids=str)
def test_a_fault_is_survived(fault: Fault) -> None:
    outcome = run(fault)
    assert not outcome.problems, "\n".join(outcome.problems)


def test_the_table_counts_what_was_survived_and_what_was_not() -> None:
    one, other = BY_NAME["forward raises on the probe"][:2]
    words = table([Outcome(one, (), 3, ()), Outcome(other, (), 4, ("hooks are left",))])
    assert "| forward raises on the probe | survived | NOT SURVIVED |  |" in words
    assert "2 faults tried, 1 survived" in words and "7 files parsed" in words
    assert {fault.monitor for fault in IN_TURNS} == set(ALL)
