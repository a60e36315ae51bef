"""Every published cell composes from its recipe."""

from pathlib import Path

import pytest

from ddpipe import config, mappings, settings
from tests.contracts.compositions import advanced, run_of
from tests.tracked import TRACKED

ROOT = Path(__file__).parents[2]
RECIPES = config.load(TRACKED).recipes
CELLS = [(name, cell) for name, recipe in RECIPES.items() for cell in recipe.cells]


@pytest.mark.parametrize(("name", "cell"), CELLS)
def test_every_cell_of_every_recipe_resolves_and_composes(name, cell):
    recipe = RECIPES[name]
    resolved = config.validate(settings.Cell, mappings.merge(recipe.parts, recipe.cells[cell]), f"{name}.cells.{cell}")
    if isinstance(resolved, settings.Distillation):
        run = run_of(smaller(resolved), ipc=3)
        assert len(run.history) == resolved.iterations
        advanced(run, 1).check_finite()


def smaller(chosen: settings.Distillation) -> settings.Distillation:
    """With at most three bases a class and three steps of a student: the images here are few."""
    few = {"bases", "steps"}
    smaller = {
        key: part.model_copy(update={name: min(3, value) for name, value in part if name in few and value})
        for key, part in chosen.parts().items()
    }
    return chosen.model_copy(update={"real_batch": 4} | smaller)


def test_every_row_of_the_grid_resolves_to_a_cell_of_its_recipe():
    project = config.load(TRACKED)
    for cell, row in project.rows.items():
        assert row.cell in project.recipes[row.recipe].cells
        assert project.resolved(cell).kind in ("distillation", "selection")
