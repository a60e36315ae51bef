"""Passes over real data: every image once, in new orders, and a resumed run goes on in the middle of one."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.networks import build
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.objective import Objective
from ddpipe.randomness import Streams, generator
from tests.contexts import context


def resident(n: int = 23) -> Resident:
    images = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, 1, 8, 8).contiguous()  # told by their colour
    return Resident(images, torch.arange(n) % 3, fit(images, settings.Dataset(source="digits")))


def rows(real: Resident, images: Tensor) -> list[int]:
    colours = real.images[:, 0, 0, 0]
    return [int((colours == image[0, 0, 0]).nonzero()) for image in images]


@pytest.mark.parametrize("batch", [1, 5, 23, 100])
def test_every_pass_shows_every_image_once_in_a_new_order(batch: int) -> None:
    real, rng = resident(), generator("passes")
    given, orders = Passes(real, batch), []
    for _ in range(3):
        order: list[int] = []
        while len(order) < 23:
            images, labels = given.next(rng)
            assert len(images) == len(labels) == min(batch, 23 - len(order))
            order += rows(real, images)
            assert [row % 3 for row in order[-len(images) :]] == labels.tolist()
        assert sorted(order) == list(range(23))
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]


class Descent(Objective):
    """Pulls the set towards each batch of a pass over the real data, two batches an iteration."""

    def __init__(self, real: Resident):
        self.passes = Passes(real, 5)
        self.seen: list[list[int]] = []

    def losses(self, synthetic, student, real, augment, rng) -> Iterator[Loss]:
        for _ in range(2):
            images, _ = self.passes.next(rng("passes"))
            self.seen.append(rows(real, images))
            value = (synthetic.decode().images - images.mean(0)).square().sum()
            yield Loss(value.detach(), value)

    def state_dict(self) -> dict[str, Tensor]:
        return self.passes.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.passes.load_state_dict(state)


def distillation() -> Distillation:
    real = resident()
    parts = {"synthetic": {"name": "pixels"}, "objective": {"name": "distribution"}, "students": {"name": "fresh"}}
    chosen = settings.Distillation.model_validate(
        parts | {"outer": {"images": {"lr": 0.01, "momentum": 0.5}}, "iterations": 12}
    )
    network = build(settings.ConvNet(kind="convnet", depth=1, width=2), 1, 8, 3)
    run = compose(chosen, context(real, 2, network, Streams("passes"), flip=False))
    run.objective = Descent(real)
    return run


@pytest.mark.parametrize("after", [0, 1, 2, 3, 5, 11])  # 5 batches a pass: most of these end in the middle of one
def test_a_resumed_run_goes_on_in_the_middle_of_a_pass(tmp_path: Path, after: int) -> None:
    whole = distillation()
    for _ in range(12):
        whole.advance()
    first, store = distillation(), Checkpoints(tmp_path, "passes")
    for _ in range(after):
        first.advance()
    store.write("partial", first.state_dict())
    second = distillation()
    second.load_state_dict(store.read("partial")[0])
    for _ in range(12 - after):
        second.advance()
    assert first.objective.seen + second.objective.seen == whole.objective.seen
    assert torch.equal(second.synthetic.images, whole.synthetic.images)
    assert torch.equal(second.history, whole.history)
