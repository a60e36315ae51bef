"""torch.optim.SGD is the oracle."""

import itertools

import pytest
import torch

from ddpipe.randomness import generator
from ddpipe.training.sgd import Sgd

SHAPES = [(3, 4), (5,), (2, 3, 1, 1)]


@pytest.mark.parametrize("momentum, weight_decay", list(itertools.product([0.0, 0.5, 0.9], [0.0, 5e-4])))
def test_equals_torch(momentum: float, weight_decay: float) -> None:
    rng = generator("sgd")
    start = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in SHAPES]
    mine, theirs = [p.clone() for p in start], [p.clone().requires_grad_() for p in start]
    ours = Sgd(mine, 0.1, momentum, weight_decay)
    oracle = torch.optim.SGD(theirs, lr=0.1, momentum=momentum, weight_decay=weight_decay)
    for _ in range(4):
        gradients = [torch.randn(shape, generator=rng, dtype=torch.float64) for shape in SHAPES]
        kept = [g.clone() for g in gradients]
        ours.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
        oracle.step()
        assert all(torch.equal(g, k) for g, k in zip(gradients, kept, strict=True))
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-14, atol=0)


def test_state_continues() -> None:
    rng = generator("sgd state")
    gradients = [torch.randn(shape, generator=rng) for shape in SHAPES]
    unbroken, broken = ([torch.ones(shape) for shape in SHAPES] for _ in range(2))
    whole, first = Sgd(unbroken, 0.1, 0.9), Sgd(broken, 0.1, 0.9)
    whole.step(gradients)
    first.step(gradients)
    second = Sgd(broken, 0.1, 0.9)
    second.load_state_dict({key: value.clone() for key, value in first.state_dict().items()})
    whole.step(gradients)
    second.step(gradients)
    assert all(torch.equal(a, b) for a, b in zip(unbroken, broken, strict=True))
