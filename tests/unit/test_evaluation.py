"""Networks trained together learn what each would learn alone; the step size of a set; how many fit."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ddpipe import networks, settings
from ddpipe.augmentation import make
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.evaluation import Examination, TrainingSet, mean_and_std
from ddpipe.evaluation.examination import TRIED
from ddpipe.evaluation.memory import training_bytes
from ddpipe.randomness import Streams, generator
from ddpipe.synthetic import Batch
from ddpipe.training import loop
from ddpipe.training.together import Single, Stack

N, CLASSES, SIDE = 10, 3, 8
SMALL = settings.ConvNet(kind="convnet", depth=1, width=4)
NETWORKS = {
    "instance": SMALL,
    "batch": settings.ConvNet(kind="convnet", depth=2, width=4, norm="batch"),
    "resnet": settings.ResNet(kind="resnet", blocks=(1, 1), widths=(4, 8), norm="batch", initialisation="he"),
    "densenet": settings.DenseNet(kind="densenet", blocks=(1, 1), growth=4),
}
IMAGES = torch.randn(N, 1, SIDE, SIDE, generator=generator("images"))
SOFT = torch.rand(N, CLASSES, generator=generator("targets")).softmax(1)
HARD = F.one_hot(torch.arange(N) % CLASSES, CLASSES).float()


def streams(count: int) -> list[Streams]:
    return [Streams("evaluation", number) for number in range(count)]


def unseen() -> Resident:
    """Test images whose brightness tells their class, more or less."""
    labels = torch.arange(60) % CLASSES
    noise = torch.randint(128, (60, 1, SIDE, SIDE), generator=generator("unseen"))
    images = (noise + 50 * labels[:, None, None, None]).to(torch.uint8)
    return Resident(images, labels, fit(images, settings.Dataset(source="digits")))


def learnable(lr: float | None = None) -> TrainingSet:
    test = unseen()
    images, targets = test.batch(torch.arange(20)), F.one_hot(test.labels[:20], CLASSES).float()
    hints = {} if lr is None else {"lr": torch.tensor(lr, dtype=torch.float64)}
    return TrainingSet(lambda index: Batch(images[index], targets[index]), 20, hints)


def examination(compiled: bool = False, **rules) -> Examination:
    return Examination(SMALL, settings.Trained(**{"epochs": 4} | rules), unseen(), CLASSES, True, compiled)


@pytest.mark.parametrize("targets", [HARD, SOFT], ids=["hard", "soft"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_stack_learns_what_each_network_learns_alone(name, targets):
    rules = settings.Trained(
        **{"epochs": 6, "extra_epoch": True, "lr": 0.05, "batch": 4, "drop": "staged", "drop_resets_momentum": False},
        **{"augment": "color_crop_cutout_flip_scale_rotate", "cutmix": 0.5},
    )
    size, policy = 3, make(rules.augment)

    def fetch(index) -> Batch:
        return Batch(IMAGES[index].double(), targets[index].double())

    def built() -> networks.Classifier:
        return networks.build(NETWORKS[name], 1, SIDE, CLASSES).double().train()

    stack, together = Stack(built(), size), streams(size)
    stack.initialise_([rng("init") for rng in together])

    def feed():
        return stack.join([loop.batches(fetch, N, rules.batch, policy, rng("train"), rules.cutmix) for rng in together])

    list(loop.descend(stack.parameters(), stack.loss, rules, feed))
    ends = []
    for member, rng in zip(stack.members(), streams(size), strict=True):
        alone = networks.initialise_(built(), rng("init"))
        begin = nn.utils.parameters_to_vector(alone.parameters()).detach().clone()
        list(loop.train(alone, rules, fetch, N, policy, rng("train")))
        for key, value in alone.state_dict().items():
            torch.testing.assert_close(member.state_dict()[key], value, rtol=1e-7, atol=1e-9)
        ends.append(nn.utils.parameters_to_vector(alone.parameters()).detach())
        assert (ends[-1] - begin).norm() > 0.01
    assert not torch.allclose(ends[0], ends[1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_accuracies_together_are_those_one_by_one(precision):
    rules = {"precision": precision, "batch": 8, "augment": "color_crop_rotate", "cutmix": 0.5}
    single, together = examination(**rules), examination(**rules)
    one_by_one = [single.accuracies(learnable(), [rng])[0] for rng in streams(3)]
    assert len(set(one_by_one)) > 1 and min(one_by_one) > 100 / CLASSES
    found = together.accuracies(learnable(), streams(3))
    assert max(abs(a - b) for a, b in zip(found, one_by_one, strict=True)) < 100 / 60 + 1e-9  # one test image


def test_a_network_does_not_depend_on_those_before_it():
    used = examination(batch=8)
    first = used.accuracies(learnable(), streams(1))
    assert used.accuracies(learnable(), streams(2))[:1] == pytest.approx(first, abs=1.7)
    assert used.accuracies(learnable(), streams(1)) == first == examination(batch=8).accuracies(learnable(), streams(1))


@pytest.mark.parametrize("size", [1, 3])
def test_every_pass_of_every_network_is_announced(size):
    announced = []
    examination(epochs=2, extra_epoch=True).accuracies(learnable(), streams(size), lambda: announced.append(0))
    assert len(announced) == 3 * size


@pytest.mark.parametrize("size", [1, 2])
def test_the_step_size_of_the_set_takes_the_place_of_lr(size):
    fixed, learned = examination(lr=0.07), examination(lr=1e30, learned_lr=True)
    assert learned.accuracies(learnable(0.07), streams(size)) == fixed.accuracies(learnable(), streams(size))
    assert fixed.accuracies(learnable(1e30), streams(size)) == fixed.accuracies(learnable(), streams(size))


@pytest.mark.parametrize("size", [1, 2])
def test_a_group_that_diverges_is_refused(size):
    with pytest.raises(loop.Diverged, match=r"^lr: .* 1e\+30 "):
        examination(lr=1e30).accuracies(learnable(), streams(size))


def run(together: int = 0) -> settings.Run:
    return settings.Run(together=together)


def test_on_a_cpu_networks_are_trained_one_by_one_unless_the_user_says_otherwise():
    assert examination().at_once(run(), learnable(), None) == 1
    assert examination(networks=5).at_once(run(3), learnable(), None) == 3
    assert examination(networks=2).at_once(run(3), learnable(), None) == 2


def room(judge: Examination, networks: int) -> int:
    """Bytes in which so many of its networks fit."""
    each = training_bytes(judge.network, Single(judge.network).loss, learnable().fetch(slice(0, 1)), 8)
    return int(networks * each / 0.7) + 10


def test_on_an_accelerator_as_many_as_are_fastest_of_those_that_fit_are_trained_at_once(monkeypatch, capsys):
    tried: list[int] = []

    def seconds(self, trial, data, size):
        tried.append(size)
        return 1.0 if size < 4 else 5.0

    monkeypatch.setattr(Examination, "seconds", seconds)
    counts = []
    for networks_ in (0, 1, 2, 3, 4, 50):
        judge = examination(networks=5, batch=8)
        counts += [judge.at_once(run(), learnable(), room(judge, networks_)) for _ in range(2)]
    assert counts == [1, 1, 1, 1, 2, 2, 3, 3, 2, 2, 2, 2]
    assert tried == [1, 2, 1, 2, 3, 1, 2, 4, 1, 2, 4, 5], "once for sets of one size"
    assert "of 1, 2, 4 and 5 networks at once, 2 take the least time each on CPU" in capsys.readouterr().err
    assert judge.at_once(run(), learnable(), room(judge, 1)) == 1, "memory that has become scarce counts"
    assert judge.at_once(run(3), learnable(), room(judge, 50)) == 3 and len(tried) == 12
    judge.compiled, judge.tried = True, {}
    assert judge.at_once(run(), learnable(), room(judge, 4)) == 4 and len(tried) == 12


@pytest.mark.parametrize("rules", [
    {"epochs": 1}, {"epochs": 300}, {"epochs": 0, "learned_steps": True, "batch": 8, "subsets": True},
    {"learned_lr": True}, {"lr": 1e30},
])  # fmt: skip
def test_a_trial_takes_few_steps_and_leaves_no_trace(monkeypatch, rules):
    """Networks are what they would have been without it, and the steps of the second half are timed."""
    judge, fresh = examination(networks=2, batch=8), examination(networks=2, batch=8)
    other, times = examination(networks=2, **{"batch": 8} | rules), iter(range(100))
    monkeypatch.setattr("ddpipe.evaluation.examination.Meter.seconds", lambda meter: next(times))
    steps: list[int] = []
    trial = other.rule.brief(2 * TRIED)
    follow = loop.Descent.follow
    monkeypatch.setattr(loop.Descent, "follow", lambda self, feed: (steps.append(1), follow(self, feed))[1])
    hints = {"lr": torch.tensor(0.1, dtype=torch.float64), "steps": torch.tensor(1e6)}
    assert other.seconds(trial, dataclasses.replace(learnable(), hints=hints), 2) == 1, "looked at twice"
    assert len(steps) == 2 * TRIED
    assert judge.seconds(judge.rule.brief(2 * TRIED), learnable(), 2) == 1
    assert judge.accuracies(learnable(), streams(2)) == fresh.accuracies(learnable(), streams(2))


def test_the_memory_of_a_network_is_what_its_step_saves():
    """One convolution, instance norm, ReLU, pooling, linear layer: by hand, in float32."""
    network = networks.create(SMALL, 1, SIDE, CLASSES, generator("memory"))
    parameters = sum(p.numel() for p in network.parameters())
    maps = 4 * SIDE * SIDE
    # the image; what the convolution and the ReLU gave; the pooled map; logits as log-probabilities; targets
    each = SIDE * SIDE + 2 * maps + maps // 4 + CLASSES + CLASSES
    found = training_bytes(network, Single(network).loss, Batch(IMAGES, HARD), 100)
    assert found == pytest.approx(4 * (4 * parameters + 100 * each), rel=0.05)
    wide = networks.create(settings.ConvNet(kind="convnet", depth=1, width=8), 1, SIDE, CLASSES, generator("memory"))
    assert training_bytes(wide, Single(wide).loss, Batch(IMAGES, HARD), 100) > 1.7 * found


@pytest.mark.slow
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_resnet152_is_trained_within_24_gb(norm):
    """The survey's largest network on its largest batch, at 32x32."""
    config = settings.ResNet(kind="resnet", block="bottleneck", blocks=(3, 8, 36, 3), norm=norm)
    network = networks.create(config, 3, 32, CLASSES, generator("resnet152")).train()
    images = torch.randn(4, 3, 32, 32, generator=generator("large"))
    needed = training_bytes(network, Single(network).loss, Batch(images, HARD[:4]), 256)
    assert 10e9 < needed < 0.7 * 24e9


@pytest.mark.slow
@pytest.mark.parametrize("size", [1, 2])
def test_compiled_networks_learn_the_same(size):
    rules = {"batch": 8, "augment": "color_crop_rotate"}
    eager, compiled = examination(**rules), examination(compiled=True, **rules)
    for name in ("first", "again"):  # the second time nothing is compiled
        mine, theirs = ([Streams(name, number) for number in range(size)] for _ in range(2))
        expected = eager.accuracies(learnable(), theirs)
        assert compiled.accuracies(learnable(), mine) == pytest.approx(expected, abs=1.7)  # one test image


def test_mean_and_population_deviation_are_over_all_networks_of_all_sets():
    mean, std = mean_and_std([[1.0, 2.0], [3.0, 6.0]])
    assert mean == 3.0 and std == pytest.approx(3.5**0.5)
    assert mean_and_std([[42.0]]) == (42.0, 0.0)
