"""Choices of a user for attention and gates, beside the rules of layers."""

from dataclasses import dataclass

from lightning_explain.errors import ConfigurationError

ATTENTION = ("attnlrp", "cp")
GATES = ("signal", "uniform")


@dataclass(frozen=True)
class Choices:
    """Rules for attention and gates.

    Args:
        attention: `"attnlrp"`: the weights of an attention get half of its relevance, and hand it on to query and key
            by the first-order Taylor expansion of the softmax. `"cp"`: weights are constants, so values get all.
        gates: `"signal"`: in a product of a signal and a gate (the output of a sigmoid, say) the signal gets all.
            `"uniform"`: both get half.

    Raises:
        ConfigurationError: Another name.
    """

    attention: str = "attnlrp"
    gates: str = "signal"

    def __post_init__(self) -> None:
        for name, given, known in (
            ("attention", self.attention, ATTENTION),
            ("gates", self.gates, GATES),
        ):
            if given not in known:
                raise ConfigurationError(f"{name}={given!r}; expected {' or '.join(map(repr, known))}.")
