"""REPRODUCIBILITY.md: a row a method - golden cases, real data, states of its printed cells, disagreements."""

from collections import Counter
from collections.abc import Mapping, Sequence

import pandas as pd

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.report.frame import labels
from ddpipe.report.markup import md, pipes
from ddpipe.report.survey import Table
from ddpipe.report.survey_text import told
from ddpipe.states import State

HEAD = """# Reproducibility

What stands behind each method; written by `ddpipe run --single-item page`, never by hand.

- **Golden cases**: computations of the official code on small data, which the core of the method equals
  (`python -m pytest tests/golden`). A dash: there is no official code, or it could not be run.
- **Real data**: data sets on which the pipeline ran the method, with the best state of its results there.
- **Printed cells**: those of the survey's Tables 1-4, by what was measured in their place.
- **Notes**: where paper, code and survey disagree, and what was chosen; below the table."""


def document(config: Config, frames: Mapping[str, pd.DataFrame], tables: Sequence[Table]) -> str:
    """Markdown.

    Args:
        frames: dataset -> frame.collect of it.
        tables: the survey's, filled from `frames`.
    """
    names, printed = labels(config), states(tables)
    rows, notes = [], []
    for method, recipe in config.recipes.items():
        label = names.get(method, method)
        doubted = doubts(recipe)
        said = [*recipe.notes, *doubted]
        rows.append(
            [
                label,
                ", ".join(recipe.golden) or "-",
                measured(method, frames) or "-",
                told(printed.get(method, Counter())) or "-",
            ]
            + [f"{len(recipe.notes)}, {len(doubted)} unverified"]
        )
        notes += [f"## {md(label)}", md(recipe.paper) + ".", "\n".join(f"- {md(note)}" for note in said) or "- none"]
    shapes = f"Shapes: {', '.join(f'{state.shape} {state}' for state in State)}."
    head = ["Method", "Golden cases", "Real data", "Printed cells", "Notes"]
    return "\n\n".join([HEAD, shapes, pipes(head, rows, len(head)), "# Notes", *notes]) + "\n"


def doubts(recipe: settings.Recipe) -> list[str]:
    """What nobody published, each time with all the cells of which it holds."""
    shared: dict[str, list[str]] = {}
    for key, text in recipe.unverified.items():
        shared.setdefault(text, []).append(key)
    return [f"{', '.join(keys)}: {text}" for text, keys in shared.items()]


def states(tables: Sequence[Table]) -> dict[str, Counter[str]]:
    """Method -> how many of its printed cells are in which state; "" outside the grid."""
    found: dict[str, Counter[str]] = {}
    for table in tables:
        for line in table.lines:
            found.setdefault(line.method, Counter()).update(cell.state for cell in line.printed)
    return found


def measured(method: str, frames: Mapping[str, pd.DataFrame]) -> str:
    """The data sets with results of `method`, and the shape of the best state among them."""
    found = []
    for dataset, frame in frames.items():
        reached = set(frame.loc[frame["recipe"] == method, "state"]) - {""}
        if reached:
            found.append(f"{next(state for state in State if state in reached).shape} {dataset}")
    return ", ".join(found)
