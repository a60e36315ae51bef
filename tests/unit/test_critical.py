"""Networks trained at a share of their largest stable step size."""

import pytest
import torch
from pydantic import ValidationError

from ddpipe import networks, settings
from ddpipe.distilled.standalone.critical import sharpest
from ddpipe.evaluation import TrainingSet
from ddpipe.evaluation.critical import largest_eigenvalue, largest_rate
from ddpipe.evaluation.rule import make
from ddpipe.randomness import Streams, generator
from ddpipe.training.batch import Batch

CLASSES, SIDE, V = 3, 8, 12
IMAGES = torch.randn(V, 1, SIDE, SIDE, generator=generator("critical"))
TARGETS = torch.eye(CLASSES)[torch.arange(V) % CLASSES] - 1 / CLASSES
NETWORK = settings.Plain(kind="plain", layer="convolution", depth=2, width=16, pooled=(1,))
RULES = {"kind": "critical", "criterion": "squared-error", "steps": 30, "momentum": 0.0, "weight_decay": 0.0}
RULES |= {"batch": V, "drop": "never", "augment": "none", "networks": 1, "images": 50}


def network() -> networks.Classifier:
    return networks.create(NETWORK, 1, SIDE, CLASSES, generator("network"))


def losses(lr: float) -> float:
    rule = make(settings.Critical.model_validate(RULES | {"lr": lr}), flip=False)
    data = TrainingSet(lambda index: Batch(IMAGES[index], TARGETS[index]), V, {}, None, "centred")
    found = []
    for net in rule.fit(rule.gather(network(), 2), data, [Streams("critical", number) for number in range(2)]):
        with torch.no_grad():
            found.append(float((net(IMAGES) - TARGETS).square().sum(1).mean() / 2))
    assert len(found) == 2 and found[0] != found[1]
    return max(found)


def test_the_largest_eigenvalue_is_that_of_the_tangent_kernel() -> None:
    net = network().double()
    rows = []
    for image in IMAGES.double():
        logits = net(image[None])
        slopes = torch.autograd.grad(logits.sum() / CLASSES**0.5, list(net.parameters()))
        rows.append(torch.cat([slope.flatten() for slope in slopes]))
    wanted = float(torch.linalg.eigvalsh(torch.stack(rows) @ torch.stack(rows).T)[-1])
    for found in (largest_eigenvalue, sharpest):
        assert found(net, IMAGES.double()) == pytest.approx(wanted, rel=1e-3)


def test_below_the_largest_rate_losses_fall_and_far_above_they_do_not() -> None:
    assert losses(0.5) < 0.2 < 1 / 3 < 10 * losses(1.0) and losses(0.5) < losses(1e-3)
    assert losses(8.0) > 0.3, "no better than no answer"


def test_the_formula() -> None:
    assert largest_rate(4.0, 30) == pytest.approx(15.0)


@pytest.mark.parametrize("change", [{"criterion": "cross-entropy"}, {"learned_lr": True}])
def test_other_losses_have_no_such_rate(change: dict) -> None:
    with pytest.raises(ValidationError, match="criterion must be squared-error and lr be stated"):
        settings.Critical.model_validate(RULES | {"lr": 1.0} | change)
