"""Captured steps: replayed they compute what they compute when called, and nothing in them waits for a device."""

from collections.abc import Callable, Iterator

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import device, networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.rule import make
from ddpipe.experts.training import Cohort
from ddpipe.randomness import Streams, generator
from ddpipe.settings.students.pool import PoolStudents
from ddpipe.settings.students.trained import TrainedStudents
from ddpipe.students.pool import Pool
from ddpipe.students.trained import Trained
from ddpipe.synthetic import Batch
from ddpipe.synthetic.pixels import Pixels
from ddpipe.training import captured, optimizers
from ddpipe.training.captured import WARM, Captured, Recorder
from ddpipe.training.optimizers import Sgd
from ddpipe.training.replayed import Replayed
from ddpipe.training.sweep import Gradient, sweep, walk
from tests.emulated import Emulated, Uncaptured, storage

N, CLASSES = 22, 3
IMAGES = torch.randn(N, 1, 8, 8, generator=generator("captured"))
TARGETS = F.one_hot(torch.arange(N) % CLASSES, CLASSES).float()
BUSY = {"augment": "color_crop_scale", "cutmix": 0.5, "batch": 8, "weight_decay": 0.01}
SGD = BUSY | {"lr": 0.1, "momentum": 0.9, "drop": "half", "epochs": 7}
COSINE = {"name": "cosine", "warmup": 2, "last": 0.1}
ADAM = BUSY | {"optimizer": "adam", "lr": 0.01, "schedule": COSINE, "clip": {"norm": 0.5}, "epochs": 7}
METHODS = {
    "sgd": SGD,
    "sgd, staged": SGD | {"drop": "staged", "drop_resets_momentum": False, "clip": {"value": 0.01}},
    "sgd without momentum": SGD | {"momentum": 0.0, "cutmix": 0.0},
    "bfloat16": SGD | {"precision": "bfloat16"},
    "tf32": SGD | {"precision": "tf32"},
    **{name: ADAM | {"optimizer": name} for name in ("adam", "adamw")},
}
EXPERTS = {name: ADAM | {"optimizer": name} for name in ("lamb", "adabelief")} | {
    "gsam": SGD | {"flat": {"rho": 0.05, "alpha": 0.5}},
    "gsam, adam": ADAM | {"flat": {"rho": 0.05, "alpha": 0.5, "adaptive": False}},
}


def fetch(index) -> Batch:
    return Batch(IMAGES[index], TARGETS[index])


def network(norm: str = "instance", seed: int = 0) -> networks.Classifier:
    config = settings.ConvNet(kind="convnet", depth=1, width=4, norm=norm)
    return networks.create(config, 1, 8, CLASSES, generator(seed))


def captures(monkeypatch: pytest.MonkeyPatch, how: Recorder | None) -> None:
    monkeypatch.setattr(captured, "recorder", lambda _: how)


def compare(monkeypatch: pytest.MonkeyPatch, result: Callable[[], Tensor], shapes: int, rtol: float = 1e-4) -> Emulated:
    """`result` is the same whether steps of so many shapes are replayed or called, and nearly that of plain steps."""
    made = Emulated()
    captures(monkeypatch, made)
    replayed = result()
    assert made.captures == shapes and made.replays > 5
    captures(monkeypatch, Uncaptured())
    assert torch.equal(replayed, result())
    captures(monkeypatch, None)
    plain = result()
    assert plain.isfinite().all()
    torch.testing.assert_close(replayed, plain, rtol=rtol, atol=rtol * float(plain.abs().max()))
    return made


@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("name", METHODS | EXPERTS)
def test_experts(monkeypatch, name, together, norm):
    """Two shapes of batches, 8 and 6 images."""
    if "precision" in (METHODS | EXPERTS)[name] and norm == "batch":
        pytest.skip("one is enough")
    numbers = {"data": "none", "network": "none", "networks": 1} | (METHODS | EXPERTS)[name]
    config = settings.Experts.model_validate(numbers)
    cohorts: list[Cohort] = []

    def trained() -> Tensor:
        rngs = [Streams("expert", number) for number in range(together)]
        cohorts.append(Cohort(config, network(norm), fetch, N, False, rngs))
        states = []
        for _ in range(config.epochs):
            cohorts[-1].advance()
            states.append(torch.cat([part.flatten() for part in cohorts[-1].parts().values()]))
        return torch.cat(states)

    made = compare(monkeypatch, trained, shapes=2, rtol=0.05 if name in ("bfloat16", "lamb", "adabelief") else 1e-3)
    own = [*cohorts[0].parts().values(), cohorts[0].optimizer.rate]
    assert {storage(t) for t in made.foreign} <= {storage(t) for t in own}, "a step takes nothing from the host"


@pytest.mark.parametrize("together", [1, 2])
@pytest.mark.parametrize("name", METHODS)
def test_evaluation(monkeypatch, name, together):
    rule = make(
        settings.Trained.model_validate({"kind": "trained", "networks": 2, "extra_epoch": True} | METHODS[name]), True
    )

    def trained() -> Tensor:
        group = rule.gather(network(), together)
        streams = [Streams("network", number) for number in range(together)]
        found = rule.fit(group, TrainingSet(fetch, N), streams)
        return torch.cat([p.detach().flatten().clone() for net in found for p in net.parameters()])

    compare(monkeypatch, trained, shapes=2, rtol=0.05 if name == "bfloat16" else 1e-3)


def test_centred_networks(monkeypatch):
    numbers = {"kind": "centred", "lr": 0.01, "label_scale": 2.0, "pull": 0.01, "batch": 8}
    rule = make(settings.Centred.model_validate(numbers | {"steps": 24, "every": 5, "patience": 100}), True)
    data = TrainingSet(fetch, N, real=lambda count: Whole())

    def trained() -> Tensor:
        found = rule.fit(rule.gather(network(), 2), data, [Streams("network", number) for number in range(2)])
        return torch.cat([p.detach().flatten().clone() for net in found for p in net.parameters()])

    captures(monkeypatch, made := Emulated())
    replayed = trained()
    assert made.captures == 4, "two shapes of each network"
    captures(monkeypatch, Uncaptured())
    assert torch.equal(replayed, trained())


class Whole:
    """Real images of which each batch is the same."""

    class_index = [torch.arange(N)[label::CLASSES] for label in range(CLASSES)]
    labels = torch.arange(N) % CLASSES
    images = IMAGES

    def batch(self, rows: Tensor) -> Tensor:
        return IMAGES[rows]


@pytest.mark.parametrize("numbers", [
    {"lr": 0.1, "batch": 8, "momentum": 0.5}, {"lr": 0.1, "batch": 256},
    {"lr": 0.01, "batch": 8, "on": "real", "cutmix": 0.5, "momentum": 0.9, "weight_decay": 0.01},
])  # fmt: skip
def test_students(monkeypatch, numbers):
    """Networks come and go, and the set moves; each step sees what there is now."""
    config = TrainedStudents.model_validate({"name": "trained", "outer_loop": 3, "inner_loop": 3} | numbers)
    given = torch.arange(CLASSES).repeat_interleave(3)

    def lived() -> Tensor:
        synthetic = Pixels(IMAGES[: len(given)].clone(), given, CLASSES)
        real = Whole() if config.on == "real" else None
        students, rng, states = Trained(config, network(), Augment("color_crop"), real), Streams("students"), []
        for iteration in range(9):
            found = students.next(synthetic, rng, iteration).network
            states += [p.detach().flatten().clone() for p in found.parameters()]
            with torch.no_grad():
                synthetic.images.mul_(0.9)
        return torch.cat(states)

    compare(monkeypatch, lived, shapes=2 if numbers["batch"] == 8 else 1, rtol=1e-3)


def test_a_pool(monkeypatch):
    numbers = {"name": "pool", "networks": 2, "life": 6, "batch": 5, "optimizer": "adam", "lr": 0.01}
    config, given = PoolStudents.model_validate(numbers), torch.arange(CLASSES).repeat_interleave(3)

    def lived() -> Tensor:
        synthetic = Pixels(IMAGES[: len(given)].clone(), given, CLASSES)
        students, rng = Pool(config, network()), Streams("students")
        for iteration in range(24):
            students.next(synthetic, rng, iteration)
        return torch.cat([p.detach().flatten() for member in students.members for p in member.network.parameters()])

    compare(monkeypatch, lived, shapes=2, rtol=1e-3)


@pytest.mark.parametrize("momentum", [None, 0.6])
@pytest.mark.parametrize("learned", ["images", "targets", "both"])
def test_a_sweep(momentum, learned):
    """Each captured step keeps its results for the walk, and is pulled back where it was."""
    gradient, steps = Gradient(network()), 9
    start = torch.cat([p.detach().flatten() for p in gradient.network.parameters()])
    pulls = {steps: torch.randn(len(start), generator=generator("pull"))}
    lr = torch.full((steps,), 0.1, requires_grad=True)

    def swept(gradient: Gradient) -> list[Tensor]:
        batches = []
        for t in range(steps):
            rows = slice(t, t + 5 + t % 2)
            images, targets = IMAGES[rows].clone(), TARGETS[rows].clone()
            batches.append(
                Batch(images.requires_grad_(learned != "targets"), targets.requires_grad_(learned != "images"))
            )
        taken = walk(
            gradient, start, batches, lr, None if momentum is None else torch.tensor(momentum, requires_grad=True)
        )
        found = sweep(taken, pulls)
        return [*taken.thetas, *(part for parts in found.values() for part in parts)]

    plain, made = swept(gradient), Emulated()
    replayed = swept(Replayed(gradient, made))
    assert made.captures >= 3 and len(plain) == len(replayed)
    for a, b in zip(plain, replayed, strict=True):
        assert torch.equal(a, b)
    assert {storage(t) for t in made.foreign} <= {storage(b) for b in gradient.network.buffers()}


@pytest.mark.parametrize(("step", "said"), [
    (lambda x: x * float(x.sum()), "_local_scalar_dense"), (lambda x: x + torch.tensor(1.0), "lift_fresh"),
    (lambda x: x[x > 0], "not permitted"), (lambda x: x + torch.rand(3), "rand"),
])  # fmt: skip
def test_what_cannot_be_captured_is_called(capsys, step, said):
    made = Captured(step, Emulated())
    for number in range(WARM + 3):
        x = torch.arange(3.0) + number
        assert made(x).shape == step(x).shape
    told = capsys.readouterr().err
    assert made.how is None and told.count("run.graphs: ") == 1 and said in told


def test_a_step_that_fails_while_it_is_captured_changed_nothing(capsys):
    total = torch.zeros(())

    def step(x: Tensor) -> Tensor:
        total.add_(x.sum())
        return x * float(total)

    made = Captured(step, Emulated())
    for _ in range(WARM + 2):
        made(torch.ones(2))
    assert float(total) == 2 * (WARM + 2)


def test_each_shape_is_captured_by_itself():
    made, how = Captured(lambda x: x.sum(), Emulated()), Emulated()
    made.how = how
    for number in range(10):
        assert float(made(torch.full((3 + number % 2,), float(number)))) == number * (3 + number % 2)
    assert how.captures == 2 and how.replays == 10 - 2 * WARM


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lamb", "adabelief"])
def test_step_size_and_count_may_lie_on_the_device(name):
    """The same steps up to rounding, schedule and state included."""
    own = {"momentum": 0.9} if name == "sgd" else {"betas": (0.8, 0.99)}
    config = settings.Optimizer.model_validate({"optimizer": name, "lr": 0.1, "weight_decay": 0.01, **own})

    def steps() -> Iterator[list[Tensor]]:
        rng = generator("steps")
        while True:
            yield [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in [(3, 4), (5,), ()]]

    found = []
    for resides in (False, True):
        feed = steps()
        mine = next(feed)
        optimizer = optimizers.make(config, mine)
        if resides:
            optimizer.reside()
        for number in range(12):
            optimizer.lr = 0.1 / (1 + number // 4)
            if number == 8:
                optimizer.forget()
            optimizer.step(next(feed))
        found.append(mine)
        state = optimizer.state_dict()
        again = optimizers.make(config, next(feed))
        again.load_state_dict({key: value.clone() for key, value in state.items()})
        assert all(torch.equal(value, state[key]) for key, value in again.state_dict().items())
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-13)


def test_graphs_may_be_switched_off():
    run = settings.Run(device="cpu", graphs=False)
    with device.lent(run):
        assert captured.recorder(torch.device("cuda")) is None and not device.graphs
    assert device.graphs and captured.recorder(torch.device("cpu")) is None


def test_a_step_on_a_cpu_is_the_step_itself():
    parameters = [torch.ones(2, requires_grad=True)]
    optimizer = Sgd(parameters, 0.5)
    made = captured.captured(lambda x: x, optimizer)
    assert made.how is None and optimizer.rate is None
