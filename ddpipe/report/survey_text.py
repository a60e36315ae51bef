"""The survey's tables in words: texts of cells, legend and notes, and the files in Markdown, CSV and LaTeX."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from ddpipe.report.survey import (
    ABOVE,
    AGREES,
    BELOW,
    DATASETS,
    FACTORISED,
    MISSING,
    NETWORKS,
    NO_TARGET,
    POINT,
    Cell,
    Line,
    Table,
)
from ddpipe.report.tables import BOLD, DOUBTFUL, md, percent, pipes, tex
from ddpipe.states import State

MARKS = {AGREES: "=", ABOVE: "▲", BELOW: "▼"}
SPECIAL = "CIFAR-100 at IPC 50, where the survey prints no bold FTD and TESLA"


def printed(cell: Cell) -> str:
    """The survey's value; a dash where it prints one."""
    return percent(cell.published.mean, cell.published.std) or "–"


def doubt(cell: Cell) -> str:
    """The mark of an objection to the survey's value: "‡5", or ""."""
    return f"{DOUBTFUL}{cell.published.doubtful}" if cell.published.doubtful else ""


def authors(cell: Cell) -> str:
    """What the method's authors report where that is what counts; else ""."""
    return percent(cell.published.source_mean, cell.published.source_std) if cell.published.doubtful else ""


def measured(cell: Cell) -> str:
    """The measured value, or that there is none; "" for a method or cell that the grid has not."""
    if cell.measured is None:
        return MISSING if cell.missing else ""
    value = percent(cell.measured.mean, cell.measured.std)
    return value if cell.measured.state == State.PUBLISHED else f"{cell.measured.state.shape} {value}"


def judged(cell: Cell) -> str:
    """Difference and verdict: "= -0.4 agrees"; "" without a published value to compare with."""
    own = cell.measured
    return f"{MARKS[own.verdict]} {own.difference:+.1f} {own.verdict}" if own and own.verdict else ""


def summary(tables: Sequence[Table]) -> str:
    """How far the tables are filled, in one sentence."""
    states = Counter(state for table in tables for state in table.states().elements())
    verdicts = Counter(verdict for table in tables for verdict in table.verdicts().elements())
    words = [f"{states[state]} {state}" for state in (*State, MISSING) if states[state]]
    words += [f"{states['']} not in the grid"] if states[""] else []
    said = [f"{verdicts[verdict]} {verdict}" for verdict in MARKS if verdicts[verdict]]
    judged = f" ({', '.join(said)})" if said else ""
    return f"{states.total()} printed cells: {', '.join(words)}{judged}."


def legend(table: Table) -> list[str]:
    """How the table is to be read: values, verdicts, marks, bold."""
    measure = (
        "under the protocol that the recipe names for this table, the ConvNet as in Table 1"
        if table.number in ("3", "4")
        else "on the cell's own network under its authors' protocol"
    )
    best = (
        "the two best of the other distillation methods and the best factorised one in each column (the survey's "
        f"orange and blue; the one exception in print is {SPECIAL})"
        if table.number == "1"
        else "the best distillation method of each column"
    )
    notes = [
        "Accuracy in percent on the test set, mean ± population standard deviation. First what the survey prints (– "
        "nothing), then, where that is doubtful and known, what the method's authors report.",
        f"Measured: the recipe without overrides, {measure}. {MISSING}: in the grid, without a result yet. "
        "Nothing: the grid has no such cell.",
        "Verdict, with d = measured - reference, numbers as shown; reference is the authors' value where it is given, "
        f"else the survey's. {MARKS[AGREES]} {AGREES}: |d| is at most the larger of {POINT:g} point and two pooled "
        f"standard deviations (2 sqrt((s1² + s2²) / 2); an unknown s is left out); {MARKS[ABOVE]} {ABOVE} and "
        f"{MARKS[BELOW]} {BELOW}: outside. No verdict where the printed number belongs to another row and "
        f"the authors' is unknown ({', '.join(DOUBTFUL + objection for objection in NO_TARGET)}).",
        f"Bold: {best}; for printed and measured values separately, Random, Herding and Whole left out.",
    ]
    if any(line.factorised for line in table.lines):
        notes.append(f"{FACTORISED} a factorised method: it learns codes and decoders instead of images.")
    if any(span > 1 for line in table.lines for _, span in line.entries):
        notes.append("Whole: all training images, one value for all columns of a dataset.")
    return notes + doubts(table)


def doubts(table: Table) -> list[str]:
    """The objections to printed values, each with its cells; what a note says after "; " is said cell by cell."""
    places: dict[tuple[int, str], list[tuple[Line, Cell]]] = {}
    for line in table.lines:
        for cell in line.cells:
            if cell.published.doubtful:
                clause = cell.published.note.rstrip(".").partition("; ")[0]
                places.setdefault((int(cell.published.doubtful), clause), []).append((line, cell))
    notes = []
    for (number, clause), found in sorted(places.items(), key=lambda item: item[0][0]):
        details: dict[str, list[tuple[Line, Cell]]] = {}
        for line, cell in found:
            details.setdefault(cell.published.note.rstrip(".").partition("; ")[2], []).append((line, cell))
        words = [f"{DOUBTFUL}{number} {'; '.join(_where(table, found))}: {clause}"]
        if len(details) == 1:
            words += filter(None, details)
        else:
            words += [f"{' and '.join(_where(table, cells))}: {detail}" for detail, cells in details.items() if detail]
        notes.append("; ".join(words) + ".")
    return notes


def _where(table: Table, found: list[tuple[Line, Cell]]) -> list[str]:
    """The cells in words, a method at a time: its name alone where the objection is to all that is printed of it."""
    words = []
    several = len({column.network for column in table.columns}) > 1
    for _, pairs in groupby(found, key=lambda pair: pair[0].method):
        lines, cells = zip(*pairs, strict=True)
        if all(cell in cells for cell in lines[0].cells if not math.isnan(cell.published.mean)):
            words.append(lines[0].label)
            continue
        parts = []
        for (dataset, network), group in groupby(cells, key=lambda cell: (cell.dataset, cell.network)):
            name = NETWORKS.get(network, network) if several else DATASETS.get(dataset, dataset)
            parts.append(f"{name} IPC {', '.join(cell.ipc for cell in group)}")
        words.append(f"{lines[0].label} {' and '.join(parts)}")
    return words


def headings(table: Table) -> list[str]:
    """The columns before the numbers."""
    return ["Method", *(["Scheme"] if table.schemes else []), "Value"]


@dataclass(frozen=True)
class Printed:
    """One line of text; an entry is its text and the number of its columns."""

    ruled: bool  # the first line of another group of methods
    words: list[str]
    entries: list[tuple[str, int]]


def _printed_lines(table: Table, bold: str) -> list[Printed]:
    """What the survey prints, line by line; below it, where there is anything to say, what was measured."""
    found = []
    for group, lines in groupby(table.lines, key=lambda line: line.group):
        for i, line in enumerate(lines):
            words = [f"{line.label} {FACTORISED}" if line.factorised else line.label]
            words += [line.scheme] if table.schemes else []
            above = [(_upper(cell, bold) if cell else "", span) for cell, span in line.entries]
            below = [(_lower(cell, bold) if cell else "", span) for cell, span in line.entries]
            found.append(Printed(i == 0 and group != table.lines[0].group, [*words, "survey"], above))
            if any(text for text, _ in below):
                found.append(Printed(False, [*[""] * len(words), "measured"], below))
    return found


def _upper(cell: Cell, bold: str) -> str:
    value = bold.format(printed(cell)) if cell.best_published else printed(cell)
    return " ".join(filter(None, (value, doubt(cell), f"(authors {authors(cell)})" if authors(cell) else "")))


def _lower(cell: Cell, bold: str) -> str:
    text = bold.format(measured(cell)) if cell.best_measured else measured(cell)
    return f"{text} ({judged(cell)})" if judged(cell) else text


def markdown(table: Table) -> str:
    """The table with its legend. A value for several columns stands in the first of them."""
    heads = [f"{column.group} {column.name}".strip() for column in table.columns]
    rows = []
    for line in _printed_lines(table, BOLD):
        rows.append([*line.words, *(text for entry, span in line.entries for text in (entry, *[""] * (span - 1)))])
    parts = [
        f"# Table {table.number}: {md(table.title)}",
        md(summary([table])),
        pipes([*headings(table), *heads], rows, len(headings(table))),
        "\n".join(f"- {md(note)}" for note in legend(table)),
    ]
    return "\n\n".join(parts) + "\n"


CSV: tuple[str, ...] = ("table", "method", "label", "scheme", "factorized", "dataset", "ipc", "network")
CSV += ("published_mean", "published_std", "published_best", "doubtful", "source_mean", "source_std")
CSV += ("evaluation", "measured_mean", "measured_std", "n", "measured_best", "difference", "verdict", "state")


def comma_separated(table: Table) -> str:
    """One line a printed cell; numbers as the table shows them, `evaluation` names the result file."""
    rows = []
    for line in table.lines:
        for cell in line.cells:
            print_ = cell.published
            row = [table.number, line.method, line.label, line.scheme, "yes" if line.factorised else "no"]
            row += [cell.dataset, cell.ipc, cell.network, _number(print_.mean), _number(print_.std)]
            row += [
                _flag(cell.best_published),
                print_.doubtful,
                _number(print_.source_mean),
                _number(print_.source_std),
            ]
            own = cell.measured
            row += [own.evaluation, _number(own.mean), _number(own.std), str(own.n)] if own else [""] * 4
            row += [_flag(cell.best_measured), _number(own.difference) if own else ""]
            rows.append([*row, own.verdict if own else "", own.state if own else MISSING if cell.missing else ""])
    return pd.DataFrame(rows, columns=list(CSV)).to_csv(index=False, lineterminator="\n")


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


def _flag(value: bool) -> str:
    return "yes" if value else "no"


def latex(table: Table) -> str:
    """The table for a paper, over both columns of the page; needs the packages booktabs and graphicx."""
    words = len(headings(table))
    lines = [r"\begin{table*}", r"\centering", rf"\caption{{{tex(f'{table.title}. {summary([table])}')}}}"]
    lines += [r"\resizebox{\textwidth}{!}{%", rf"\begin{{tabular}}{{{'l' * words}{'r' * len(table.columns)}}}"]
    lines.append(r"\toprule")
    if any(column.group for column in table.columns):
        groups = [(name, len(list(found))) for name, found in groupby(table.columns, key=lambda column: column.group)]
        lines.append(_row([*[""] * words, *(rf"\multicolumn{{{n}}}{{c}}{{{tex(name)}}}" for name, n in groups)]))
    lines += [_row([tex(name) for name in (*headings(table), *(c.name for c in table.columns))]), r"\midrule"]
    for line in _printed_lines(table, BOLD):
        lines += [r"\midrule"] if line.ruled else []
        cells = [(tex(text), span) for text, span in line.entries]
        spanned = [text if span == 1 else rf"\multicolumn{{{span}}}{{c}}{{{text}}}" for text, span in cells]
        lines.append(_row([*map(tex, line.words), *spanned]))
    lines += [r"\bottomrule", r"\end{tabular}}", r"\end{table*}", "", r"{\footnotesize"]
    return "\n".join([*lines, *(tex(note) + r"\par" for note in legend(table)), "}"]) + "\n"


def _row(cells: list[str]) -> str:
    return "  " + " & ".join(cells) + r" \\"
