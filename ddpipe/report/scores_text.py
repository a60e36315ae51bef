"""The scores of a dataset's sets in words: which are shown, as a Markdown table and as text for the page."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ddpipe.report import scores
from ddpipe.report.frame import ipc_order
from ddpipe.report.markup import md, pipes

LEGEND = (
    "HLR: accuracy of the whole data set less that of the set with one-hot labels; IOR: accuracy of the set, with "
    "whatever labels, less that of as many random images; fractions, on one network under one protocol.",
    "LRS, the label-robust score: (e^a - e^-1) / (e - e^-1) with a = (IOR - HLR) / 2. ARS, the augmentation-robust "
    "one: the same of the mean of IOR with augmentation and without, all else of the protocol equal. 0.269 is no "
    "difference; the larger the better (DD-Ranking's scores, on fractions).",
    "s / point: seconds that the sets took (experts included, on one device) for each point above random images; a "
    "dash where there is no such point or nobody knows the seconds.",
)
SCORED = {
    "label": "Method",
    "ipc": "IPC",
    "network": "Network",
    "protocol": "Protocol",
    "without": "Without augmentation",
}
SCORED |= {"hlr": "HLR", "ior": "IOR", "lrs": "LRS", "ars": "ARS", "seconds_per_point": "s / point"}
DECIMALS = {"hlr": 3, "ior": 3, "lrs": 3, "ars": 3, "seconds_per_point": 2}


@dataclass(frozen=True)
class Sheet:
    """A table of text: the first `words` columns hold words, the others numbers."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int


def sheets(pool: pd.DataFrame) -> list[Sheet]:
    """What there is to show of `pool` (pool.measured of one dataset): scores, what a point costs, transfer matrices."""
    found = scores.scores(pool)
    shown = found[found["lrs"].notna() | found["ars"].notna()].sort_values("lrs", ascending=False, kind="stable")
    shown = shown.sort_values("ipc", key=lambda ipcs: ipcs.map(ipc_order), kind="stable")  # no budget against another
    costed = found[found["seconds_per_point"].notna()].sort_values("seconds_per_point", kind="stable")
    kept = []
    if len(shown):
        kept.append(_sheet("Label-robust and augmentation-robust scores", shown, list(SCORED)))
    if len(costed):
        names = ["label", "ipc", "network", "protocol", "seconds_per_point"]
        kept.append(_sheet("What a point above random images costs", costed, names))
    for (protocol, ipc), matrix in scores.transfer(pool).items():
        rows = [
            [str(label), *(_number(value, 1) for value in line)] for label, line in zip(*_lines(matrix), strict=True)
        ]
        title = f"Sets on networks, {'whole set' if ipc == 'all' else f'IPC {ipc}'}, protocol {protocol}: accuracy in %"
        kept.append(Sheet(title, ["Method", *map(str, matrix.columns)], rows, 1))
    return kept


def _lines(matrix: pd.DataFrame) -> tuple[list, list]:
    return list(matrix.index), matrix.to_numpy().tolist()


def _sheet(title: str, found: pd.DataFrame, names: Sequence[str]) -> Sheet:
    words = sum(name not in DECIMALS for name in names)
    rows = [[_text(row[name], name) for name in names] for row in found.to_dict("records")]
    return Sheet(title, [SCORED[name] for name in names], rows, words)


def _text(value: object, name: str) -> str:
    return _number(value, DECIMALS[name]) if isinstance(value, float) else str(value) or "-"


def _number(value: float, decimals: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{decimals}f}"


def markdown(pool: pd.DataFrame, title: str) -> str:
    """All sheets, and what the numbers mean; a sentence where there is nothing to show."""
    parts = [f"# {md(title)}"]
    found = sheets(pool)
    parts.append("\n".join(f"- {md(note)}" for note in LEGEND) if found else "No set has the evaluations yet.")
    for sheet in found:
        parts += [f"## {md(sheet.title)}", pipes(sheet.header, sheet.rows, sheet.words)]
    return "\n\n".join(parts) + "\n"
