"""The moving average of a set: kept beside what is learned, in the checkpoint, handed over at the end."""

import pytest
import torch

from ddpipe import settings
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.randomness import Streams
from tests.reference.program import Scene

DECAY, ITERATIONS = 0.75, 4
SCENE = Scene("dm", 1)


def run(decay: float | None = DECAY) -> Distillation:
    config = settings.Distillation.model_validate(SCENE.settings(ITERATIONS).model_dump() | {"average": decay})
    return compose(config, SCENE.ipc, SCENE.real(), SCENE.network(), False, Streams("average"))


def test_it_is_that_of_the_images_after_every_iteration_from_the_start_on():
    averaged, plain = run(), run(None)
    expected = averaged.synthetic.images.detach().clone()
    for _ in range(ITERATIONS):
        averaged.advance()
        plain.advance()
        assert torch.equal(averaged.synthetic.images, plain.synthetic.images), "the average must not steer the run"
        expected = DECAY * expected + (1 - DECAY) * plain.synthetic.images.detach()
    for one in (averaged, plain):
        one.finish()
    torch.testing.assert_close(averaged.synthetic.decode().images.detach(), expected)
    assert not torch.allclose(plain.synthetic.images, averaged.synthetic.images)


@pytest.mark.parametrize("after", [1, 3])
def test_a_resumed_run_ends_with_the_same_average(after):
    unbroken, resumed = run(), run()
    for number in range(ITERATIONS):
        if number == after:
            resumed.load_state_dict({name: tensor.clone() for name, tensor in unbroken.state_dict().items()})
        unbroken.advance()
    while resumed.iteration < ITERATIONS:
        resumed.advance()
    for one in (unbroken, resumed):
        one.finish()
    assert torch.equal(unbroken.synthetic.images, resumed.synthetic.images)
