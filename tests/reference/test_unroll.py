"""Unrolled training composed of parts gives the loss and the gradients of the straight-line reference."""

from itertools import islice

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.errors import UserError
from ddpipe.objectives.unroll import Unroll
from ddpipe.randomness import Streams, generator
from ddpipe.settings.labels import Labels
from ddpipe.students import Student
from ddpipe.synthetic.pixels import Pixels
from tests.reference.noting import Noting
from tests.reference.unroll import meta_loss

SIDE, CHANNELS, CLASSES, IPC, STEPS, REAL = 11, 2, 3, 4, 5, 3
STRATEGY = "color_crop_cutout_flip_scale_rotate"


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator("unroll", shape))


def resident(sizes: tuple[int, ...] = (5, 7, 4)) -> Resident:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    pixels = torch.randint(256, (len(labels), CHANNELS, SIDE, SIDE), generator=generator("real")).byte()
    return Resident(pixels, labels, fit(pixels, settings.Dataset(source="digits"), torch.float64))


def scene() -> tuple[Student, Pixels, Resident]:
    """A student, a set with targets that are no distributions, and real images."""
    architecture = settings.ConvNet(kind="convnet", depth=2, width=6)
    network = networks.create(architecture, CHANNELS, SIDE, CLASSES, generator("network")).double()
    classes = torch.arange(CLASSES).repeat_interleave(IPC)
    synthetic = Pixels(normal(len(classes), CHANNELS, SIDE, SIDE), classes, CLASSES)
    synthetic.label_(Labels(learned=True))
    with torch.no_grad():
        synthetic.targets += 0.3 * normal(*synthetic.targets.shape)
    return Student(network), synthetic, resident()


def objective(real: Resident, **numbers) -> Unroll:
    numbers = {"steps": STEPS, "lr": 0.3} | numbers
    made = Unroll(settings.objectives.unroll.Unroll(name="unroll", **numbers), real, REAL, Augment("none"))
    made.raw = made.raw.detach().double() + 0.1 * normal(len(made.raw)) * made.raw.requires_grad
    made.raw.requires_grad_(numbers.get("rates", "fixed") != "fixed")
    return made


def by_blocks(blocks: int) -> list[list[int]]:
    n = IPC // blocks
    own = [[kind * IPC + b * n + place for kind in range(CLASSES) for place in range(n)] for b in range(blocks)]
    return [own[t % blocks] for t in range(STEPS)]


@pytest.mark.parametrize("how", ["exact", "full"])
@pytest.mark.parametrize("rates", ["softplus", "log", "fixed"])
@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("momentum", [None, 0.9])
def test_loss_and_gradients_on_blocks(blocks, rates, how, momentum):
    student, synthetic, real = scene()
    made = objective(real, blocks=blocks, rates=rates, gradient=how, momentum=momentum, batch=6)
    (loss,) = made.losses(synthetic, student, real, Augment("none"), Streams("draws"))
    learned = [synthetic.images, synthetic.targets, *([made.raw] if rates != "fixed" else [])]
    order = torch.randperm(16, generator=Streams("draws")("real"))[:6]  # of a pass over all real images
    lrs = {"softplus": F.softplus, "log": torch.exp, "fixed": torch.clone}[rates](made.raw)
    given = real.batch(order), real.labels[order]
    value = meta_loss(
        student.network,
        synthetic.images,
        synthetic.targets,
        lrs,
        momentum or 0.0,
        by_blocks(blocks),
        torch.clone,
        given,
    )
    torch.testing.assert_close(loss.value, value.detach())
    expected = torch.autograd.grad(value, learned)
    for a, b in zip(loss.gradients(learned), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("how", ["exact", "full"])
@pytest.mark.parametrize("strategy", ["none", *STRATEGY.split("_"), "flip_rotate"])
@pytest.mark.parametrize("classes", [None, 2])
def test_loss_and_gradients_on_random_examples_of_each_class(classes, strategy, how):
    """One augmentation for all steps and for the real images; of two classes, and of all."""
    student, synthetic, real = scene()
    augment, rng = Noting(strategy), Streams("draws")
    made = objective(real, examples=2, momentum=0.9, classes=classes, gradient=how)
    (loss,) = made.losses(synthetic, student, real, augment, rng)
    again = Streams("draws")
    task = range(CLASSES) if classes is None else sorted(torch.randperm(CLASSES, generator=again("task"))[:2].tolist())
    balanced = islice(synthetic.balanced(again("synthetic.balanced"), 2), STEPS)
    rows = [[row for row in step.tolist() if row // IPC in task] for step in balanced]
    assert all(len(row) == 2 * len(task) for row in rows)
    order = torch.cat([real.sample_index(label, REAL, again("real")) for label in task])
    (draw,) = augment.draws
    value = meta_loss(
        student.network,
        synthetic.images,
        synthetic.targets,
        made.raw,
        0.9,
        rows,
        lambda images: augment(images, draw),
        (real.batch(order), real.labels[order]),
    )
    learned = [synthetic.images, synthetic.targets]
    torch.testing.assert_close(loss.value, value.detach())
    for a, b in zip(loss.gradients(learned), torch.autograd.grad(value, learned), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-12)


def test_passes_show_every_real_image_once_and_go_on_from_their_state():
    student, synthetic, real = scene()
    made, rng = objective(real, blocks=2, batch=6), Streams("draws")

    def iterate(chosen: Unroll, draws: Streams) -> float:
        (loss,) = chosen.losses(synthetic, student, real, Augment("none"), draws)
        return float(loss.value)

    seen = [iterate(made, rng) for _ in range(2)]
    state = {name: value.clone() for name, value in made.state_dict().items()}
    assert int(state["real.position"]) == 12 and sorted(state["real.order"].tolist()) == list(range(16))
    resumed, same = objective(real, blocks=2, batch=6), Streams("draws")
    resumed.load_state_dict(state)
    same.load_state_dict(rng.state_dict())
    later = [iterate(made, rng) for _ in range(3)]
    assert [iterate(resumed, same) for _ in range(3)] == later
    assert len({*seen, *later}) == 5


@pytest.mark.parametrize("rates", ["fixed", "softplus", "log"])
def test_hints_are_the_step_sizes_and_the_block_of_each_example(rates):
    _, synthetic, real = scene()
    made = Unroll(
        settings.objectives.unroll.Unroll(name="unroll", steps=STEPS, blocks=2, lr=0.02, rates=rates),
        real,
        REAL,
        Augment("none"),
    )
    given = made.hints(synthetic)
    torch.testing.assert_close(given["lr"], torch.full((STEPS,), 0.02))
    assert given["blocks"].tolist() == [0, 0, 1, 1] * CLASSES
    assert objective(real, blocks=1).hints(synthetic).keys() == {"lr"}
    assert objective(real, examples=1).hints(synthetic) == {}, "nobody can take random steps again"


def test_more_blocks_than_a_class_has_examples_are_refused():
    _, synthetic, real = scene()
    assert objective(real, blocks=3).hints(synthetic), "the first block is one example a class larger"
    with pytest.raises(
        UserError, match=r"^objective\.blocks: 4 examples of a class do not divide into 5 blocks"
    ) as error:
        objective(real, blocks=5).hints(synthetic)
    assert str(error.value).endswith("set it to 4")
