"""Methods that share a recipe: entries of `methods:` with a `base`, the cells of the recipe that are theirs, protocols.

What makes a variant another method stands in its entry, and then its cells are those of the recipe; or in cells of its
own, where it depends on data or images per class: `ld-ridge: {base: ld, cells: ridge}` has mnist-1-ridge, and ridge.
"""

from collections import Counter

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.settings.reading import did_you_mean


def cell_names(dataset: str, ipc: int | str, kind: str | None) -> list[str]:
    """What the cell may be called, the closest name first; `kind` is the word in which a variant's own cells end."""
    names = [f"{dataset}-{ipc}", dataset]
    return [*(f"{name}-{kind}" for name in names), kind] if kind else [*names, "default"]


def usual_cell(config: Config, method: str, dataset: str, ipc: int | str) -> str:
    """The cell of the recipe with the numbers of `method` for so many images per class of a dataset.

    Raises:
        UserError: there is none in which it differs from other methods of the recipe.
    """
    base, kind = config.base(method), config.origin(method).get("cells")
    names = cell_names(dataset, ipc, kind)
    if not kind and method != base and not config.changes(method):
        raise UserError(
            f"methods.{method}: changes nothing of {base}; write there what it changes, or, with `cells: <word>`, that "
            f"it has cells of its own in the recipe, whose names end in -<word>"
        )
    there = config.recipe(base).cells
    found = next((name for name in names if name in there), None if kind else "default")
    if found is None:
        known = ", ".join(name for name in there if name.endswith(f"-{kind}"))
        raise UserError(
            f"methods.{method}.cells: recipe {base} says only for {known} what {method} changes; for IPC {ipc} of "
            f"{dataset} write cells.{names[0]} into ddpipe/methods/{base}.yaml"
        )
    return found


def usual_protocol(config: Config, method: str, dataset: str) -> str:
    """That of most rows of the method on the dataset; on images that nobody published anything for, that of most rows;
    else the authors' own: that of most rows of the method if only its recipe has it, or the recipe's.
    """
    rows = [row for row in config.rows.values() if row.dataset == dataset and row.ipc != "all"]
    published = any(cell.startswith(f"{dataset}-") for found in config.recipes.values() for cell in found.cells)
    for group in ([row for row in rows if row.method == method], [] if published else rows):
        if group:
            return Counter(row.protocol for row in group).most_common(1)[0][0]
    base = config.base(method)
    own = Counter(row.protocol for row in config.rows.values() if row.method == method).most_common(1)
    others = {row.protocol for row in config.rows.values() if row.recipe != base}
    return next((protocol for protocol, _ in own if protocol not in others), config.recipe(base).protocol)


def usual_data(config: Config, method: str, dataset: str) -> str:
    """The prepared form of most rows of the method on the dataset, or of its recipe's there; else the dataset itself.

    Variants do not count.
    """
    rows = [row for row in config.rows.values() if row.dataset == dataset and not row.variant]
    for group in ([r for r in rows if r.method == method], [r for r in rows if r.recipe == config.base(method)]):
        if group:
            return Counter(row.data for row in group).most_common(1)[0][0]
    return dataset


def usual_student(config: Config, recipe: str, network: str) -> str:
    """The student of most of the recipe's own rows that are evaluated on the network, else that; no variants count.

    Nor do rows of params.yaml: what one of them means must not change with another.
    """
    published = config.files.get(f"ddpipe/methods/{recipe}.yaml", {}).get("grid") or {}
    there = (config.rows.get(key) for key in published)
    students = Counter(row.student for row in there if row and row.network == network and not row.variant)
    return students.most_common(1)[0][0] if students else network


def check_cells(config: Config, method: str) -> None:
    """That a method which has cells of its own has one."""
    base, kind = config.base(method), config.origin(method).get("cells")
    there = config.recipe(base).cells
    if kind and not any(f"-{name}".endswith(f"-{kind}") for name in there):
        near = did_you_mean(kind, sorted({name.rpartition("-")[2] for name in there}))
        raise UserError(f"methods.{method}.cells: no name of a cell of recipe {base} ends in -{kind}{near}")
