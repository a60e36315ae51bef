"""The composed objectives give the loss and the image gradient of the straight-line references."""

from dataclasses import replace

import pytest
import torch
from parts import WholeClass
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Draw
from ddpipe.objectives import distribution, gradient
from ddpipe.randomness import Streams, generator
from ddpipe.students import Student
from ddpipe.synthetic.pixels import Pixels
from tests.reference.distribution import dm_loss_and_gradient
from tests.reference.gradient import dc_loss_and_gradient, dcc_loss_and_gradient, jiang_loss_and_gradient
from tests.reference.noting import Noting
from tests.reference.program import METHODS, Scene, straight
from tests.reference.program import composed as composed_run

SIZES = [5, 3, 7, 4]  # real images of each class
REAL_BATCH = 4  # more than class 1 has
SIDE, CHANNELS = 11, 2
STRATEGY = "color_crop_cutout_flip_scale_rotate"

every_ipc = pytest.mark.parametrize("ipc", [1, 2, 5])
every_strategy = pytest.mark.parametrize("strategy", ["none", *STRATEGY.split("_"), STRATEGY])


class Batches(WholeClass):
    """Real data that hands out one given batch a class."""

    def sample_index(self, label: int, n: int, rng: torch.Generator) -> Tensor:
        assert n == REAL_BATCH
        return super().sample_index(label, n, rng)


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator("reference", shape))


def scene(ipc: int, norm: str = "instance") -> tuple[networks.Classifier, list[Tensor], Pixels]:
    """A network, real batches of unequal sizes and a synthetic set, all float64."""
    architecture = settings.ConvNet(kind="convnet", depth=2, width=6, norm=norm)
    network = networks.create(architecture, CHANNELS, SIDE, len(SIZES), generator("network")).double()
    real = [normal(min(size, REAL_BATCH), CHANNELS, SIDE, SIDE) + label for label, size in enumerate(SIZES)]
    classes = torch.arange(len(SIZES)).repeat_interleave(ipc)
    return network, real, Pixels(normal(len(classes), CHANNELS, SIDE, SIDE), classes, len(SIZES))


def composed(objective, network, real, synthetic, augment) -> tuple[Tensor, Tensor]:
    (loss,) = objective.losses(synthetic, Student(network), Batches(real), augment, Streams("draws"))
    return loss.value, *loss.gradients([synthetic.images])


def check(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> None:
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


@every_ipc
@every_strategy
def test_gradient_matching(ipc, strategy):
    network, real, synthetic = scene(ipc)
    augment = Noting(strategy)
    objective = gradient.GradientMatching(settings.objectives.gradient.GradientMatching(name="gradient"), REAL_BATCH)
    found = composed(objective, network, real, synthetic, augment)
    check(found, dc_loss_and_gradient(network, real, synthetic.images, ipc, augment, augment.draws))
    assert len(augment.draws) == len(SIZES)


@every_ipc
@every_strategy
@pytest.mark.parametrize("chunk", [512, 1])  # one graph; class by class
@pytest.mark.parametrize(
    ("settled", "reference"),
    [
        ({"scope": "joint"}, dcc_loss_and_gradient),
        ({"scope": "both", "metric": "magnitude"}, jiang_loss_and_gradient),
    ],
)
def test_gradient_matching_where_classes_meet(ipc, strategy, chunk, settled, reference):
    network, real, synthetic = scene(ipc)
    augment = Noting(strategy)
    chosen = settings.objectives.gradient.GradientMatching(name="gradient", chunk=chunk, **settled)
    found = composed(gradient.GradientMatching(chosen, REAL_BATCH), network, real, synthetic, augment)
    check(found, reference(network, real, synthetic.images, ipc, augment, augment.draws))


@every_ipc
@every_strategy
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("together", [1, 3, 4])
def test_distribution_matching(ipc, strategy, norm, together):
    network, real, synthetic = scene(ipc, norm)
    augment = Noting(strategy)
    chosen = settings.objectives.distribution.DistributionMatching(
        name="distribution", chunk=together * (REAL_BATCH + ipc)
    )
    found = composed(distribution.DistributionMatching(chosen, REAL_BATCH), network, real, synthetic, augment)
    check(found, dm_loss_and_gradient(network, real, synthetic.images, ipc, augment, augment.draws))
    assert len(augment.draws) == len(SIZES)


def test_without_an_augmentation_nothing_is_changed():
    network, real, synthetic = scene(2)
    none = Noting("none")
    for reference in (dc_loss_and_gradient, dm_loss_and_gradient):
        plain = reference(network, real, synthetic.images, 2)
        check(reference(network, real, synthetic.images, 2, none, [Draw("none", torch.empty(0, 1))] * 4), plain)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("ipc", [1, 3])
def test_a_whole_run_is_that_of_the_plain_program(method, ipc):
    scene = Scene(method, ipc, width=4, real_batch=8, outer_loop=3, inner_loop=2, num_classes=4, per_class=11)
    if method == "dm":
        scene = replace(scene, outer_loop=1)
    run, updates = composed_run(scene, iterations=5), straight(scene)
    for _ in range(5):  # two networks
        run.advance()
        expected = next(updates)
    moved = (expected - composed_run(scene, iterations=5).synthetic.images.detach()).norm()
    assert float((run.synthetic.images.detach() - expected).norm() / moved) < 1e-3
