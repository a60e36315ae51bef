"""An iteration's outer step and the watch over it read nothing from the device."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ddpipe import settings
from ddpipe.distillation.finite import Watch
from ddpipe.distillation.outer import Outer
from ddpipe.objectives.loss import Loss
from ddpipe.randomness import generator
from ddpipe.training.optimizers import Moments
from tests.emulated import REFUSED, storage


class Unread(TorchDispatchMode):
    """Refuses to read a number from any tensor but `host`, which a device does not hold."""

    def __init__(self, host: list[Tensor]):
        super().__init__()
        self.host = {storage(tensor) for tensor in host}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func._schema.name.removeprefix("aten::")
        assert name not in REFUSED or (name == "_local_scalar_dense" and storage(args[0]) in self.host), name
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("clip", [None, {"norm": 1.0}, {"value": 0.1}])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lamb", "adabelief"])
def test_an_outer_step_and_the_watch_over_it_do_not_wait_for_the_device(name, clip):
    """Step size and count are on the host as they are, so that an iteration only queues kernels."""
    rng = generator("learned")
    learned = {group: [torch.randn(4, 3, generator=rng, requires_grad=True)] for group in ("images", "targets")}
    own = {"momentum": 0.5} if name == "sgd" else {}
    config = {
        group: settings.Optimizer(optimizer=name, lr=0.1, weight_decay=0.1, clip=clip, **own) for group in learned
    }
    outer = Outer(learned, config, None if clip is None else settings.Clip(**clip))
    watch, tensors = Watch(list(learned), torch.device("cpu")), [p for own in learned.values() for p in own]
    loss = Loss(torch.zeros(()), tensors, [torch.ones_like(p) for p in tensors])
    before = [p.detach().clone() for p in tensors]
    with Unread([made.count for made in outer.optimizers.values() if isinstance(made, Moments)]):
        for number in range(3):
            outer.begin(number, 3)
            outer.step(loss)
            watch.note(number, list(learned.values()))
    assert watch.earliest() is None and not any(torch.equal(p, b) for p, b in zip(tensors, before, strict=True))
