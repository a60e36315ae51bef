"""How the survey's tables are to be read: values, states, verdicts, marks, bold, objections to what is printed."""

import math
from itertools import groupby

from ddpipe.report import best
from ddpipe.report.legend import Told, marks, places, states
from ddpipe.report.survey import (
    ABOVE,
    AGREES,
    BELOW,
    COMPARABLE,
    DATASETS,
    FACTORISED,
    MISSING,
    NETWORKS,
    POINT,
    Cell,
    Line,
    Table,
    reference,
)
from ddpipe.states import State

SIGNS = {AGREES: "=", ABOVE: "▲", BELOW: "▼"}
BESIDE = [state for state in State if state not in COMPARABLE]  # shown beside the printed value and not judged


def legend(table: Table) -> list[str]:
    """What stands below the table, a note a line."""
    measure = (
        "under the protocol that the recipe names for this table, the ConvNet as in Table 1"
        if table.number in ("3", "4")
        else "on the cell's own network under its authors' protocol"
    )
    notes = [
        "Accuracy in percent on the test set, mean ± population standard deviation. First what the survey prints (– "
        "nothing), then, where that is doubtful and known, what the method's authors report, then what was measured "
        f"with other settings ({' '.join(state.shape for state in BESIDE)}).",
        f"Measured ({' '.join(state.shape for state in COMPARABLE)}): the recipe {measure}. {MISSING}: in the grid, "
        "without a result yet. Nothing: the grid has no such cell.",
        *states(_told(table), _told(table)),
        *_verdicts(table),
        "Bold of a printed value: as the survey prints it. Of a measured one, among what this report's tables show of "
        f"its dataset: {best.RULE.removeprefix('Bold: ')}",
    ]
    if any(line.factorised for line in table.lines):
        notes.append(f"{FACTORISED} a factorised method: it learns codes and decoders instead of images.")
    if any(span > 1 for line in table.lines for _, span in line.entries):
        notes.append("Whole: all training images, one value for all columns of a dataset.")
    return notes + marks(cell.published.mark for line in table.lines for cell in line.cells) + doubts(table)


def _told(table: Table) -> list[Told]:
    """The measured results, by network where the columns differ in it, else by dataset."""
    found = []
    for line in table.lines:
        for cell in line.cells:
            if own := cell.measured:
                found.append(Told(line.label, _heading(table, cell), cell.ipc, own.state, own.why))
    return found


def _heading(table: Table, cell: Cell) -> str:
    """What tells the cells of one method and IPC apart."""
    several = len({column.network for column in table.columns}) > 1
    return NETWORKS.get(cell.network, cell.network) if several else DATASETS.get(cell.dataset, cell.dataset)


def _verdicts(table: Table) -> list[str]:
    """How a verdict is found, and over how many accuracies the published values go."""
    cells = [(line, cell) for line in table.lines for cell in line.cells]
    copied = [cell for _, cell in cells if cell.published.doubtful and math.isnan(reference(cell.published)[0])]
    unknown = ", ".join(dict.fromkeys(cell.published.mark for cell in copied))
    return [
        f"Verdict, on {' and '.join(f'{state.shape} {state}' for state in COMPARABLE)} only: d = measured - reference, "
        "numbers as shown, ± its standard error sqrt(s1²/n1 + s2²/n2); the reference is the authors' value where it is "
        f"given, else the survey's. {SIGNS[AGREES]} {AGREES}: |d| is at most {POINT:g} point or two standard errors; "
        f"{SIGNS[ABOVE]} {ABOVE} and {SIGNS[BELOW]} {BELOW}: outside."
        + (
            f" No verdict where the printed number is another row's and the authors' unknown: {unknown}."
            * bool(unknown)
        ),
        "n1 is every measured accuracy (sets x networks, taken as independent). n2 is not printed by the survey; where "
        f"the authors' program or paper tells it, it is {_counts(table)}. Elsewhere the published value's own "
        "error is unknown and left out.",
    ]


def _counts(table: Table) -> str:
    """Over how many accuracies the published values go, where known: "100 (DC, DSA), 5 (RN-18: DC; RN-152: DC)"."""
    several = len({column.network for column in table.columns}) > 1
    found: dict[int, dict[str, dict[str, None]]] = {}
    for line in table.lines:
        for cell in line.cells:
            if not math.isnan(cell.published.n):
                name = f"{_heading(table, cell)}: " if several else ""
                found.setdefault(int(cell.published.n), {}).setdefault(name, {})[line.label] = None
    counts = {n: "; ".join(f"{name}{', '.join(labels)}" for name, labels in by.items()) for n, by in found.items()}
    return ", ".join(f"{n} ({counts[n]})" for n in sorted(counts, reverse=True)) or "nowhere"


def doubts(table: Table) -> list[str]:
    """The objections to printed values, each with its cells; what a note says after "; " is said cell by cell."""
    found_at: dict[tuple[int, str, str], list[tuple[Line, Cell]]] = {}
    for line in table.lines:
        for cell in line.cells:
            if cell.published.doubtful:
                clause = cell.published.note.rstrip(".").partition("; ")[0]
                key = (int(cell.published.doubtful), cell.published.mark, clause)
                found_at.setdefault(key, []).append((line, cell))
    notes = []
    for (_, mark, clause), found in sorted(found_at.items(), key=lambda item: item[0][0]):
        details: dict[str, list[tuple[Line, Cell]]] = {}
        for line, cell in found:
            details.setdefault(cell.published.note.rstrip(".").partition("; ")[2], []).append((line, cell))
        words = [f"{mark} {'; '.join(_where(table, found))}: {clause}"]
        if len(details) == 1:
            words += filter(None, details)
        else:
            words += [f"{' and '.join(_where(table, cells))}: {detail}" for detail, cells in details.items() if detail]
        notes.append("; ".join(words) + ".")
    return notes


def _where(table: Table, found: list[tuple[Line, Cell]]) -> list[str]:
    """The cells in words, a method at a time: its name alone where the objection is to all that is printed of it."""
    words = []
    for _, pairs in groupby(found, key=lambda pair: pair[0].method):
        lines, cells = zip(*pairs, strict=True)
        if all(cell in cells for cell in lines[0].printed):
            words.append(lines[0].label)
            continue
        words.append(f"{lines[0].label} {places([(_heading(table, cell), cell.ipc) for cell in cells])}")
    return words
