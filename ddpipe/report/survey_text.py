"""The survey's tables in words: texts of cells and their counts, and the files in Markdown, CSV and LaTeX."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import pandas as pd

from ddpipe.report.markup import BOLD, md, pipes, tex
from ddpipe.report.survey import COMPARABLE, FACTORISED, MISSING, Cell, Table
from ddpipe.report.survey_legend import SIGNS, legend
from ddpipe.report.tables import percent
from ddpipe.states import State


def printed(cell: Cell) -> str:
    """The survey's value; a dash where it prints one."""
    return percent(cell.published.mean, cell.published.std) or "–"


def authors(cell: Cell) -> str:
    """What the method's authors report where that is what counts; else ""."""
    return percent(cell.published.source_mean, cell.published.source_std) if cell.published.doubtful else ""


def measured(cell: Cell, bold: str = "{}") -> str:
    """The measured value with its state, or that there is none; "" for a method or cell that the grid has not."""
    own = cell.measured
    if own is None:
        return cell.state
    value = percent(own.mean, own.std)
    return f"{own.state.shape} {bold.format(value) if cell.best_measured else value}"


def judged(cell: Cell) -> str:
    """Difference, its standard error and verdict: "= -0.4 ± 0.6 agrees"; "" where nothing is compared."""
    own = cell.measured
    if own is None or not own.verdict:
        return ""
    error = "" if math.isnan(own.error) else f" ± {own.error:.1f}"
    return f"{SIGNS[own.verdict]} {own.difference:+.1f}{error} {own.verdict}"


def summary(tables: Sequence[Table]) -> str:
    """How far the tables are filled, in one sentence."""
    states = Counter(state for table in tables for state in table.states().elements())
    verdicts = Counter(verdict for table in tables for verdict in table.verdicts().elements())
    said = [f"{verdicts[verdict]} {verdict.removesuffix('s')}" for verdict in SIGNS if verdicts[verdict]]
    judged = f" ({', '.join(said)})" if said else ""
    return f"{states.total()} printed cells: {told(states)}{judged}."


def told(states: Counter[str]) -> str:
    """How many cells are in which state, in words, the best state first."""
    words = [f"{states[state]} {state}" for state in (*State, MISSING) if states[state]]
    return ", ".join(words + ([f"{states['']} not in the grid"] if states[""] else []))


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
            if {text for text, _ in below} <= {"", MISSING}:
                missing = sum(text == MISSING for text, _ in below)
                below = [(f"{missing} missing", len(table.columns))] if missing > 1 else below
            found.append(Printed(i == 0 and group != table.lines[0].group, [*words, "survey"], above))
            if any(text for text, _ in below):
                found.append(Printed(False, [*[""] * len(words), "measured"], below))
    return found


def _upper(cell: Cell, bold: str) -> str:
    """What the survey prints and its authors report; beside it a result with other settings."""
    value = bold.format(printed(cell)) if cell.published.bold else printed(cell)
    source = f"(authors {authors(cell)})" if authors(cell) else ""
    own = measured(cell, bold) if cell.measured and cell.measured.state not in COMPARABLE else ""
    return " ".join(filter(None, (value, cell.published.mark, source, own)))


def _lower(cell: Cell, bold: str) -> str:
    """A result that can be compared, with its verdict, or that there is none."""
    if cell.measured and cell.measured.state not in COMPARABLE:
        return ""
    return f"{measured(cell, bold)} ({judged(cell)})" if judged(cell) else measured(cell, bold)


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
CSV += ("published_mean", "published_std", "published_n", "published_best", "doubtful", "objection")
CSV += ("source_mean", "source_std", "evaluation", "measured_mean", "measured_std", "n", "measured_best")
CSV += ("difference", "error", "verdict", "state", "why")


def comma_separated(table: Table) -> str:
    """One line a printed cell; numbers as the table shows them, `evaluation` names the result file."""
    rows = []
    for line in table.lines:
        for cell in line.cells:
            print_, own = cell.published, cell.measured
            row = [table.number, line.method, line.label, line.scheme, "yes" if line.factorised else "no"]
            row += [cell.dataset, cell.ipc, cell.network, _number(print_.mean), _number(print_.std)]
            row += ["" if math.isnan(print_.n) else f"{print_.n:.0f}", _flag(print_.bold), print_.doubtful]
            row += [print_.objection, _number(print_.source_mean), _number(print_.source_std)]
            row += [own.evaluation, _number(own.mean), _number(own.std), str(own.n)] if own else [""] * 4
            row += [_flag(cell.best_measured)]
            row += [_number(own.difference), _number(own.error), own.verdict] if own else [""] * 3
            rows.append([*row, cell.state, own.why if own else ""])
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
