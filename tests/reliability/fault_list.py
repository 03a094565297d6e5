"""The faults that are tried: in the model, the data, the logger, the disk, the checkpoint, the user's own code."""

import errno
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor, nn
from torch.utils.data import Dataset

from lightning_explain import Probe
from lightning_explain.capture import recorder
from lightning_explain.errors import ConfigurationError
from lightning_explain.log import sinks
from tests.models import Mapped
from tests.reliability.faults import ALL, ATTRIBUTION, NEURONS, PATH, Fault, Run
from tests.reliability.small import SmallNet, loaders, zeros_and_ones

GOES_ON = "training goes on"
HOW = "on_error='raise'"


def explaining() -> bool:
    """Whether the forward pass that asks is a monitor's own."""
    return recorder._Pause.depth > 0


# -- the model ---------------------------------------------------------------------------------------------------


class Breaking(SmallNet):
    """Fails where a monitor runs it, from some epoch on.

    Args:
        before: What becomes of the inputs.
        after: What becomes of the scores.
        from_epoch: When it begins.
    """

    def __init__(self, before: Any = None, after: Any = None, from_epoch: int = 1) -> None:
        super().__init__()
        self.before, self.after, self.from_epoch = before, after, from_epoch

    def forward(self, x: Tensor) -> Tensor:
        breaks = explaining() and self.current_epoch >= self.from_epoch
        scores = super().forward(self.before(x) if breaks and self.before else x)
        return self.after(scores) if breaks and self.after else scores


def breaking(wound: Run, **how: Any) -> None:
    wound.model = Breaking(**how)


def raising(error: BaseException) -> Callable[[Any], Any]:
    def fail(_: Any) -> Any:
        raise error

    return fail


def too_many_rows(x: Tensor) -> Tensor:
    if len(x) > 3:
        raise torch.OutOfMemoryError("CUDA out of memory (pretended)")
    return x


class Diverging(SmallNet):
    """Weights of the head turn into something else after the first epoch, as a diverging training does it."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            with torch.no_grad():
                for parameter in self.head.parameters():
                    parameter.fill_(self.value)


def diverging(wound: Run, value: float) -> None:
    wound.model = Diverging(value)


class Rebuilt(SmallNet):
    """A submodule is replaced or taken out in the middle of the run."""

    def __init__(self, change: Callable[[SmallNet], None]) -> None:
        super().__init__()
        self.change = change

    def on_train_epoch_start(self) -> None:
        if self.current_epoch == 1:
            self.change(self)


def other_activation(model: SmallNet) -> None:
    model.head[1] = nn.LeakyReLU()


def no_activation(model: SmallNet) -> None:
    del model.head[1]


def rebuilding(wound: Run, change: Callable[[SmallNet], None]) -> None:
    wound.model = Rebuilt(change)


# -- the logger and the disk ---------------------------------------------------------------------------------------


def refusing_sink(wound: Run, method: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("the logger is gone")

    wound.patches.append((sinks.TensorBoardSink, method, refuse))


class Choosy(CSVLogger):
    """Takes Lightning's own figures, and fails on those of a monitor."""

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        if any(key.startswith("explain/") for key in metrics):
            raise ConnectionError("the logger is gone")
        super().log_metrics(metrics, step)


def choosy_logger(wound: Run) -> None:
    wound.logger = Choosy


class FullDisk:
    """Stands for a file opened on a disk on which half of what is written still finds room."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, content: Any) -> int:
        self._file.write(content[: len(content) // 2])
        self._file.flush()
        raise OSError(errno.ENOSPC, "No space left on device")

    def __enter__(self) -> "FullDisk":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def full_disk(wound: Run, suffixes: tuple[str, ...]) -> None:
    real = Path.open

    def opened(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        file = real(path, mode, *args, **kwargs)
        ours = "explain" in path.parts and any(path.name.endswith(suffix) for suffix in suffixes)
        return FullDisk(file) if ours and mode[0] in "wa" else file

    wound.logger = CSVLogger
    wound.patches.append((Path, "open", opened))


def full_event_file(wound: Run) -> None:
    def no_room(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    wound.patches.append((sinks.TensorBoardSink, "_add", no_room))


def folder_taken(wound: Run) -> None:
    wound.logger = CSVLogger
    (wound.folder / "run").mkdir(exist_ok=True)
    (wound.folder / "run" / "explain").write_text("a file where the folder should be")


# -- the user's own code -------------------------------------------------------------------------------------------


class Stopping(SmallNet):
    """The user's own code raises, in a step or in a hook."""

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__()
        self.where, self.error = where, error

    def _maybe(self, here: str) -> None:
        if here == self.where and self.current_epoch == 1:
            raise self.error

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        loss = super().training_step(batch, batch_idx)
        self._maybe("training_step")
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        self._maybe("validation_step")

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self._maybe("on_before_optimizer_step")


class OwnError(RuntimeError):
    """What the user's own code raises."""


def stopping(wound: Run, where: str, error: type[BaseException]) -> None:
    wound.model = Stopping(where, error("by the user's own code"))


def interrupted_writing(wound: Run) -> None:
    def interrupt(*args: Any, **kwargs: Any) -> None:
        raise KeyboardInterrupt

    wound.patches.append((sinks.TensorBoardSink, "image", interrupt))


# -- data ----------------------------------------------------------------------------------------------------------


class Unreadable(Dataset[Any]):
    """A data set whose last items cannot be read; the run's own validation never gets there."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        if index >= 8:
            raise OSError(errno.EIO, f"item {index} cannot be read")
        return self.dataset[index]


def unreadable_data(wound: Run) -> None:
    wound.data = loaders(val=Unreadable(zeros_and_ones()[1]))
    wound.trainer = {"limit_val_batches": 1}


def odd_shaped_probe(wound: Run) -> None:
    wound.options["probe"] = Probe(inputs=torch.rand(4, 1, 6, 6), targets=torch.tensor([0, 0, 1, 1]))


def label_beyond_the_outputs(wound: Run) -> None:
    wound.options["probe"] = Probe(inputs=torch.rand(2, 1, 4, 4), targets=torch.tensor([0, 7]))


def nan_inputs(wound: Run) -> None:
    def spoiled(item: Any) -> Any:
        return item[0] * torch.nan, item[1]

    wound.data = loaders(val=Mapped(zeros_and_ones()[1], spoiled))


# -- checkpoints ---------------------------------------------------------------------------------------------------


def state_of(wound: Run, monitor: str, model: pl.LightningModule | None = None, **options: Any) -> Any:
    """Return the state of a monitor after a run of its own."""
    from tests.reliability.faults import MONITORS

    earlier = Run(wound.folder / "earlier", logger=CSVLogger, model=model or SmallNet())
    watching = MONITORS[monitor](**options)
    assert earlier.go([watching]) is None
    return watching.state_dict()


class Wide(SmallNet):
    """The same layers, wider, for more classes."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Linear(32, 6), nn.ReLU(), nn.Dropout(0.3), nn.Linear(6, 5))


def restored(wound: Run, monitor: str, change: Callable[[Any], Any], **earlier: Any) -> None:
    def prepare(watching: Any) -> None:
        watching.load_state_dict(change(state_of(wound, monitor, **earlier)))

    wound.prepare = prepare


def without(key: str) -> Callable[[Any], Any]:
    return lambda state: {name: part for name, part in state.items() if name != key}


def of_other_kinds(state: Any) -> Any:
    """Every part of the state turned into something of another kind."""
    return dict.fromkeys(state, "?")


def cut_off(state: Any) -> Any:
    """Every tensor in the state loses half of itself."""
    if isinstance(state, dict):
        return {key: cut_off(part) for key, part in state.items()}
    if isinstance(state, list):
        return [cut_off(part) for part in state]
    return state[: len(state) // 2] if isinstance(state, Tensor) and state.ndim else state


def cut_history(state: Any) -> Any:
    """What is remembered is of fewer samples, or of half a layer."""
    return {key: part if key == "probe" else cut_off(part) for key, part in state.items()}


def same(state: Any) -> Any:
    return state


OTHER_PROBE = Probe(inputs=zeros_and_ones()[1].tensors[0][:6], targets=zeros_and_ones()[1].tensors[1][:6])


def _faults() -> list[Fault]:
    found: list[Fault] = []

    def add(name: str, inflict: Callable[[Run], None], *says: str, monitors: tuple[str, ...] = ALL, **how: Any) -> None:
        found.extend(Fault(name=name, monitor=m, inflict=inflict, says=says, **how) for m in monitors)

    # the model
    boom = RuntimeError("the model has had enough")
    add("forward raises on the probe", partial(breaking, after=raising(boom)), "had enough", GOES_ON, HOW, records=1)
    add(
        "forward raises on the probe from the start",
        partial(breaking, after=raising(boom), from_epoch=0),
        "had enough",
        GOES_ON,
        "forward_fn",
    )
    add(
        "the scores are NaN",
        partial(breaking, after=lambda s: s * torch.nan),
        "NaN",
        "Look at the loss",
        monitors=(ATTRIBUTION, PATH),
        records=1,
    )
    add(
        "the scores hang on nothing",
        partial(breaking, after=torch.detach),
        "does not depend",
        GOES_ON,
        monitors=(ATTRIBUTION,),
        records=1,
    )
    add(
        "the scores lose a class",
        partial(breaking, after=lambda s: s[:, :1]),
        "class index 1",
        GOES_ON,
        monitors=(ATTRIBUTION, PATH),
        records=1,
    )
    for name, inflict, word, remedy in (
        ("weights turn NaN", partial(diverging, value=float("nan")), "NaN", "Look at the loss"),
        ("weights turn infinite", partial(diverging, value=float("inf")), "infinit", "Look at the loss"),
        ("inputs are NaN", nan_inputs, "themselves hold NaN", "explain samples without them"),
    ):
        add(name, inflict, word, remedy, monitors=(ATTRIBUTION, PATH))
        gave = "gave NaN or infinity"
        add(name, inflict, gave, "Look at the loss", monitors=(NEURONS,), raises=False, records=2)
    memory = torch.OutOfMemoryError("CUDA out of memory (pretended)")
    add(
        "a pass runs out of memory",
        partial(breaking, before=too_many_rows),
        "ran out of memory, so the explanation goes on with",
        raises=False,
        records=2,
        most=2,
    )
    add(
        "every pass runs out of memory",
        partial(breaking, before=raising(memory)),
        "out of memory",
        "smaller probe",
        records=1,
    )
    add(
        "a submodule is replaced",
        partial(rebuilding, change=other_activation),
        "never fired",
        "head.1",
        monitors=(NEURONS,),
        raises=False,
        records=2,
    )
    add(
        "a submodule is taken out",
        partial(rebuilding, change=no_activation),
        "never fired",
        "head.",
        monitors=(NEURONS,),
        raises=False,
        records=2,
    )
    add(
        "a submodule is replaced",
        partial(rebuilding, change=other_activation),
        monitors=(ATTRIBUTION, PATH),
        raises=False,
        records=3,
    )
    add(
        "a submodule is taken out",
        partial(rebuilding, change=no_activation),
        monitors=(ATTRIBUTION, PATH),
        raises=False,
        records=3,
    )
    # the logger and the disk
    for method in ("image", "text", "record", "layout", "tab", "described_scalars"):
        wanted = {"layout": (ATTRIBUTION,), "described_scalars": (ATTRIBUTION,)}.get(method, ALL)
        add(
            f"the logger fails at {method}",
            partial(refusing_sink, method=method),
            "the logger is gone",
            GOES_ON,
            monitors=wanted,
            records=2,
        )
    add("the logger fails at figures", choosy_logger, "the logger is gone", GOES_ON, records=2)
    for suffix in (".part", ".jsonl"):
        add(
            f"the disk is full when writing {suffix}",
            partial(full_disk, suffixes=(suffix,)),
            "No space left",
            "Make room",
            records=2,
        )
    add(
        "the disk is full when writing anything",
        partial(full_disk, suffixes=("",)),
        "No space left",
        "Make room",
        records=2,
    )
    add("the event file has no room", full_event_file, "No space left", "Make room", records=2)
    add("the folder cannot be made", folder_taken, "Not a directory", "Give the logger a folder", GOES_ON, records=2)
    # the user's own code
    for where in ("training_step", "validation_step", "on_before_optimizer_step"):
        add(f"{where} raises", partial(stopping, where=where, error=OwnError), ends=(OwnError,), raises=False)
    interrupts = (KeyboardInterrupt, SystemExit)
    add(
        "Ctrl-C in a step",
        partial(stopping, where="training_step", error=KeyboardInterrupt),
        ends=interrupts,
        raises=False,
    )
    add(
        "Ctrl-C in an explanation",
        partial(breaking, after=raising(KeyboardInterrupt())),
        ends=interrupts,
        raises=False,
        records=1,
    )
    add("Ctrl-C while a picture is written", interrupted_writing, ends=interrupts, raises=False)
    # data
    add("the data set fails while the probe is drawn", unreadable_data, "cannot be read", "Probe.from_dataset")
    add("the probe has another shape than the batches", odd_shaped_probe, "shape", GOES_ON)
    add(
        "a label is beyond the outputs",
        label_beyond_the_outputs,
        ends=(ConfigurationError,),
        monitors=(ATTRIBUTION, PATH),
    )
    # checkpoints
    parts = {NEURONS: "histories", ATTRIBUTION: "history", PATH: "history"}
    for monitor, key in parts.items():
        only = {"monitors": (monitor,)}
        one = partial(restored, monitor=monitor)
        add("the checkpoint lacks a part", partial(one, change=without(key)), "restart", key, **only, records=2)
        add("the checkpoint holds something else", partial(one, change=of_other_kinds), "restart", **only, records=2)
        add("tensors of the checkpoint are cut off", partial(one, change=cut_history), "restart", **only, records=2)
        add(
            "the checkpoint is of a wider model",
            partial(one, change=same, model=Wide()),
            **only,
            raises=False,
            records=2,
        )
    for monitor in (ATTRIBUTION, PATH):
        add(
            "the checkpoint is of another probe",
            partial(restored_with, monitor=monitor, own={"probe": OTHER_PROBE}),
            "another probe",
            monitors=(monitor,),
            raises=False,
            records=2,
        )
        add(
            "the checkpoint explained something else",
            partial(restored_with, monitor=monitor, own={"explained": "predicted"}),
            "explained",
            monitors=(monitor,),
            raises=False,
            records=2,
        )
    add(
        "the checkpoint watched other layers",
        partial(restored_with, monitor=NEURONS, own={"layers": "head.0"}),
        monitors=(NEURONS,),
        raises=False,
        records=2,
    )
    return found  # fmt: skip


def restored_with(wound: Run, monitor: str, own: dict[str, Any]) -> None:
    """Go on from a state that was written with other options than this run's."""
    wound.options |= own
    restored(wound, monitor, same)


FAULTS = _faults()
