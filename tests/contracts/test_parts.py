"""What every start, objective and pool of students promises, and every composition of them."""

import itertools
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from ddpipe import artifacts, config, networks, settings, students
from ddpipe.augment import Augment
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distill import Distillation, compose
from ddpipe.errors import UserError
from ddpipe.evaluation import evaluate_network
from ddpipe.objectives import OBJECTIVES
from ddpipe.randomness import Streams, generator
from ddpipe.synthetic import STARTS, Batch

ROOT = Path(__file__).parents[2]
SIZES = [7, 5, 9]  # training images of each class: unequal, and fewer than a real batch in class 1
SIDE = 8
STRATEGY = "color_crop_cutout_flip_scale_rotate"

SYNTHETIC = {"pixels-real": {"name": "pixels", "init": "real"}, "pixels-noise": {"name": "pixels", "init": "noise"}}
OBJECTIVE = {
    "gradient-ours": {"name": "gradient"},
    "gradient-mse": {"name": "gradient", "metric": "mse"},
    "gradient-cos": {"name": "gradient", "metric": "cos"},
    "distribution": {"name": "distribution"},
    "distribution-chunks": {"name": "distribution", "chunk": 6},
}
STUDENTS = {
    "fresh": {"name": "fresh"},
    "trained": {"name": "trained", "outer_loop": 3, "inner_loop": 2, "momentum": 0.5, "batch": 4},
    "trained-augmented": {"name": "trained", "outer_loop": 2, "inner_loop": 1, "augment": STRATEGY},
}

every_start = pytest.mark.parametrize("start", SYNTHETIC)
every_objective = pytest.mark.parametrize("objective", OBJECTIVE)
every_pool = pytest.mark.parametrize("pool", STUDENTS)
every_augment = pytest.mark.parametrize("augment", ["none", STRATEGY])
every_norm = pytest.mark.parametrize("norm", ["instance", "batch"])
combinations = list(itertools.product(["gradient-ours", "distribution-chunks"], STUDENTS))
every_combination = pytest.mark.parametrize(("objective", "pool"), combinations)


def resident(sizes=tuple(SIZES), dtype: torch.dtype = torch.float32) -> Resident:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    images = torch.randint(256, (len(labels), 2, SIDE, SIDE), generator=generator("parts", sizes)).to(torch.uint8)
    return Resident(images, labels, fit(images, settings.Dataset(source="digits"), dtype))


def of(
    objective: str = "gradient-ours", pool: str = "fresh", augment: str = "none", start: str = "pixels-real", **more
):
    parts = {
        "synthetic": SYNTHETIC[start],
        "objective": OBJECTIVE[objective],
        "students": STUDENTS[pool],
        "augment": augment,
        "outer": {"images": {"lr": 0.1, "momentum": 0.5}},
        "iterations": 8,
        "real_batch": 6,
    }
    return settings.Distillation.model_validate(parts | more)


def run_of(chosen: settings.Distillation, path=(0, "cell", 0), ipc: int = 2, norm: str = "instance", real=None):
    real = real or resident()
    architecture = settings.ConvNet(kind="convnet", depth=2, width=4, norm=norm)
    network = networks.build(architecture, 2, SIDE, len(real.class_index))
    return compose(chosen, ipc, real, network, True, Streams(*path))


def advanced(run: Distillation, steps: int) -> Distillation:
    for _ in range(steps):
        run.advance()
    return run


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_every_registered_part_is_here():
    assert {spec["name"] for spec in SYNTHETIC.values()} == set(STARTS)
    assert {spec["name"] for spec in OBJECTIVE.values()} == set(OBJECTIVES)
    assert {spec["name"] for spec in STUDENTS.values()} == {"fresh", "trained"}


# --- synthetic sets ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=SYNTHETIC)
def synthetic(request):
    chosen = TypeAdapter(settings.Pixels).validate_python(SYNTHETIC[request.param])
    return STARTS[chosen.name](chosen, resident(), 3, Streams("synthetic", request.param))


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
        for part, everything in zip(synthetic.decode(index), whole, strict=True):
            assert torch.equal(part, everything[index])


def test_every_learned_tensor_gets_a_gradient_from_every_image(synthetic):
    learned = [tensor for tensors in synthetic.groups().values() for tensor in tensors]
    assert learned and all(isinstance(tensor, torch.nn.Parameter) for tensor in learned)
    images = synthetic.decode().images
    gradients = torch.autograd.grad(images, learned, torch.ones_like(images))
    assert all(bool((gradient != 0).any()) for gradient in gradients)
    for row in range(len(synthetic)):
        part = synthetic.decode(torch.tensor([row])).images
        assert any(bool((g != 0).any()) for g in torch.autograd.grad(part, learned, torch.ones_like(part)))


def test_stored_floats_are_the_learned_numbers(synthetic):
    learned = [tensor for tensors in synthetic.groups().values() for tensor in tensors]
    assert synthetic.stored_floats() == sum(tensor.numel() for tensor in learned) == 3 * len(SIZES) * 2 * SIDE**2


def test_a_synthetic_set_survives_its_state(synthetic):
    state = {name: tensor.clone() for name, tensor in synthetic.state_dict().items()}
    with torch.no_grad():
        for parameter in synthetic.parameters():
            parameter.zero_()
    synthetic.load_state_dict(state)
    assert equal(synthetic.state_dict(), state)


def test_real_start_is_ipc_different_images_of_each_class():
    real = resident()
    start = STARTS["pixels"](settings.Pixels(name="pixels"), real, 5, Streams("start"))
    for image, label in zip(start.images, start.classes, strict=True):
        same = [
            row for row in real.class_index[label].tolist() if torch.equal(real.batch(torch.tensor([row]))[0], image)
        ]
        assert len(same) == 1
    assert len(start.images.flatten(1).unique(dim=0)) == len(start)


def test_noise_start_is_standard_normal():
    start = STARTS["pixels"](settings.Pixels(name="pixels", init="noise"), resident([50, 50]), 50, Streams("start"))
    images = start.images.detach()
    assert abs(float(images.mean())) < 0.05 and abs(float(images.std()) - 1) < 0.05


@every_start
def test_more_images_than_a_class_has_are_refused(start):
    with pytest.raises(UserError, match="ipc: 6 is more than the 5 training images of class 1"):
        run_of(of(start=start), ipc=6)


# --- compositions -----------------------------------------------------------------------------------------------------


@every_objective
@every_pool
@every_augment
@every_norm
def test_every_composition_moves_every_image_and_keeps_its_losses_finite(objective, pool, augment, norm):
    run = run_of(of(objective, pool, augment), norm=norm)
    before = run.synthetic.images.detach().clone()
    advanced(run, 4).check_finite()
    assert run.iteration == 4 and bool((run.history[:4] > 0).all()) and bool((run.history[4:] == 0).all())
    assert bool((run.synthetic.images != before).flatten(1).any(1).all())
    assert run.synthetic.images.isfinite().all()


@every_combination
@every_augment
@every_norm
def test_a_resumed_run_continues_bit_identically(objective, pool, augment, norm, tmp_path):
    chosen = of(objective, pool, augment)
    unbroken = run_of(chosen, norm=norm)
    states = []
    for step in range(6):
        advanced(unbroken, 1)
        if step in (0, 2, 3):  # between changes of the network, before and after one
            artifacts.write_tensors(tmp_path / f"{step}.safetensors", unbroken.state_dict())
    for step in (0, 2, 3):
        resumed = run_of(chosen, norm=norm)
        state, _ = artifacts.read_tensors(tmp_path / f"{step}.safetensors")
        resumed.load_state_dict(state)
        assert resumed.iteration == step + 1
        states.append(advanced(resumed, 5 - step).state_dict())
    assert all(equal(state, unbroken.state_dict()) for state in states)


@every_combination
def test_equal_names_give_equal_bits_and_others_do_not(objective, pool):
    chosen = of(objective, pool, STRATEGY)
    paths = [(0, "cell", 0), (0, "cell", 0), (1, "cell", 0), (0, "other", 0), (0, "cell", 1)]
    images = [advanced(run_of(chosen, path), 3).synthetic.images for path in paths]
    assert torch.equal(images[0], images[1])
    assert not any(torch.equal(images[0], other) for other in images[2:])


@every_combination
@every_start
def test_nothing_reads_or_changes_the_global_generators(objective, pool, start):
    def state() -> list[bytes]:
        return [
            torch.get_rng_state().numpy().tobytes(),
            str(np.random.get_state()).encode(),  # noqa: NPY002 (it is the state that must stay)
            str(random.getstate()).encode(),
        ]

    def result() -> tuple[Tensor, float]:
        run = advanced(run_of(of(objective, pool, STRATEGY, start)), 3)
        images, targets = (tensor.detach() for tensor in run.synthetic.decode())
        architecture = settings.ConvNet(kind="convnet", depth=1, width=4)
        protocol = settings.Protocol(epochs=2, batch=4, augment=STRATEGY)
        value = evaluate_network(
            architecture,
            protocol,
            lambda index: Batch(images[index], targets[index]),
            len(images),
            resident(),
            len(SIZES),
            True,
            Streams("evaluate"),
        )
        return images, value

    before = state()
    first = result()
    assert state() == before
    with torch.random.fork_rng(devices=[]):
        torch.rand(1)
        second = result()
    assert torch.equal(first[0], second[0]) and first[1] == second[1]


@every_objective
@pytest.mark.parametrize("augment", ["none", "scale"])
def test_gradients_of_the_images_agree_with_finite_differences(objective, augment):
    real = resident((4, 5), torch.float64)
    network = networks.create(
        settings.ConvNet(kind="convnet", depth=2, width=3), 2, SIDE, 2, generator("network")
    ).double()
    chosen = of(objective, augment=augment)
    synthetic = STARTS["pixels"](chosen.synthetic, real, 2, Streams("differences"))
    judge = OBJECTIVES[chosen.objective.name](chosen.objective, real_batch=3)

    def loss():
        (found,) = judge.losses(synthetic, students.Student(network), real, Augment(augment), Streams("same draws"))
        return found

    (gradient,) = loss().gradients([synthetic.images])
    direction = torch.randn(synthetic.images.shape, dtype=torch.float64, generator=generator("direction"))
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            synthetic.images.add_(direction, alpha=sign * step)
        values.append(float(loss().value))
        with torch.no_grad():
            synthetic.images.sub_(direction, alpha=sign * step)
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(float((gradient * direction).sum()), rel=1e-5)


@every_combination
def test_a_diverging_run_names_the_learning_rate(objective, pool):
    run = advanced(run_of(of(objective, pool, outer={"images": {"lr": 1e38, "momentum": 0.5}})), 4)
    with pytest.raises(UserError, match=r"^outer\.images\.lr: .*1e\+38.* not a number") as error:
        run.check_finite()
    assert "\n" not in str(error.value)


@every_pool
def test_students_survive_their_state_in_the_middle_of_a_network(pool):
    chosen = TypeAdapter(settings.FreshStudents | settings.TrainedStudents).validate_python(STUDENTS[pool])
    synthetic = STARTS["pixels"](settings.Pixels(name="pixels"), resident(), 2, Streams("students"))

    def make():
        architecture = settings.ConvNet(kind="convnet", depth=1, width=4, norm="batch")
        return students.make(chosen, networks.build(architecture, 2, SIDE, len(SIZES)), True)

    one, rng = make(), Streams("students")
    for _ in range(2):
        one.next(synthetic, rng)
    other, same = make(), Streams("students")
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    same.load_state_dict(rng.state_dict())
    for _ in range(4):
        a, b = one.next(synthetic, rng).network, other.next(synthetic, same).network
        assert equal(a.state_dict(), b.state_dict())


# --- recipes ----------------------------------------------------------------------------------------------------------

RECIPES = config.load(ROOT).recipes
CELLS = [(name, cell) for name, recipe in RECIPES.items() for cell in recipe.cells]


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_every_cell_of_every_recipe_resolves_and_composes(name, cell):
    recipe = RECIPES[name]
    resolved = config.validate(settings.Cell, config.merge(recipe.parts, recipe.cells[cell]), f"{name}.cells.{cell}")
    if isinstance(resolved, settings.Distillation):
        run = run_of(resolved.model_copy(update={"real_batch": 4}), ipc=3)
        assert len(run.history) == resolved.iterations
        advanced(run, 1).check_finite()


def test_every_row_of_the_grid_resolves_to_a_cell_of_its_recipe():
    project = config.load(ROOT)
    for cell, row in project.rows.items():
        assert row.cell in project.recipes[row.recipe].cells
        assert project.resolved(cell).kind in ("distillation", "selection")
