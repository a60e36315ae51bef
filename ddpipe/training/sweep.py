"""SGD unrolled over given batches, and the exact gradient through it by one reverse sweep.

A walk from theta_0, with m_0 = 0 and g_t the gradient of the mean cross-entropy on batch t at theta_t, takes the steps

    m_(t+1) = mu_t m_t + g_t        theta_(t+1) = theta_t - lr_t m_(t+1)        t = 0, ..., N - 1

Let L be a function of the theta_t; write a for dL/dtheta_(t+1) and v for dL/dm_(t+1), both through all that comes
after. m_(t+1) acts through theta_(t+1) and m_(t+2), theta_t through theta_(t+1) and g_t: from a = v = 0 on,
for t = N - 1, ..., 0,

    a <- a + (L's own derivative by theta_(t+1))        v <- mu_(t+1) v - lr_t a
    dL/dlr_t = -<a, m_(t+1)>        dL/dmu_t = <v, m_t>        dL/dbatch_t = d<g_t, v>/dbatch_t
    a <- a + d<g_t, v>/dtheta_t

where the last, a Hessian times v, is left out if truncated (TESLA, Cui et al., ICML 2023): then a batch does not move
later steps. Given the theta_t this needs the graph of one step at a time, where automatic differentiation holds N: it
is computed again. Of the last steps it is kept on the way there, of as many as memory is lent for: the sweep begins
with these and has let go of them when it comes to the others. The ConvNet's g is the same to the bit either way, and so
is what is found. The m_t are kept only where a step size or momentum is learned, and not even then without momentum, as
m_(t+1) is g_t.
Parameters are flat vectors (P,) in the network's order; whatever requires a gradient gets one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from ddpipe.networks.block import twice
from ddpipe.training.batch import Batch
from ddpipe.training.kept import allowance, saving


@dataclass(frozen=True)
class Graph:
    """g at one theta on one batch, and all that it takes to differentiate it, once."""

    inputs: Mapping[str, Tensor]  # "theta", "images" and "targets"; the first requires a gradient
    gradient: Tensor  # (P,)

    def pull_back(self, along: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """<g, along>'s derivatives by the inputs that are `wanted`; and g as "gradient"."""
        inputs = [self.inputs[name] for name in wanted]
        found = torch.autograd.grad(self.gradient, inputs, along) if wanted else ()
        return {"gradient": self.gradient.detach(), **dict(zip(wanted, found, strict=True))}


class Gradient:
    """g: the gradient of the mean cross-entropy as a function of flat parameters, images and targets."""

    meets = True  # pulling back through g computes it again

    def __init__(self, network: nn.Module, lent: int | None = None):
        """`lent`: bytes for graphs that are kept; left out, as many as `allowance` says."""
        self.network, self.lent = network.train(), lent
        self.graph_bytes: dict[torch.Size, int] = {}  # shape of a batch -> bytes of its graph
        named = dict(network.named_parameters())
        self.names, self.shapes = list(named), [p.shape for p in named.values()]
        self.counts = [p.numel() for p in named.values()]

    def logits(self, theta: Tensor, images: Tensor) -> Tensor:
        """theta (P,), images (n, c, h, w) -> (n, K). Statistics that norms keep of a batch do not move: some steps are
        computed twice, and which ones memory decides."""
        parts = theta.split(self.counts)
        weights = {name: part.view(shape) for name, part, shape in zip(self.names, parts, self.shapes, strict=True)}
        lent = {name: buffer.clone() for name, buffer in self.network.named_buffers()}
        return functional_call(self.network, (weights, lent), (images,))

    def loss(self, theta: Tensor, images: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(self.logits(theta, images), targets)

    def __call__(self, theta: Tensor, batch: Batch) -> Tensor:
        """(P,) at `theta`, without a graph."""
        theta = theta.detach().requires_grad_()
        return torch.autograd.grad(self.loss(theta, *(part.detach() for part in batch)), theta)[0]

    def with_graph(self, theta: Tensor, batch: Batch) -> Tensor:
        """(P,) at `theta`, which must require a gradient; differentiable by whatever does."""
        with twice(always=True):
            loss = self.loss(theta, *batch)
        return torch.autograd.grad(loss, theta, create_graph=True)[0]

    def graph(self, theta: Tensor, batch: Batch) -> Graph:
        """To be differentiated by `theta` and what of the batch requires a gradient, not by what these come from."""
        theta = theta.detach().requires_grad_()
        inputs = Batch(*(part.detach().requires_grad_(part.requires_grad) for part in batch))
        return Graph({"theta": theta, **inputs._asdict()}, self.with_graph(theta, inputs))

    def pull_back(self, theta: Tensor, batch: Batch, along: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        """<g, along>'s derivatives by what of "images", "targets", "theta" is `wanted`; where met, g as "gradient"."""
        batch = Batch(*(part.detach().requires_grad_(name in wanted) for name, part in batch._asdict().items()))
        return self.graph(theta, batch).pull_back(along, wanted)

    def keeps(self, theta: Tensor, batches: Sequence[Batch]) -> int:
        """Of how many of the last steps the graph shall be kept: a first one of the same shape is counted."""
        if not len(batches):
            return 0
        first = batches[0]
        if (shape := first.images.shape) not in self.graph_bytes:
            with saving(self.network.parameters()) as saved:
                self.graph(theta, first)
            self.graph_bytes[shape] = saved.bytes
        lent = allowance(theta.device) if self.lent is None else self.lent
        return min(len(batches), lent // max(1, self.graph_bytes[shape]))


class Compiled(Gradient):
    """The same through torch.compile: one function for a step, one to pull back for each choice of what is wanted.

    By torch.func: a compiled region cannot be differentiated twice from outside. g is not met, so as to cost nothing.
    """

    meets = False

    def __init__(self, network: nn.Module):
        super().__init__(network)
        self.step = torch.compile(torch.func.grad(self.loss), fullgraph=True, dynamic=False)
        self.back = cache(self.compile_back)

    def __call__(self, theta: Tensor, batch: Batch) -> Tensor:
        return self.step(theta, *(part.detach() for part in batch))

    def keeps(self, theta: Tensor, batches: Sequence[Batch]) -> int:
        """None: there is no graph of a compiled step."""
        return 0

    def compile_back(self, *wanted: str) -> Callable[..., tuple[Tensor, ...]]:
        by_theta = torch.func.grad(self.loss)

        def back(along: Tensor, *given: Tensor) -> tuple[Tensor, ...]:
            inputs = dict(zip(("theta", "images", "targets"), given, strict=True))

            def gradient(*chosen: Tensor) -> Tensor:
                return by_theta(*(inputs | dict(zip(wanted, chosen, strict=True))).values())

            _, pull, *_ = torch.func.vjp(gradient, *(inputs[name] for name in wanted))
            return pull(along)

        return torch.compile(back, fullgraph=True, dynamic=False)

    def pull_back(self, theta: Tensor, batch: Batch, along: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
        found = self.back(*wanted)(along, theta, *(part.detach() for part in batch)) if wanted else ()
        return dict(zip(wanted, found, strict=True))


def at(numbers: Tensor, t: int) -> Tensor:
    """() of step t: `numbers` holds one for all steps, (), or one for each, (N,)."""
    return numbers[t] if numbers.dim() else numbers


def steps(
    gradient: Callable[[Tensor, Batch], Tensor],
    start: Tensor,
    batches: Sequence[Batch],
    lr: Tensor,
    momentum: Tensor | None,
) -> Iterator[tuple[Tensor, Tensor]]:
    """theta_(t+1) and m_(t+1), (P,) each, of every step from theta_0 = `start`."""
    theta, velocity = start, torch.zeros_like(start)
    for t, batch in enumerate(batches):
        move = gradient(theta, batch)
        velocity = move if momentum is None else at(momentum, t) * velocity + move
        theta = theta - at(lr, t) * velocity
        yield theta, velocity


@dataclass(frozen=True)
class Walk:
    """N steps that were taken, and what a sweep back along them needs."""

    gradient: Gradient
    batches: Sequence[Batch]
    lr: Tensor  # () or (N,)
    momentum: Tensor | None  # () or (N,); None: plain SGD
    thetas: list[Tensor]  # theta_0, ..., theta_N
    velocities: list[Tensor]  # m_1, ..., m_N, or none
    graphs: dict[int, Graph]  # t -> that of step t, where it is kept; the sweep takes it out


def walk(
    gradient: Gradient, start: Tensor, batches: Sequence[Batch], lr: Tensor, momentum: Tensor | None = None
) -> Walk:
    """N steps, one on each of `batches`; the graphs behind what requires a gradient are left alone."""
    taken = Walk(gradient, batches, lr, momentum, [start.detach()], [], {})
    bare = len(batches) - gradient.keeps(start, batches)  # steps whose graph is computed again

    def slope(theta: Tensor, batch: Batch) -> Tensor:
        t = len(taken.thetas) - 1
        if t < bare:
            return gradient(theta, batch)
        taken.graphs[t] = gradient.graph(theta, batch)
        return taken.graphs[t].gradient.detach()

    learned = lr.requires_grad or (momentum is not None and momentum.requires_grad)
    keeps = learned and not (momentum is None and gradient.meets)
    rates = lr.detach(), None if momentum is None else momentum.detach()
    for theta, velocity in steps(slope, taken.thetas[0], batches, *rates):
        taken.thetas.append(theta)
        taken.velocities.extend([velocity] if keeps else [])
    return taken


def backwards(walk: Walk, pulls: Mapping[int, Tensor], truncated: bool = False) -> Iterator[dict[str, Tensor]]:
    """The sweep: L's derivatives by "images", "targets", "lr" (), "momentum" () of each step, the last step first.

    For who adds up on the way, as where many steps show the same images; `sweep` keeps all. What requires no gradient
    is left out.

    Args:
        pulls: t -> L's own derivative by theta_t, (P,), for each t > 0 at which L looks; N is one of them.
        truncated: leave out how a batch moves the later steps.
    """
    end = len(walk.batches)
    a, v = pulls[end], torch.zeros_like(pulls[end])
    for t in reversed(range(end)):
        batch, lr = walk.batches[t], at(walk.lr, t).detach()
        v, scale = (a, -lr) if walk.momentum is None else (v - lr * a, 1.0)  # without momentum v is -lr times a
        wanted = [name for name, part in batch._asdict().items() if part.requires_grad]
        wanted += ["theta"] if t and not truncated else []
        graph = walk.graphs.pop(t, None)
        found = graph.pull_back(v, wanted) if graph else walk.gradient.pull_back(walk.thetas[t], batch, v, wanted)
        slopes = {name: scale * found[name] for name in wanted}
        further = slopes.pop("theta", None)
        if walk.lr.requires_grad:
            slopes["lr"] = -(a @ (walk.velocities[t] if walk.velocities else found["gradient"]))
        if walk.momentum is not None:
            if walk.momentum.requires_grad:
                slopes["momentum"] = v @ walk.velocities[t - 1] if t else torch.zeros_like(lr)
            v = at(walk.momentum, t).detach() * v
        yield slopes
        for move in (further, pulls.get(t)):
            a = a if move is None else a + move


def sweep(walk: Walk, pulls: Mapping[int, Tensor], truncated: bool = False) -> dict[str, list[Tensor]]:
    """All that `backwards` finds: "images" and "targets" of each step in order, "lr" and "momentum" like the walk's."""
    swept = list(backwards(walk, pulls, truncated))
    found = {name: [slopes[name] for slopes in reversed(swept)] for name in swept[0]}
    for name, numbers in (("lr", walk.lr), ("momentum", walk.momentum)):
        if numbers is not None and (each := found.get(name)):
            found[name] = [torch.stack(each) if numbers.dim() else sum(reversed(each), torch.zeros_like(numbers))]
    return found


def through_graph(
    gradient: Gradient, start: Tensor, batches: Sequence[Batch], lr: Tensor, momentum: Tensor | None = None
) -> list[Tensor]:
    """theta_0, ..., theta_N (P,) with the graph of all steps: the reference for a sweep, at N times its memory."""
    start = start.detach().requires_grad_()
    return [start, *(theta for theta, _ in steps(gradient.with_graph, start, batches, lr, momentum))]
