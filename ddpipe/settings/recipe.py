"""Recipes: published methods as data."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from ddpipe.settings.base import Settings
from ddpipe.settings.names import Name

EVERY = "all"  # within `unverified`: of every cell
BY_IPC = "by_ipc"  # within a cell: what is set for so many images per class, where it was published so
IPC = re.compile("[1-9][0-9]{0,8}")


def _by_ipc(numbers: dict) -> dict:
    table = numbers.get(BY_IPC, {"1": {}})
    if not isinstance(table, dict) or not table:
        raise ValueError(f"{BY_IPC} must say of images per class what is set for them: {{'1': {{}}, '10': {{...}}}}")
    for ipc, said in table.items():
        if not isinstance(ipc, str) or not IPC.fullmatch(ipc):
            raise ValueError(
                f"{BY_IPC}.{str(ipc)[:64]}: must be images per class in quotes, as '10': DVC shows no other keys"
            )
        if not isinstance(said, dict):
            raise ValueError(f"{BY_IPC}.{ipc}: must say what is set, {{}} if nothing")
    return numbers


Numbers = Annotated[dict, AfterValidator(_by_ipc)]


class Recipe(Settings):
    """A published method as data: `ddpipe/methods/<name>.yaml`, under the method's name."""

    label: str | None = None  # in reports; left out: as the survey prints it (data/published/methods.csv), or the name
    paper: str
    code: str | None = None  # the official repository
    protocol: str  # the authors' evaluation protocol: published values are compared with results under it
    also: tuple[Name, ...] = ()  # further protocols of theirs, where cells have protocols of their own
    golden: tuple[str, ...] = ()  # cases of tests/golden: the official code's numbers, which the core equals
    tables: dict[int, str] = {}  # protocol of the survey's tables that others than the authors measured (3, 4)
    notes: tuple[str, ...] = ()  # choices where paper, survey and code disagree
    unverified: dict[str, str] = {}  # what nobody published: of a cell, of `all`, of how `table<n>` was measured
    parts: dict  # composition and default numbers; tracked by DVC
    cells: dict[Name, Numbers]  # published deviations per <dataset>-<ipc>, and `default`; tracked by DVC

    def doubts(self, cell: str, table: int | None = None) -> list[str]:
        """What nobody published of the numbers of `cell`, and of how others measured it for a table of the survey."""
        return [self.unverified[key] for key in (cell, EVERY, f"table{table}") if key in self.unverified]

    def told_apart(self, cell: str) -> tuple[int, ...]:
        """The images per class for which `cell` has numbers of their own, ascending; () if it has the same for all."""
        return tuple(sorted(map(int, self.cells[cell].get(BY_IPC, ()))))

    def taken(self, cell: str, ipc: int | Literal["all"]) -> int | None:
        """Whose numbers `cell` takes for `ipc`: its own, or those that are nearest by ratio; None if it has no choice.

        20 is nearer to 10 than to 50. Of two that are as near it is the smaller, for all images the largest.
        """
        known = self.told_apart(cell)
        if not known:
            return None
        return known[-1] if ipc == "all" else min(known, key=lambda size: max(size, ipc) / min(size, ipc))

    def layers(self, cell: str, ipc: int | Literal["all"]) -> list[tuple[str, dict]]:
        """(key, numbers) of `cell` for so many images per class: what it sets for all, then what it sets for these."""
        said, size = self.cells[cell], self.taken(cell, ipc)
        layers = [(f"cells.{cell}", {key: value for key, value in said.items() if key != BY_IPC})]
        return layers if size is None else [*layers, (f"cells.{cell}.{BY_IPC}.{size}", said[BY_IPC][str(size)])]
