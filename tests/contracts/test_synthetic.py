"""What every parametrisation promises."""

from itertools import islice

import pytest
import torch

from ddpipe.distillation.loop import make
from ddpipe.errors import UserError
from ddpipe.randomness import Streams, generator
from ddpipe.settings.shapes import Shape
from ddpipe.synthetic import Factorised
from ddpipe.synthetic.latents import Latents
from ddpipe.synthetic.pixels import Pixels
from ddpipe.synthetic.real import Real
from tests.contexts import context
from tests.contracts.compositions import (
    SIDE,
    SIZES,
    SYNTHETIC,
    equal,
    every_start,
    gan,
    learned_by,
    of,
    resident,
    run_of,
    settings_of,
)


def started(start, ipc=3, real=None):
    chosen, real = settings_of("synthetic", SYNTHETIC[start]), real or resident()
    return make(chosen, context(real, ipc, rng=Streams("synthetic", start), generator=gan(real, chosen)))


@pytest.fixture(params=SYNTHETIC)
def synthetic(request):
    return started(request.param)


def test_decode_gives_images_and_distributions_class_by_class(synthetic):
    images, targets = synthetic.decode()
    assert images.shape == (len(synthetic), 2, SIDE, SIDE) and targets.shape == (len(synthetic), len(SIZES))
    assert torch.equal(targets.sum(1), torch.ones(len(synthetic)))
    assert torch.equal(targets.argmax(1), synthetic.classes) and torch.equal(
        synthetic.classes.sort()[0], synthetic.classes
    )
    assert torch.bincount(synthetic.classes).tolist() == synthetic.sizes


def test_decode_of_addresses_is_those_rows_of_decode(synthetic):
    shuffled = torch.randperm(len(synthetic), generator=generator("order"))
    whole = synthetic.decode()
    for index in (shuffled, shuffled[:2], torch.tensor([1, 1])):
        part = synthetic.decode(index)
        assert torch.equal(part.targets, whole.targets[index])
        torch.testing.assert_close(part.images, whole.images[index])  # a convolution may round by the batch


@pytest.mark.parametrize("batch", [None, 4, 2])
def test_batches_go_through_the_set_over_and_over_in_new_orders(synthetic, batch):
    contents = torch.arange(len(synthetic)) if synthetic.contents is None else synthetic.contents
    n = int(contents.max()) + 1
    size = batch or n
    rounds, queue = [], synthetic.batches(generator("batches"), batch)
    for _ in range(6):
        parts = [next(queue) for _ in range(-(-n // size))]
        assert sorted(map(len, parts)) == sorted(map(len, torch.arange(n).split(size)))
        rounds.append(contents[torch.cat(parts)])
        assert rounds[-1].sort()[0].tolist() == list(range(n))
    assert not all(torch.equal(rounds[0], other) for other in rounds)


@pytest.mark.parametrize("n", [1, 2, 100])
def test_balanced_draws_show_as_many_random_examples_of_every_class(synthetic, n):
    draws = list(islice(synthetic.balanced(generator("balanced"), n), max(150, 12 * max(synthetic.sizes))))
    shown = [min(n, size) for size in synthetic.sizes]
    for draw in draws:
        assert len(draw.unique()) == len(draw) and torch.bincount(synthetic.classes[draw]).tolist() == shown
        assert torch.equal(synthetic.classes[draw].sort()[0], synthetic.classes[draw])
    assert torch.cat(draws).unique().tolist() == list(range(len(synthetic))), "none is left out for ever"


@pytest.mark.parametrize("n", [1, 2, 100])
def test_blocks_show_the_set_in_its_order_over_and_over(synthetic, n):
    count = -(-max(synthetic.sizes) // n)
    steps = list(islice(synthetic.blocks(n), 2 * count + 1))
    places = torch.cat([torch.arange(size) for size in synthetic.sizes])  # of each example in its class
    for t, block in enumerate(steps):
        b = t % count
        assert block.tolist() == ((places >= b * n) & (places < (b + 1) * n)).nonzero().flatten().tolist()


@pytest.mark.parametrize("start", SYNTHETIC)
def test_a_set_divides_into_equal_blocks_that_come_again_and_again(start):
    synthetic = started(start, ipc=4, real=resident([4, 4, 4]))
    for count in (1, 2):
        steps = list(islice(synthetic.divided(count), 2 * count + 1))
        assert torch.cat(steps[:count]).sort()[0].tolist() == list(range(len(synthetic)))
        for t, block in enumerate(steps):
            assert torch.equal(block, steps[t % count]) and torch.equal(block, block.sort()[0])
            assert len(block) == len(synthetic) / count
    with pytest.raises(UserError, match=r"^objective\.blocks: .* do not divide into 500 blocks; set it to \d+"):
        synthetic.divided(500)


@every_start
def test_blocks_of_a_set_that_does_not_divide_differ_by_one_example_of_a_class(start):
    synthetic = started(start, ipc=3)
    if settings_of("synthetic", SYNTHETIC[start]).course:
        return  # its batches do, or it is refused
    most, places = max(synthetic.sizes), torch.cat([torch.arange(size) for size in synthetic.sizes])
    for count in range(1, most + 1):
        found = list(islice(synthetic.divided(count), count))
        assert torch.cat(found).sort()[0].tolist() == list(range(len(synthetic))), "each is in one of them"
        first = 0
        for number, block in enumerate(found):
            end = first + most // count + (number < most % count)
            assert block.tolist() == ((places >= first) & (places < end)).nonzero().flatten().tolist()
            first = end
        if most % count == 0:
            assert all(map(torch.equal, found, synthetic.blocks(most // count)))


def test_targets_can_be_assigned(synthetic):
    given = torch.rand(synthetic.targets.shape, generator=generator("targets")).softmax(1)
    synthetic.assign_targets_(given)
    assert torch.equal(synthetic.decode().targets, given)
    assert torch.equal(synthetic.decode(torch.tensor([2, 0])).targets, given[[2, 0]])


def test_every_learned_tensor_gets_a_gradient_from_every_image(synthetic):
    learned = learned_by(synthetic)
    if isinstance(synthetic, Real):
        assert not learned and not list(synthetic.parameters())
        return
    assert learned and all(isinstance(tensor, torch.nn.Parameter) for tensor in learned)
    images = synthetic.decode().images
    gradients = torch.autograd.grad(images, learned, torch.ones_like(images))
    assert all(bool((gradient != 0).any()) for gradient in gradients)
    for row in range(len(synthetic)):
        part = synthetic.decode(torch.tensor([row])).images
        assert any(bool((g != 0).any()) for g in torch.autograd.grad(part, learned, torch.ones_like(part)))


@every_start
@pytest.mark.parametrize("ipc", [1, 3])
def test_the_record_counts_examples_and_floats_as_the_set_does(start, ipc):
    """Of a set as large as the data for as many images per class as an average class of it has."""
    record, made = settings_of("synthetic", SYNTHETIC[start]), started(start, ipc)
    shape, ipc = Shape(2, SIDE, len(SIZES)), sum(SIZES) // len(SIZES) if record.whole else ipc
    assert len(made) == record.peopled(shape) * record.examples(shape, ipc) * record.styles
    assert made.stored_floats() == record.floats(shape, ipc)


def test_stored_floats_are_the_learned_numbers_but_for_those_apart(synthetic, request):
    """And those of a generator that came trained: without it nothing is decoded."""
    codes = synthetic.codes()
    assert synthetic.stored_floats() == sum(code.numel() for code in codes.values())
    learned = learned_by(synthetic)
    given = synthetic.weights if isinstance(synthetic, Latents) else {}
    if apart := settings_of("synthetic", SYNTHETIC[request.node.callspec.params["synthetic"]]).apart(
        Shape(2, SIDE, len(SIZES))
    ):  # what is handed over is made of them
        assert sum(tensor.numel() for tensor in learned) == synthetic.stored_floats() + apart
        assert torch.equal(codes["images"], synthetic.decode().images)
    elif not isinstance(synthetic, Real):
        stored = {code.data_ptr() for code in codes.values()} - {weight.data_ptr() for weight in given.values()}
        assert stored == {tensor.data_ptr() for tensor in learned}
    assert not any(code.requires_grad for code in codes.values())
    if isinstance(synthetic, Pixels):
        assert synthetic.stored_floats() == 3 * len(SIZES) * 2 * SIDE**2
    assert "images" not in codes or torch.equal(codes["images"], synthetic.decode().images)


@pytest.mark.parametrize("start", SYNTHETIC)
def test_settings_tell_what_is_behind_the_examples(start):
    chosen, synthetic = settings_of("synthetic", SYNTHETIC[start]), started(start)
    assert isinstance(synthetic, Factorised) == chosen.factorised == (synthetic.contents is not None)
    if not isinstance(synthetic, Factorised):
        assert chosen.styles == 1
        return
    assert synthetic.styles == chosen.styles > 1
    assert torch.bincount(synthetic.contents).tolist() == [chosen.styles] * (len(synthetic) // chosen.styles)
    one, other = next(synthetic.pairs(generator("pairs"), None))
    assert torch.equal(synthetic.contents[one], synthetic.contents[other]) and not bool((one == other).any())


def test_a_synthetic_set_survives_its_state(synthetic):
    state = {name: tensor.clone() for name, tensor in synthetic.state_dict().items()}
    with torch.no_grad():
        for parameter in synthetic.parameters():
            parameter.zero_()
    synthetic.load_state_dict(state)
    assert equal(synthetic.state_dict(), state)


@pytest.mark.parametrize("name", ["pixels-real", "real"])
def test_real_start_is_ipc_different_images_of_each_class(name):
    real = resident()
    start = started(name, 5, real)
    for image, label in zip(start.images, start.classes, strict=True):
        same = [
            row for row in real.class_index[label].tolist() if torch.equal(real.batch(torch.tensor([row]))[0], image)
        ]
        assert len(same) == 1
    assert len(start.images.flatten(1).unique(dim=0)) == len(start)


def test_noise_start_is_standard_normal():
    start = started("pixels-noise", 50, resident([50, 50]))
    images = start.images.detach()
    assert abs(float(images.mean())) < 0.05 and abs(float(images.std()) - 1) < 0.05


@pytest.mark.parametrize(
    "start", [name for name, spec in SYNTHETIC.items() if not settings_of("synthetic", spec).whole]
)
def test_more_images_than_a_class_has_are_refused(start):
    with pytest.raises(UserError, match="ipc: 6 is more than the 5 training images of class 1"):
        run_of(of(start=start), ipc=6)
