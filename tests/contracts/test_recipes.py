"""Every published cell composes from its recipe."""

import re
from itertools import islice
from pathlib import Path

import pytest
import torch

from ddpipe import config, settings
from ddpipe.planning.shapes import data_of
from ddpipe.rows import guess
from ddpipe.synthetic.real import Real
from tests.contracts.compositions import advanced, run_of
from tests.tracked import TRACKED

ROOT = Path(__file__).parents[2]
RECIPES = config.load(TRACKED).recipes
CELLS = [
    (name, cell, ipc)
    for name, recipe in RECIPES.items()
    for cell in recipe.cells
    for ipc in recipe.told_apart(cell) or [1]
]


def resolved(name: str, cell: str, ipc: int) -> settings.Cell:
    """The cell of a recipe; a mistake names the file and the key."""
    layers = [("parts", RECIPES[name].parts), *RECIPES[name].layers(cell, ipc)]
    return config.resolve([(f"ddpipe/methods/{name}.yaml:{name}.{key}", numbers) for key, numbers in layers])


@pytest.mark.parametrize(("name", "cell", "ipc"), CELLS)
def test_every_cell_of_every_recipe_resolves_and_composes(name, cell, ipc):
    found = resolved(name, cell, ipc)
    if isinstance(found, settings.Distillation):
        run = run_of(smaller(found), ipc=3)
        assert len(run.history) == found.steps
        advanced(run, 1).check_finite()


def smaller(chosen: settings.Distillation) -> settings.Distillation:
    """With at most three bases a class, three steps of a student and blocks of the set: the images here are few."""
    few = {"bases", "steps", "blocks", "batches", "classes"}
    smaller = {
        key: part.model_copy(update={name: min(3, value) for name, value in part if name in few and value})
        for key, part in chosen.parts().items()
        if key in type(chosen).model_fields  # the warm start's objective lies deeper
    }
    return chosen.model_copy(update={"real_batch": 4} | smaller)


def test_every_row_of_the_grid_resolves_to_a_cell_of_its_recipe():
    project = config.load(TRACKED)
    for cell, row in project.rows.items():
        assert row.cell in project.recipes[row.recipe].cells
        assert project.resolved(cell).kind in ("distillation", "selection")


def test_every_row_of_the_grid_divides_into_its_blocks_at_its_own_size():
    """Not at the small ones above."""
    project = config.load(TRACKED)
    divided = 0
    for cell, row, chosen in project.cells():
        count, data = getattr(getattr(chosen, "objective", None), "blocks", None), data_of(project, row.data)
        if row.ipc == "all" or not count or data is None:
            continue
        shape = data.shape
        assert chosen.refusal(shape, row.ipc) is None and not list(chosen.misfits()), cell
        if chosen.synthetic.course is None:
            peopled = chosen.synthetic.peopled(shape)
            classes = torch.arange(peopled).repeat_interleave(chosen.synthetic.examples(shape, row.ipc))
            found = list(islice(Real(torch.zeros(len(classes), 1), classes, shape.classes).divided(count), count))
            assert torch.cat(found).sort()[0].tolist() == list(range(len(classes))) and all(map(len, found)), cell
            divided += 1
    assert divided


def test_steps_are_learned_on_blocks_of_unequal_size():
    """GTN's rival at IPC 820 and 1639: real images that do not divide."""
    layers = [("parts", RECIPES["gtn"].parts), ("methods", config.load(TRACKED).changes("gtn-undistilled"))]
    for gradient in ("exact", "full"):
        run = run_of(smaller(config.resolve([*layers, ("here", {"objective": {"gradient": gradient}})])), ipc=4)
        assert torch.bincount(run.hints()["blocks"].long()).tolist() == [6, 3, 3]
        before = run.hints()["lr"]
        advanced(run, 1).check_finite()
        assert not torch.equal(run.hints()["lr"], before)


@pytest.mark.parametrize(("name", "ipc"), [(name, ipc) for name in RECIPES for ipc in (1, 10, 50)])
def test_the_default_has_the_numbers_of_cifar10_at_every_published_ipc(name, ipc):
    """Where a method has published numbers: own data begin with these, not with those of another IPC."""
    if f"cifar10-{ipc}" in RECIPES[name].cells:
        assert resolved(name, "default", ipc) == resolved(name, f"cifar10-{ipc}", ipc)
        assert RECIPES[name].taken("default", ipc) == ipc


def test_a_dataset_has_the_numbers_of_its_cells_at_their_ipc():
    """Where one cell is for every IPC of a dataset, it repeats those that have cells of their own."""
    compared = 0
    for name, recipe in RECIPES.items():
        for found in filter(
            None, (re.fullmatch(r"([a-z0-9]+)(-single)?-(\d+)(-[a-z-]+)?", cell) for cell in recipe.cells)
        ):
            whole, ipc = f"{found[1]}{found[2] or found[4] or ''}", int(found[3])
            if whole in recipe.cells and recipe.told_apart(whole):
                assert resolved(name, whole, ipc) == resolved(name, found[0], ipc)
                assert recipe.taken(whole, ipc) == ipc
                compared += 1
    assert compared > 10


@pytest.mark.parametrize("name", ["idc", "idc-i"])
@pytest.mark.parametrize(
    ("dataset", "lr", "metric", "n"),
    [
        ("mnist", 1e-4, "l1", 500),
        ("fashionmnist", 1e-4 * (28 / 32) ** 2, "l1", 500),
        ("svhn", 5e-3, "mse", 500),
        ("cifar10", 5e-3, "mse", 2000),
    ],
)
def test_idc_has_the_step_sizes_of_the_official_rule_for_any_ipc(name, dataset, lr, metric, n):
    project = config.load(TRACKED)
    for ipc in (1, 10, 20, 50):
        row = guess(project, name, dataset, ipc, {})
        found = config.resolve(project.layers_of(row))
        assert found.outer["images"].lr == pytest.approx(lr * ipc / 10) and found.objective.metric == metric
        assert found.students.inner_loop == round(n / found.students.batch + 0.4)
        mixed = 0.0 if (name, dataset) == ("idc", "mnist") else 0.5  # several MNIST images in one are not cut
        assert (found.students.cutmix, found.synthetic.factor) == (mixed, 2 if name == "idc" else 1)
        if (there := f"{name}-{dataset}-{ipc}") in project.rows:
            assert found == project.resolved(there)


@pytest.mark.parametrize("name", ["ld", "ld-ridge"])
@pytest.mark.parametrize(("dataset", "epoch"), [("mnist", 49), ("cifar10", 44)])
@pytest.mark.parametrize(
    ("ipc", "subset", "epochs", "patience"),
    [(1, 10, 400, 50), (2, 10, 400, 50), (5, 25, 400, 50), (10, 50, 400, 50), (20, 50, 800, 200), (50, 50, 800, 200)],
)
def test_ld_has_the_official_numbers_at_every_ipc_of_its_table(name, dataset, epoch, ipc, subset, epochs, patience):
    project = config.load(TRACKED)
    row = guess(project, name, dataset, ipc, {})
    found = config.resolve(project.layers_of(row))
    assert min(found.objective.subset, 10 * ipc) == subset
    assert (found.iterations, found.students.patience) == (epochs * epoch, patience)
    assert row.name not in project.rows or found == project.resolved(row.name)


@pytest.mark.parametrize(
    ("ipc", "loops"), [(1, (10, 5)), (10, (10, 50)), (20, (20, 25)), (30, (30, 20)), (40, (40, 15))]
)
def test_dcc_has_the_loops_of_the_official_table_but_at_ipc_1(ipc, loops):
    found = resolved("dcc", "default", ipc)
    assert (found.students.outer_loop, found.students.inner_loop) == loops
    assert found.iterations == 1000 * found.students.outer_loop


@pytest.mark.parametrize("name", ["dc", "dsa"])
@pytest.mark.parametrize(
    ("ipc", "loops"), [(1, (1, 1)), (10, (10, 50)), (20, (20, 25)), (30, (30, 20)), (50, (50, 10))]
)
def test_gradient_matching_has_the_loops_of_the_official_table(name, ipc, loops):
    found = resolved(name, "default", ipc)
    assert (found.students.outer_loop, found.students.inner_loop) == loops
    assert found.iterations == 1000 * found.students.outer_loop  # networks x updates of each
