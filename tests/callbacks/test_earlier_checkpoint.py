"""A checkpoint that an earlier version wrote (commit 8c63e68, three monitors, two epochs of digits) is taken up."""

import warnings
from pathlib import Path
from shutil import copy

from lightning_explain import (
    LRP,
    ActiveNeuronMonitor,
    AttributionMonitor,
    DecisionPathMonitor,
    IntegratedGradients,
    Probe,
)
from lightning_explain.errors import ExplanationWarning
from tests.models import DigitData
from tests.training import fit

EARLIER = Path(__file__).parents[1] / "data" / "before_rooms.ckpt"


def test_histories_of_an_earlier_version_go_on(tmp_path: Path) -> None:
    # Lightning writes beside the checkpoint that it resumes from
    checkpoint = Path(copy(EARLIER, tmp_path / "last.ckpt"))
    data = DigitData(shuffle=False)
    probe = Probe.from_dataset(data.val, per_class=1)
    neurons = ActiveNeuronMonitor(feeding=0, maps=0, on_error="raise")
    methods = [IntegratedGradients(n_steps=4), LRP()]
    attribution = AttributionMonitor(probe=probe, method=methods, on_error="raise")
    paths = DecisionPathMonitor(probe=probe, on_error="raise")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ExplanationWarning)
        fit(
            [neurons, attribution, paths],
            data=data,
            ckpt=checkpoint,
            max_epochs=4,
            num_sanity_val_steps=0,
        )
    # two epochs and the network before training lie in the checkpoint
    assert attribution._history.count == 5
    assert attribution._history.caveat == ""
    assert len(attribution._history.memories) == len(methods)
    record = attribution.records[-1]["scalars"]
    assert 0 < record["explain/attribution/drift/previous"] < record["explain/attribution/drift/first"]
    # edges were chosen otherwise then: turnover is between the two epochs since
    assert "explain/path/turnover" not in paths.records[-2]["scalars"]
    assert paths.records[-1]["scalars"]["explain/path/turnover"] < 1
    assert neurons.latest is not None
    layer = neurons.latest.layers["head.1"]
    assert set(layer.history.became_active[layer.history.became_active >= 0].tolist()) <= {0, 1, 2, 3}
    assert 0 in layer.history.became_active
