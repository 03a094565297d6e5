"""The rules of attention and gates that a user may choose."""

import pytest

from lightning_explain.attribution import LRP
from lightning_explain.attribution.lrp.choices import ATTENTION, GATES, Choices
from lightning_explain.errors import ConfigurationError
from tests.attribution.lrp.operations.applied import Apply, drawn


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"attention": "softmax"}, "attention='softmax'; expected 'attnlrp' or 'cp'"),
        ({"gates": ""}, "gates=''; expected 'signal' or 'uniform'"),
    ],
)
def test_other_names_are_refused_with_those_that_there_are(options, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        Choices(**options)


def test_defaults_are_the_first_of_each() -> None:
    assert Choices() == Choices(ATTENTION[0], GATES[0])


def test_every_choice_explains_a_gated_attention_in_its_own_way() -> None:
    net, inputs = Apply(lambda x, y: (x @ y.mT).softmax(-1) @ x * y.sigmoid()), (drawn(2, 3, 4), drawn(2, 3, 4, seed=1))
    found = [LRP(attention=attention, gates=gates)(net, inputs).parts[0] for attention in ATTENTION for gates in GATES]
    pairs = [(one, other) for place, one in enumerate(found) for other in found[:place]]
    assert len(pairs) == 6 and all((one - other).abs().max() > 1e-3 for one, other in pairs)
