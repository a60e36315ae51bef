"""A GAN of small images: sizes, spectral norm, what is frozen of it, one step by hand, inversion."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.files import layout
from ddpipe.generators import decoding
from ddpipe.generators.decoding import decoded, in_chunks, levels
from ddpipe.generators.inversion import Inversion, unlikeness
from ddpipe.generators.networks import Critic, Divided, Generator, divided, initialise_
from ddpipe.generators.training import Adversaries, critics_loss, plain
from ddpipe.randomness import Streams, generator
from ddpipe.settings.generators import Sizes
from ddpipe.settings.shapes import Shape
from ddpipe.training.loop import Diverged

SHAPE = Shape(2, 8, 3)
STEP = {"optimizer": "adam", "lr": 0.01, "betas": [0.0, 0.9]}
NUMBERS = {
    **{"data": "tiny", "buffer": "tiny", "noise": 5, "width": 2, "steps": 4, "critic_steps": 2, "batch": 6},
    **{"augment": "color_crop", "average": 0.7, "generator": STEP, "critic": STEP},
    "inversion": {"optimizer": "adam", "lr": 0.1, "betas": [0.9, 0.999], "steps": 3, "batch": 4, "features": 0.5},
}


def chosen(**more: object) -> settings.Generators:
    return settings.Generators.model_validate(NUMBERS | more)


def pixels(n: int = 11) -> tuple[Tensor, Tensor]:
    images = torch.randint(256, (n, SHAPE.channels, SHAPE.resolution, SHAPE.resolution), generator=generator("pixels"))
    return images.byte(), torch.arange(n) % SHAPE.classes


def adversaries(**more: object) -> Adversaries:
    return Adversaries(chosen(**more), SHAPE, Resident(*pixels(), plain(SHAPE.channels)), True, Streams("gan"))


def trained(shape: Shape = SHAPE, **more: int) -> Generator:
    """Some statistics and norms, as training leaves them."""
    network = Generator(Sizes.model_validate({"noise": 5, "width": 2} | more), shape)
    initialise_(network, generator("generator"))
    for number in range(3):
        draw = generator("latents", number)
        latents = torch.randn(6, network.linear.layer.weight.shape[1], generator=draw)
        network(latents, torch.randint(shape.classes, (6,), generator=draw))
    return network.eval()


@pytest.mark.parametrize(("classes", "count"), [(10, 4_304_387), (100, 4_580_867)])
def test_the_generator_of_the_paper_has_its_size(classes: int, count: int) -> None:
    """Counted in the official code's generator for 32x32."""
    shape = Shape(3, 32, classes)
    with torch.device("meta"):
        network = Generator(Sizes(), shape)
    assert sum(p.numel() for p in network.parameters()) == Sizes().weights(shape) == count


@pytest.mark.parametrize(("side", "blocks"), [(4, 1), (8, 1), (9, 2), (14, 2), (28, 3), (32, 3), (64, 4)])
def test_sides_are_doubled_until_they_reach_the_images(side: int, blocks: int) -> None:
    shape = Shape(1, side, 3)
    network, critic = trained(shape), Critic(Sizes(noise=5, width=2), shape)
    initialise_(critic, generator("critic"))
    assert len(network.blocks) == blocks and len(critic.blocks) == blocks + 1
    classes = torch.tensor([0, 2])
    made = network(torch.randn(2, 5, generator=generator("z")), classes).detach()
    assert made.shape == (2, 1, side, side) and float(made.abs().max()) <= 1
    assert critic(made, classes).shape == (2,)
    weights = network.weights()
    assert sum(w.numel() for w in weights.values()) == Sizes(noise=5, width=2).weights(shape)
    layout.check(weights, decoding.LAYOUT)


def test_the_weights_decode_as_the_generator_does() -> None:
    network, draw = trained(Shape(2, 14, 3)), generator("more")
    latents, classes = torch.randn(7, 5, generator=draw), torch.randint(3, (7,), generator=draw)
    made = decoded(latents, classes, network.weights(), 14)
    torch.testing.assert_close(made, network(latents, classes), atol=1e-5, rtol=1e-5)
    assert float((made[0] - made[1]).abs().max()) > 1e-4


def test_chunks_decode_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    weights, draw = trained().weights(), generator("more")
    latents, classes = torch.randn(7, 5, generator=draw), torch.randint(3, (7,), generator=draw)
    whole = in_chunks(latents, classes, weights, 8)
    monkeypatch.setattr(decoding, "AT_ONCE", 3)
    torch.testing.assert_close(in_chunks(latents, classes, weights, 8), whole)


def test_levels_are_those_of_files() -> None:
    images, labels = pixels()
    real = Resident(images, labels, plain(2))
    made = real.batch(torch.arange(len(labels)))
    assert float(made.min()) >= -1 and float(made.max()) <= 1
    assert torch.equal(levels(made).round().byte(), images)


def test_a_weight_is_divided_by_its_largest_singular_value() -> None:
    weight, u = torch.randn(6, 4, 3, 3, generator=generator("w")), torch.randn(6, generator=generator("u"))
    for _ in range(200):
        found, u = divided(weight, u)
    assert float(torch.linalg.matrix_norm(found.flatten(1), 2)) == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(found * torch.linalg.matrix_norm(weight.flatten(1), 2), weight, atol=1e-3, rtol=1e-3)


def test_one_step_is_torchs_spectral_norm() -> None:
    """Its layer makes the same step in training, and none in evaluation."""
    draw, layer = generator("layer"), nn.Linear(5, 4, bias=False)
    theirs = torch.nn.utils.parametrizations.spectral_norm(layer, eps=1e-8)
    own = Divided(networks.classifier.Linear(5, 4, bias=False))
    initialise_(own, draw)
    parametrization = theirs.parametrizations.weight
    with torch.no_grad():
        parametrization.original.copy_(own.layer.weight)
        own.u.copy_(F.normalize(own.u, dim=0))
        parametrization[0]._u.copy_(own.u)
    x = torch.randn(3, 5, generator=draw)
    for _ in range(2):
        # torch's u comes first and its v after it, so its estimate is half a step ahead of the official code's
        u = own.u.clone()
        mine = own(x)
        v = F.normalize(own.layer.weight.T @ u, dim=0)
        left = F.normalize(own.layer.weight @ v, dim=0)
        torch.testing.assert_close(own.u, left)
        torch.testing.assert_close(mine, F.linear(x, own.layer.weight / (left @ own.layer.weight @ v)))
    own.eval()
    before = own.u.clone()
    own(x)
    assert torch.equal(own.u, before)


def test_the_hinge_loss() -> None:
    assert float(critics_loss(torch.tensor([2.0, 0.0]), torch.tensor([-3.0, 0.5]))) == pytest.approx(0.5 + 0.75)


def test_a_step_of_each_player_by_hand() -> None:
    """The first steps of Adam with a first beta of 0 are lr times the sign of the gradient."""
    gan = adversaries(augment="none", critic_steps=1)
    twin = adversaries(augment="none", critic_steps=1)
    gan.advance()
    rng = Streams("gan")
    for purpose in ("generator.init", "critic.init"):  # the twin has drawn these
        initialise_(Generator(gan.config, SHAPE) if "gen" in purpose else Critic(gan.config, SHAPE), rng(purpose))
    images, labels = pixels()
    rows = torch.randperm(11, generator=rng("real"))[:6]
    real = images[rows].float() / 127.5 - 1

    def drawn() -> tuple[Tensor, Tensor]:
        latents = torch.randn(6, 5, generator=rng("latents"))
        return latents, torch.randint(3, (6,), generator=rng("latents"))

    latents, classes = drawn()
    with torch.no_grad():
        made = twin.generator(latents, classes)
    scores = twin.critic(torch.cat([real, made]), torch.cat([labels[rows], classes]))
    loss = F.relu(1 - scores[:6]).mean() + F.relu(1 + scores[6:]).mean()
    for p, g in zip(twin.critic.parameters(), torch.autograd.grad(loss, list(twin.critic.parameters())), strict=True):
        p.data -= 0.01 * g / (g.abs() + 1e-8)
    loss = -twin.critic(twin.generator(*(pair := drawn())), pair[1]).mean()
    found = torch.autograd.grad(loss, list(twin.generator.parameters()))
    for p, g in zip(twin.generator.parameters(), found, strict=True):
        p.data -= 0.01 * g / (g.abs() + 1e-8)
    for own, wanted in ((gan.critic, twin.critic), (gan.generator, twin.generator)):
        for (name, p), (_, q) in zip(own.named_parameters(), wanted.named_parameters(), strict=True):
            shifts = own is gan.generator and name.startswith("blocks") and name.endswith("layer.bias")
            if not shifts:  # which a batch norm takes out again
                torch.testing.assert_close(p, q, atol=1e-5, rtol=1e-4, msg=name)
    first, live = adversaries().generator.state_dict(), gan.generator.state_dict()
    for name, tensor in gan.averaged.state_dict().items():
        if tensor.is_floating_point():
            torch.testing.assert_close(tensor, 0.7 * first[name] + 0.3 * live[name], atol=1e-6, rtol=1e-5)


def test_without_an_average_the_last_weights_are_handed_over() -> None:
    gan = adversaries(average=None)
    gan.advance()
    for own, live in zip(gan.averaged.parameters(), gan.generator.parameters(), strict=True):
        assert torch.equal(own, live)


@pytest.mark.parametrize("after", range(4))
def test_a_gan_goes_on_from_its_state(after: int) -> None:
    whole, first, second = adversaries(), adversaries(), adversaries(batch=6)
    for _ in range(4):
        whole.advance()
    for _ in range(after):
        first.advance()
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for _ in range(4 - after):
        second.advance()
    assert second.iteration == whole.iteration == whole.iterations
    state = whole.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in second.state_dict().items())


def test_no_global_generator_is_asked() -> None:
    state = torch.get_rng_state()
    adversaries().advance()
    inversion().advance()
    assert torch.equal(torch.get_rng_state(), state)


def inversion(**more: object) -> Inversion:
    images, labels = pixels()
    real = Resident(images, labels, fit(images, settings.Dataset(source="digits")))
    network = networks.create(settings.ConvNet(kind="convnet", depth=1, width=3), 2, 8, 3, generator("network")).eval()
    config = settings.Inversion.model_validate(NUMBERS["inversion"] | more)
    return Inversion(config, real, torch.cat(real.class_index), trained().weights(), network, Streams("gan"))


def test_inversion_makes_images_like_the_real_ones() -> None:
    run = inversion(steps=60, batch=11)
    run.advance()
    first = float(run.value)
    for _ in range(58):
        run.advance()
    assert float(run.value) < 0.95 * first


def test_each_latent_goes_its_own_way() -> None:
    """Whatever others are found with."""
    several, all_ = inversion(batch=4), inversion(batch=11)
    for run in (several, all_):
        while run.iteration < run.iterations:
            run.advance()
    assert (several.iterations, all_.iterations) == (9, 3)
    torch.testing.assert_close(several.latents, all_.latents, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("after", range(9))
def test_inversion_goes_on_from_its_state(after: int) -> None:
    whole, first, second = inversion(), inversion(), inversion()
    for _ in range(9):
        whole.advance()
    for _ in range(after):
        first.advance()
    second.load_state_dict({name: tensor.clone() for name, tensor in first.state_dict().items()})
    for _ in range(9 - after):
        second.advance()
    assert torch.equal(second.latents, whole.latents)


def test_the_gradient_of_inversion_is_that_of_differences() -> None:
    weights = {name: weight.double() for name, weight in trained().weights().items()}
    architecture = settings.ConvNet(kind="convnet", depth=1, width=3)
    network = networks.create(architecture, 2, 8, 3, generator("network")).double().eval()
    draw = generator("inversion")
    latents, wanted = torch.randn(2, 5, generator=draw).double(), torch.randn(2, 2, 8, 8, generator=draw).double()
    with torch.no_grad():
        features = network.embed(wanted)

    def loss(latents: Tensor) -> Tensor:
        images = decoded(latents, torch.tensor([0, 2]), weights, 8)
        return unlikeness(images, wanted, network.embed, features, 0.5)

    assert torch.autograd.gradcheck(loss, [latents.requires_grad_()], eps=1e-7, atol=1e-5)
    images = decoded(latents, torch.tensor([0, 2]), weights, 8)
    for row in range(2):
        by_hand = ((images[row] - wanted[row]) ** 2).mean()
        by_hand += 0.5 * ((network.embed(images)[row] - features[row]) ** 2).mean()
        torch.testing.assert_close(loss(latents)[row], by_hand)


def test_what_is_no_number_is_refused() -> None:
    run = inversion()
    run.check_finite()
    run.latents[3] = float("nan")
    with pytest.raises(Diverged, match=r"^inversion\.lr: inversion with 0\.1 gave latents that are not numbers; lower"):
        run.check_finite()
