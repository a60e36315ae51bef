"""The survey's accuracies as printed (`data/published/*.csv`), with what is doubtful about them.

A row is one cell of the survey's Tables 1-4. `doubtful` numbers the known objections, `source_mean` and `source_std`
are what the method's own authors report, `source` says where, `note` explains in one sentence.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ddpipe.errors import UserError
from ddpipe.regular import regular

IDENTITY = ("table", "method", "scheme", "factorized", "dataset", "ipc", "network")
COLUMNS = (*IDENTITY, "mean", "std", "doubtful", "source_mean", "source_std", "source", "note")
NUMBERS = ("mean", "std", "source_mean", "source_std")


@dataclass(frozen=True)
class Published:
    """One cell of the survey; accuracies in percent, NaN where nothing is printed."""

    mean: float
    std: float
    doubtful: str  # number of the objection; "" without one
    source_mean: float
    source_std: float
    note: str


NOTHING = Published(math.nan, math.nan, "", math.nan, math.nan, "")  # no table prints it
Key = tuple[str, str, str, str]  # method, dataset, ipc ("all" for the whole data set), network


def read(folder: Path) -> pd.DataFrame:
    """All rows of the CSV files in `folder`, file by file in the order of their names; no file gives no row.

    Raises:
        UserError: a file that is no CSV, lacks a column, or has a word where a number belongs.
    """
    parts = [_read_file(path) for path in sorted(folder.glob("*.csv"))]
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(COLUMNS))


def _read_file(path: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(regular(path), dtype=str, keep_default_na=False)
    except (ValueError, OSError) as error:
        raise UserError(f"{path} is not a readable CSV file ({error}); mend it or restore it from git") from error
    if missing := [column for column in COLUMNS if column not in table]:
        raise UserError(f"{path} lacks the column {missing[0]!r}; add it or restore the file from git")
    for column in NUMBERS:
        numbers = pd.to_numeric(table[column].where(table[column] != ""), errors="coerce")
        wrong = numbers.isna() & (table[column] != "")
        if wrong.any():
            row = int(wrong.idxmax())
            raise UserError(f"{path}, line {row + 2}: {column} must be a number, not {table[column].iloc[row]!r}")
        table[column] = numbers.astype(float)
    if not (known := table["doubtful"].str.fullmatch("[0-9]{0,3}")).all():
        row = int((~known).idxmax())
        raise UserError(f"{path}, line {row + 2}: doubtful must be a number, not {table['doubtful'].iloc[row][:64]!r}")
    return table


def lookup(table: pd.DataFrame) -> Mapping[Key, Published]:
    """The published cells by key. Tables 3 and 4 repeat ConvNet numbers of Table 1: the first one counts."""
    found: dict[Key, Published] = {}
    for row in table.to_dict("records"):
        key = (row["method"], row["dataset"], row["ipc"], row["network"])
        values = (row[name] for name in ("mean", "std", "doubtful", "source_mean", "source_std", "note"))
        found.setdefault(key, Published(*values))
    return found
