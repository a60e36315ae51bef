"""Tables of one dataset: the wide one (methods x IPC, measured beside published) and the long one, in three formats."""

import math
from dataclasses import dataclass

import pandas as pd

from ddpipe.report import legend
from ddpipe.report.best import RULE, best, excess
from ddpipe.report.frame import ipc_order
from ddpipe.report.markup import BOLD, md, pipes, tex
from ddpipe.states import State

LONG = {
    "label": "Method",
    "ipc": "IPC",
    "network": "Network",
    "protocol": "Protocol",
    "state": "State",
    "why": "Why",
    "mean": "Mean %",
    "std": "Std",
    "sets": "Sets",
    "networks": "Networks",
    "n": "n",
    "floats": "Stored floats",
    "worth": "Worth images a class",
    "published_mean": "Published %",
    "difference": "Difference",
    "iterations": "Iterations, all sets",
    "seconds_per_iteration": "s / iteration",
    "distill_seconds": "Distillation s",
    "experts_seconds": "Experts s",
    "eval_seconds": "Evaluation s",
    "peak_memory_mb": "Memory MB",
}
DECIMALS = {"mean": 1, "std": 1, "published_mean": 1, "difference": 1, "seconds_per_iteration": 4, "worth": 2}
DECIMALS |= {"distill_seconds": 1, "experts_seconds": 1, "eval_seconds": 1}
WORDS = 6  # columns of LONG that are no numbers


@dataclass(frozen=True)
class Entry:
    """One evaluation in the wide table."""

    measured: str  # "83.1 ± 1.2", or "missing"
    state: State | None  # None where it is missing
    best: bool  # by ddpipe/report/best.py
    excess: str  # "1.43 images a class" of a set that stores more than its IPC, else ""
    published: str  # "" where the survey prints nothing
    mark: str  # of the objection to the published value: "‡5", "§22" or ""
    source: str  # what the method's authors report instead


@dataclass(frozen=True)
class Line:
    """One row of the wide table; an entry is None where the grid has no such cell."""

    names: tuple[str, ...]
    entries: tuple[Entry | None, ...]


@dataclass(frozen=True)
class Wide:
    """Lines of one network under another, networks in the order of the frame's main rows first."""

    headings: tuple[str, ...]  # what `Line.names` are: Method, and Network and Protocol where there are several
    ipcs: tuple[str, ...]
    lines: tuple[Line, ...]


def percent(mean: float, std: float) -> str:
    """Mean and standard deviation as the survey prints them; "" without a mean."""
    if math.isnan(mean):
        return ""
    return f"{mean:.1f}" if math.isnan(std) else f"{mean:.1f} ± {std:.1f}"


def wide(frame: pd.DataFrame) -> Wide:
    """The wide table of `ddpipe.report.frame.collect`'s frame."""
    ipcs = tuple(sorted(frame["ipc"].unique(), key=ipc_order))
    networks = list(dict.fromkeys([*frame.loc[frame["main"], "network"], *frame["network"]]))
    several = {"Network": len(networks) > 1, "Protocol": frame["protocol"].nunique() > 1}
    shown = frame.assign(best=best(frame), excess=excess(frame))
    lines = []
    for network in networks:
        of_network = shown[shown["network"] == network]
        for (_, protocol), group in of_network.groupby(["label", "protocol"], sort=False):
            names = (group["label"].iloc[0], *([network] if several["Network"] else []))
            names += (str(protocol),) if several["Protocol"] else ()
            entries = {row["ipc"]: _entry(row) for _, row in group.iterrows()}
            lines.append(Line(names, tuple(entries.get(ipc) for ipc in ipcs)))
    headings = ("Method", *(name for name, shown in several.items() if shown))
    return Wide(headings, ipcs, tuple(lines))


def _entry(row: pd.Series) -> Entry:
    return Entry(
        percent(row["mean"], row["std"]) or "missing",
        State(row["state"]) if row["state"] else None,
        row["best"],
        row["excess"],
        percent(row["published_mean"], row["published_std"]),
        row["mark"],
        percent(row["source_mean"], row["source_std"]),
    )


def footnotes(frame: pd.DataFrame) -> list[str]:
    """What the reader must know, then what the marks in this table mean."""
    notes = [
        "IPC: images per class. Accuracy in percent on the test set: mean ± population standard deviation over "
        "n = sets x networks accuracies. Every network is judged after its last training step, never at its best one.",
        "Protocols (what a network's training looks like: epochs, learning rate, augmentation): "
        f"{', '.join(dict.fromkeys(frame['protocol']))}; their numbers stand in params.yaml under protocols.",
    ]
    if not frame["published_mean"].isna().all() or not frame["source_mean"].isna().all():
        notes.append(
            "The second value is the survey's, under the protocol that its tables stand for only; a third one, where "
            "given, is what the method's authors report."
        )
    if frame["distilled"].any():
        notes.append(RULE)
    if (excess(frame) != "").any():
        notes.append("images a class in an entry: the set stores numbers for so many, more than its column says.")
    if (frame["distilled"] & (frame["ipc"] == "all")).any():
        notes.append(
            "Whole set: as many examples as the data. A distilled method there is not an IPC method: it stores what "
            "makes an example for every training image, and stands in no table of images per class."
        )
    if frame["mean"].isna().any():
        notes.append("missing: a cell of the grid without a result yet.")
    results = frame[frame["state"] != ""]
    notes += legend.states(_told(results), _told(results[results["main"]]))
    capped = frame[(frame["capped"] != "") & frame["main"]]
    if len(capped):
        each = [f"{row['label']} {legend.places([('', row['ipc'])])}: {row['capped']}" for _, row in capped.iterrows()]
        notes.append(f"Ended by the number of their loop and not by their method's rule: {'; '.join(each)}.")
    doubted = frame[frame["doubtful"] != ""]
    notes += legend.marks(doubted["mark"])
    objections = sorted(
        doubted.groupby(["mark", "note"], sort=False), key=lambda item: int(item[1]["doubtful"].iloc[0])
    )
    for (mark, note), rows in objections:
        of_label = rows.groupby("label", sort=False)["ipc"]
        cells = [f"{label} {legend.places([('', ipc) for ipc in ipcs])}" for label, ipcs in of_label]
        notes.append(f"{mark} {', '.join(cells)}: {note}")
    return notes


def _told(results: pd.DataFrame) -> list[legend.Told]:
    rows = zip(results["label"], results["ipc"], results["state"], results["why"], strict=True)
    return [legend.Told(label, "", ipc, State(state), why) for label, ipc, state, why in rows]


def heading(ipc: str) -> str:
    """The column's name."""
    return "Whole set" if ipc == "all" else f"IPC {ipc}"


def beside(entry: Entry) -> str:
    """The published half of an entry: "(89.2 ± 1.6 ‡5, authors 89.7 ± 0.6)", or ""."""
    parts = cited(entry)
    return f"({', '.join(parts)})" if parts else ""


def cited(entry: Entry) -> list[str]:
    """What is published: the survey's value with the mark of a doubt, then what the method's authors report."""
    if not entry.published and not entry.source:
        return []
    survey = f"{entry.published or 'none'} {entry.mark}".strip()
    return [survey, f"authors {entry.source}"] if entry.source else [survey]


def measured(entry: Entry, bold: str = "{}") -> str:
    """The measured half: "○ 82.0 ± 4.2 (1.43 images a class)", or "missing"."""
    value = bold.format(entry.measured) if entry.best else entry.measured
    shape = [entry.state.shape] if entry.state else []
    return " ".join([*shape, value, *([f"({entry.excess})"] if entry.excess else [])])


def _text(entry: Entry | None, bold: str) -> str:
    return " ".join(filter(None, (measured(entry, bold), beside(entry)))) if entry else ""


def long(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Column names and printed rows of the long table: one evaluation a row, a dash where there is no number."""
    rows = []
    for _, row in frame.iterrows():
        cells = []
        for column in LONG:
            value = row[column]
            if column == "state":
                cells.append(f"{State(value).shape} {value}" if value else "")
            elif not isinstance(value, float | int):
                cells.append(str(value))
            elif math.isnan(value):
                cells.append("missing" if column == "mean" else "-")
            else:
                sign = "+" if column == "difference" else ""
                cells.append(f"{value:{sign}.{DECIMALS.get(column, 0)}f}")
        rows.append(cells)
    return list(LONG.values()), rows


def markdown(frame: pd.DataFrame, title: str) -> str:
    """Both tables and the footnotes."""
    table = wide(frame)
    rows = [[*line.names, *(_text(entry, BOLD) for entry in line.entries)] for line in table.lines]
    parts = [
        f"# {md(title)}",
        pipes([*table.headings, *map(heading, table.ipcs)], rows, len(table.headings)),
        "\n".join(f"- {md(note)}" for note in footnotes(frame)),
        "## Every evaluation",
        pipes(*long(frame), WORDS),
    ]
    return "\n\n".join(parts) + "\n"


def comma_separated(frame: pd.DataFrame) -> str:
    """The wide table as CSV: a measured and a published column for each IPC."""
    table = wide(frame)
    columns = [*table.headings]
    for ipc in table.ipcs:
        columns += [heading(ipc), f"{heading(ipc)} published"]
    rows = []
    for line in table.lines:
        row = list(line.names)
        for entry in line.entries:
            row += [measured(entry), beside(entry).strip("()")] if entry else ["", ""]
        rows.append(row)
    return pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")


def latex(frame: pd.DataFrame, caption: str) -> str:
    """The wide table for a paper; needs the package booktabs."""
    table = wide(frame)
    header = [*table.headings, *map(heading, table.ipcs)]
    rows = [[tex(cell) for cell in header]]
    for line in table.lines:
        rows.append([*map(tex, line.names), *(tex(_text(entry, BOLD)) for entry in line.entries)])
    first, *body = ["  " + " & ".join(row) + r" \\" for row in rows]
    columns = "l" * len(table.headings) + "r" * len(table.ipcs)
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{tex(caption)}}}", rf"\begin{{tabular}}{{{columns}}}"]
    lines += [r"\toprule", first, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""]
    lines += [tex(note) + r"\par" for note in footnotes(frame)]
    return "\n".join([*lines, r"\end{table}"]) + "\n"
