"""reports/index.html: one file that shows every dataset with a result; no scripts, no links needed, no dates."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from itertools import groupby

import pandas as pd

from ddpipe.config import Config
from ddpipe.report import figures, survey_page, survey_text, tables
from ddpipe.report.drawings import draw
from ddpipe.report.frame import ipc_order, losses
from ddpipe.report.pictures import stored
from ddpipe.report.survey import Table
from ddpipe.report.tables import Entry

STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #59636e; --line: #d9dee3; --paper: #ffffff; --tint: #f5f7f9;
  --strong: #0b5cad; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa5b1; --line: #353c44; --paper: #14181c;
  --tint: #1c2127; --strong: #7db7f0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.5rem 1.25rem 4rem; max-width: 68rem; color: var(--ink); background: var(--paper);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.02em; }
h2 { font-size: 1.45rem; margin: 3rem 0 .3rem; padding-top: 1.2rem; border-top: 1px solid var(--line); }
h4 { font-size: .9rem; margin: 1.1rem 0 .5rem; color: var(--soft); }
h3 { font-size: 1.05rem; margin: 2rem 0 .6rem; }
p { max-width: 46rem; margin: .4rem 0 .8rem; }
a { color: var(--strong); }
.lead { font-size: 1.1rem; color: var(--soft); }
.soft, caption, figcaption, .notes { color: var(--soft); font-size: .86rem; }
nav ul { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; list-style: none; margin: 1rem 0 0; padding: 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding-bottom: .5rem; }
th, td { padding: .42rem .8rem .42rem 0; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top;
  white-space: nowrap; }
th { font-weight: 600; }
thead th { border-bottom: 2px solid var(--soft); vertical-align: bottom; }
tbody th, .word { text-align: left; }
tbody + tbody { border-top: 2px solid var(--line); }
tbody tr:hover { background: var(--tint); }
td strong { color: var(--strong); }
sup { line-height: 0; }
td small { display: block; color: var(--soft); font-size: .8rem; }
.missing { color: var(--soft); font-style: italic; }
.notes { padding-left: 1.1rem; max-width: 56rem; }
.long { font-size: .84rem; }
details { margin: 1.5rem 0; }
summary { cursor: pointer; font-weight: 600; }
.grid { display: grid; gap: 1.2rem; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); align-items: start; }
.wide { grid-template-columns: repeat(auto-fit, minmax(min(30rem, 100%), 1fr)); }
figure { margin: 0; break-inside: avoid; }
figure img { display: block; width: 100%; height: auto; border-radius: 4px; background: #fff; }
.grid:not(.wide) img { image-rendering: pixelated; }
.wide svg { display: block; width: 100%; height: auto; background: #fff; border: 1px solid var(--line);
  border-radius: 4px; padding: .4rem; }
figcaption { margin-top: .35rem; }
figcaption b { color: var(--ink); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1rem; font-size: .86rem; }
dt { color: var(--soft); } dd { margin: 0; }
@media print { body { max-width: none; padding: 0; font-size: 11px; } nav, details { display: none; }
  h2 { break-before: page; } h2.first { break-before: auto; } }
"""
LEAD = (
    "ddpipe turns raw images into small synthetic training sets with the published methods of dataset distillation, "
    "trains fresh networks on them, and prints what it measured beside what was published."
)


PICTURES = 8_000_000  # bytes of all embedded pictures of sets: a third more in the file, and still a light page


def render(config: Config, frames: Mapping[str, pd.DataFrame], survey: Sequence[Table]) -> str:
    """The page for every dataset in `frames` (frame.collect_all); one without a single result is only named.

    Args:
        survey: the survey's tables filled from `frames`; none leaves their section out.

    Raises:
        UserError: a file with losses is damaged.
    """
    shown = {dataset: frame for dataset, frame in frames.items() if frame["mean"].notna().any()}
    waiting = [dataset for dataset in frames if dataset not in shown]
    links = [(dataset, dataset) for dataset in shown] + ([("survey", "the survey's tables")] if survey else [])
    items = "".join(f'<li><a href="#{escape(anchor)}">{escape(name)}</a></li>' for anchor, name in links)
    body = [f"<header><h1>ddpipe report</h1><p class=lead>{LEAD}</p>"]
    body += [f"<p>The survey's tables: {escape(survey_text.summary(survey))}</p>"] if survey else []
    body.append(f'<nav aria-label="Sections"><ul>{items}</ul></nav></header><main>' if links else "</header><main>")
    share = PICTURES // max(1, len(shown))
    for i, (dataset, frame) in enumerate(shown.items()):
        body.append(_dataset(config, dataset, frame, share, first=i == 0))
    body += [survey_page.section(survey)] if survey else []
    if waiting:
        body.append(f"<p><b>Not run yet:</b> {escape(', '.join(waiting))}.</p>")
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>ddpipe report</title>\n<style>{STYLE}{survey_page.STYLE}</style></head>\n<body>\n"
        + "\n".join(body)
        + "\n</main></body></html>\n"
    )


def _dataset(config: Config, dataset: str, frame: pd.DataFrame, share: int, first: bool) -> str:
    done = int(frame["mean"].notna().sum())
    title = f'<h2 id="{escape(dataset)}"{" class=first" if first else ""}>{escape(dataset)}</h2>'
    parts = [f"{title}<p class=soft>{done} of {len(frame)} evaluations have a result.</p>"]
    parts.append(_wide(frame, f"Test accuracy on {dataset}, %: measured and, below, as published."))
    notes = "".join(f"<li>{escape(note)}</li>" for note in tables.footnotes(frame))
    parts.append(f"<ul class=notes>{notes}</ul>")
    parts.append(_pictures(config, dataset, frame, share))
    parts.append(_figures(config, dataset, frame))
    parts.append(f"<details><summary>Every evaluation</summary>{_long(frame, dataset)}</details>")
    parts.append(_provenance(frame))
    return f'<section aria-labelledby="{escape(dataset)}">' + "\n".join(parts) + "</section>"


def _wide(frame: pd.DataFrame, caption: str) -> str:
    table = tables.wide(frame)
    names = "".join(f'<th scope="col" class=word>{name}</th>' for name in table.headings)
    heads = names + "".join(f'<th scope="col">{tables.heading(ipc)}</th>' for ipc in table.ipcs)
    bodies = []
    several = "Network" in table.headings
    for _, lines in groupby(table.lines, key=lambda line: line.names[1] if several else ""):
        rows = []
        for line in lines:
            first, *others = map(escape, line.names)
            cells = f'<th scope="row">{first}</th>' + "".join(f"<td class=word>{name}</td>" for name in others)
            rows.append(f"<tr>{cells}{''.join(map(_cell, line.entries))}</tr>")
        bodies.append(f"<tbody>{''.join(rows)}</tbody>")
    return (
        f'<div class=scroll tabindex=0 role="region" aria-label="{escape(caption)}"><table>'
        f"<caption>{escape(caption)}</caption><thead><tr>{heads}</tr></thead>{''.join(bodies)}</table></div>"
    )


def _cell(entry: Entry | None) -> str:
    if entry is None:
        return "<td></td>"
    text = "<span class=missing>missing</span>" if entry.measured == "missing" else entry.measured
    text = f"<strong>{text}</strong>" if entry.best else text
    altered = f"<sup>{tables.ALTERED}</sup>" if entry.altered else ""
    cited = "".join(f"<small>{escape(part)}</small>" for part in tables.cited(entry))
    return f"<td>{text}{altered}{cited}</td>"


def _long(frame: pd.DataFrame, dataset: str) -> str:
    names, rows = tables.long(frame)
    heads = "".join(f'<th scope="col"{" class=word" if i < 4 else ""}>{name}</th>' for i, name in enumerate(names))
    lines = []
    for first, *others in rows:
        cells = "".join(f"<td{' class=word' if i < 3 else ''}>{escape(cell)}</td>" for i, cell in enumerate(others))
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    return (
        f'<div class=scroll tabindex=0 role="region" aria-label="Every evaluation on {escape(dataset)}">'
        f"<table class=long><thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _pictures(config: Config, dataset: str, frame: pd.DataFrame, share: int) -> str:
    """The sets as pictures, the smallest IPC first, until `share` bytes are used up; what is left out is named."""
    own = frame[frame["main"] & frame["mean"].notna()]
    shown: dict[str, list[str]] = {}
    left_out = []
    for _, row in own.sort_values("ipc", key=lambda ipc: ipc.map(ipc_order), kind="stable").iterrows():
        if (png := stored(config, row["cell"])) is None:
            continue
        if (share := share - len(png)) < 0:
            left_out.append(row["cell"])
            continue
        name = f"{row['label']}, {tables.heading(row['ipc'])}"
        caption = f"<b>{escape(row['label'])}</b> {tables.percent(row['mean'], row['std'])} %"
        picture = _figure(png, f"The images of {name}: class by class", caption)
        shown.setdefault(row["ipc"], []).append(picture)
    parts = [f"<h4>{tables.heading(ipc)}</h4><div class=grid>{''.join(found)}</div>" for ipc, found in shown.items()]
    if left_out:
        where = f"reports/{dataset}/images"
        parts.append(f"<p class=soft>In {escape(where)}, to keep this page light: {escape(', '.join(left_out))}.</p>")
    return "<h3>The sets, as images</h3>" + "".join(parts) if parts else ""


def _figures(config: Config, dataset: str, frame: pd.DataFrame) -> str:
    look, curves = figures.looks(config), losses(config, frame)
    drawings = draw(dataset, frame, curves, look, config.params.report.dpi)
    shown = "".join(f"<figure>{d.svg}<figcaption>{escape(d.caption)}</figcaption></figure>" for d in drawings)
    return f'<h3>Figures</h3><div class="grid wide">{shown}</div>'


def _figure(png: bytes, alternative: str, caption: str) -> str:
    """`caption` is HTML; `alternative` is text."""
    data = base64.b64encode(png).decode()
    image = f'<img src="data:image/png;base64,{data}" alt="{escape(alternative)}">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _provenance(frame: pd.DataFrame) -> str:
    devices = ", ".join(dict.fromkeys(filter(None, frame["device"])))
    versions = "; ".join(dict.fromkeys(filter(None, frame["versions"])))
    per_cell = frame.drop_duplicates("cell")["distill_seconds"].sum()  # further evaluations repeat their cell's cost
    facts = {
        "Device": devices,
        "Versions": versions,
        "Distillation": f"{per_cell:,.0f} s in total",
        "Experts": f"{frame.drop_duplicates('experts')['experts_seconds'].sum():,.0f} s in total",
        "Evaluation": f"{frame['eval_seconds'].sum():,.0f} s in total",
    }
    items = "".join(f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"<h3>Where the numbers come from</h3><dl>{items}</dl>"
