"""Ridge regression in the features of networks, against the formula of KIP and FRePo in float64."""

import pytest
import torch
import torch.nn.functional as F

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.evaluation.ridge import Ridge, head, make
from ddpipe.evaluation.styles import Styles
from ddpipe.evaluation.trained import Training
from ddpipe.randomness import Streams, generator
from ddpipe.training.batch import Batch
from ddpipe.training.loop import Diverged

CLASSES, SIDE, V = 3, 8, 12
SMALL = settings.ConvNet(kind="convnet", depth=1, width=4)  # 64 features
NARROW = settings.ConvNet(kind="convnet", depth=3, width=4)  # 4 features: fewer than examples
IMAGES = torch.randn(V, 1, SIDE, SIDE, generator=generator("ridge"), dtype=torch.float64)
SOFT = torch.rand(V, CLASSES, generator=generator("ridge targets"), dtype=torch.float64).softmax(1)
UNSEEN = torch.randn(7, 1, SIDE, SIDE, generator=generator("ridge test"), dtype=torch.float64)
LAMBDA = 1e-3


def learned(scale: settings.Scale = "one-hot", styles: Styles | None = None) -> TrainingSet:
    targets = SOFT if scale == "one-hot" else SOFT - 1 / CLASSES
    n = V if styles is None else len(styles)
    return TrainingSet(lambda index: Batch(IMAGES[index], targets[index]), n, {}, styles, scale)


def rule(**training: object) -> Ridge:
    how = settings.SetTraining.model_validate({"epochs": 3, "lr": 0.1} | training) if training else None
    return make(settings.Ridge(kind="ridge", regularisation=LAMBDA, training=how), flip=True)


def streams(count: int) -> list[Streams]:
    return [Streams("ridge", number) for number in range(count)]


def regression(network: networks.Classifier) -> torch.Tensor:
    """K_ts (K_ss + lambda trace(K_ss) / n I)^-1 y."""
    with torch.no_grad():
        support, target = network.embed(IMAGES), network.embed(UNSEEN)
    kernel = support @ support.T
    penalty = LAMBDA * kernel.trace() / V * torch.eye(V, dtype=torch.float64)
    return target @ support.T @ torch.linalg.inv(kernel + penalty) @ (SOFT - 1 / CLASSES)


@pytest.mark.parametrize("scale", ["one-hot", "centred"])
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("architecture", [SMALL, NARROW], ids=["more features", "fewer features"])
def test_predictions_are_those_of_the_formula(architecture, size, scale):
    judge = rule()
    group = judge.gather(networks.build(architecture, 1, SIDE, CLASSES).double(), size)
    ends = []
    for network, rng in zip(judge.fit(group, learned(scale), streams(size)), streams(size), strict=True):
        expected = networks.create(architecture, 1, SIDE, CLASSES, rng("init")).double().eval()
        with torch.no_grad():
            ends.append(network(UNSEEN))
        torch.testing.assert_close(ends[-1], regression(expected), rtol=1e-8, atol=1e-10)
    assert size == 1 or not torch.allclose(ends[0], ends[1])


def test_a_factorised_set_is_regressed_on_in_all_its_styles():
    judge, styles = rule(), Styles(torch.arange(V) // 3)
    group = judge.gather(networks.build(SMALL, 1, SIDE, CLASSES).double(), 1)
    [network] = judge.fit(group, learned(styles=styles), streams(1))
    with torch.no_grad():
        torch.testing.assert_close(network(UNSEEN), regression(network), rtol=1e-8, atol=1e-10)


def test_networks_may_be_trained_on_the_set_first():
    judge = rule(criterion="squared-error", augment="none")
    group = judge.gather(networks.build(SMALL, 1, SIDE, CLASSES).double(), 1)
    [network] = judge.fit(group, learned(), streams(1))
    assert judge.training is not None and isinstance(judge.training, Training)
    other = judge.gather(networks.build(SMALL, 1, SIDE, CLASSES).double(), 1)
    [trained] = judge.training.fit(other, learned(), streams(1))
    for (name, found), (_, expected) in zip(network.named_parameters(), trained.named_parameters(), strict=True):
        assert torch.equal(found, expected) != name.startswith("classifier"), name
    with torch.no_grad():
        torch.testing.assert_close(network(UNSEEN), regression(trained), rtol=1e-8, atol=1e-10)


def test_accuracies_in_single_precision_and_progress():
    labels = torch.arange(60) % CLASSES
    noise = torch.randint(128, (60, 1, SIDE, SIDE), generator=generator("unseen"))
    images = (noise + 50 * labels[:, None, None, None]).to(torch.uint8)
    test = Resident(images, labels, fit(images, settings.Dataset(source="digits")))
    seen, targets = test.batch(torch.arange(20)), F.one_hot(labels[:20], CLASSES).float()
    data = TrainingSet(lambda index: Batch(seen[index], targets[index]), 20)
    announced: list[int] = []
    examination = Examination(SMALL, settings.Ridge(kind="ridge"), test, CLASSES, True)
    found = examination.accuracies(data, streams(3), lambda: announced.append(0))
    assert min(found) > 60 and len(announced) == 3
    assert found == examination.accuracies(data, streams(3)), "no network keeps the head of another"
    assert examination.at_once(settings.Run(), data, 10**12) == 1, "nothing is trained"


def test_features_that_have_no_regression_are_refused():
    with pytest.raises(Diverged, match="^regularisation: "):
        head(torch.zeros(3, 5), torch.ones(3, 2), 1e-6)
    with pytest.raises(Diverged, match="^regularisation: "):
        head(torch.full((3, 5), float("nan")), torch.ones(3, 2), 1e-6)
