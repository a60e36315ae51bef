"""Steps that carry statistics: one step's graph at a time against the graph of all, and against the sweep without."""

from itertools import cycle, islice

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training import carried, sweep

CLASSES, SIDE, STEPS = 3, 8, 12
LEARNER = settings.Learner(kind="learner", widths=(3, 4), halved=(1, 2), halving="pool", hidden=5)
PLAIN = settings.ConvNet(kind="convnet", depth=1, width=4)  # it carries nothing


def normal(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=generator("carried", shape))


def network_of(architecture: settings.Network) -> networks.Classifier:
    return networks.create(architecture, 1, SIDE, CLASSES, generator("network")).double()


class Scene:
    """A walk on two batches in turn, judged after some steps; everything that can be learned is."""

    def __init__(self, architecture: settings.Network, momentum: str):
        self.network = network_of(architecture)
        self.start = torch.cat([p.detach().flatten() for p in self.network.parameters()])
        self.images, logits = normal(2, 5, 1, SIDE, SIDE).requires_grad_(), normal(2, 5, CLASSES).requires_grad_()
        self.batches = list(islice(cycle(map(Batch, self.images, logits.softmax(-1))), STEPS))
        self.lr = (normal(STEPS).sigmoid() / 10).requires_grad_()
        self.momentum = {"none": None, "one": torch.tensor(0.9).double(), "each": normal(STEPS).sigmoid()}[momentum]
        self.learned = [self.images, logits, self.lr]
        if self.momentum is not None:
            self.learned.append(self.momentum.requires_grad_())
        self.looks = {t: normal(7, 1, SIDE, SIDE) + t for t in (1, 5, STEPS)}

    def judge(self, gradient: sweep.Gradient, theta: Tensor, t: int) -> Tensor:
        return F.cross_entropy(gradient.logits(theta, self.looks[t]), torch.arange(7) % CLASSES)

    def through_graph(self, steps, gradient) -> list[Tensor]:
        thetas = steps.through_graph(gradient, self.start, self.batches, self.lr, self.momentum)
        value = sum(self.judge(gradient, thetas[t], t) for t in self.looks)
        return [value, *torch.autograd.grad(value, self.learned, retain_graph=True)]

    def backwards(self, steps, gradient) -> list[Tensor]:
        taken = steps.walk(gradient, self.start, self.batches, self.lr, self.momentum)
        value, pulls = torch.zeros(()).double(), {}
        for t in self.looks:
            theta = taken.thetas[t].detach().requires_grad_()
            loss = self.judge(gradient, theta, t)
            value, pulls[t] = value + loss.detach(), torch.autograd.grad(loss, theta)[0]
        found = list(steps.backwards(taken, pulls))[::-1]
        outputs = [part for batch in self.batches for part in batch]
        along = [slopes[name] for slopes in found for name in ("images", "targets")]
        for name, numbers in (("lr", self.lr), ("momentum", self.momentum)):
            if numbers is not None:
                each = torch.stack([slopes[name] for slopes in found])
                outputs, along = [*outputs, numbers], [*along, each if numbers.dim() else each.sum()]
        return [value, *torch.autograd.grad(outputs, self.learned, along, retain_graph=True)]


every_momentum = pytest.mark.parametrize("momentum", ["none", "one", "each"])


@every_momentum
@pytest.mark.parametrize("architecture", [LEARNER, PLAIN], ids=["carries", "plain"])
def test_one_step_at_a_time_gives_what_one_graph_gives(architecture, momentum):
    scene = Scene(architecture, momentum)
    gradient = carried.Carrying(scene.network)
    for found, expected in zip(scene.backwards(carried, gradient), scene.through_graph(carried, gradient), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-12)


@every_momentum
def test_without_statistics_it_is_the_sweep(momentum):
    scene = Scene(PLAIN, momentum)
    expected = scene.backwards(sweep, sweep.Gradient(scene.network))
    for found, other in zip(scene.backwards(carried, carried.Carrying(scene.network)), expected, strict=True):
        torch.testing.assert_close(found, other, rtol=1e-9, atol=1e-12)


def test_the_sweep_would_miss_how_statistics_move():
    scene = Scene(LEARNER, "each")
    exact = scene.backwards(carried, carried.Carrying(scene.network))
    without = scene.backwards(sweep, sweep.Gradient(scene.network))
    assert not torch.allclose(exact[1], without[1], rtol=0.1)
    assert networks.carries_statistics(scene.network) and not networks.carries_statistics(network_of(PLAIN))


def test_a_walk_is_training_by_torch_and_its_state_the_evaluation():
    scene, network = Scene(LEARNER, "one"), network_of(LEARNER)
    gradient = carried.Carrying(scene.network)
    taken = carried.walk(gradient, scene.start, scene.batches, scene.lr, scene.momentum)
    descent = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9)
    for batch, lr in zip(scene.batches, scene.lr.tolist(), strict=True):
        descent.param_groups[0]["lr"] = lr
        descent.zero_grad()
        F.cross_entropy(network(batch.images.detach()), batch.targets.detach()).backward()
        descent.step()
    tensors = [*network.parameters(), *network.buffers()]
    torch.testing.assert_close(taken.thetas[-1], torch.cat([tensor.detach().flatten() for tensor in tensors]))
    test = normal(9, 1, SIDE, SIDE)
    torch.testing.assert_close(gradient.logits(taken.thetas[-1], test), network.eval()(test))
    assert scene.network.training, "the student is left as it was"


def test_a_walk_leaves_the_network_and_the_graphs_behind_its_batches_alone():
    scene = Scene(LEARNER, "each")
    before = {name: tensor.clone() for name, tensor in scene.network.state_dict().items()}
    taken = carried.walk(carried.Carrying(scene.network), scene.start, scene.batches, scene.lr, scene.momentum)
    assert all(torch.equal(tensor, before[name]) for name, tensor in scene.network.state_dict().items())
    assert not any(tensor.grad_fn for tensor in [*taken.thetas, *taken.velocities])
    assert all(part.requires_grad for batch in taken.batches for part in batch)
