"""The reverse sweep beside automatic differentiation through all steps, written out here, in float64."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from ddpipe import networks, settings
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training.sweep import Compiled, Gradient, backwards, sweep, through_graph, walk

CLASSES, STEPS = 3, 4
RATES = {
    "one": lambda: torch.tensor(0.3),
    "one learned": lambda: torch.tensor(0.3, requires_grad=True),
    "each": lambda: torch.tensor([0.3, 0.1, 0.2, 0.4]),
    "each learned": lambda: torch.tensor([0.3, 0.1, 0.2, 0.4], requires_grad=True),
}
MOMENTA = {
    "plain": lambda: None,
    "zero": lambda: torch.tensor(0.0),
    "one": lambda: torch.tensor(0.9),
    "one learned": lambda: torch.tensor(0.6, requires_grad=True),
    "each learned": lambda: torch.tensor([0.5, 0.9, 0.0, 0.7], requires_grad=True),
}


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def network() -> networks.Classifier:
    made = networks.create(settings.ConvNet(kind="convnet", depth=1, width=4), 1, 8, CLASSES, generator("network"))
    return made.to(torch.get_default_dtype())


def flat(made: networks.Classifier) -> Tensor:
    return torch.cat([p.detach().flatten() for p in made.parameters()])


def scene(images: bool = True, targets: bool = False) -> tuple[Tensor, list[Batch], Tensor]:
    """Weights, batches of different sizes whose parts are learned or not, and a direction a state."""
    rng, start = generator("batches"), flat(network())
    kind = torch.get_default_dtype()
    shown = [torch.randn(CLASSES + t, 1, 8, 8, generator=rng, dtype=kind) for t in range(STEPS)]
    labels = [torch.rand(CLASSES + t, CLASSES, generator=rng, dtype=kind) for t in range(STEPS)]
    batches = [Batch(x.requires_grad_(images), y.requires_grad_(targets)) for x, y in zip(shown, labels, strict=True)]
    return start, batches, torch.randn(STEPS + 1, len(start), generator=rng, dtype=kind)


def unrolled(start: Tensor, batches: list[Batch], lr: Tensor, momentum: Tensor | None) -> list[Tensor]:
    """All states of the weights with their graph."""
    net, theta, velocity, states = network(), start.requires_grad_(), torch.zeros_like(start), []
    for t, (images, targets) in enumerate(batches):
        weights, at = {}, 0
        for name, p in net.named_parameters():
            weights[name], at = theta[at : at + p.numel()].view_as(p), at + p.numel()
        loss = -(functional_call(net, weights, (images,)).log_softmax(1) * targets).sum(1).mean()
        mu = torch.zeros(()) if momentum is None else momentum.expand(STEPS)[t]
        velocity = mu * velocity + torch.autograd.grad(loss, theta, create_graph=True)[0]
        theta = theta - lr.expand(STEPS)[t] * velocity
        states.append(theta)
    return states


def looked_at(state: Tensor, direction: Tensor) -> Tensor:
    """A function of one state that bends, so that its derivative depends on where it is taken."""
    return (state * direction).sum() + (state.square() * direction).sum()


@pytest.mark.parametrize("between", [False, True])
@pytest.mark.parametrize(("images", "targets"), [(True, False), (False, True), (True, True), (False, False)])
@pytest.mark.parametrize("momentum", MOMENTA)
@pytest.mark.parametrize("lr", RATES)
def test_the_sweep_is_autograd(lr, momentum, images, targets, between):
    start, batches, directions = scene(images, targets)
    lr, momentum = RATES[lr](), MOMENTA[momentum]()
    looks = (2, 3, STEPS) if between else (STEPS,)

    taken = walk(Gradient(network()), start, batches, lr, momentum)
    pulls = {}
    for t in looks:
        state = taken.thetas[t].requires_grad_()
        pulls[t] = torch.autograd.grad(looked_at(state, directions[t]), state)[0]
    found = sweep(taken, pulls)

    states = unrolled(start.clone(), batches, lr, momentum)
    value = sum(looked_at(states[t - 1], directions[t]) for t in looks)
    learned = {
        "images": [batch.images for batch in batches],
        "targets": [batch.targets for batch in batches],
        "lr": [lr],
        "momentum": [momentum] if momentum is not None else [],
    }
    learned = {name: parts for name, parts in learned.items() if parts and parts[0].requires_grad}
    assert found.keys() == learned.keys()
    for mine, theirs in zip(taken.thetas[1:], states, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
    for name, parts in learned.items():
        for mine, theirs in zip(found[name], torch.autograd.grad(value, parts, retain_graph=True), strict=True):
            assert mine.shape == theirs.shape and mine.abs().max() > 0
            torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("momentum", MOMENTA)
def test_through_the_graph(momentum):
    start, batches, _ = scene()
    lr, momentum = RATES["each"](), MOMENTA[momentum]()
    states = through_graph(Gradient(network()), start.clone(), batches, lr, momentum)
    for mine, theirs in zip(states[1:], unrolled(start.clone(), batches, lr, momentum), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-12, atol=1e-12)
        assert mine.requires_grad


def test_truncated_no_batch_moves_a_later_step():
    """Then the derivative by step t's images is that of one step, from the state it starts at, with the same pull."""
    start, batches, directions = scene()
    gradient, lr = Gradient(network()), torch.tensor(0.3)
    taken = walk(gradient, start, batches, lr)
    found = sweep(taken, {STEPS: directions[0]}, truncated=True)
    for t, batch in enumerate(batches):
        alone = sweep(walk(gradient, taken.thetas[t], [batch], lr), {1: directions[0]})
        assert torch.equal(found["images"][t], alone["images"][0])


def test_what_is_added_up_on_the_way_is_the_same():
    """Steps that show the same images: the derivative by these is the sum over the steps."""
    start, batches, directions = scene()
    shared = batches[0]
    lr, momentum = torch.tensor(0.3), torch.tensor(0.9)
    taken = walk(Gradient(network()), start, [shared] * STEPS, lr, momentum)
    total = sum(slopes["images"] for slopes in backwards(taken, {STEPS: directions[0]}))
    end = unrolled(start.clone(), [shared] * STEPS, lr, momentum)[-1]
    expected = torch.autograd.grad((end * directions[0]).sum(), shared.images)[0]
    torch.testing.assert_close(total, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("lr", "momentum", "kept"), [
    ("one", "plain", 0), ("each learned", "plain", 0), ("one", "one", 0),
    ("one learned", "one", STEPS), ("each", "one learned", STEPS),
])  # fmt: skip
def test_velocities_are_kept_only_where_they_are_needed(lr, momentum, kept):
    start, batches, _ = scene()
    taken = walk(Gradient(network()), start, batches, RATES[lr](), MOMENTA[momentum]())
    assert len(taken.thetas) == STEPS + 1 and len(taken.velocities) == kept
    assert not any(x.requires_grad for x in (*taken.thetas, *taken.velocities))


def test_a_graph_behind_what_is_learned_is_left_alone():
    """Images may have been decoded from what is learned: their own graph takes the derivatives on."""
    start, batches, directions = scene()
    leaf = batches[0].images
    decoded = [Batch(2 * leaf, batches[0].targets)] * 2
    [first, second] = sweep(walk(Gradient(network()), start, decoded, torch.tensor(0.3)), {2: directions[0]})["images"]
    [by_leaf] = torch.autograd.grad([batch.images for batch in decoded], leaf, [first, second])
    torch.testing.assert_close(by_leaf, 2 * (first + second))


def test_what_is_not_wanted_is_not_computed():
    start, batches, directions = scene()
    found = Gradient(network()).pull_back(start, batches[0], directions[0], ["images"])
    assert found.keys() == {"gradient", "images"}


@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("momentum", ["plain", "each learned"])
def test_what_is_found_does_not_depend_on_the_memory_lent(momentum, truncated):
    """Steps are kept or computed again: the same bits; and those are kept that the sweep meets first."""
    torch.set_default_dtype(torch.float32)
    start, batches, directions = scene(targets=True)
    lr, gradient = torch.tensor(0.1, requires_grad=True), Gradient(network())
    step = measured(gradient, start, batches)
    everything = {}
    for kept, lent in [(0, 0), (0, step - 1), (1, step), (2, 3 * step - 1), (STEPS, 1000 * step)]:
        taken = walk(Gradient(network(), lent), start, batches, lr, MOMENTA[momentum]())
        assert list(taken.graphs) == list(range(STEPS - kept, STEPS))
        everything[lent] = sweep(taken, {2: directions[1], STEPS: directions[0]}, truncated)
        assert not taken.graphs, "the sweep lets go of a graph when it has passed"
    expected = everything.pop(0)
    for found in everything.values():
        assert found.keys() == expected.keys()
        for name, parts in expected.items():
            assert all(torch.equal(mine, theirs) for mine, theirs in zip(found[name], parts, strict=True))


def measured(gradient: Gradient, start: Tensor, batches: list[Batch]) -> int:
    """Bytes of a step's graph, as the walk counts them."""
    gradient.keeps(start, batches)
    [size] = gradient.graph_bytes.values()
    return size


def test_a_graph_is_counted_with_all_its_maps():
    start, batches, _ = scene()
    maps = 4 * len(batches[0].images) * 8 * 8 * start.element_size()  # of the first convolution, 4 channels
    assert measured(Gradient(network()), start, batches) > 3 * maps  # its output, the ReLU's, the norm's gradient
    twofold = [Batch(torch.cat([x, x]), torch.cat([y, y])) for x, y in batches]
    ratio = measured(Gradient(network()), start, twofold) / measured(Gradient(network()), start, batches)
    assert 1.5 < ratio < 2


@pytest.mark.slow
@pytest.mark.parametrize("truncated", [False, True])
@pytest.mark.parametrize("momentum", ["plain", "each learned"])
def test_compiled_steps_give_the_same_gradients(momentum, truncated):
    torch.set_default_dtype(torch.float32)
    start, _, directions = scene()
    images = [torch.randn(CLASSES, 1, 8, 8, generator=generator("images", t)) for t in range(STEPS)]
    batches = [Batch(x.requires_grad_(), torch.eye(CLASSES).requires_grad_()) for x in images]
    lr, momentum = torch.tensor(0.05, requires_grad=True), MOMENTA[momentum]()
    eager, compiled = (
        sweep(walk(kind(network()), start, batches, lr, momentum), {STEPS: directions[0]}, truncated)
        for kind in (Gradient, Compiled)
    )
    assert eager.keys() == compiled.keys()
    for name, parts in eager.items():
        for mine, theirs in zip(compiled[name], parts, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("lent", [None, 0])
def test_statistics_of_norms_stay_what_they_are(lent):
    """They belong to whoever trained the network; a walk takes some steps twice, and which ones memory decides."""
    settled = settings.ConvNet(kind="convnet", depth=1, width=4, norm="batch")
    made = networks.create(settled, 1, 8, CLASSES, generator("network")).to(torch.float64)
    before = {name: buffer.clone() for name, buffer in made.named_buffers()}
    _, batches, _ = scene()
    start = flat(made)
    taken = walk(Gradient(made, lent), start, batches, torch.tensor(0.1, requires_grad=True))
    sweep(taken, {STEPS: torch.ones_like(start)})
    assert before and all(torch.equal(buffer, before[name]) for name, buffer in made.named_buffers())
