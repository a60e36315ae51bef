"""The survey's tables as a section of the page."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from ddpipe.report import survey_text
from ddpipe.report.survey import FACTORISED, Cell, Line, Table

STYLE = """
:root { --first: #a34400; --second: #0b5cad; --good: #1a6b3c; --high: #6b3fa0; --low: #a3261c; }
@media (prefers-color-scheme: dark) { :root { --first: #f0a35e; --second: #7db7f0; --good: #7ccf9b; --high: #c3a2ee;
  --low: #f29287; } }
.survey { font-size: .78rem; width: auto; min-width: 100%; }
.survey th, .survey td { padding: .35rem .7rem .35rem 0; }
.survey thead th { text-align: left; }
.survey td { text-align: left; line-height: 1.4; border-bottom: 0; }
.survey tbody th, .survey thead tr th:first-child { position: sticky; left: 0; background: var(--paper);
  padding-right: 1rem; }
.survey tbody th { border-bottom: 0; vertical-align: top; }
.survey tbody { border-top: 0; border-bottom: 1px solid var(--line); }
.survey tr:hover th { background: var(--tint); }
.survey .edge { padding-left: .7rem; border-left: 1px solid var(--line); }
.survey td span { display: block; }
.survey .printed { color: var(--soft); }
.survey strong { color: var(--first); }
.survey .factorised strong { color: var(--second); }
.survey sup { font-size: .7em; color: var(--soft); }
.survey .agrees { color: var(--good); } .survey .above { color: var(--high); } .survey .below { color: var(--low); }
.wider { width: min(100vw - 2.5rem, 112rem); margin-left: 50%; transform: translateX(-50%); }
@media print { .wider { width: auto; margin: 0; transform: none; } .survey { font-size: 6px; } }
"""
FITTING = 9  # columns that the page's width has room for


def section(tables: Sequence[Table]) -> str:
    """All tables, each with its legend folded away."""
    parts = ['<section aria-labelledby="survey"><h2 id="survey">The survey\'s tables</h2>']
    parts.append(
        "<p>What the survey prints, and below it what was measured here under the published settings. Reduced runs and "
        "combinations stand with their datasets. The same tables as Markdown, CSV and LaTeX: reports/survey.</p>"
    )
    return "\n".join([*parts, *map(_table, tables)]) + "</section>"


def _table(table: Table) -> str:
    title = escape(f"Table {table.number}: {table.title}")
    words = survey_text.headings(table)[:-1]
    heads = "".join(f'<th scope="col" rowspan=2>{name}</th>' for name in words)
    groups = [(name, len(list(columns))) for name, columns in groupby(table.columns, key=lambda column: column.group)]
    starts = _starts(table)
    names = "".join(
        f'<th scope="col"{" class=edge" if i in starts else ""}>{escape(column.name)}</th>'
        for i, column in enumerate(table.columns)
    )
    over = "".join(f'<th scope="colgroup" colspan={n} class=edge>{escape(name)}</th>' for name, n in groups)
    head = f"<tr>{heads}{over}</tr><tr>{names}</tr>"
    bodies = [
        f"<tbody{' class=factorised' if name == 'factorised' else ''}>{''.join(_line(table, x) for x in lines)}</tbody>"
        for name, lines in groupby(table.lines, key=lambda line: line.group)
    ]
    notes = "".join(f"<li>{escape(note)}</li>" for note in survey_text.legend(table))
    room = "scroll" if len(table.columns) <= FITTING else "scroll wider"
    return (
        f"<h3>{title}</h3><p class=soft>{escape(survey_text.summary([table]))}</p>"
        f'<div class="{room}" tabindex=0 role="region" aria-label="{title}"><table class=survey>'
        f"<thead>{head}</thead>{''.join(bodies)}</table></div>"
        f"<details><summary>How to read Table {table.number}</summary><ul class=notes>{notes}</ul></details>"
    )


def _starts(table: Table) -> set[int]:
    """The columns that begin a group."""
    columns = table.columns
    return {i for i in range(len(columns)) if i == 0 or columns[i].group != columns[i - 1].group}


def _line(table: Table, line: Line) -> str:
    mark = f" {FACTORISED}" if line.factorised else ""
    words = f"<td>{escape(line.scheme)}</td>" if table.schemes else ""
    cells, place, starts = [], 0, _starts(table)
    for cell, span in line.entries:
        edge = " class=edge" if place in starts else ""
        cells.append(f"<td{edge}{f' colspan={span}' if span > 1 else ''}>{_cell(cell) if cell else ''}</td>")
        place += span
    return f'<tr><th scope="row">{escape(line.label)}{mark}</th>{words}{"".join(cells)}</tr>'


def _cell(cell: Cell) -> str:
    value, doubt = survey_text.printed(cell), survey_text.doubt(cell)
    text = f"<strong>{value}</strong>" if cell.best_published else value
    parts = [f"<span class=printed>{text}{f'<sup>{doubt}</sup>' if doubt else ''}</span>"]
    if source := survey_text.authors(cell):
        parts.append(f"<span class=printed>authors {source}</span>")
    if own := survey_text.measured(cell):
        shown = f"<strong>{own}</strong>" if cell.best_measured else own
        parts.append(f"<span{'' if cell.measured else ' class=missing'}>{shown}</span>")
    if cell.measured and (verdict := survey_text.judged(cell)):
        parts.append(f"<span class={cell.measured.verdict}>{verdict}</span>")
    return "".join(parts)
