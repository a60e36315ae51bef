"""Replay: the learned steps over the blocks of a set, as a loop written by hand takes them."""

import pytest
import torch
import torch.nn.functional as F

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.evaluation.replay import Replay, blocks, make
from ddpipe.randomness import Streams, generator
from ddpipe.training.batch import Batch
from ddpipe.training.loop import Diverged
from ddpipe.training.together import Group

CLASSES, SIDE, V = 3, 8, 12
SMALL = settings.ConvNet(kind="convnet", depth=1, width=4)
IMAGES = torch.randn(V, 1, SIDE, SIDE, generator=generator("replay"), dtype=torch.float64)
TARGETS = F.one_hot(torch.arange(V) // 4, CLASSES).double()
RATES = torch.tensor([0.3, 0.1, 0.2, 0.05, 0.4, 0.15])
MOMENTA = torch.tensor([0.5, 0.9, 0.3, 1.2, 0.0, 0.8])
TWO = torch.tensor([0, 0, 1, 1] * CLASSES).float()  # half of each class in a block


def learned(**hints: torch.Tensor) -> TrainingSet:
    return TrainingSet(lambda index: Batch(IMAGES[index], TARGETS[index]), V, {"lr": RATES} | hints)


def rule(criterion: settings.Criterion = "cross-entropy") -> Replay:
    return make(settings.Replay(kind="replay", criterion=criterion), flip=True)


def group(size: int, criterion: settings.Criterion = "cross-entropy") -> Group:
    return rule(criterion).gather(networks.build(SMALL, 1, SIDE, CLASSES).double(), size)


def streams(count: int) -> list[Streams]:
    return [Streams("replay", number) for number in range(count)]


def by_hand(
    rng: Streams, parts: list[list[int]], criterion: settings.Criterion, momenta: torch.Tensor
) -> list[torch.Tensor]:
    """The weights after the steps."""
    velocities: dict[int, torch.Tensor] = {}
    network = networks.initialise_(networks.build(SMALL, 1, SIDE, CLASSES).double(), rng("init"))
    for step in range(len(RATES)):
        rows = parts[step % len(parts)]
        logits = network(IMAGES[rows])
        if criterion == "cross-entropy":
            loss = -(TARGETS[rows] * logits.log_softmax(1)).sum(1).mean()
        else:
            loss = 0.5 * ((logits - (TARGETS[rows] - 1 / CLASSES)) ** 2).sum(1).mean()
        network.zero_grad()
        loss.backward()
        for number, p in enumerate(network.parameters()):
            assert p.grad is not None
            velocities[number] = float(momenta[step]) * velocities.get(number, 0) + p.grad
            p.data -= float(RATES[step]) * velocities[number]
    return [p.detach() for p in network.parameters()]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("criterion", ["cross-entropy", "squared-error"])
@pytest.mark.parametrize(
    ("hints", "parts"),
    [
        ({}, [list(range(V))]),
        ({"blocks": TWO}, [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]),
        ({"blocks": TWO, "momentum": MOMENTA}, [[0, 1, 4, 5, 8, 9], [2, 3, 6, 7, 10, 11]]),
        ({"blocks": torch.tensor([0.0, 0.0, 1.0, 2.0] * 3)}, [[0, 1, 4, 5, 8, 9], [2, 6, 10], [3, 7, 11]]),
    ],
    ids=["whole", "blocks", "momenta", "unequal"],
)
def test_a_replay_is_the_loop_written_by_hand(size, criterion, hints, parts):
    members = rule(criterion).fit(group(size, criterion), learned(**hints), streams(size))

    def expected_by(rng: Streams) -> list[torch.Tensor]:
        return by_hand(rng, parts, criterion, hints.get("momentum", torch.zeros(len(RATES))))

    for network, rng in zip(members, streams(size), strict=True):
        for found, expected in zip(network.parameters(), expected_by(rng), strict=True):
            torch.testing.assert_close(found.detach(), expected, rtol=1e-9, atol=1e-12)


def test_order_and_step_sizes_matter():
    def end(data: TrainingSet) -> torch.Tensor:
        [network] = rule().fit(group(1), data, streams(1))
        return torch.nn.utils.parameters_to_vector(network.parameters()).detach().clone()

    plain = end(learned(blocks=TWO))
    assert not torch.equal(plain, end(learned(blocks=1 - TWO)))
    assert not torch.equal(plain, end(learned(blocks=TWO, lr=RATES.flip(0))))


def test_accuracy_and_progress():
    images = torch.randint(0, 256, (30, 1, SIDE, SIDE), generator=generator("test"), dtype=torch.uint8)
    test = Resident(images, torch.arange(30) % CLASSES, fit(images, settings.Dataset(source="digits")))
    examination = Examination(SMALL, settings.Replay(kind="replay"), test, CLASSES, True)
    data = TrainingSet(lambda index: Batch(IMAGES[index].float(), TARGETS[index].float()), V, {"lr": RATES})
    announced: list[int] = []
    found = examination.accuracies(data, streams(2), lambda: announced.append(0))
    assert len(found) == 2 == len(announced) and all(0 <= value <= 100 for value in found)
    assert examination.rule.ticks == 1
    assert examination.at_once(settings.Run(), data, 10**12) == 5 == examination.protocol.networks


def test_blocks_of_unequal_size():
    found = blocks({"blocks": torch.tensor([1.0, 0.0, 1.0, 1.0])}, 4)
    assert [part.tolist() for part in found] == [[1], [0, 2, 3]]


@pytest.mark.parametrize(
    ("hints", "told"),
    [
        ({"lr": torch.tensor([0.1, -0.1])}, "kind: replay takes -0.1 from set 0 as the size of step 1"),
        ({"momentum": torch.tensor([0.1, -0.2] * 3)}, "replay takes -0.2 from set 0 as the momentum of step 1"),
        ({"lr": torch.tensor([0.0])}, "kind: replay takes 0 from set 0 as the size of step 0"),
        (
            {"blocks": torch.tensor([0.0, 2.0] * 6)},
            "kind: replay cannot go through set 0: the hint blocks does not number",
        ),
        ({"blocks": torch.tensor([0.0, 0.5] * 6)}, "the hint blocks does not number"),
        ({"blocks": torch.tensor([-1.0, 0.0] * 6)}, "the hint blocks does not number"),
        ({"blocks": torch.tensor([1e9, 0.0] * 6)}, "the hint blocks does not number"),
        ({"blocks": torch.zeros(3)}, "numbers the blocks of 3 examples, but there are 12"),
    ],
)
def test_hints_that_cannot_be_used_are_refused(hints, told):
    with pytest.raises(UserError, match=told):
        rule().check({"lr": RATES} | hints, V, "set 0")


def test_a_replay_that_diverges_is_refused():
    with pytest.raises(Diverged) as error:
        rule().fit(group(2), learned(lr=torch.tensor([0.1, float("inf"), 0.1])), streams(2))
    told = rule().diverged(error.value, learned(), "set 0")
    assert told.startswith("kind: replay of set 0 diverged; ")


LEARNER = settings.Learner(kind="learner", widths=(3, 4), halved=(1, 2), halving="pool", hidden=5)


def test_learners_are_judged_with_the_means_of_the_last_block():
    """Alone, and several at once."""
    test, data = (
        torch.randn(9, 1, SIDE, SIDE, generator=generator("test")).double(),
        learned(blocks=TWO, momentum=MOMENTA),
    )
    drawn = streams(3)
    single = [
        network.eval()(test)
        for rng in drawn
        for network in rule().fit(rule().gather(networks.build(LEARNER, 1, SIDE, CLASSES).double(), 1), data, [rng])
    ]
    together = rule().gather(networks.build(LEARNER, 1, SIDE, CLASSES).double(), 3)
    for alone, network in zip(single, rule().fit(together, data, streams(3)), strict=True):
        torch.testing.assert_close(network.eval()(test), alone)
        kept = [buffer.clone() for buffer in network.buffers()]
        assert all(bool(buffer.ne(0).any()) for buffer in kept)
        network.train()(IMAGES[TWO == 1])  # where the last step was: at weights that it has moved since
        for buffer, mean in zip(network.buffers(), kept, strict=True):
            assert 0 < float((buffer - mean).abs().max()) < 1
