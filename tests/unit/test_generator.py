"""GTN's set: what it stores, its course, and a run with its own learner that goes on where it was killed."""

from itertools import islice

import pytest
import torch
from pydantic import ValidationError

from ddpipe import networks, settings
from ddpipe.distillation.loop import Distillation, compose, make
from ddpipe.files import artifacts
from ddpipe.randomness import Streams
from ddpipe.settings.shapes import Shape
from ddpipe.settings.synthetic.generator import Generator
from ddpipe.synthetic.generator import Generator as Made
from tests.contexts import context
from tests.contracts.compositions import SIDE, SIZES, advanced, equal, resident

SMALL = {"name": "generator", "batches": 3, "batch": 5, "noise": 4, "hidden": 6, "maps": (4, 3)}
LEARNER = settings.Learner(kind="learner", widths=(3, 4), halved=(1, 2), halving="pool", hidden=5)


def small() -> Made:
    return make(Generator.model_validate(SMALL), context(resident(), 2, rng=Streams("small")))


def test_published_sizes():
    """What makes 8,192 images of MNIST stores more than they have; the course is 14 % of it."""
    mnist = Generator(name="generator", batches=64, batch=128)
    shape = Shape(1, 28, 10)
    linear = 138 * 1024 + 3 * 1024 + 1024 * 7 * 7 * 128 + 3 * 7 * 7 * 128
    convolutions = 9 * 128 * 64 + 3 * 64 + 9 * 64 + 2
    assert mnist.floats(shape, 820) == linear + convolutions + 8192 * 128 == 7_708_802 > 8192 * shape.values
    assert mnist.examples(shape, 820) == 820 and mnist.course == 64


def test_classes_take_turns_through_the_course_and_lie_together_in_the_set():
    synthetic = small()
    assert synthetic.sizes == [5, 5, 5] and len(synthetic) == 15
    places = [block.tolist() for block in islice(synthetic.divided(3), 3)]
    assert places == [[0, 1, 5, 6, 10], [2, 3, 7, 11, 12], [4, 8, 9, 13, 14]]
    for step, block in enumerate(places):
        assert synthetic.order[block].sort()[0].tolist() == list(range(5 * step, 5 * step + 5))
        assert torch.equal(synthetic.classes[block], synthetic.order[block] % 3)


def test_an_image_is_what_it_is_in_its_own_batch():
    """Whichever others are asked for with it; what is learned in another batch does not move it."""
    synthetic = small()
    with torch.no_grad():
        whole = synthetic.decode().images
        for index in (torch.tensor([7]), torch.tensor([14, 0, 7, 7])):
            torch.testing.assert_close(synthetic.decode(index).images, whole[index])
        first, second = islice(synthetic.divided(3), 2)
        synthetic.noise[1, 0] += 1
        moved = synthetic.decode().images
    assert torch.equal(moved[first], whole[first])
    assert bool((moved[second] != whole[second]).flatten(1).any(1).all()), "a batch shares its statistics"


def test_batches_that_are_generated_again_on_the_way_back_have_the_same_gradient():
    synthetic = small()
    learned = [tensor for group in synthetic.groups().values() for tensor in group]
    plain = torch.cat([synthetic.generate(step) for step in range(3)])[synthetic.order]
    decoded = synthetic.decode().images
    assert torch.equal(plain, decoded)
    for a, b in zip(*(torch.autograd.grad(x.square().sum(), learned) for x in (plain, decoded)), strict=True):
        torch.testing.assert_close(a, b)


def test_one_example_has_no_statistics():
    with pytest.raises(ValidationError, match="batch must be 2 or more"):
        Generator.model_validate(SMALL | {"batch": 1})


def run() -> Distillation:
    adam = {"optimizer": "adam", "lr": 0.01, "schedule": {"name": "cosine", "last": 0.1}}
    chosen = settings.Distillation.model_validate(
        {
            "synthetic": SMALL,
            "objective": {
                **{"name": "unroll", "steps": 3, "blocks": 3, "lr": 0.05, "rates": "log", "momentum": 0.5},
                **{"momenta": "log", "every": 1, "batch": 4, "augment": "reflect:crop_flip"},
            },
            "students": {"name": "fresh"},
            "outer": dict.fromkeys(("generator", "curriculum", "rates", "momenta"), adam),
            "iterations": 6,
        }
    )
    network = networks.build(LEARNER, 2, SIDE, len(SIZES))
    return compose(chosen, context(resident(), 2, network, Streams("gtn"), architecture=LEARNER))


def test_a_killed_run_goes_on_bit_identically(tmp_path):
    unbroken = advanced(run(), 3)
    artifacts.write_tensors(tmp_path / "state.safetensors", unbroken.state_dict())
    advanced(unbroken, 3).check_finite()
    resumed = run()
    resumed.load_state_dict(artifacts.read_tensors(tmp_path / "state.safetensors")[0])
    assert equal(advanced(resumed, 3).state_dict(), unbroken.state_dict())
    hints = unbroken.objective.hints(unbroken.synthetic)
    assert hints.keys() == {"lr", "momentum", "blocks"}
    for name, start in (("lr", 0.05), ("momentum", 0.5)):
        moved = hints[name] != start
        assert hints[name].shape == (3,) and bool((hints[name] > 0).all())
        assert moved.tolist() == [name == "lr", True, True], "nothing is kept at the first step"
