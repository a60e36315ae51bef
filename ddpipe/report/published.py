"""The survey's accuracies as printed (`data/published/table*.csv`), with what is doubtful about them, and the labels of
its methods (`methods.csv`), in the order in which reports give them their colours.

A row of a table is one cell of the survey's Tables 1-4. `n` is over how many accuracies mean and std go, where the
authors' program or paper tells; `bold` whether the survey prints it bold. `doubtful` numbers the known objections and
`objection` says of which kind they are: `wrong` (what is printed is not what its source has), `copied` (the number of
another row) or `other` (its source has it so, but another protocol, network, variant, run or edition stands behind it
than its place in the table tells). `source_mean` and `source_std` are what the method's own authors report, `source`
says where, `note` explains in one sentence.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pandas as pd

from ddpipe.errors import UserError
from ddpipe.files.regular import regular

METHODS = "methods.csv"
IDENTITY = ("table", "method", "scheme", "factorized", "dataset", "ipc", "network")
COLUMNS = (
    *IDENTITY,
    "mean",
    "std",
    "n",
    "bold",
    "doubtful",
    "objection",
    "source_mean",
    "source_std",
    "source",
    "note",
)
NUMBERS = ("mean", "std", "source_mean", "source_std")
MARKS = {"": "", "wrong": "‡", "copied": "‡", "other": "§"}
WORDS = {  # what goes into names of files and into arithmetic
    "table": ("[1-4]", "1, 2, 3 or 4"),
    "ipc": ("[1-9][0-9]{0,8}|all", "a whole number or all"),
    "n": ("([1-9][0-9]{0,8})?", "a whole number, or nothing"),
    "bold": ("yes|no", "yes or no"),
    "doubtful": ("[0-9]{0,9}", "the number of an objection, or nothing"),
    "objection": ("|".join(MARKS), "wrong, copied, other, or nothing"),
}


@dataclass(frozen=True)
class Published:
    """One cell of the survey; accuracies in percent, NaN where nothing is printed."""

    mean: float
    std: float
    n: float = math.nan  # accuracies behind them, where that is known
    bold: bool = False
    doubtful: str = ""  # number of the objection; "" without one
    objection: str = ""  # its kind, a key of MARKS
    source_mean: float = math.nan
    source_std: float = math.nan
    note: str = ""

    @property
    def mark(self) -> str:
        """The objection beside the value: "‡5" where the value is wrong, "§22" where it stands for something else."""
        return f"{MARKS[self.objection]}{self.doubtful}" if self.doubtful else ""


NOTHING = Published(math.nan, math.nan)  # no table prints it
Key = tuple[str, str, str, str]  # method, dataset, ipc ("all" for the whole data set), network


def read(folder: Path) -> pd.DataFrame:
    """All rows of the tables in `folder`, file by file in the order of their names; no file gives no row.

    A column `label` says what the survey calls the method.

    Raises:
        UserError: a file that is no CSV, lacks a column or a value, or has a word where a number belongs.
    """
    parts = [_read_table(path) for path in sorted(folder.glob("*.csv")) if path.name != METHODS]
    rows = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))
    return rows.assign(label=rows["method"].replace(labels(folder)))


def labels(folder: Path) -> dict[str, str]:
    """What the survey calls its methods; none without methods.csv in `folder`.

    Raises:
        UserError: as `read`.
    """
    path = folder / METHODS
    if not path.exists():
        return {}
    table = _read_file(path, ("method", "label"))
    return dict(zip(table["method"], table["label"], strict=True))


def _read_file(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """A CSV of words with these columns, and perhaps others."""
    restore = "mend it or restore it from git"
    try:
        table = pd.read_csv(regular(path), dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not a readable CSV file ({reason}); {restore}") from error
    if missing := [column for column in columns if column not in table]:
        raise UserError(f"{path} lacks the column {missing[0]!r}; add it or restore the file from git")
    if not isinstance(table.index, pd.RangeIndex):  # pandas takes the first ones for names of the rows
        raise UserError(f"{path} has rows of more values than columns; {restore}")
    return table


def _read_table(path: Path) -> pd.DataFrame:
    table = _read_file(path, COLUMNS)

    def refuse(wrong: pd.Series, column: str, must: str) -> None:
        if wrong.any():
            row = int(wrong.idxmax())
            value = f"{table[column].iloc[row]!r:.80}"
            raise UserError(
                f"{path}, line {row + 2}: {column} must be {must}, not {value}; mend it or restore it from git"
            )

    for column in IDENTITY:
        refuse(table[column] == "", column, "a word")
    for column, (pattern, must) in WORDS.items():
        refuse(~table[column].str.fullmatch(pattern), column, must)
    refuse((table["doubtful"] == "") != (table["objection"] == ""), "objection", "said exactly where doubtful is")
    for column in NUMBERS:
        numbers = pd.to_numeric(table[column].where(table[column] != ""), errors="coerce").astype(float)
        refuse(~numbers.between(0, 100) & (table[column] != ""), column, "a number from 0 to 100")
        table[column] = numbers
    return table.assign(n=pd.to_numeric(table["n"].where(table["n"] != "")).astype(float))


def lookup(table: pd.DataFrame) -> Mapping[Key, Published]:
    """The published cells by key. Tables 3 and 4 repeat ConvNet numbers of Table 1: the first one counts."""
    found: dict[Key, Published] = {}
    for row in table.to_dict("records"):
        key = (row["method"], row["dataset"], row["ipc"], row["network"])
        found.setdefault(key, cell_of(row))
    return found


def cell_of(row: Mapping[Any, Any]) -> Published:
    """The cell in a row of `read`."""
    return Published(**{field.name: row[field.name] for field in fields(Published)} | {"bold": row["bold"] == "yes"})
