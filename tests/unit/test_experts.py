"""Experts: what a pass does, what a snapshot is, and that a network goes on where its state was taken."""

import pytest
import torch
import torch.nn.functional as F

from ddpipe import augmentation, networks, settings
from ddpipe.experts.training import Cohort, restore_
from ddpipe.randomness import Streams, generator
from ddpipe.synthetic import Batch
from ddpipe.training import loop
from ddpipe.training.optimizers import Sgd

N, CLASSES = 22, 3
PLAIN = {"data": "none", "network": "none", "networks": 1, "epochs": 2, "lr": 0.1, "batch": 8}
BUSY = {"epochs": 6, "momentum": 0.9, "augment": "color_crop_scale", "cutmix": 0.5, "drop": "half"}
FLAT = {"flat": {"rho": 0.05, "alpha": 0.5}}
WARM = {"name": "cosine", "warmup": 2, "last": 0.1}
LAMB = {
    "optimizer": "lamb",
    "eps": 0.01,
    "lr": 0.01,
    "schedule": WARM,
    "clip": {"norm": 1.0},
    "batch": 8,
    "augment": "color_crop",
}
IMAGES = torch.randn(N, 1, 8, 8, generator=generator("experts"))
TARGETS = F.one_hot(torch.arange(N) % CLASSES, CLASSES).float()


def rules(numbers: dict) -> settings.Experts:
    own = {} if "optimizer" in numbers else {"momentum": 0.0}  # which is sgd's alone
    return settings.Experts.model_validate(PLAIN | own | numbers)


def fetch(index) -> Batch:
    return Batch(IMAGES[index], TARGETS[index])


def network(norm: str = "instance") -> networks.Classifier:
    return networks.build(settings.ConvNet(kind="convnet", depth=1, width=4, norm=norm), 1, 8, CLASSES)


def expert(norm: str = "instance", **numbers) -> Cohort:
    config = rules(numbers)
    return Cohort(config, network(norm), fetch, N, False, [Streams("expert")])


def double(index) -> Batch:
    return Batch(IMAGES[index].double(), TARGETS[index].double())


def cohort(norm: str, names: list[int], **numbers) -> Cohort:
    """One in float64, where rounding does not hide a mistake."""
    config = rules(numbers)
    return Cohort(config, network(norm).double(), double, N, False, [Streams("cohort", name) for name in names])


@pytest.mark.slow
@pytest.mark.parametrize("numbers", [{}, BUSY | FLAT], ids=["plain", "flat"])
@pytest.mark.parametrize("size", [1, 2])
def test_compiled_networks_learn_the_same(size, numbers):
    config = rules(numbers)

    def snapshots(lent, names: str) -> torch.Tensor:
        made = Cohort(config, lent, double, N, False, [Streams(name) for name in names[:size]])
        for _ in range(2):
            made.advance()
        return made.snapshots()

    eager, compiled = network().double(), network().double()
    compiled.compile(dynamic=False)
    torch.testing.assert_close(snapshots(compiled, "ab"), snapshots(eager, "ab"))
    with torch.compiler.set_stance("fail_on_recompile"):  # the next group is not compiled again
        torch.testing.assert_close(snapshots(compiled, "cd"), snapshots(eager, "cd"))


def state(made: Cohort) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in made.state_dict().items()}


def test_snapshots_are_copies():
    """On a CPU an alias of the live weights would turn every snapshot into the last one."""
    made = expert()
    snapshots = [made.snapshots()[0]]
    for _ in range(2):
        made.advance()
        snapshots.append(made.snapshots()[0])
    assert len({tuple(s.tolist()) for s in snapshots}) == 3
    before = networks.initialise_(network(), Streams("expert")("init"))
    assert torch.equal(snapshots[0], torch.cat([p.detach().flatten() for p in before.parameters()]))
    assert torch.equal(snapshots[2], torch.cat([p.detach().flatten() for p in made.group.network.parameters()]))
    restored = restore_(network(), snapshots[1])
    assert torch.equal(torch.cat([p.detach().flatten() for p in restored.parameters()]), snapshots[1])


@pytest.mark.parametrize("numbers", [{}, BUSY, BUSY | {"drop_resets_momentum": False}, BUSY | {"drop": "staged"}])
def test_a_pass_is_a_step_on_every_batch_at_the_rate_of_that_pass(numbers):
    made = expert(**numbers)
    config, other, rng = made.config, network(), Streams("expert")
    networks.initialise_(other.train(), rng("init"))
    optimizer = Sgd(other.parameters(), config.lr, config.momentum, config.weight_decay)
    policy = augmentation.make(config.augment, False)
    for number in range(loop.passes(config)):
        made.advance()
        rate = loop.rate(config, number)
        if rate != optimizer.lr and config.drop_resets_momentum:
            optimizer.forget()
        optimizer.lr = rate
        for images, targets in loop.batches(fetch, N, config.batch, policy, rng("train"), config.cutmix):
            loss = F.cross_entropy(other(images), targets)
            optimizer.step(torch.autograd.grad(loss, optimizer.parameters))
        assert torch.equal(made.snapshots()[0], torch.cat([p.detach().flatten() for p in other.parameters()]))


@pytest.mark.parametrize("numbers", [BUSY, FLAT, BUSY | FLAT | {"drop_resets_momentum": False}, LAMB, LAMB | FLAT])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_it_goes_on_from_its_state_after_any_pass(numbers, norm):
    unbroken = expert(norm, **numbers)
    states = [state(unbroken)]
    for _ in range(loop.passes(unbroken.config)):
        unbroken.advance()
        states.append(state(unbroken))
    for number, begun in enumerate(states[:-1]):
        resumed = expert(norm, **numbers)
        resumed.load_state_dict(begun)
        while resumed.passes < loop.passes(resumed.config):
            resumed.advance()
        end = state(resumed)
        assert end.keys() == states[-1].keys()
        for name, tensor in states[-1].items():
            assert torch.equal(end[name], tensor), f"{name} after a break behind pass {number}"


def test_both_gradients_of_a_flat_step_see_the_same_augmented_batch():
    seen = []
    made = expert(epochs=1, augment="color_crop_scale", **FLAT)
    made.group.network.register_forward_hook(lambda network, given, found: seen.append(given[0].clone()))
    made.advance()
    assert len(seen) == 2 * -(-N // made.config.batch)
    for first, second in zip(seen[::2], seen[1::2], strict=True):
        assert torch.equal(first, second)


def test_a_flat_step_without_a_perturbation_is_a_plain_one():
    plain, flat = expert(), expert(flat={"rho": 1e-12, "alpha": 1.0})
    for made in (plain, flat):
        made.advance()
    torch.testing.assert_close(flat.snapshots()[0], plain.snapshots()[0])
    moved = expert(**FLAT)
    moved.advance()
    assert float((moved.snapshots()[0] - plain.snapshots()[0]).abs().max()) > 1e-4


def test_a_loss_that_is_not_a_number_is_refused_at_the_end_of_its_pass():
    made = expert(lr=1e30)
    with pytest.raises(loop.Diverged, match=r"^lr: training a network with 1e\+30 .* lower it$"):
        made.advance()
        made.advance()
    assert made.passes < 2


@pytest.mark.parametrize("numbers", [BUSY, FLAT, {"flat": {"rho": 0.05, "alpha": 0.5, "adaptive": False}}, LAMB])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_cohort_learns_what_each_network_learns_alone(numbers, norm):
    company = cohort(norm, [0, 1, 2], **numbers)
    alone = [cohort(norm, [name], **numbers) for name in range(3)]
    for _ in range(2):
        for made in [company, *alone]:
            made.advance()
    found = company.snapshots()
    assert found.shape == (3, alone[0].snapshots().shape[1])
    torch.testing.assert_close(found, torch.cat([made.snapshots() for made in alone]), rtol=1e-9, atol=1e-11)
    assert float((found[0] - found[1]).abs().max()) > 0.01
    for name, part in company.parts().items():
        each = torch.cat([made.parts()[name] for made in alone])
        torch.testing.assert_close(part.expand_as(each), each, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("numbers", [BUSY, FLAT, LAMB])
def test_a_cohort_goes_on_from_its_state(numbers):
    unbroken, resumed = (cohort("batch", [0, 1], **numbers) for _ in range(2))
    unbroken.advance()
    begun = state(unbroken)
    unbroken.advance()
    resumed.load_state_dict(begun)
    resumed.advance()
    assert torch.equal(resumed.snapshots(), unbroken.snapshots())


def test_a_cohort_is_refused_when_one_of_it_diverges():
    made = cohort("instance", [0, 1])
    with torch.no_grad():
        made.optimizer.parameters[0][1] = torch.nan
    with pytest.raises(loop.Diverged):
        made.advance()
