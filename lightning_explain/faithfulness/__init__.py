"""Faithfulness metrics of explanations: pure functions, one number per sample, leaving the model unchanged."""

from lightning_explain.faithfulness.claims import FAITHFULNESS, Claim, examine
from lightning_explain.faithfulness.masks import mass_in_mask
from lightning_explain.faithfulness.randomisation import RandomisationCheck, cascading_randomisation
from lightning_explain.faithfulness.removal import RemovalCurve, deletion, insertion
from lightning_explain.faithfulness.robustness import infidelity, max_sensitivity

__all__ = [
    "FAITHFULNESS",
    "Claim",
    "RandomisationCheck",
    "RemovalCurve",
    "cascading_randomisation",
    "deletion",
    "examine",
    "infidelity",
    "insertion",
    "mass_in_mask",
    "max_sensitivity",
]
