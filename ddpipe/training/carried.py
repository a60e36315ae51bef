"""SGD unrolled where the network carries something else than its weights: what its norms keep of the last batch.

Evaluation then depends on theta_t and on statistics s_t, which step t - 1 found on its way at theta_(t-1). The sweep of
`ddpipe.training.sweep` knows weights alone. Here a step is a map of states (theta_t, s_t) and velocities,

    (theta_t, s_t), m_t  ->  (theta_(t+1), s_(t+1)), m_(t+1)

that is computed again, with its graph, on the way back: gradient checkpointing with one step a block (Such et al.,
ICML 2020). The states of all steps are kept. A state is a flat vector (P + Q,), weights first; what is not spoken of is
as in the sweep.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ddpipe.training.batch import Batch
from ddpipe.training.sweep import Gradient, at


class Carrying(Gradient):
    """g with the statistics beside it, and the network evaluated with these."""

    def __init__(self, network: nn.Module):
        super().__init__(network)
        self.kept = {name: buffer.shape for name, buffer in network.named_buffers()}
        self.sizes = [sum(self.counts), *(shape.numel() for shape in self.kept.values())]  # P, and Q in parts

    def start(self, theta: Tensor) -> Tensor:
        """The state (P + Q,) of weights (P,) that have seen no batch."""
        return torch.cat([theta, theta.new_zeros(sum(self.sizes[1:]))])

    def call(self, theta: Tensor, statistics: Sequence[Tensor], images: Tensor) -> Tensor:
        """theta (P,), images (n, c, h, w) -> (n, K). In training mode `statistics` become those of `images`."""
        parts = zip(theta.split(self.counts), self.shapes, strict=True)
        weights = dict(zip(self.names, (part.view(shape) for part, shape in parts), strict=True))
        return functional_call(self.network, (weights, dict(zip(self.kept, statistics, strict=True))), (images,))

    def logits(self, state: Tensor, images: Tensor) -> Tensor:
        """In evaluation mode: state (P + Q,), images (n, c, h, w) -> (n, K)."""
        theta, *flat = state.split(self.sizes)
        self.network.eval()
        try:
            return self.call(theta, [s.view(h) for s, h in zip(flat, self.kept.values(), strict=True)], images)
        finally:
            self.network.train()

    def step(
        self, state: Tensor, velocity: Tensor, batch: Batch, lr: Tensor, momentum: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """State (P + Q,) and velocity (P,) after a step, with the graph; `state` must require a gradient."""
        theta = state[: self.sizes[0]]
        blank = theta.new_zeros((), requires_grad=True)  # what is lent requires a gradient, and so the graph is kept
        statistics = [blank.expand(shape).clone() for shape in self.kept.values()]
        loss = F.cross_entropy(self.call(theta, statistics, batch.images), batch.targets)
        move = torch.autograd.grad(loss, theta, create_graph=True)[0]
        velocity = move if momentum is None else momentum * velocity + move
        return torch.cat([theta - lr * velocity, *(s.flatten() for s in statistics)]), velocity


@dataclass(frozen=True)
class Walk:
    """N steps that were taken, and what it takes to go back along them."""

    gradient: Carrying
    batches: Sequence[Batch]
    lr: Tensor  # () or (N,)
    momentum: Tensor | None  # () or (N,); None: plain SGD
    thetas: list[Tensor]  # the states, of number 0, ..., N
    velocities: list[Tensor]  # m_0, ..., m_N

    def numbers(self, t: int) -> tuple[Tensor, Tensor | None]:
        """Step size and momentum of step t."""
        return at(self.lr, t), None if self.momentum is None else at(self.momentum, t)


def leaf(tensor: Tensor) -> Tensor:
    """A copy without its graph that requires a gradient where `tensor` does."""
    return tensor.detach().requires_grad_(tensor.requires_grad)


def walk(
    gradient: Carrying, start: Tensor, batches: Sequence[Batch], lr: Tensor, momentum: Tensor | None = None
) -> Walk:
    """N steps from weights `start` (P,), one on each of `batches`; the graphs behind these are left alone."""
    begun = gradient.start(start.detach())
    taken = Walk(gradient, batches, lr, momentum, [begun], [torch.zeros_like(start)])
    for t, batch in enumerate(batches):
        rate, kept = taken.numbers(t)
        given = Batch(*(part.detach() for part in batch))
        state = taken.thetas[t].clone().requires_grad_()
        after = gradient.step(state, taken.velocities[t], given, rate.detach(), None if kept is None else kept.detach())
        taken.thetas.append(after[0].detach())
        taken.velocities.append(after[1].detach())
    return taken


def backwards(walk: Walk, pulls: Mapping[int, Tensor]) -> Iterator[dict[str, Tensor]]:
    """As the sweep's: L's derivatives by "images", "targets", "lr" (), "momentum" () of each step, the last step first.

    Args:
        pulls: t -> L's own derivative by state t, (P + Q,), for each t > 0 at which L looks; N is one of them.
    """
    end = len(walk.batches)
    a, v = pulls[end], torch.zeros_like(walk.velocities[0])
    for t in reversed(range(end)):
        rate, kept = walk.numbers(t)
        rate, kept = leaf(rate), None if kept is None else leaf(kept)
        inputs = {name: leaf(part) for name, part in walk.batches[t]._asdict().items()}
        inputs |= {"lr": rate} if kept is None else {"lr": rate, "momentum": kept}
        inputs |= {"state": walk.thetas[t].detach().requires_grad_()}
        inputs |= {"velocity": walk.velocities[t].detach().requires_grad_(kept is not None)}
        batch = Batch(inputs["images"], inputs["targets"])
        after = walk.gradient.step(inputs["state"], inputs["velocity"], batch, rate, kept)
        inputs = {name: tensor for name, tensor in inputs.items() if tensor.requires_grad}
        found = torch.autograd.grad(after, list(inputs.values()), (a, v), materialize_grads=True)
        slopes = dict(zip(inputs, found, strict=True))
        a, v = slopes.pop("state"), slopes.pop("velocity", torch.zeros_like(v))
        a = a + pulls[t] if t in pulls else a
        yield slopes


def through_graph(
    gradient: Carrying, start: Tensor, batches: Sequence[Batch], lr: Tensor, momentum: Tensor | None = None
) -> list[Tensor]:
    """States 0, ..., N (P + Q,) with the graph of all steps: the reference, at N times the memory."""
    states, velocity = [gradient.start(start.detach()).requires_grad_()], torch.zeros_like(start)
    for t, batch in enumerate(batches):
        kept = None if momentum is None else at(momentum, t)
        state, velocity = gradient.step(states[-1], velocity, batch, at(lr, t), kept)
        states.append(state)
    return states
