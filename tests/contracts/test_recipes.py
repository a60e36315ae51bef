"""Every published cell composes from its recipe."""

from itertools import islice
from pathlib import Path

import pytest
import torch

from ddpipe import config, settings
from ddpipe.planning.shapes import data_of
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


@pytest.mark.parametrize("name", ["dc", "dsa"])
@pytest.mark.parametrize(
    ("ipc", "loops"), [(1, (1, 1)), (10, (10, 50)), (20, (20, 25)), (30, (30, 20)), (50, (50, 10))]
)
def test_gradient_matching_has_the_loops_of_the_official_table(name, ipc, loops):
    found = resolved(name, "default", ipc)
    assert (found.students.outer_loop, found.students.inner_loop) == loops
    assert found.iterations == 1000 * found.students.outer_loop  # networks x updates of each
