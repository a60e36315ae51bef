"""What was measured on each data set, in whatever state: tables, pictures of the sets and every evaluation."""

from collections.abc import Mapping
from html import escape
from itertools import groupby

import pandas as pd

from ddpipe.report import tables
from ddpipe.report.frame import ipc_order
from ddpipe.report.html.markup import anchor, bullets, folded, region, sheet
from ddpipe.report.html.pictures import Picture, shown
from ddpipe.report.tables import Entry


def section(dataset: str, frame: pd.DataFrame, pictures: Mapping[str, Picture | None], scores: str = "") -> str:
    """All of one data set, from frame.collect's table, the pictures that the page stores, by cell, and its scores."""
    done, every = int(frame["mean"].notna().sum()), f"Every evaluation on {dataset}"
    here = anchor("runs", dataset)
    return (
        f'<section aria-labelledby="{here}"><h3 id="{here}">{escape(dataset)}</h3>'
        f"<p class=soft>{done} of {len(frame)} evaluations have a result.</p>"
        f"{_wide(frame, f'Test accuracy on {dataset}, %: measured and, below, as published.')}"
        f"{folded('How to read it', bullets(tables.footnotes(frame)))}"
        f"{_pictures(dataset, frame, pictures)}"
        f"{scores}{folded(every, sheet(every, *tables.long(frame), tables.WORDS), 'bulky')}</section>"
    )


def _wide(frame: pd.DataFrame, caption: str) -> str:
    """Methods x IPC; lines without a result are a count, network and protocol stand small beside the method."""
    table = tables.wide(frame)
    measured = [line for line in table.lines if any(entry and entry.state for entry in line.entries)]
    empty = len(table.lines) - len(measured)
    names = [table.headings[0], *(f"<small>{name.lower()}</small>" for name in table.headings[1:])]
    heads = f'<th scope="col">{" ".join(names)}</th>'
    heads += "".join(f'<th scope="col">{tables.heading(ipc)}</th>' for ipc in table.ipcs)
    bodies = []
    several = "Network" in table.headings
    for _, lines in groupby(measured, key=lambda line: line.names[1] if several else ""):
        rows = []
        for line in lines:
            first, *others = map(escape, line.names)
            small = f" <small>{', '.join(others)}</small>" if others else ""
            rows.append(f'<tr><th scope="row">{first}{small}</th>{"".join(map(_cell, line.entries))}</tr>')
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    told = f"<caption>{escape(caption)}</caption>"
    left = f"<p class=soft>{empty} of {len(table.lines)} lines have no result yet.</p>" if empty else ""
    return region(caption, f"<table>{told}<thead><tr>{heads}</tr></thead>{''.join(bodies)}</table>") + left


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return "<td></td>"
    text = tables.measured(entry, "<strong>{}</strong>") if entry.state else "<span class=missing>missing</span>"
    cited = "".join(f"<small>{escape(part)}</small>" for part in tables.cited(entry))
    return f"<td>{text}{cited}</td>"


def _pictures(dataset: str, frame: pd.DataFrame, pictures: Mapping[str, Picture | None]) -> str:
    """The sets as pictures, the smallest IPC first; what the page has no room for is named."""
    own = frame[frame["main"] & frame["mean"].notna()]
    groups: dict[str, list[str]] = {}
    for _, row in own.sort_values("ipc", key=lambda ipc: ipc.map(ipc_order), kind="stable").iterrows():
        if picture := pictures.get(row["cell"]):
            text = f"The images of {row['label']} on {dataset}, {tables.heading(row['ipc'])}: class by class"
            caption = f"<b>{escape(row['label'])}</b> {tables.percent(row['mean'], row['std'])} %"
            groups.setdefault(row["ipc"], []).append(shown(picture, text, caption))
    parts = [
        folded(
            f"The sets of {tables.heading(ipc)}, as images ({len(found)})", f"<div class=grid>{''.join(found)}</div>"
        )
        for ipc, found in groups.items()
    ]
    if left_out := [cell for cell in own["cell"] if pictures.get(cell, ...) is None]:
        where = f"In reports/{dataset}/images, to keep this page light: {', '.join(left_out)}."
        parts.append(f"<p class=soft>{escape(where)}</p>")
    return "".join(parts)
