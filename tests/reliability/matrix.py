"""The matrix of runs that must be the same to the last bit with all three monitors as without them."""

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EMAWeightAveraging, StochasticWeightAveraging, WeightAveraging

from lightning_explain import Probe
from tests.models import quiet_trainer
from tests.reliability.nets import Data, Net
from tests.reliability.observation import RememberingLogger, Spy, differences
from tests.reliability.pairs import Pair, covering
from tests.reliability.watching import MECHANISMS, WATCHING, monitors


@dataclass(frozen=True, kw_only=True)
class Case:
    """One run: what is trained and how, and who looks on."""

    cadence: str = "epochs"
    accumulate: int = 1
    clip: str = "nothing"
    optimisation: str = "automatic"
    precision: str = "32-true"
    frozen: str = "nothing"
    lazy: str = "nothing"
    compiled: str = "nothing"
    averaging: str = "nothing"
    checkpointing: str = "nothing"
    loaders: str = "shuffled"
    validation: str = "every epoch"
    order: str = "monitors first"
    logger: str = "none"
    block: str = "nothing"
    layers: str = "default"
    watching: str = "integrated gradients"
    epochs: int = 2

    def __str__(self) -> str:
        changed = [str(getattr(self, f.name)) for f in fields(self) if getattr(self, f.name) != f.default]
        return ", ".join(changed) or "nothing special"

    @property
    def unwatched(self) -> "Case":
        """The same run, whoever looks on."""
        return replace(
            self, cadence="epochs", order="monitors first", layers="default", watching="integrated gradients"
        )


CADENCES: Mapping[str, dict[str, Any]] = {
    "epochs": {},
    "steps": {"every_n_epochs": None, "every_n_train_steps": 2},
    "both": {"every_n_epochs": 2, "every_n_train_steps": 3},
}

AVERAGING: Mapping[str, Any] = {
    "nothing": lambda: [],
    "SWA": lambda: [StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1, annealing_epochs=1)],
    "equal weights": lambda: [WeightAveraging()],
    "EMA": lambda: [EMAWeightAveraging(decay=0.5)],
}

VALIDATION: Mapping[str, dict[str, Any]] = {
    "every epoch": {},
    "in the middle, no sanity check": {"val_check_interval": 2, "num_sanity_val_steps": 0},
    "none": {"limit_val_batches": 0},
}

AXES: Mapping[str, tuple[Any, ...]] = {
    "cadence": tuple(CADENCES),
    "accumulate": (1, 2),
    "clip": ("nothing", "norm", "value"),
    "optimisation": ("automatic", "two optimizers"),
    "precision": ("32-true", "64-true", "bf16-mixed", "bf16-true", "16-true"),
    "frozen": ("nothing", "in eval mode"),
    "lazy": ("nothing", "layers", "tensors", "modules", "inference tensors"),
    "compiled": ("nothing", "eager", "aot_eager", "in place"),
    "averaging": tuple(AVERAGING),
    "checkpointing": ("nothing", "body"),
    "loaders": ("shuffled", "workers"),
    "validation": tuple(VALIDATION),
    "order": ("monitors first", "monitors last"),
    "logger": ("none", "TensorBoard"),
    "block": ("nothing", "padded", "padded, norm first"),
    "layers": ("default", "by name"),
    "watching": tuple(WATCHING),
}

IMPOSSIBLE: Mapping[Pair, str] = {
    frozenset({("averaging", "SWA"), ("optimisation", "two optimizers")}): "Lightning's SWA takes one optimizer",
    frozenset({("averaging", "SWA"), ("clip", "value")}): "Lightning clips in SWA's last epoch, which has no gradients",
    frozenset({("averaging", "equal weights"), ("precision", "16-true")}): "torch averages no float16 on the CPU",
    frozenset({("watching", "captum's DeepLift"), ("precision", "16-true")}): (
        "captum divides by 1e-10, which is 0 in float16; the monitor says so and the run goes on"
    ),
} | {
    frozenset({("averaging", averaging), ("lazy", lazy)}): "weights are averaged that are not there yet"
    for averaging in ("SWA", "equal weights", "EMA")
    for lazy in ("layers", "modules")
}
"""Pairs of values that cannot be, whatever this package does, and why."""


def _trainer(case: Case, callbacks: list[pl.Callback], folder: str) -> pl.Trainer:
    by_hand = case.optimisation != "automatic"
    return quiet_trainer(
        max_epochs=case.epochs,
        callbacks=callbacks,
        precision=case.precision,
        accumulate_grad_batches=1 if by_hand else case.accumulate,
        gradient_clip_val=None if by_hand or case.clip == "nothing" else 0.1,
        gradient_clip_algorithm=None if by_hand or case.clip == "nothing" else case.clip,
        logger=RememberingLogger(folder) if case.logger == "TensorBoard" else False,
        log_every_n_steps=1,
        **VALIDATION[case.validation],
    )


def observe(case: Case, *, watched: bool) -> Spy:
    """Make the run and note all of it."""
    torch._dynamo.reset()
    pl.seed_everything(3, verbose=False)
    data = Data(workers=1 if case.loaders == "workers" else 0)
    probe = Probe.from_dataset(data.val) if case.validation == "none" else None
    model = Net(
        optimisation=case.optimisation,
        accumulate=case.accumulate,
        clip=case.clip,
        frozen=case.frozen,
        lazy=case.lazy,
        compiled=case.compiled,
        checkpointing=case.checkpointing,
        block=case.block,
    )
    spy, averaging = Spy(), AVERAGING[case.averaging]()
    cadence, layers = CADENCES[case.cadence], None if case.layers == "default" else "*"
    looking = monitors(case.watching, cadence=cadence, probe=probe, layers=layers, block=case.block != "nothing")
    looking = looking if watched else []
    ordered = [*looking, *averaging] if case.order == "monitors first" else [*averaging, *looking]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        # a run of two epochs on 48 digits makes Lightning, torch and the monitors say much about itself
        warnings.simplefilter("ignore")
        trainer = _trainer(case, [*ordered, spy], folder)
        if case.lazy == "inference tensors":
            trainer.validate(model, data, verbose=False)
        trainer.fit(model, data)
        spy.after(trainer, model)
    assert not looking or _has_seen(*looking), "nothing was explained, so nothing was tried"
    return spy


def _has_seen(neurons: Any, *others: Any) -> bool:
    return bool(neurons.profiles) and all(other.records for other in others)


@lru_cache(maxsize=4)
def _bare(case: Case) -> Spy:
    return observe(case, watched=False)


def run(case: Case) -> list[str]:
    """Make a case's run with and without the monitors; say what differs.

    Raises:
        Exception: Whatever the run without monitors raises: then it is no case.
    """
    bare = _bare(case.unwatched)
    try:
        return differences(bare, observe(case, watched=True))
    except Exception as error:  # noqa: BLE001 - what only the watched run raises is a finding
        return [f"raised {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"]


def singles() -> list[Case]:
    """Each value of each axis alone."""
    return [Case(**{axis: value}) for axis, values in AXES.items() for value in values[1:]]


def pairwise() -> list[Case]:
    """Runs that between them have every possible pair of values of any two axes.

    Of `watching` one of each mechanism takes part, and one compiler that goes all the way through autograd.
    """
    axes = {**AXES, "watching": MECHANISMS, "compiled": ("nothing", "aot_eager", "in place")}
    return [Case(**row) for row in covering(axes, impossible=set(IMPOSSIBLE))]


def methods_by_precision() -> list[Case]:
    """Everything that looks on, with every kind of numbers."""
    rows = [{"precision": precision, "watching": watching} for precision in AXES["precision"] for watching in WATCHING]
    return [Case(**row) for row in rows if frozenset(row.items()) not in IMPOSSIBLE]


def share(n: int) -> list[Case]:
    """Choose the first n of `pairwise`, which hold the most pairs, among those that neither compile nor fork."""
    cheap = [case for case in pairwise() if case.compiled == "nothing" and case.loaders == "shuffled"]
    return cheap[:n]
