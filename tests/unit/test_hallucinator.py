"""HaBa's parts: hallucinators of any shape, their start, their budget on disk, and the player beside them."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import ddpipe
from ddpipe import config, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import make
from ddpipe.errors import UserError
from ddpipe.objectives.loss import Loss
from ddpipe.randomness import Streams, generator
from ddpipe.regularisers.contrast import joined, supervised_contrast
from ddpipe.synthetic.hallucinator import Hallucinator, Weights, hallucinate, initial
from tests.contexts import context
from tests.tracked import TRACKED
from tests.unit.small_project import Project


def resident(channels: int, height: int, width: int, per_class: int = 4, classes: int = 3) -> Resident:
    shape = (classes * per_class, channels, height, width)
    images = torch.randint(256, shape, generator=generator("hallucinator", shape)).to(torch.uint8)
    labels = torch.arange(classes).repeat_interleave(per_class)
    return Resident(images, labels, fit(images, settings.Dataset(source="digits")))


def started(real: Resident, ipc: int = 2, name: str = "set", **numbers) -> Hallucinator:
    chosen = settings.synthetic.hallucinator.Hallucinator(name="hallucinator", **numbers)
    made = make(chosen, context(real, ipc, rng=Streams(name)))
    assert isinstance(made, Hallucinator)
    return made


@pytest.mark.parametrize(("channels", "inputs"), [(3, 3), (3, 1), (1, 1)])
@pytest.mark.parametrize("side", [(8, 8), (28, 28), (9, 5)])
def test_a_hallucinator_is_a_plain_module_of_torch(channels, inputs, side):
    encoder, decoder = nn.Conv2d(inputs, channels, 3), nn.ConvTranspose2d(channels, channels, 3)
    weights = Weights(*(stack[1] for stack in initial(2, inputs, channels, list(side), generator("weights"))))
    weights = weights._replace(scale=weights.scale * 1.5, shift=weights.shift + 0.25)
    with torch.no_grad():
        for own, given in zip(
            (*encoder.parameters(), *decoder.parameters()), (*weights[:2], *weights[4:]), strict=True
        ):
            assert own.shape == given.shape
            own.copy_(given)
    bases = torch.randn(4, inputs, *side, generator=generator("bases"))
    images = hallucinate(bases, weights)
    assert images.shape == (4, channels, *side)
    torch.testing.assert_close(images, decoder(1.5 * encoder(bases) + 0.25))


def test_it_starts_by_torchs_law():
    weights = initial(200, 1, 3, [8, 8], generator("law"))
    bounds = {"enc_weight": 1 / 3, "enc_bias": 1 / 3, "dec_weight": 27**-0.5, "dec_bias": 27**-0.5}
    for name, bound in bounds.items():
        values = getattr(weights, name)
        assert 0.97 * bound < values.abs().max() <= bound and abs(values.mean()) < 0.05 * bound
        assert values.std() == pytest.approx(bound / 3**0.5, rel=0.05)
    assert (weights.scale == 1).all() and (weights.shift == 0).all() and weights.scale.shape == (200, 3, 6, 6)
    module = nn.ConvTranspose2d(3, 3, 3)
    assert 0.5 * 27**-0.5 < module.weight.abs().max() <= 27**-0.5  # torch counts what a transposed convolution gives


def test_published_budgets():
    """84 + 2700 + 2700 + 84 floats a hallucinator of 32x32 images; CIFAR-10 with one base a class is worth 1.91."""
    made = started(resident(3, 32, 32, per_class=1, classes=10), ipc=1)
    assert made.stored_floats() == 30_720 + 27_840
    assert made.stored_floats() / (10 * 3072) == pytest.approx(1.906, abs=1e-3)
    grey = started(resident(3, 32, 32, per_class=1, classes=10), ipc=1, channels=1)
    assert grey.stored_floats() == 10_240 + 27_570


def test_bases_are_random_real_images_of_their_class():
    real = resident(3, 8, 8)
    made = started(real, ipc=2)
    assert made.bases.shape == (6, 3, 8, 8) and len(made) == 30 and made.sizes == [10, 10, 10]
    for number, base in enumerate(made.bases):
        rows = [row for row in range(12) if torch.equal(real.batch(torch.tensor([row]))[0], base)]
        assert [row // 4 for row in rows] == [number // 2]
    assert len(made.bases.flatten(1).unique(dim=0)) == 6
    grey = started(real, ipc=2, channels=1)
    torch.testing.assert_close(grey.bases, made.bases.mean(1, keepdim=True))
    assert grey.decode().images.shape == (30, 3, 8, 8)
    assert len(started(real, ipc=2, bases=4, hallucinators=3)) == 3 * 4 * 3
    with pytest.raises(UserError, match=r"^synthetic\.bases: 5 is more than the 4 training images of class 0"):
        started(real, ipc=2, bases=5)


def test_contents_and_addresses():
    made = started(resident(1, 8, 8), ipc=2, hallucinators=3)
    assert made.contents.tolist() == [base for base in range(6) for _ in range(3)]
    assert made.classes.tolist() == [label for label in range(3) for _ in range(6)]
    whole = made.decode().images
    for address in (0, 7, 17):
        expected = hallucinate(made.bases[address // 3, None], made.style(address % 3))[0]
        torch.testing.assert_close(whole[address], expected)


def test_a_batch_is_bases_through_one_hallucinator_and_every_hallucinator_gets_its_turn():
    made = started(resident(1, 8, 8), ipc=2, hallucinators=3)
    queue = made.batches(generator("queue"), 4)
    styles = []
    for size in [2, 4] * 30:  # six bases in chunks of four: the short one first
        index = next(queue)
        assert len(index) == size
        (style,) = (index % 3).unique().tolist()
        styles.append(style)
    assert set(styles) == {0, 1, 2} and max(styles.count(s) for s in range(3)) < 40


def test_a_pair_is_the_same_bases_through_two_hallucinators():
    made = started(resident(1, 8, 8), ipc=2, hallucinators=3)
    queue, seen = made.pairs(generator("pairs"), 4), set()
    for size in [2, 4] * 30:
        one, other = next(queue)
        assert len(one) == size and torch.equal(made.contents[one], made.contents[other])
        (pair,) = torch.stack([one % 3, other % 3], 1).unique(dim=0).tolist()
        seen.add(tuple(pair))
    assert seen == {(a, b) for a in range(3) for b in range(3) if a != b}


def test_supervised_contrast_is_its_definition():
    draw = generator("contrast")
    one, other = (torch.randn(4, 5, generator=draw, dtype=torch.float64) for _ in range(2))
    labels, temperature = torch.tensor([0, 1, 0, 2]), 0.5
    features, classes = F.normalize(torch.cat([one, other])), [*labels.tolist(), *labels.tolist()]
    terms = []
    for a in range(8):
        others = [b for b in range(8) if b != a]
        score = {b: float(features[a] @ features[b]) / temperature for b in others}
        norm = torch.tensor([score[b] for b in others]).logsumexp(0)
        positive = [score[b] - float(norm) for b in others if classes[b] == classes[a]]
        terms.append(-sum(positive) / len(positive))
    value = supervised_contrast(one, other, labels, temperature)
    assert float(value) == pytest.approx(sum(terms) / 8, rel=1e-6)


@pytest.mark.parametrize("given", ["value", "gradient", "gradients"])
def test_a_term_joins_any_kind_of_loss(given):
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    value, images = (x**2).sum(), x * 3
    loss = {
        "value": Loss(value.detach(), value),
        "gradient": Loss(value.detach(), images, 2 * x.detach() / 3),
        "gradients": Loss(value.detach(), (images, x * 1), (2 * x.detach() / 3, torch.zeros(2))),
    }[given]
    both = joined(loss, (x**3).sum(), 0.1)
    assert float(both.value) == pytest.approx(5.9)
    torch.testing.assert_close(both.gradients([x])[0], 2 * x.detach() + 0.3 * x.detach() ** 2)


@pytest.fixture
def factorised(project: Project) -> Project:
    """The small project, its DM with hallucinators."""
    outer = {"images": None, "bases": {"lr": 1.0, "momentum": 0.0}, "hallucinators": {"lr": 0.01, "momentum": 0.0}}
    change = {"synthetic": {"name": "hallucinator", "hallucinators": 2}, "outer": outer, "excess": True}
    project.set("params.yaml", "methods.dm", change)
    assert project.run("check") == 0
    return project


def test_a_factorised_set_comes_with_its_codes(factorised: Project) -> None:
    assert factorised.run("distill", "dm-tiny-1") == 0
    made = ddpipe.load(factorised.root / "data/distilled/dm-tiny-1")
    assert len(made) == 6 and made.contents is not None and made.contents.tolist() == [0, 0, 1, 1, 2, 2]
    weights = Weights(**{name: made.codes[name] for name in Weights._fields})
    again = [hallucinate(made.codes["bases"], Weights(*(stack[style] for stack in weights))) for style in range(2)]
    torch.testing.assert_close(torch.stack(again, 1).flatten(0, 1), made.images)
    floats = sum(code.numel() for code in made.codes.values())
    assert floats == 3 * 64 + 2 * (9 + 1 + 36 + 36 + 9 + 1)
    worth = floats / 64 / 3
    assert made.info["budget"] == {"floats": floats, "images_per_class": worth, "excess": worth - 1}


def test_more_than_the_budget_is_refused_unless_said(factorised: Project, capsys: pytest.CaptureFixture[str]) -> None:
    factorised.set("params.yaml", "methods.dm.excess", False)
    assert factorised.run("distill", "dm-tiny-1") == 2
    assert "stores 376 floats, worth 1.96 images per class; the cell allows 1" in capsys.readouterr().err
    assert not list((factorised.root / "data/checkpoints/distill/dm-tiny-1").glob("*.safetensors"))  # before the work
    plain = ddpipe.load(factorised.root / "data/distilled/dc-tiny-1")
    assert plain.info["budget"] == {"floats": 192, "images_per_class": 1.0}
    assert plain.contents is None and plain.codes == {}


def test_check_says_what_does_not_fit(factorised: Project, capsys: pytest.CaptureFixture[str]) -> None:
    contrast = {"name": "contrast", "weight": 0.1, "pull": 0.1, "supervised": 0.1, "temperature": 0.07}
    factorised.set("params.yaml", "methods.dm.regulariser", contrast | {"lr": 0.001, "momentum": 0.9})
    assert factorised.run("check") == 0
    factorised.set("params.yaml", "methods.dm.synthetic.hallucinators", 1)
    factorised.set("params.yaml", "methods.dm.students", {"name": "experts", "starts": 1, "span": 1})
    factorised.set("params.yaml", "methods.dm.outer.images", {"lr": 1.0})
    assert factorised.run("check") == 2
    said = capsys.readouterr()
    for words in (
        "students: 'experts' gives no network, which objective 'distribution' needs",
        "regulariser: 'contrast' compares",
        "outer: has ['bases', ",
    ):
        assert f"methods.dm (dm-tiny-1): {words}" in said.err + said.out


def test_the_published_cells_say_their_excess_and_the_equal_ones_have_none() -> None:
    """Worth of every row in images of its class; 10 or 100 classes of 3x32x32, MNIST 1x28x28, digits 1x8x8."""
    project = config.load(TRACKED)
    shapes = {
        "svhn": (10, 3, 32),
        "cifar10": (10, 3, 32),
        "cifar100": (100, 3, 32),
        "digits": (10, 1, 8),
        "mnist": (10, 1, 28),
    }
    rows = {cell: row for cell, row in project.rows.items() if row.recipe == "haba"}
    assert {row.method for row in rows.values()} == {"haba", "haba-equal", "haba-grey", "haba-short"}
    for cell, row in rows.items():
        chosen, (classes, channels, side) = project.resolved(cell), shapes[row.dataset]
        assert isinstance(chosen, settings.Distillation) and isinstance(
            chosen.synthetic, settings.synthetic.hallucinator.Hallucinator
        )
        inputs, bases = chosen.synthetic.channels or channels, chosen.synthetic.bases or row.ipc
        each = sum(w[0].numel() for w in initial(1, inputs, channels, [side, side], generator("count")))
        floats = classes * bases * inputs * side**2 + chosen.synthetic.hallucinators * each
        worth = floats / (classes * channels * side**2)
        assert chosen.excess == (worth > row.ipc) == (row.method != "haba-equal")
