"""The reverse sweep through compiled steps beside the eager one, which golden and reference tests check."""

import pytest
import torch

from ddpipe import networks, settings
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training.unroll import Compiled, Gradient, Step, sweep, walk

CLASSES, STEPS = 3, 4


def network() -> networks.Classifier:
    return networks.create(settings.ConvNet(kind="convnet", depth=1, width=4), 1, 8, CLASSES, generator("network"))


def walked(gradient: Gradient, truncated: bool) -> tuple[list[torch.Tensor], torch.Tensor]:
    rng = generator("batches")
    start = torch.cat([p.detach().flatten() for p in gradient.network.parameters()])
    batches = [Batch(torch.randn(CLASSES, 1, 8, 8, generator=rng), torch.eye(CLASSES)) for _ in range(STEPS)]
    lr, pull = torch.tensor(0.05), torch.randn(len(start), generator=rng)
    thetas = walk(gradient, start, batches, lr)
    return sweep(gradient, thetas, batches, lr, pull, truncated)


def test_what_is_not_wanted_is_not_computed():
    gradient = Gradient(network())
    theta = torch.cat([p.detach().flatten() for p in gradient.network.parameters()])
    batch = Batch(torch.randn(CLASSES, 1, 8, 8, generator=generator("images")), torch.eye(CLASSES))
    step, pull = Step(theta, theta, batch, torch.ones(())), torch.randn(len(theta), generator=generator("pull"))
    slope, by_images, by_theta = gradient.pull_back(step, pull)
    alone = gradient.pull_back(step, pull, further=False)
    assert by_theta is not None and alone[2] is None
    assert torch.equal(alone[0], slope) and torch.equal(alone[1], by_images)


@pytest.mark.slow
def test_compiled_steps_give_the_same_gradients():
    eager, compiled = Gradient(network()), Compiled(network())
    for truncated in (False, True):
        expected, found = walked(eager, truncated), walked(compiled, truncated)
        assert len(found[0]) == STEPS
        for mine, theirs in zip(found[0], expected[0], strict=True):
            assert mine.abs().max() > 0
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found[1], expected[1], rtol=1e-4, atol=1e-4)
