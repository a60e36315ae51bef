"""KFS's parts: codes and decoders within a budget, stored for other programs, and a start by another loss."""

import pytest
import torch

import ddpipe
from ddpipe import config, settings
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.errors import UserError
from ddpipe.objectives.reconstruction import assigned
from ddpipe.planning.work import distillation
from ddpipe.randomness import Streams, generator
from ddpipe.settings.shapes import Data, Shape
from ddpipe.settings.synthetic.decoder import Decoder
from ddpipe.settings.work import Cell
from ddpipe.synthetic.decoder import Layer, decoded
from tests.counted import images
from tests.reference.program import Scene
from tests.tracked import TRACKED
from tests.unit.small_project import Project

CIFAR10, CIFAR100, TINY = Shape(3, 32, 10), Shape(3, 32, 100), Shape(3, 64, 200)


@pytest.mark.parametrize(
    ("shape", "ipc", "numbers", "one", "codes", "used"),
    [
        (CIFAR10, 1, (8, 8, 3), 2_451, 18, 30_393),
        (CIFAR10, 1, (12, 12, 3), 5_211, 7, 29_073),
        (CIFAR10, 10, (16, 16, 8), 8_995, 91, 304_920),
        (CIFAR10, 10, (32, 24, 8), 22_707, 24, 304_536),
        (CIFAR10, 50, (64, 32, 8), 50_755, 110, 1_532_440),
        (CIFAR100, 1, (16, 16, 8), 8_995, 9, 302_360),
        (CIFAR100, 10, (64, 32, 8), 50_755, 26, 3_068_440),
        (TINY, 1, (32, 24, 8), 31_947, 21, 2_405_976),
        (TINY, 10, (64, 32, 8), 67_171, 117, 24_498_968),
    ],
)
def test_as_many_codes_as_fit_beside_the_decoders(shape, ipc, numbers, one, codes, used):
    channels, width, decoders = numbers
    record = Decoder(name="decoder", channels=channels, width=width, decoders=decoders)
    assert (record.each(shape), record.held(shape, ipc), record.floats(shape, ipc)) == (one, codes, used)
    assert record.examples(shape, ipc) == codes * decoders and record.styles == 1
    more = record.model_copy(update={"codes": codes + 1})
    assert record.floats(shape, ipc) <= ipc * shape.classes * shape.values < more.floats(shape, ipc)


@pytest.mark.parametrize(
    ("resolution", "side", "layers"), [(8, 4, 2), (8, 2, 2), (16, 4, 2), (28, 4, 3), (28, 7, 2), (32, 4, 3), (64, 4, 4)]
)
def test_a_decoder_has_the_fewest_layers_that_reach_the_image(resolution, side, layers):
    record = Decoder(name="decoder", channels=1, side=side, width=1, decoders=1)
    assert record.layers(Shape(1, resolution, 10)) == layers


@pytest.fixture
def coded(project: Project) -> Project:
    """The small project, its DM with two decoders for codes of one channel: 84 floats each, of 192 at one image."""
    outer = {"images": None} | {key: {"lr": 0.01, "momentum": 0.0} for key in ("codes", "decoders")}
    synthetic = {"name": "decoder", "channels": 1, "side": 2, "decoders": 1, "width": 2}
    warm = {"objective": {"name": "reconstruction"}, "iterations": 2}
    project.set("params.yaml", "methods.dm", {"synthetic": synthetic, "outer": outer, "warm": warm})
    assert project.run("check") == 0
    return project


def test_another_program_decodes_the_codes_again(coded: Project) -> None:
    assert coded.run("distill", "dm-tiny-1") == 0
    made = ddpipe.load(coded.root / "data/distilled/dm-tiny-1")
    layers = [Layer(made.codes[f"weight{n}"][0], made.codes[f"bias{n}"][0]) for n in (1, 2)]
    torch.testing.assert_close(decoded(made.codes["codes"], layers, (8, 8)), made.images)
    floats = sum(code.numel() for code in made.codes.values())
    assert floats == 34 + 33 + 3 * 10 * 4 and made.info["budget"] == {
        "floats": floats,
        "images_per_class": floats / 192,
    }
    assert len(made) == 30 and made.contents is None, "every image is an example of its own"


def test_what_is_above_the_budget_is_refused_with_the_keys_that_lower_it(coded: Project, capsys) -> None:
    """Four decoders leave no room for codes; a number of codes of one's own may be too large."""
    for key, value, says in (
        ("decoders", 4, "stores 280 floats, worth 1.46 images per class; the cell allows 1: lower synthetic.decoders"),
        ("codes", 11, "stores 199 floats, worth 1.04 images per class; the cell allows 1: lower synthetic.codes or"),
    ):
        coded.set("params.yaml", f"methods.dm.synthetic.{key}", value)
        assert coded.run("check") == 2
        assert f"methods.dm.synthetic (dm-tiny-1): {says}" in capsys.readouterr().err
        assert coded.run("distill", "dm-tiny-1") == 2
        assert f"error: dm-tiny-1, set 0: synthetic: {says}" in capsys.readouterr().err
        coded.set("params.yaml", f"methods.dm.synthetic.{key}", value - 1 if key == "codes" else 1)  # the mend
        assert coded.run("check") == 0 == coded.run("distill", "dm-tiny-1")


def test_no_real_image_is_assigned_twice_before_all_of_a_class_were():
    real = Scene("dm", 1, num_classes=2, per_class=5).real()
    rows = assigned(real, [3, 12], generator("rows"))
    assert len(rows) == 15 and real.labels[rows].tolist() == [0] * 3 + [1] * 12
    assert len(rows[:3].unique()) == 3
    assert all(len(part.unique()) == len(part) for part in rows[3:].split(5))


SCENE = Scene("dm", 1, num_classes=3, per_class=9, real_batch=5)
WARM = {"warm": {"objective": {"name": "reconstruction"}, "iterations": 3}}
ADAM = {"outer": {"images": {"optimizer": "adam", "lr": 0.01}}}


def run(change: dict) -> Distillation:
    chosen = settings.Distillation.model_validate(SCENE.settings(4).model_dump() | ADAM | change)
    return compose(chosen, SCENE.context(Streams("warm")))


def test_a_warm_start_is_that_objective_alone_and_the_iterations_begin_at_rest():
    """Each with the images, draws and optimiser of a run of its own."""
    both, start = run(WARM), run({"objective": {"name": "reconstruction"}, "iterations": 3})
    for _ in range(3):
        both.advance()
        start.advance()
        assert torch.equal(both.synthetic.images, start.synthetic.images)
    assert both.iterations == 7 and torch.equal(both.history[:3], start.history)
    after = run({})
    with torch.no_grad():
        after.synthetic.images.copy_(both.synthetic.images)
    for _ in range(4):
        both.advance()
        after.advance()
        assert torch.equal(both.synthetic.images, after.synthetic.images)
    assert torch.equal(both.history[3:], after.history)


def test_an_average_begins_after_the_warm_start():
    averaged, plain = run(WARM | {"average": 0.5}), run(WARM)
    for _ in range(3):
        averaged.advance(), plain.advance()
    expected = plain.synthetic.images.detach().clone()
    for _ in range(4):
        averaged.advance(), plain.advance()
        expected = 0.5 * expected + 0.5 * plain.synthetic.images.detach()
    averaged.finish()
    torch.testing.assert_close(averaged.synthetic.images.detach(), expected)


def test_networks_that_were_not_asked_yet_may_hold_anything():
    students = {"name": "trained", "outer_loop": 2, "inner_loop": 1}
    warm = run(WARM | {"students": students})
    with torch.no_grad():
        for weight in warm.students.network.parameters():
            weight.fill_(torch.nan)
    for _ in range(warm.iterations):
        warm.advance()
        warm.check_finite()


def test_a_warm_start_needs_no_student():
    with pytest.raises(UserError, match="^warm.objective: 'distribution' asks for a student .*; choose reconstruction"):
        run({"warm": {"objective": {"name": "distribution"}, "iterations": 3}})


def test_its_work_is_counted():
    chosen = config.load(TRACKED).resolved("kfs-digits-10")
    assert isinstance(chosen, settings.Distillation) and chosen.warm is not None
    cell = Cell(chosen, Data(Shape(1, 8, 10), 1_300, 500), 10, settings.ConvNet(kind="convnet", depth=2, width=16))
    each = chosen.synthetic.examples(cell.data.shape, 10)
    own = chosen.work(cell)
    start = chosen.model_copy(update={"warm": None}).work(cell)
    assert images(own - start, "gather") == chosen.warm.iterations * 10 * chosen.warm.objective.batch
    assert images(own - start, "decode") == chosen.warm.iterations * 10 * chosen.warm.objective.batch
    assert (
        chosen.objective.batch < each
        and images(own, "image gradient") == chosen.iterations * 10 * chosen.objective.batch
    )
    assert chosen.steps == chosen.iterations + chosen.warm.iterations
    outer = {op.name: calls for (op, _), calls in distillation(cell, 50).items()}["outer step"]
    assert outer == chosen.steps * chosen.sets
