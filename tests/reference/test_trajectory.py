"""Trajectory matching composed of parts gives the loss and the gradients of the straight-line reference."""

from itertools import islice

import pytest
import torch
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.objectives.trajectory import TrajectoryMatching
from ddpipe.randomness import Streams, generator
from ddpipe.students import Segment, Student
from ddpipe.synthetic.pixels import Pixels
from tests.reference.noting import Noting
from tests.reference.trajectory import mtt_loss_and_gradient

SIDE, CHANNELS, CLASSES, IPC, STEPS = 11, 2, 3, 2, 5
STRATEGY = "color_crop_cutout_flip_scale_rotate"


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator("trajectory", shape))


def scene(dtype: torch.dtype = torch.float64) -> tuple[Student, Pixels]:
    architecture = settings.ConvNet(kind="convnet", depth=2, width=6)
    network = networks.create(architecture, CHANNELS, SIDE, CLASSES, generator("network")).to(dtype)
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    target = start + 0.1 * normal(len(start)).to(dtype)
    classes = torch.arange(CLASSES).repeat_interleave(IPC)
    synthetic = Pixels(normal(len(classes), CHANNELS, SIDE, SIDE).to(dtype), classes, CLASSES)
    return Student(network, Segment(start, target)), synthetic


def objective(**numbers) -> TrajectoryMatching:
    config = settings.objectives.trajectory.TrajectoryMatching(name="trajectory", steps=STEPS, lr=0.3, **numbers)
    made = TrajectoryMatching(config)
    made.lr = made.lr.detach().double().requires_grad_()
    return made


@pytest.mark.parametrize("how", ["exact", "full"])
@pytest.mark.parametrize("batch", [None, 4, 1])
@pytest.mark.parametrize("strategy", ["none", *STRATEGY.split("_"), STRATEGY])
def test_loss_and_gradients(strategy, batch, how):
    student, synthetic = scene()
    augment, rng = Noting(strategy), Streams("draws")
    made = objective(gradient=how, batch=batch)
    (loss,) = made.losses(synthetic, student, None, augment, rng)
    found = loss.value, *loss.gradients([synthetic.images, made.lr])
    rows = list(islice(synthetic.batches(Streams("draws")("synthetic.batches"), batch), STEPS))
    assert len(augment.draws) == STEPS and student.segment is not None
    labels = synthetic.classes
    expected = mtt_loss_and_gradient(
        student.network, *student.segment, synthetic.images, labels, made.lr, rows, augment, augment.draws
    )
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_truncation_is_exact_for_one_step_only():
    student, synthetic = scene()
    for steps, equal in ((1, True), (STEPS, False)):
        gradients = []
        for how in ("exact", "truncated"):
            made = objective(gradient=how)
            made.config = made.config.model_copy(update={"steps": steps})
            (loss,) = made.losses(synthetic, student, None, Augment("none"), Streams("draws"))
            gradients.append(loss.gradients([synthetic.images])[0])
        assert torch.allclose(*gradients, rtol=1e-9) is equal


def test_short_chunks_come_first_and_every_image_once_a_round():
    _, synthetic = scene()
    rows = list(islice(synthetic.batches(generator("chunks"), 4), 4))
    assert [len(part) for part in rows] == [2, 4, 2, 4]
    for pair in (rows[:2], rows[2:]):
        assert sorted(torch.cat(pair).tolist()) == list(range(CLASSES * IPC))


def test_soft_labels_are_those_of_the_target_and_their_agreement_is_told():
    student, synthetic = scene(torch.float32)
    made = TrajectoryMatching(
        settings.objectives.trajectory.TrajectoryMatching(name="trajectory", steps=2, soft_labels=True)
    )
    list(made.losses(synthetic, student, None, Augment("none"), Streams("draws")))
    assert student.segment is not None
    torch.nn.utils.vector_to_parameters(student.segment.target, student.network.parameters())
    expected = student.network(synthetic.images).softmax(1)
    torch.testing.assert_close(synthetic.targets, expected)
    share = (expected.argmax(1) == synthetic.classes).float().mean()
    assert made.hints(synthetic)["agreement"] == share


def test_the_step_size_stays_above_its_floor():
    made = TrajectoryMatching(
        settings.objectives.trajectory.TrajectoryMatching(name="trajectory", steps=1, smallest_lr=0.001)
    )
    with torch.no_grad():
        made.lr.fill_(-3.0)
    made.project_()
    assert float(made.hints(scene()[1])["lr"]) == pytest.approx(0.001)
