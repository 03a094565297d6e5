from typing import Any

import torch

from lightning_explain import InputXGradient, Probe
from lightning_explain.attribution.contrast import with_contrast
from lightning_explain.callbacks.attribution.strategies import sample_explainer
from lightning_explain.callbacks.attribution.strategies.sample_explainer import SampleExplainer
from lightning_explain.callbacks.base.distributed import Ranks
from lightning_explain.callbacks.base.error_handling import Guard
from lightning_explain.callbacks.base.forward import Question
from tests.models import DigitNet, digits, quiet_trainer

NAMES = tuple(f"digit {c}" for c in range(10))


def test_a_contrast_by_name_stays_for_the_fit_pass_by_pass(monkeypatch: Any) -> None:
    monkeypatch.setattr(sample_explainer, "CHUNK", 7)
    torch.manual_seed(0)
    _, data = digits(8, 20)
    images, labels = data.tensors
    sample = Probe(inputs=images, targets=labels, class_names=NAMES)
    net = DigitNet().eval()
    trainer = quiet_trainer()
    trainer.strategy.connect(net)
    explainer = SampleExplainer(
        InputXGradient(contrast="digit 3"), question=Question(), guard=Guard("test", "raise", memory="")
    )

    def heat() -> tuple[torch.Tensor, torch.Tensor]:
        found = explainer.explain(trainer, net, sample, step=0, ranks=Ranks())
        assert found is not None
        return found[0], found[1][0][2]

    scores, before = heat()
    strongest = scores.scatter(1, labels[:, None], -torch.inf).argmax(1)
    others = torch.where(labels == 3, strongest, 3)
    expected = with_contrast(InputXGradient(), others)(net, images, labels).values
    torch.testing.assert_close(before.flatten(1), expected.flatten(1))
    assert explainer.method == "InputXGradient (minus the score of digit 3)"
    # other weights: the samples of the class itself are compared with what they were compared with
    with torch.no_grad():
        net.head[-1].weight.neg_()
    _, after = heat()
    expected = with_contrast(InputXGradient(), others)(net, images, labels).values
    torch.testing.assert_close(after.flatten(1), expected.flatten(1))
