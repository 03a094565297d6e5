"""A model whose weights are spread over two processes (FSDP2), watched while it trains; called by test_fsdp."""

import warnings
from types import SimpleNamespace
from typing import Any

import lightning.pytorch as pl
import torch
from captum.attr import DeepLift
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.utils.data import DataLoader, TensorDataset

from lightning_explain import (
    LRP,
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    GradCAM,
    IntegratedGradients,
    Saliency,
)
from lightning_explain.attribution import from_captum
from lightning_explain.callbacks.attribution.explainer import Examiner
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question, check_strategy
from lightning_explain.errors import ConfigurationError
from lightning_explain.weights import sharded
from lightning_explain.weights.sharded import sharded_modules
from tests.callbacks.base.sharing_run import digits, numbers

N_TRAIN, N_VAL = 32, 27


class Spread(pl.LightningModule):
    """Each part is gathered for its own pass, and given up after it."""

    def __init__(self, *, spread: bool = True) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten())
        self.head = nn.Sequential(nn.Linear(144, 16), nn.ReLU(), nn.Linear(16, 10))
        self.spread, self.calls = spread, [0]

    def configure_model(self) -> None:
        if self.spread and not sharded_modules(self):
            mesh = self.device_mesh["data_parallel"]
            for part in (self.body, self.head, self):
                fully_shard(part, mesh=mesh)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self(batch[0]), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", nn.functional.cross_entropy(self(batch[0]), batch[1]), sync_dist=True)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


def methods(*, spread: bool) -> dict[str, Any]:
    return {
        "adaptive": IntegratedGradients(),
        "fixed": IntegratedGradients(n_steps=5, baseline="mean"),
        "saliency": Saliency(),
        "cam": GradCAM(),
        "deep lift": from_captum(DeepLift),
        **({} if spread else {"lrp": LRP()}),
    }


def sharded_fit(callbacks: list[pl.Callback]) -> Spread:
    pl.seed_everything(0, verbose=False)
    model = Spread()
    data = digits(N_TRAIN + N_VAL)
    images, labels = data.parts[0], data.targets
    assert labels is not None
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=2,
        strategy=ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1),
        max_epochs=2,
        logger=False,
        callbacks=callbacks,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        model,
        DataLoader(TensorDataset(images[:N_TRAIN], labels[:N_TRAIN]), batch_size=8),
        DataLoader(TensorDataset(images[N_TRAIN:], labels[N_TRAIN:]), batch_size=8),
    )
    return model


def whole_weights(model: Spread) -> dict[str, Tensor]:
    return get_model_state_dict(model, options=StateDictOptions(full_state_dict=True))


def refused(callback: pl.Callback) -> str:
    try:
        sharded_fit([callback])
    except ConfigurationError as error:
        return str(error)
    return ""


def of_two() -> dict[str, Any]:
    warnings.simplefilter("ignore")
    bare = whole_weights(sharded_fit([]))
    result = {"gathered": watched(bare, spread=False), "flat": flat_weights()}
    # as if the model were too large to be held together
    sharded.MOST_GATHERED = 100
    result["spread"] = watched(bare, spread=True)
    result["refused"] = [refused(AttributionMonitor(method=LRP())), refused(DecisionPathMonitor())]
    return result


def watched(bare: dict[str, Tensor], *, spread: bool) -> dict[str, Any]:
    neurons = ActiveNeuronMonitor(on_error="warn" if spread else "raise")
    attribution = AttributionMonitor(method=methods(spread=spread), faithfulness=["deletion"], on_error="raise")
    paths = [] if spread else [DecisionPathMonitor(on_error="raise")]
    model = sharded_fit([neurons, attribution, *paths])
    weights = whole_weights(model)
    result: dict[str, Any] = {
        # of the first process: the others get no whole weights
        "alike": all(torch.equal(weights[name], bare[name]) for name in weights),
        "n_weights": len(weights),
        "talks": attribution._examiner.sharing.talks,
        "n_explanations": len(attribution.records),
        "n_paths": sum(len(found.graph.edges) for path in paths if path.latest for found in path.latest.classes),
        "fed": {row["layer"] for row in neurons.latest.feature_rows()} if neurons.latest else set(),
        "together": numbers(attribution.latest),
    }
    if weights:
        result["one"], result["rates"] = alone(weights, attribution, neurons, methods(spread=spread))
        result["exemplars"] = exemplars(weights, neurons)
    return result


def alone(
    weights: dict[str, Tensor], attribution: AttributionMonitor, neurons: ActiveNeuronMonitor, asked: dict[str, Any]
) -> Any:
    """Explain the same weights in one process, and count what is active by hand."""
    plain = Spread(spread=False)
    plain.load_state_dict(weights)
    probe = attribution.probe
    assert probe is not None
    found = Examiner(methods=asked, measures=("deletion",), question=Question(), guard=Guard("alone", "raise")).explain(
        plain, probe.parts, single=True, targets=lambda scores: probe.labels, step=0, ranks=Ranks()
    )
    data = digits(N_TRAIN + N_VAL)
    images, labels = data.parts[0][N_TRAIN:], data.labels
    assert labels is not None
    with torch.no_grad():
        active = plain.eval().head[:2](plain.body(images)) > 0
    by_hand = torch.stack([active[labels[N_TRAIN:] == c].float().mean(0) for c in range(10)])
    profile = neurons.profiles["val"]["head.1"]
    return numbers(found), [profile.rates.tolist(), by_hand.tolist(), profile.n_samples.tolist()]


def exemplars(weights: dict[str, Tensor], neurons: ActiveNeuronMonitor) -> list[list[Any]]:
    """Return values, samples and labels of each unit's exemplars, and those of a sort by whole weights."""
    plain = Spread(spread=False).eval()
    plain.load_state_dict(weights)
    data = digits(N_TRAIN + N_VAL)
    images, labels = data.parts[0][N_TRAIN:], data.labels
    assert labels is not None and neurons.latest is not None
    with torch.no_grad():
        maps = plain.body[:2](images)
        outputs = {"body.1": maps.flatten(2).amax(2), "head.1": plain.head[:2](plain.body(images))}
    found = {name: neurons.latest.layers[name].exemplars for name in outputs}
    result: list[list[Any]] = []
    for name, output in outputs.items():
        own = found[name]
        assert own is not None
        for unit in range(output.shape[1]):
            best = sorted(range(N_VAL), key=lambda row, of=output[:, unit]: (-float(of[row]), row))[:8]
            by_hand = [output[best, unit].tolist(), best, labels[N_TRAIN:][best].tolist()]
            result.append([[part[unit].tolist() for part in (own.values, own.samples, own.labels)], by_hand])
    return result


def flat_weights() -> str:
    """Return what is said of the older form, whose strategy Lightning allows on GPUs only."""
    wrapped = FullyShardedDataParallel(nn.Linear(3, 2), device_id=torch.device("cpu"))
    try:
        check_strategy(SimpleNamespace(strategy=SimpleNamespace(model=nn.Sequential(wrapped))))
    except ConfigurationError as error:
        return str(error)
    return ""
