"""All classes at once, on stacked weights and side by side, give what a loop over classes gives."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from ddpipe import augmentation, networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import make
from ddpipe.objectives import Objective, lineup
from ddpipe.objectives.gradient import class_gradients, network_gradient
from ddpipe.randomness import Streams, generator
from ddpipe.settings.distillation import Distillation
from ddpipe.students import Student
from ddpipe.synthetic.pixels import Pixels
from tests.contexts import context

SIDE, CHANNELS = 11, 2
SIAMESE = "color_crop_cutout_flip_scale_rotate"
EVEN, UNEVEN = [2] * 5, [1, 3, 1, 3, 2]  # synthetic images of a class
PLENTY, SCARCE = [9] * 5, [9, 3, 9, 2, 9]  # real images of a class: fewer than a batch of two
REAL_BATCH = 4

GRADIENT = {
    "class": {},
    "joint": {"scope": "joint", "warmup": None},
    "joint in parts": {"scope": "joint", "warmup": None, "chunk": 4},
    "both": {"scope": "both", "warmup": None},
    "both in parts": {"scope": "both", "warmup": None, "chunk": 4},
    "sequential": {"sequential": True, "weights": "convolutions", "batch": 2},
}
OTHERS = {
    "dm": {"name": "distribution"},
    "dm in parts": {"name": "distribution", "chunk": 14},
    "kfs": {"name": "distribution", "batch": 1},
    "cafe": {"name": "features", "earlier": 0.1, "last": 1.0, "embedding": 2.0, "discrimination": 0.3},
    "cafe in parts": {
        "name": "features",
        "earlier": 0.1,
        "last": 1.0,
        "embedding": 2.0,
        "discrimination": 0.3,
        "chunk": 8,
    },
}


def objective(numbers: dict, real: Resident) -> Objective:
    record = Distillation.model_validate(
        {
            "synthetic": {"name": "pixels"},
            "objective": numbers if "name" in numbers else {"name": "gradient", "metric": "ours"} | numbers,
            "students": {"name": "fresh"},
            "outer": {"images": {"lr": 1.0}},
            "iterations": 1,
            "real_batch": REAL_BATCH,
        }
    ).objective
    return make(record, context(real, 1, real_batch=REAL_BATCH))


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator("all classes", shape))


class Scene:
    """Real images, a set and a network, all float64."""

    def __init__(self, sizes: Sequence[int], amounts: Sequence[int], norm: str = "instance"):
        labels = torch.arange(len(amounts)).repeat_interleave(torch.tensor(amounts))
        raw = torch.randint(256, (len(labels), CHANNELS, SIDE, SIDE), generator=generator("raw")).to(torch.uint8)
        self.real = Resident(raw, labels, fit(raw, settings.Dataset(source="digits")))
        self.real.images = self.real.images.double()
        classes = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        self.synthetic = Pixels(normal(len(classes), CHANNELS, SIDE, SIDE), classes, len(sizes))
        architecture = settings.ConvNet(kind="convnet", depth=2, width=6, norm=norm)  # type: ignore[arg-type]
        self.architecture = architecture
        self.network = networks.create(architecture, CHANNELS, SIDE, len(sizes), generator("network")).double()

    def losses(self, numbers: dict, strategy: str) -> list[tuple[Tensor, Tensor]]:
        """Values and gradients of one iteration from the same random numbers."""
        network = networks.create(self.architecture, CHANNELS, SIDE, len(self.synthetic.sizes), generator("network"))
        losses = objective(numbers, self.real).losses(
            self.synthetic, Student(network.double()), self.real, augmentation.make(strategy), Streams("draws")
        )
        return [(loss.value, *loss.gradients([self.synthetic.images])) for loss in losses]


@contextmanager
def one_by_one() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineup, "ALONE", 0)
        yield


@contextmanager
def at_once(card: int = 2**26) -> Iterator[None]:
    """As on an accelerator, a card busy with so many numbers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineup, "on_host", lambda tensor: False)
        patch.setattr(lineup, "CARD", card)
        patch.setattr(lineup, "PLAIN", 0)  # as many as a chunk says
        yield


def check(scene: Scene, numbers: dict, strategy: str, company: Callable = at_once) -> None:
    with one_by_one():
        expected = scene.losses(numbers, strategy)
    with company():
        found = scene.losses(numbers, strategy)
    assert len(found) == len(expected) > 0
    for ours, plain in zip(found, expected, strict=True):
        for a, b in zip(ours, plain, strict=True):
            assert bool(b.any())
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-11)


every_size = pytest.mark.parametrize("sizes", [EVEN, UNEVEN, [1] * 5], ids=["even", "uneven", "one"])
every_amount = pytest.mark.parametrize("amounts", [PLENTY, SCARCE], ids=["plenty", "scarce"])


@every_size
@every_amount
@pytest.mark.parametrize("strategy", ["none", SIAMESE, f"idc:{SIAMESE}"])
@pytest.mark.parametrize("name", GRADIENT)
def test_gradient_matching(name, strategy, sizes, amounts):
    check(Scene(sizes, amounts), GRADIENT[name], strategy)


@every_size
@every_amount
@pytest.mark.parametrize("strategy", ["none", SIAMESE])
@pytest.mark.parametrize("name", OTHERS)
def test_means_of_features(name, strategy, sizes, amounts):
    check(Scene(sizes, amounts), OTHERS[name], strategy)


@pytest.mark.parametrize("metric", ["ours", "mse", "cos", "magnitude", "l1"])
@pytest.mark.parametrize("name", ["class", "both"])
def test_every_metric(name, metric):
    check(Scene(EVEN, PLENTY), GRADIENT[name] | {"metric": metric}, SIAMESE)


@pytest.mark.parametrize(
    "strategy", [*SIAMESE.split("_"), "frepo:flip_color_crop_rotate_translate_cutout", "reflect:crop_flip"]
)
@pytest.mark.parametrize("sizes", [EVEN, UNEVEN, [1] * 5], ids=["even", "uneven", "one"])
def test_every_operation(strategy, sizes):
    check(Scene(sizes, PLENTY), OTHERS["dm"], strategy)


@pytest.mark.parametrize("name", ["class", "both", "both in parts", "sequential"])
def test_parts_of_two_classes(name):
    """A card that is full with two classes of two images: 2 x 2 x 6 x 11 x 11 numbers."""
    check(Scene(EVEN, SCARCE), GRADIENT[name], SIAMESE, lambda: at_once(2 * 2 * 6 * SIDE**2))


@contextmanager
def small_on_a_cpu() -> Iterator[None]:
    """Four classes of two images at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lineup, "ALONE", 2 * 6 * SIDE**2)
        patch.setattr(lineup, "HOST", 4 * 2 * 6 * SIDE**2)
        yield


@pytest.mark.parametrize("sizes", [EVEN, UNEVEN], ids=["even", "uneven"])
@pytest.mark.parametrize("name", GRADIENT)
def test_small_classes_on_a_cpu(name, sizes):
    check(Scene(sizes, SCARCE), GRADIENT[name], SIAMESE, small_on_a_cpu)


@pytest.mark.parametrize("name", ["class", "dm", "cafe"])
def test_batch_norm(name):
    check(Scene(EVEN, SCARCE, "batch"), (GRADIENT | OTHERS)[name], SIAMESE)


def test_gradients_of_classes_are_each_ones_own():
    network = Scene(EVEN, PLENTY).network
    images, labels = normal(3, 4, CHANNELS, SIDE, SIDE), torch.tensor([[2] * 4, [0] * 4, [1, 1, 3, 4]])
    weights = [p for p in network.parameters() if p.dim() > 1]
    for found, *expected in zip(
        class_gradients(network, weights, images, labels),
        *(network_gradient(network, weights, x, y) for x, y in zip(images, labels, strict=True)),
        strict=True,
    ):
        torch.testing.assert_close(found, torch.stack(expected), rtol=1e-9, atol=1e-12)
        assert not found.requires_grad


def test_runs_of_neighbours():
    assert lineup.runs([1, 1, 2, 2, 2, 1]) == [(0, 2), (2, 5), (5, 6)]
    assert lineup.runs([1] * 5, 2) == [(0, 2), (2, 4), (4, 5)]
    assert lineup.runs([]) == []


def test_how_many_classes_at_once_follows_from_sizes():
    network = networks.build(settings.ConvNet(kind="convnet", depth=2, width=16), 1, 8, 10)
    like = torch.zeros(1, 1, 8, 8)
    assert lineup.company(network, 1, like, twice=True) == lineup.HOST // (16 * 8 * 8) > 100
    assert lineup.company(network, 1, like, twice=False) == 1  # a CPU is as fast with one class
    assert lineup.company(network, 65, like, twice=True) == 1  # more than 2^16 numbers
    there = like.to("meta")
    assert lineup.company(network, 64, there, twice=False) == 2**26 // 2**16
    assert lineup.company(network, 10**9, there, twice=False) == 1
    batch = networks.build(settings.ConvNet(kind="convnet", depth=2, width=16, norm="batch"), 1, 8, 10)
    assert lineup.company(batch, 1, there, twice=True) == 1
