"""Every fault is survived: the run goes on, is warned once, nothing is left behind and every file is whole."""

import pytest

from tests.reliability.fault_list import FAULTS
from tests.reliability.faults import Fault, run


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_is_survived(fault: Fault) -> None:
    outcome = run(fault)
    assert not outcome.problems, "\n".join(outcome.problems)
