"""What every start, objective, regulariser and pool of students promises, and every composition of them."""

import itertools
import random
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from ddpipe import artifacts, check_parts, config, networks, settings, students
from ddpipe.augment import Augment
from ddpipe.buffer import Buffer
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distill import Distillation, compose
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.objectives import OBJECTIVES
from ddpipe.objectives.contrast import Contrast
from ddpipe.randomness import Streams, generator
from ddpipe.synthetic import STARTS, Batch, Factorised, Pixels

ROOT = Path(__file__).parents[2]
SIZES = [7, 5, 9]  # training images of each class: unequal, and fewer than a real batch in class 1
SIDE = 8
STRATEGY = "color_crop_cutout_flip_scale_rotate"

SYNTHETIC = {
    "pixels-real": {"name": "pixels", "init": "real"},
    "pixels-noise": {"name": "pixels", "init": "noise"},
    "hallucinator": {"name": "hallucinator", "hallucinators": 3},
    "hallucinator-grey": {"name": "hallucinator", "hallucinators": 2, "channels": 1},
}
OBJECTIVE = {
    "gradient-ours": {"name": "gradient"},
    "gradient-mse": {"name": "gradient", "metric": "mse"},
    "gradient-cos": {"name": "gradient", "metric": "cos"},
    "distribution": {"name": "distribution"},
    "distribution-chunks": {"name": "distribution", "chunk": 6},
    "trajectory": {"name": "trajectory", "steps": 3, "lr": 0.05},
    "trajectory-full": {"name": "trajectory", "steps": 3, "lr": 0.05, "gradient": "full"},
    "trajectory-chunks": {"name": "trajectory", "steps": 4, "lr": 0.05, "batch": 4, "gradient": "truncated"},
    "trajectory-soft": {"name": "trajectory", "steps": 2, "lr": 0.05, "soft_labels": True},
}
REGULARISER = {"none": None, "contrast": {"name": "contrast"}}
STUDENTS = {
    "fresh": {"name": "fresh"},
    "trained": {"name": "trained", "outer_loop": 3, "inner_loop": 2, "momentum": 0.5, "batch": 4},
    "trained-augmented": {"name": "trained", "outer_loop": 2, "inner_loop": 1, "augment": STRATEGY},
    "experts": {"name": "experts", "starts": 2, "span": 2},
}
EXPERTS, SNAPSHOTS = 2, 43  # of the buffer: enough for every recipe

MATCHING = [name for name in OBJECTIVE if not name.startswith("trajectory")]
FOLLOWING = [name for name in OBJECTIVE if name.startswith("trajectory")]
GROWING = [name for name in STUDENTS if name != "experts"]  # students with weights of their own
PAIRS = [*itertools.product(MATCHING, GROWING), *itertools.product(FOLLOWING, ["experts"])]
SOME = [*itertools.product(["gradient-ours", "distribution-chunks"], GROWING), ("trajectory", "experts")]
SETS = [("pixels-real", "none"), ("hallucinator", "none"), ("hallucinator", "contrast")]  # and what is beside them

every_start = pytest.mark.parametrize("start", SYNTHETIC)
every_objective = pytest.mark.parametrize("objective", OBJECTIVE)
every_pool = pytest.mark.parametrize("pool", STUDENTS)
every_augment = pytest.mark.parametrize("augment", ["none", STRATEGY])
every_norm = pytest.mark.parametrize("norm", ["instance", "batch"])
every_pair = pytest.mark.parametrize(("objective", "pool"), PAIRS)
every_combination = pytest.mark.parametrize(("objective", "pool"), SOME)
every_set = pytest.mark.parametrize(("start", "regulariser"), SETS)


def resident(sizes=tuple(SIZES), dtype: torch.dtype = torch.float32) -> Resident:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    images = torch.randint(256, (len(labels), 2, SIDE, SIDE), generator=generator("parts", sizes)).to(torch.uint8)
    return Resident(images, labels, fit(images, settings.Dataset(source="digits"), dtype))


def of(
    objective: str = "gradient-ours",
    pool: str = "fresh",
    augment: str = "none",
    start: str = "pixels-real",
    regulariser: str = "none",
    lr: float = 0.1,
    **more,
):
    parts = {
        "synthetic": SYNTHETIC[start],
        "objective": OBJECTIVE[objective],
        "regulariser": REGULARISER[regulariser],
        "students": STUDENTS[pool],
        "augment": augment,
        "iterations": 8,
        "real_batch": 6,
    }
    rates = {"images": lr, "bases": lr, "hallucinators": 0.1 * lr, "lr": 1e-4 * lr}
    learned = settings_of(parts["synthetic"]).learned | settings_of(parts["objective"]).learned
    outer = {group: {"lr": rates[group], "momentum": 0.5} for group in sorted(learned)}
    return settings.Distillation.model_validate(parts | {"outer": outer} | more)


def settings_of(spec: dict):
    """The settings of one synthetic set or objective."""
    fields = settings.Distillation.model_fields
    kinds = fields["synthetic"].annotation | fields["objective"].annotation
    return TypeAdapter(Annotated[kinds, Field(discriminator="name")]).validate_python(spec)


ARCHITECTURE = settings.ConvNet(kind="convnet", depth=2, width=4)


@pytest.fixture(scope="module", autouse=True)
def buffer(tmp_path_factory):
    """Trajectories of the network that `run_of` gives its compositions."""
    folder = tmp_path_factory.mktemp("experts")
    network = networks.build(ARCHITECTURE, 2, SIDE, len(SIZES))
    for number in range(EXPERTS):
        draw = generator("expert", number)
        start = torch.cat([p.detach().flatten() for p in networks.initialise_(network, draw).parameters()])
        steps = 0.02 * torch.randn(SNAPSHOTS, len(start), generator=draw)
        artifacts.write_tensors(folder / f"{number}.safetensors", {"snapshots": start + steps.cumsum(0)})
    artifacts.write_json(folder / "experts.json", {"buffer": "small", "networks": EXPERTS})
    BUFFERS["small"] = Buffer(folder)


BUFFERS: dict[str, Buffer] = {}


def run_of(chosen: settings.Distillation, path=(0, "cell", 0), ipc: int = 2, norm: str = "instance", real=None):
    real = real or resident()
    architecture = ARCHITECTURE.model_copy(update={"norm": norm})
    network = networks.build(architecture, 2, SIDE, len(real.class_index))
    return compose(chosen, ipc, real, network, True, Streams(*path), BUFFERS["small"])


def advanced(run: Distillation, steps: int) -> Distillation:
    for _ in range(steps):
        run.advance()
    return run


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_every_registered_part_is_here():
    assert {spec["name"] for spec in SYNTHETIC.values()} == set(STARTS)
    assert {spec["name"] for spec in OBJECTIVE.values()} == set(OBJECTIVES)
    assert {spec["name"] for spec in STUDENTS.values()} == {"fresh", "trained", "experts"}


@every_start
def test_the_settings_of_a_start_name_the_groups_that_it_learns(start):
    run = run_of(of(start=start))
    assert run.synthetic.groups().keys() == settings_of(SYNTHETIC[start]).learned


@every_pair
def test_the_settings_of_an_objective_name_the_groups_that_it_learns(objective, pool):
    run = run_of(of(objective, pool))
    assert run.objective.groups().keys() == settings_of(OBJECTIVE[objective]).learned


# --- synthetic sets ---------------------------------------------------------------------------------------------------


@pytest.fixture(params=SYNTHETIC)
def synthetic(request):
    chosen = settings_of(SYNTHETIC[request.param])
    return STARTS[chosen.name](chosen, resident(), 3, Streams("synthetic", request.param))


def learned_by(part) -> list[Tensor]:
    return [tensor for tensors in part.groups().values() for tensor in tensors]


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
    contents = getattr(synthetic, "contents", torch.arange(len(synthetic)))
    n = int(contents.max()) + 1
    size = batch or n
    rounds, queue = [], synthetic.batches(generator("batches"), batch)
    for _ in range(6):
        parts = [next(queue) for _ in range(-(-n // size))]
        assert sorted(map(len, parts)) == sorted(map(len, torch.arange(n).split(size)))
        rounds.append(contents[torch.cat(parts)])
        assert rounds[-1].sort()[0].tolist() == list(range(n))
    assert not all(torch.equal(rounds[0], other) for other in rounds)


def test_targets_can_be_assigned(synthetic):
    given = torch.rand(synthetic.targets.shape, generator=generator("targets")).softmax(1)
    synthetic.assign_targets_(given)
    assert torch.equal(synthetic.decode().targets, given)
    assert torch.equal(synthetic.decode(torch.tensor([2, 0])).targets, given[[2, 0]])


def test_every_learned_tensor_gets_a_gradient_from_every_image(synthetic):
    learned = learned_by(synthetic)
    assert learned and all(isinstance(tensor, torch.nn.Parameter) for tensor in learned)
    images = synthetic.decode().images
    gradients = torch.autograd.grad(images, learned, torch.ones_like(images))
    assert all(bool((gradient != 0).any()) for gradient in gradients)
    for row in range(len(synthetic)):
        part = synthetic.decode(torch.tensor([row])).images
        assert any(bool((g != 0).any()) for g in torch.autograd.grad(part, learned, torch.ones_like(part)))


def test_stored_floats_are_the_learned_numbers(synthetic):
    assert synthetic.stored_floats() == sum(tensor.numel() for tensor in learned_by(synthetic))
    if isinstance(synthetic, Pixels):
        assert synthetic.stored_floats() == 3 * len(SIZES) * 2 * SIDE**2
    if isinstance(synthetic, Factorised):
        assert synthetic.stored_floats() == sum(tensor.numel() for tensor in synthetic.codes().values())


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


@every_pair
@every_augment
@every_norm
def test_every_composition_moves_every_image_and_keeps_its_losses_finite(objective, pool, augment, norm):
    moves_every_image(run_of(of(objective, pool, augment), norm=norm))


@every_pair
@every_augment
@pytest.mark.parametrize(("start", "regulariser"), SETS[1:])
def test_and_so_does_every_composition_of_a_factorised_set(objective, pool, augment, start, regulariser):
    moves_every_image(run_of(of(objective, pool, augment, start, regulariser)))


def moves_every_image(run: Distillation) -> None:
    before = run.synthetic.decode().images.detach()
    before, lr = before.clone(), [tensor.detach().clone() for tensor in learned_by(run.objective)]
    advanced(run, 4).check_finite()
    after = run.synthetic.decode().images
    assert run.iteration == 4 and bool((run.history[:4] > 0).all()) and bool((run.history[4:] == 0).all())
    assert bool((after != before).flatten(1).any(1).all())
    assert after.isfinite().all()
    assert not any(torch.equal(one, other) for one, other in zip(lr, learned_by(run.objective), strict=True))


@pytest.mark.parametrize("start", ["pixels-real", "hallucinator"])
@every_objective
@every_pool
@pytest.mark.parametrize("regulariser", REGULARISER)
def test_parts_that_do_not_fit_are_refused_by_compose_as_by_check(start, objective, pool, regulariser):
    chosen = of(objective, pool, start=start, regulariser=regulariser)
    mistakes = list(check_parts.misfits(chosen))
    if mistakes:
        with pytest.raises(UserError, match=rf"^{mistakes[0].partition(':')[0]}: "):
            run_of(chosen)
    else:
        run_of(chosen)
    fits = ((objective, pool) in PAIRS) and (regulariser == "none" or start == "hallucinator")
    assert fits == (not mistakes)


def test_groups_of_the_outer_optimiser_are_refused_by_compose_as_by_check():
    chosen = of(start="hallucinator", outer={"images": {"lr": 0.1}})
    (mistake,) = check_parts.misfits(chosen)
    assert mistake.startswith("outer: has ['images'], but what is learned is ['bases', 'hallucinators']")
    with pytest.raises(UserError, match=r"^outer: has \['images'\], but what is learned is"):
        run_of(chosen)


def test_students_that_follow_experts_need_a_buffer():
    chosen, real = of("trajectory", "experts"), resident()
    network = networks.build(ARCHITECTURE, 2, SIDE, len(SIZES))
    with pytest.raises(UserError, match="^students: 'experts' follow a buffer"):
        compose(chosen, 2, real, network, True, Streams("run"))


@every_combination
@every_augment
@every_norm
def test_a_resumed_run_continues_bit_identically(objective, pool, augment, norm, tmp_path):
    continues_bit_identically(of(objective, pool, augment), norm, tmp_path)


@every_combination
def test_so_does_one_with_a_second_player_and_an_average(objective, pool, tmp_path):
    chosen = of(objective, pool, STRATEGY, "hallucinator", "contrast", average=0.9)
    continues_bit_identically(chosen, "instance", tmp_path)


def test_the_second_player_has_everything_in_its_state(tmp_path):
    """Momentum and running statistics of the extractor included; labels of the set, and how they were agreed on."""
    chosen = of("trajectory-soft", "experts", STRATEGY, "hallucinator", "contrast")
    state = continues_bit_identically(chosen, "batch", tmp_path)
    assert any("extractor.features" in key and "running_mean" in key for key in state)
    assert {"objective/objective.lr", "objective/optimizer.0", "synthetic/targets"} <= state.keys()


def continues_bit_identically(chosen: settings.Distillation, norm: str, tmp_path: Path) -> dict[str, Tensor]:
    """Asserts it of runs resumed from files, and returns the last state."""
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
    return states[-1]


@every_combination
@every_set
def test_equal_names_give_equal_bits_and_others_do_not(objective, pool, start, regulariser):
    chosen = of(objective, pool, STRATEGY, start, regulariser)
    paths = [(0, "cell", 0), (0, "cell", 0), (1, "cell", 0), (0, "other", 0), (0, "cell", 1)]
    images = [advanced(run_of(chosen, path), 3).synthetic.decode().images for path in paths]
    assert torch.equal(images[0], images[1])
    assert not any(torch.equal(images[0], other) for other in images[2:])


@every_combination
@every_set
def test_nothing_reads_or_changes_the_global_generators(objective, pool, start, regulariser):
    def state() -> list[bytes]:
        return [
            torch.get_rng_state().numpy().tobytes(),
            str(np.random.get_state()).encode(),  # noqa: NPY002 (it is the state that must stay)
            str(random.getstate()).encode(),
        ]

    def result() -> tuple[Tensor, float]:
        run = advanced(run_of(of(objective, pool, STRATEGY, start, regulariser)), 3)
        images, targets = (tensor.detach() for tensor in run.synthetic.decode())
        architecture = settings.ConvNet(kind="convnet", depth=1, width=4)
        protocol = settings.Protocol(epochs=2, batch=4, augment=STRATEGY)
        data = TrainingSet(lambda index: Batch(images[index], targets[index]), len(images))
        examination = Examination(architecture, protocol, resident(), len(SIZES), flip=True)
        (value,) = examination.accuracies(data, [Streams("evaluate")])
        return images, value

    before = state()
    first = result()
    assert state() == before
    with torch.random.fork_rng(devices=[]):
        torch.rand(1)
        second = result()
    assert torch.equal(first[0], second[0]) and first[1] == second[1]


EXACT = [name for name in OBJECTIVE if name not in ("trajectory-chunks", "trajectory-soft")]  # truncated, labels move


@pytest.mark.parametrize("objective", EXACT)
@pytest.mark.parametrize("augment", ["none", "scale"])
@every_set
def test_gradients_of_what_is_learned_agree_with_finite_differences(objective, augment, start, regulariser):
    real = resident((4, 5), torch.float64)
    network = networks.create(
        settings.ConvNet(kind="convnet", depth=2, width=3), 2, SIDE, 2, generator("network")
    ).double()
    weights = torch.cat([p.detach().flatten() for p in network.parameters()])
    moved = 0.1 * torch.randn(weights.shape, dtype=torch.float64, generator=generator("segment"))
    student = students.Student(network, students.Segment(weights, weights + moved))
    pool = "experts" if objective in FOLLOWING else "fresh"
    chosen = of(objective, pool, augment, start, regulariser)
    synthetic = STARTS[chosen.synthetic.name](chosen.synthetic, real, 2, Streams("differences")).double()
    judge = OBJECTIVES[chosen.objective.name](chosen.objective, real_batch=3)
    if chosen.regulariser:
        judge = Contrast(chosen.regulariser, judge, network, Streams("contrast"))

    def loss():
        return next(judge.losses(synthetic, student, real, Augment(augment), Streams("same draws")))

    learned = learned_by(synthetic)
    gradients = loss().gradients(learned)
    draw = generator("direction")
    directions = [torch.randn(x.shape, dtype=torch.float64, generator=draw) for x in learned]
    step, values = 1e-6, []
    for sign in (1, -1):
        with torch.no_grad():
            torch._foreach_add_(learned, directions, alpha=sign * step)
        values.append(float(loss().value))
        with torch.no_grad():
            torch._foreach_sub_(learned, directions, alpha=sign * step)
    along = sum(float((gradient * direction).sum()) for gradient, direction in zip(gradients, directions, strict=True))
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(along, rel=1e-5)


@every_combination
def test_a_diverging_run_names_the_learning_rate(objective, pool):
    run = advanced(run_of(of(objective, pool, lr=1e38)), 4)
    with pytest.raises(UserError, match=r"^outer\.images\.lr: .*1e\+38.* not a number") as error:
        run.check_finite()
    assert "\n" not in str(error.value)


def test_the_second_player_leaves_the_set_alone_and_follows_it():
    """Its step comes after the outer one, and moves its own weights only."""
    chosen, rng = of("distribution", start="hallucinator", regulariser="contrast"), Streams("players")
    run = run_of(chosen)
    student = run.students.next(run.synthetic, rng)
    losses = run.objective.losses(run.synthetic, student, run.real, run.augment, rng)
    extractor = run.objective.extractor
    before = {name: value.clone() for name, value in extractor.state_dict().items()}
    run.outer.step(next(losses))
    assert equal(extractor.state_dict(), before)
    decoded = run.synthetic.decode().images.detach().clone()
    assert next(losses, None) is None
    weights = {name: p for name, p in extractor.named_parameters() if p.dim() > 1}  # norms cancel convolutions' biases
    assert not any(torch.equal(value, before[name]) for name, value in weights.items())
    assert torch.equal(run.synthetic.decode().images, decoded)
    assert all(parameter.grad is None for parameter in [*extractor.parameters(), *learned_by(run.synthetic)])


@every_pool
def test_students_survive_their_state_in_the_middle_of_a_network(pool):
    chosen = TypeAdapter(settings.Students).validate_python(STUDENTS[pool])
    synthetic = STARTS["pixels"](settings.Pixels(name="pixels"), resident(), 2, Streams("students"))

    def make():
        architecture = settings.ConvNet(kind="convnet", depth=1, width=4, norm="batch")
        return students.make(chosen, networks.build(architecture, 2, SIDE, len(SIZES)), True, BUFFERS["small"])

    one, rng = make(), Streams("students")
    for _ in range(2):
        one.next(synthetic, rng)
    other, same = make(), Streams("students")
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    same.load_state_dict(rng.state_dict())
    for _ in range(4):
        a, b = one.next(synthetic, rng), other.next(synthetic, same)
        if a.segment is None:
            assert equal(a.network.state_dict(), b.network.state_dict())
        else:
            assert torch.equal(torch.stack(a.segment), torch.stack(b.segment))


# --- recipes ----------------------------------------------------------------------------------------------------------

RECIPES = config.load(ROOT).recipes
CELLS = [(name, cell) for name, recipe in RECIPES.items() for cell in recipe.cells]


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_every_cell_of_every_recipe_resolves_and_composes(name, cell):
    recipe = RECIPES[name]
    resolved = config.validate(settings.Cell, config.merge(recipe.parts, recipe.cells[cell]), f"{name}.cells.{cell}")
    if isinstance(resolved, settings.Distillation):
        run = run_of(smaller(resolved), ipc=3)
        assert len(run.history) == resolved.iterations
        advanced(run, 1).check_finite()


def smaller(chosen: settings.Distillation) -> settings.Distillation:
    """With at most three bases a class and three steps of a student: the images here are few."""
    synthetic, objective = chosen.synthetic, chosen.objective
    if isinstance(synthetic, settings.Hallucinator) and synthetic.bases:
        synthetic = synthetic.model_copy(update={"bases": min(3, synthetic.bases)})
    if isinstance(objective, settings.TrajectoryMatching):
        objective = objective.model_copy(update={"steps": min(3, objective.steps)})
    return chosen.model_copy(update={"real_batch": 4, "synthetic": synthetic, "objective": objective})


def test_every_row_of_the_grid_resolves_to_a_cell_of_its_recipe():
    project = config.load(ROOT)
    for cell, row in project.rows.items():
        assert row.cell in project.recipes[row.recipe].cells
        assert project.resolved(cell).kind in ("distillation", "selection")
