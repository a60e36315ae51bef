"""Tables of one dataset: the wide one (methods x IPC, measured beside published) and the long one, in three formats."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from ddpipe.report.frame import ipc_order
from ddpipe.states import State

LONG = {
    "label": "Method",
    "ipc": "IPC",
    "network": "Network",
    "protocol": "Protocol",
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
    "spent": "Spent s",
    "spent_on": "Spent on",
    "load": "Load",
    "seconds_per_iteration": "Wall s / iteration",
    "distill_seconds": "Distillation wall s",
    "experts_seconds": "Experts wall s",
    "eval_seconds": "Evaluation wall s",
    "peak_memory_mb": "Memory MB",
}
DECIMALS = {"mean": 1, "std": 1, "published_mean": 1, "difference": 1, "seconds_per_iteration": 4, "worth": 2}
DECIMALS |= {"spent": 1, "load": 1, "distill_seconds": 1, "experts_seconds": 1, "eval_seconds": 1}
ALTERED, DOUBTFUL = "†", "‡"


@dataclass(frozen=True)
class Entry:
    """One evaluation in the wide table."""

    measured: str  # "83.1 ± 1.2", or "missing"
    best: bool  # the highest of the distilled methods in this column, as printed
    altered: bool  # ran with overrides or is a combination of its own
    published: str  # "" where the survey prints nothing
    doubtful: str  # number of the objection to the published value
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
    best = {
        (network, ipc): group["mean"].max()
        for (network, ipc), group in frame[frame["distilled"]].groupby(["network", "ipc"])
    }
    lines = []
    for network in networks:
        of_network = frame[frame["network"] == network]
        for (_, protocol), group in of_network.groupby(["label", "protocol"], sort=False):
            names = (group["label"].iloc[0], *([network] if several["Network"] else []))
            names += (str(protocol),) if several["Protocol"] else ()
            entries = {row["ipc"]: _entry(row, best.get((network, row["ipc"]))) for _, row in group.iterrows()}
            lines.append(Line(names, tuple(entries.get(ipc) for ipc in ipcs)))
    headings = ("Method", *(name for name, shown in several.items() if shown))
    return Wide(headings, ipcs, tuple(lines))


def _entry(row: pd.Series, best: float | None) -> Entry:
    measured = percent(row["mean"], row["std"])
    winner = bool(row["distilled"] and measured and best is not None and f"{best:.1f}" == f"{row['mean']:.1f}")
    return Entry(
        measured or "missing",
        winner,
        row["state"] not in ("", State.PUBLISHED),
        percent(row["published_mean"], row["published_std"]),
        row["doubtful"],
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
        notes.append("Bold: the highest measured accuracy among the distilled methods of a column and network.")
    if (frame["distilled"] & (frame["ipc"] == "all")).any():
        notes.append(
            "Whole set: as many examples as the data. A distilled method there is not an IPC method: it stores what "
            "makes an example for every training image, and stands in no table of images per class."
        )
    if frame["mean"].isna().any():
        notes.append("missing: a cell of the grid without a result yet.")
    if not frame["state"].isin(["", State.PUBLISHED]).all():
        notes.append(f"{ALTERED} not as published: a combination of its own, or run with overrides from params.yaml.")
    capped = frame[(frame["capped"] != "") & frame["main"]]
    if len(capped):
        each = [f"{row['label']} {_ipc_words(row['ipc'])}: {row['capped']}" for _, row in capped.iterrows()]
        notes.append(f"Ended by the number of their loop and not by their method's rule: {'; '.join(each)}.")
    objections: dict[tuple[str, str], list[str]] = {}
    for _, row in frame[frame["doubtful"] != ""].iterrows():
        cell = f"{row['label']} {_ipc_words(row['ipc'])}"
        objections.setdefault((row["doubtful"], row["note"]), []).append(cell)
    for (number, note), cells in sorted(objections.items(), key=lambda item: (int(item[0][0]), item[0][1])):
        notes.append(
            f"{DOUBTFUL}{number} published value to be read with care ({', '.join(dict.fromkeys(cells))}): {note}"
        )
    return notes


def _ipc_words(ipc: str) -> str:
    return "whole set" if ipc == "all" else f"IPC {ipc}"


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
    survey = f"{entry.published or 'none'}{f' {DOUBTFUL}{entry.doubtful}' if entry.doubtful else ''}"
    return [survey, f"authors {entry.source}"] if entry.source else [survey]


def _text(entry: Entry | None, bold: str) -> str:
    if entry is None:
        return ""
    measured = bold.format(entry.measured) if entry.best else entry.measured
    return " ".join(filter(None, (measured + (ALTERED if entry.altered else ""), beside(entry))))


def long(frame: pd.DataFrame) -> tuple[list[str], list[list[str]]]:
    """Column names and printed rows of the long table: one evaluation a row, a dash where there is no number."""
    rows = []
    for _, row in frame.iterrows():
        cells = []
        for column in LONG:
            value = row[column]
            if not isinstance(value, float | int):
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
        pipes(*long(frame), 4),
    ]
    return "\n\n".join(parts) + "\n"


def pipes(header: Sequence[str], rows: Sequence[Sequence[str]], left: int) -> str:
    """A Markdown table of plain text and BOLD; the first `left` columns are words, the others numbers."""
    rule = [":--"] * left + ["--:"] * (len(header) - left)
    lines = [header, rule, *rows]
    return "\n".join("| " + " | ".join(md(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


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
            altered = ALTERED if entry and entry.altered else ""
            row += [entry.measured + altered, beside(entry).strip("()")] if entry else ["", ""]
        rows.append(row)
    return pd.DataFrame(rows, columns=columns).to_csv(index=False, lineterminator="\n")


BOLD = "\x02{}\x03"  # what `md` and `tex` make bold: no character that they would escape
MARKDOWN = str.maketrans({c: "\\" + c for c in "\\`*[]"} | {"<": "&lt;", "&": "&amp;", "\x02": "**", "\x03": "**"})


def md(text: str) -> str:
    """Plain text on one line as Markdown: names and notes bring no links, tags or columns of their own."""
    return " ".join(text.split()).translate(MARKDOWN)


LATEX = {c: "\\" + c for c in "&%$#_{}"} | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}"}
LATEX |= {"|": r"\textbar{}", "<": r"\textless{}", ">": r"\textgreater{}", "²": r"\textsuperscript{2}", "–": "--"}
LATEX |= {"▲": r"$\uparrow$", "▼": r"$\downarrow$", "◇": r"$\diamond$"}
LATEX |= {
    "\x02": r"\textbf{",
    "\x03": "}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    ALTERED: r"\dag{}",
    DOUBTFUL: r"\ddag{}",
}


def tex(text: str) -> str:
    """Plain text on one line as LaTeX source."""
    return "".join(LATEX.get(character, character) for character in " ".join(text.split()))


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
