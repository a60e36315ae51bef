"""RFAD's centred networks: what they predict, when their training ends, and on what."""

import pytest
import torch
from torch import nn

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.datasets.resident import Resident
from ddpipe.evaluation import TrainingSet
from ddpipe.evaluation import centred as module
from ddpipe.evaluation.rule import make
from ddpipe.randomness import Streams, generator
from ddpipe.training.batch import Batch
from ddpipe.training.loop import Diverged

CLASSES, SIDE, V = 3, 8, 6
SMALL = settings.ConvNet(kind="convnet", depth=1, width=4, norm="none", first_padding=1, initialisation="kernel")
PIXELS = torch.randint(256, (9, 1, SIDE, SIDE), generator=generator("centred")).byte()
LABELS = torch.arange(9) % CLASSES
REAL = Resident(PIXELS, LABELS, Preprocessing(torch.full((1, 1, 1), 1 / 64), torch.full((1, 1, 1), -2.0)))
TARGETS = nn.functional.one_hot(torch.arange(V) % CLASSES, CLASSES).float()
NUMBERS = {"kind": "centred", "lr": 0.01, "label_scale": 2.0, "pull": 0.01, "steps": 6, "every": 2, "patience": 100}


def data() -> TrainingSet:
    images = REAL.images[:V]
    return TrainingSet(lambda rows: Batch(images[rows], TARGETS[rows]), V, real=lambda count: REAL)


def fitted(**changes):
    """Networks that know the set, and what the first one said at the start."""
    rule = make(settings.Centred.model_validate(NUMBERS | changes), flip=True)
    group = rule.gather(networks.build(SMALL, 1, SIDE, CLASSES), 2)
    return rule.fit(group, data(), [Streams("centred", 0), Streams("centred", 1)])


def first(number: int) -> networks.Classifier:
    return networks.create(SMALL, 1, SIDE, CLASSES, Streams("centred", number)("init")).eval()


def plain(number: int, steps: int) -> list[torch.Tensor]:
    """The weights after so many steps of torch.optim.SGD."""
    network, start = first(number), first(number)
    sgd = torch.optim.SGD(network.parameters(), 0.01, 0.9)
    for _ in range(steps):
        found = network(REAL.images[:V]) - start(REAL.images[:V]).detach()
        loss = (found - 2 * (TARGETS - 1 / CLASSES)).square().mean() / 4
        loss = loss + 0.01 * sum(
            (p - q.detach()).square().sum() for p, q in zip(network.parameters(), start.parameters(), strict=True)
        )
        sgd.zero_grad()
        loss.backward()
        sgd.step()
    return [p.detach() for p in network.parameters()]


def test_it_predicts_what_it_says_less_what_it_said_at_the_start(monkeypatch: pytest.MonkeyPatch):
    rising = iter(range(100))
    monkeypatch.setattr(module, "accuracy", lambda network, fetch, labels: next(rising))
    for number, network in enumerate(fitted()):
        for mine, theirs in zip(network.parameters(), plain(number, 6), strict=True):
            torch.testing.assert_close(mine.detach(), theirs, rtol=1e-4, atol=1e-6)
        own = network.classifier(network.embed(REAL.images))
        torch.testing.assert_close(network(REAL.images), own - first(number)(REAL.images), rtol=1e-4, atol=1e-5)


def test_none_is_left_centred_when_it_was_tested():
    members = fitted()
    network = next(members)
    assert next(members) is network and len(network._forward_hooks) == 1
    members.close()
    assert not network._forward_hooks


@pytest.mark.parametrize(("patience", "kept", "looks"), [(4, 2, 3), (100, 10, 5), (2, 2, 2)])
def test_the_best_on_real_images_is_kept_and_ends_it(monkeypatch: pytest.MonkeyPatch, patience, kept, looks):
    seen = []

    def scripted(network, fetch, labels):
        assert fetch(torch.arange(9)).equal(REAL.images) and labels.equal(LABELS)
        seen.append([50.0, 40.0, 50.0, 30.0, 60.0][len(seen)])
        return seen[-1]

    monkeypatch.setattr(module, "accuracy", scripted)
    network = next(fitted(steps=10, patience=patience))
    assert len(seen) == looks
    for mine, theirs in zip(network.parameters(), plain(0, kept), strict=True):
        torch.testing.assert_close(mine.detach(), theirs, rtol=1e-4, atol=1e-6)


def test_a_loss_that_is_no_number_names_the_learning_rate():
    with pytest.raises(Diverged, match=r"^lr: training a network with 1e\+38 gave a loss that is not a number"):
        next(fitted(lr=1e38))
