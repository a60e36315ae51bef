"""Images in [0, 1] that hold several smaller ones."""

import pytest
import torch

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import compose
from ddpipe.randomness import Streams, generator
from ddpipe.settings.part import records
from ddpipe.synthetic.multiformation import make, mixed
from tests.contexts import context

SIZES, SIDE = (9, 3), 8
PIXELS = torch.randint(256, (sum(SIZES), 2, SIDE, SIDE), generator=generator("pixels")).to(torch.uint8)
LABELS = torch.tensor([0, 1] * 3 + [0] * 6)


def real(**choices) -> Resident:
    return Resident(PIXELS, LABELS, fit(PIXELS, settings.Dataset.model_validate({"source": "digits", **choices})))


def start(factor: int, ipc: int = 2, images: Resident | None = None):
    record = records("synthetic")["multiformation"].model_validate({"name": "multiformation", "factor": factor})
    return make(record, context(images or real(), ipc))


def test_one_a_piece_begins_as_the_first_images_of_each_class():
    """Exactly: their bytes over 255, decoded to what networks see of them."""
    images, first = start(1), torch.cat([(label == LABELS).nonzero().flatten()[:2] for label in (0, 1)])
    assert torch.equal(images.images * 255, PIXELS[first].float())
    torch.testing.assert_close(images.decode().images, real().batch(first))


@pytest.mark.parametrize("choices", [{"whitening": {}, "standardise": "none"}, {"per_image": True}])
def test_any_preprocessing_comes_after_decoding(choices):
    images = real(**choices)
    decoded = start(1, images=images).decode().images
    first = torch.cat([(label == LABELS).nonzero().flatten()[:2] for label in (0, 1)])
    if "whitening" in choices:
        torch.testing.assert_close(decoded, images.batch(first), rtol=1e-3, atol=1e-3)
    else:  # an image's brightness and contrast are lost
        norms = decoded.flatten(1).norm(dim=1)
        torch.testing.assert_close(norms, torch.ones(4))


def test_more_of_them_begin_as_a_mix_of_the_first():
    pool = PIXELS[(LABELS == 0).nonzero().flatten()[:8]].float() / 255
    torch.testing.assert_close(start(2).images[:2], mixed(pool, 2), rtol=0, atol=0)
    assert torch.equal(mixed(pool, 2)[1, :, :4, 4:], pool[3, :, ::2, ::2])  # cell 1 of image 1 is image 1 * 2 + 1


def test_a_class_with_fewer_is_gone_through_again():
    """Three images for the four cells of one: the first stands in the last cell too."""
    image = start(2, ipc=1).images[1]
    assert torch.equal(image[:, 4:, 4:], image[:, :4, :4])


def test_addresses_go_class_by_class_and_place_by_place():
    images = start(2, ipc=2)
    assert images.sizes == [8, 8] and len(images) == 16
    with torch.no_grad():
        images.images.copy_((torch.arange(4.0) / 4).view(4, 1, 1, 1).expand(-1, 2, SIDE, SIDE))
        images.images[:, :, :4, 4:] += 0.1
    images.transform = lambda decoded: decoded / 255
    levels = images.decode().images.amax((1, 2, 3))
    expected = [
        base / 4 + 0.1 * (place == 1) for label in (0, 1) for place in range(4) for base in (2 * label, 2 * label + 1)
    ]
    torch.testing.assert_close(levels, torch.tensor(expected))


def run(**changes):
    numbers = {
        "synthetic": {"name": "multiformation", "factor": 2},
        "objective": {"name": "gradient", "metric": "mse", "weights": "convolutions", "sequential": True, "batch": 3},
        "students": {"name": "trained", "on": "real", "outer_loop": 3, "inner_loop": 1, "batch": 4},
        "outer": {"images": {"lr": 1e3, "momentum": 0.5}},
        "iterations": 7,
        "real_batch": 4,
    }
    chosen = settings.Distillation.model_validate(numbers | changes)
    architecture = settings.ConvNet(kind="convnet", depth=1, width=4)
    network = networks.build(architecture, 2, SIDE, 2)
    return compose(chosen, context(real(), 2, network, Streams("run"), architecture=architecture))


def test_images_are_clamped_when_a_network_begins_and_not_in_between():
    made, bounded = run(), []
    begin = made.synthetic.begin_
    made.synthetic.begin_ = lambda: (
        begin(),
        bounded.append((made.iteration, float(made.synthetic.images.detach().max()))),
    )
    for _ in range(7):
        made.advance()
        assert made.synthetic.images.min() < 0 and made.synthetic.images.max() > 1
    assert [when for when, _ in bounded] == [0, 3, 6] and all(top <= 1 for _, top in bounded)


def test_every_class_has_a_step_of_its_own_and_sees_so_many_examples(monkeypatch):
    made, seen, steps = run(iterations=20), [], []
    decode, step = made.synthetic.decode, made.outer.step
    monkeypatch.setattr(made.synthetic, "decode", lambda index=None: (seen.append(index), decode(index))[1])
    monkeypatch.setattr(made.outer, "step", lambda loss: (steps.append(loss), step(loss)))
    for _ in range(20):
        made.advance()
    assert len(steps) == len(seen) == 40
    assert [made.synthetic.classes[index].tolist() for index in seen] == [[0] * 3, [1] * 3] * 20
    assert torch.cat(seen).unique().tolist() == list(range(16)), "none is left out for ever"
    assert all(len(index.unique()) == 3 for index in seen)


def test_momentum_moves_the_images_of_other_classes():
    made = run(objective={"name": "gradient", "metric": "mse", "sequential": True})
    losses = made.objective.losses(
        made.synthetic, made.students.next(made.synthetic, made.rng, 0), made.real, made.augment, made.rng
    )
    made.outer.step(next(losses))
    before = made.synthetic.images.detach().clone()
    made.outer.step(next(losses))
    moved = (made.synthetic.images.detach() - before).abs().sum((1, 2, 3))
    assert bool((moved[:2] > 0).all()) and bool((moved[2:] > 0).all())


def test_a_resumed_run_continues_bit_identically():
    """In the middle of a network's life and of a pass over the real data."""
    unbroken, resumed = run(), run()
    for _ in range(5):
        unbroken.advance()
    resumed.load_state_dict({name: tensor.clone() for name, tensor in unbroken.state_dict().items()})
    for _ in range(2):
        unbroken.advance()
        resumed.advance()
    one, other = unbroken.state_dict(), resumed.state_dict()
    assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(unbroken.synthetic.decode().images, resumed.synthetic.decode().images)


@pytest.mark.parametrize(
    ("objective", "says"),
    [
        ({"sequential": True, "scope": "joint"}, "sequential steps are of one class each; set scope to class"),
        ({"batch": 0}, "greater than 0"),
    ],
)
def test_what_cannot_be_is_refused(objective, says):
    with pytest.raises(ValueError, match=says):
        records("objectives")["gradient"].model_validate({"name": "gradient"} | objective)
