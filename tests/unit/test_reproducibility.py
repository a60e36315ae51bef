"""REPRODUCIBILITY.md: golden cases that are there, and counts that are those of the tables."""

from collections import Counter
from pathlib import Path

import pandas as pd

from ddpipe import config
from ddpipe.report import published, survey
from ddpipe.report.reproducibility import document, doubts, measured, told
from ddpipe.states import State
from tests.tracked import TRACKED

GOLDEN = Path(__file__).parents[1] / "golden"
SHARED = {"convnet", "eval_networks", "param_counts"}  # networks, which are every method's


def test_every_golden_case_stands_behind_a_method_or_a_network() -> None:
    cases = {path.stem for path in GOLDEN.glob("*.npz")} | {"param_counts"}
    named = [case for recipe in config.load(TRACKED).recipes.values() for case in recipe.golden]
    assert set(named) | SHARED == cases
    assert all((GOLDEN / f"{case}.json").exists() for case in named)


def test_cells_that_share_a_doubt_share_a_line() -> None:
    recipe = (
        config.load(TRACKED).recipes["dc"].model_copy(update={"unverified": {"a": "Why.", "b": "Else.", "c": "Why."}})
    )
    assert doubts(recipe) == ["a, c: Why.", "b: Else."]


def test_counts_in_words() -> None:
    counts = Counter({"": 2, survey.MISSING: 3, State.REDUCED: 1, State.PUBLISHED: 4})
    assert told(counts) == "4 as published, 1 reduced, 3 missing, 2 not in the grid"
    assert told(Counter()) == ""


def test_the_best_state_of_a_method_on_each_data_set() -> None:
    rows = [("dm", State.OWN), ("dm", State.REDUCED), ("dm", ""), ("dc", State.PUBLISHED)]
    frame = pd.DataFrame(rows, columns=["recipe", "state"])
    assert measured("dm", {"digits": frame, "mnist": frame[frame["state"] == ""]}) == "○ digits"


def test_a_row_a_method_and_its_notes() -> None:
    project = config.load(TRACKED)
    tables = survey.tables(published.read(TRACKED / "data/published"), {})
    text = document(project, {}, tables)
    rows = [line for line in text.splitlines() if line.startswith("| ") and not line.startswith(("| Method", "| :"))]
    assert len(rows) == len(project.recipes)
    assert any(row.startswith("| LD | ld | - | 7 not in the grid |") for row in rows)
    for recipe in project.recipes.values():
        assert all(note[:20].replace("`", "\\`").split("[")[0].split("*")[0] in text for note in recipe.notes)
