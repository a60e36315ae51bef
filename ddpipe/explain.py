"""What `ddpipe methods` and `ddpipe explain` print: composed from params.yaml and the recipes alone, without torch."""

from collections import Counter

from ddpipe import settings
from ddpipe.config import Config, leaves, merge, validate


def methods(config: Config) -> str:
    """A table of the methods of params.yaml, one line each."""
    cells = Counter(row.method for row in config.rows.values())
    lines = [("METHOD", "OBJECTIVE", "SYNTHETIC", "STUDENTS", "PROTOCOL", "CELLS", "IN params.yaml", "PAPER")]
    for method, change in config.params.methods.items():
        recipe = config.recipe(change.get("base", method))
        numbers = {key: value for key, value in change.items() if key != "base"}
        parts = validate(settings.Cell, merge(recipe.parts, numbers), f"params.yaml:methods.{method}")
        lines.append(
            (method, *composition(parts), recipe.protocol, str(cells[method]), flow(change), short(recipe.paper))
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def composition(parts: settings.Distillation | settings.Selection) -> tuple[str, str, str]:
    """Objective, synthetic set and students of a method."""
    if isinstance(parts, settings.Selection):
        return f"{parts.rule} (selection)", "real images", "-"
    return parts.objective.name, parts.synthetic.name, parts.students.name


def short(paper: str) -> str:
    """The first sentence of a citation, so that a line of the table stays one line."""
    return paper if len(paper) <= 80 else paper[:77].rsplit(" ", 1)[0] + " ..."


def flow(change: dict) -> str:
    """What params.yaml says about a method, on one line."""
    return ", ".join(f"{'.'.join(path)}: {value}" for path, value in leaves(change) if path) or "as published"
