"""The survey's tables as panels of the page, one data set at a time, each cell with an address and a card."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby

from ddpipe.report import survey_text
from ddpipe.report.html.markup import anchor, bullets, folded, kind, region
from ddpipe.report.survey import DATASETS, FACTORISED, MISSING, NAN, NETWORKS, Cell, Line, Table
from ddpipe.report.survey_legend import legend
from ddpipe.states import State

BASELINE = "-"  # the scheme of Random, Herding and Whole
FITTING = 4  # columns in which published and measured stand beside each other on any desk
Card = Callable[[Table, Line, Cell], str]


@dataclass(frozen=True)
class Panel:
    """One table, or what a table says of one of its data sets."""

    id: str
    name: str
    table: Table


def panels(tables: Sequence[Table]) -> list[Panel]:
    """A panel for each data set of each table."""
    found = []
    for table in tables:
        datasets = list(dict.fromkeys(column.dataset for column in table.columns))
        for dataset in datasets:
            several = len(datasets) > 1
            networks = dict.fromkeys(NETWORKS.get(column.network, column.network) for column in table.columns)
            name = DATASETS.get(dataset, dataset) + (f" on {', '.join(networks)}" if len(networks) > 1 else "")
            id_ = anchor(f"table{table.number}", *([dataset] if several else []))
            found.append(Panel(id_, name, of_dataset(table, dataset) if several else table))
    return found


def of_dataset(table: Table, dataset: str) -> Table:
    """The columns of `dataset`, and what each method has there."""
    lines = []
    for line in table.lines:
        place, entries = 0, []
        for cell, span in line.entries:
            if table.columns[place].dataset == dataset:
                entries.append((cell, span))
            place += span
        lines.append(replace(line, entries=tuple(entries)))
    columns = tuple(replace(column, group="") for column in table.columns if column.dataset == dataset)
    return replace(table, columns=columns, lines=tuple(lines))


def address(table: Table, line: Line, cell: Cell) -> str:
    """The id of a cell: t1-dm-cifar10-10, with its network where a table has several."""
    several = len({column.network for column in table.columns}) > 1
    return anchor(f"t{table.number}", line.method, cell.dataset, cell.ipc, *([cell.network] if several else []))


def row_address(table: Table, line: Line) -> str:
    """The id of a line of a panel, to which a card is closed."""
    return anchor(f"row{table.number}", line.method, table.columns[0].dataset)


def scheme(line: Line) -> str:
    """By which words a line is found: its scheme, and whether it is factorised."""
    name = "baselines" if line.scheme == BASELINE else line.scheme
    return f"{name} factorised" if line.factorised else name


def section(tables: Sequence[Table], card: Card) -> str:
    """Tabs, the means to filter (which the script shows), and all panels.

    Args:
        card: what is known of a cell, as HTML.
    """
    shown = panels(tables)
    tabs = []
    for number, group in groupby(shown, key=lambda panel: panel.table.number):
        links = "".join(f'<a href="#{panel.id}">{escape(panel.name)}</a>' for panel in group)
        tabs.append(f"<li><span>Table {number}</span>{links}</li>")
    return (
        '<section aria-labelledby="survey"><h2 id="survey">The survey\'s tables</h2>'
        f"<p>{escape(survey_text.summary(tables))} In each cell the published accuracy, then what was measured here. "
        "Choose a cell for its card. The same tables as Markdown, CSV and LaTeX: reports/survey.</p>"
        f'<nav class=tabs aria-label="Tables"><ul>{"".join(tabs)}</ul></nav>{_filters(tables)}'
        f"<div class=panels>{''.join(_panel(panel, card) for panel in shown)}</div></section>"
    )


def _filters(tables: Sequence[Table]) -> str:
    schemes = list(dict.fromkeys(word for table in tables for line in table.lines for word in scheme(line).split()))
    states = {kind(state): f"{state.shape} {state}" for state in State} | {MISSING: MISSING}
    choices = {
        "scheme": ("Scheme", {name: name for name in sorted(schemes, key=str.lower)}),
        "state": ("State", states),
    }
    selects = []
    for name, (title, options) in choices.items():
        items = "".join(f'<option value="{escape(value)}">{escape(text)}</option>' for value, text in options.items())
        selects.append(f'<label>{title} <select name={name}><option value="">all</option>{items}</select></label>')
    sort = "<option value=published>published</option><option value=measured>measured</option>"
    selects.append(f"<label>Sort by <select name=by>{sort}</select> in the column that is chosen</label>")
    return f"<form class=filters hidden>{''.join(selects)}<button type=reset>Reset</button></form>"


def _panel(panel: Panel, card: Card) -> str:
    table = panel.table
    title = escape(f"Table {table.number}: {panel.name}")
    empty = [line for line in table.lines if not any(cell.measured for cell in line.cells)]
    fold = ""
    if 0 < len(empty) < len(table.lines):  # where all rows are empty, nothing would be left to see
        names = escape(", ".join(line.label for line in empty))
        count = f"{len(empty)} of {len(table.lines)} methods have no measured value here: show their rows"
        fold = f"<details class=fold><summary>{count}</summary><p class=soft>{names}</p></details>"
    rows, last = [], ""
    for line in table.lines:
        classes = [*(["ruled"] if line.group != last else []), *(["empty"] if fold and line in empty else [])]
        rows.append(_line(table, line, " ".join(classes), card))
        last = line.group
    reading = folded(f"How to read Table {table.number}", bullets(legend(table)))
    look = "survey dense" if len(table.columns) > FITTING else "survey"
    body = "".join(rows)
    grid = f'<table class="{look}"><thead>{_head(table)}</thead><tbody>{body}</tbody></table>'
    return (
        f'<section class=panel id="{panel.id}" aria-label="{title}"><h3>{title}</h3>'
        f"<p class=soft>{escape(table.title)}. {escape(survey_text.summary([table]))}</p>"
        f"{region(title, grid)}{fold}{reading}</section>"
    )


def _head(table: Table) -> str:
    names = "".join(f'<th scope="col">{escape(column.name)}</th>' for column in table.columns)
    if not any(column.group for column in table.columns):
        return f'<tr><th scope="col">Method</th>{names}</tr>'
    groups = [(name, len(list(columns))) for name, columns in groupby(table.columns, key=lambda column: column.group)]
    over = "".join(f'<th scope="colgroup" colspan={n}>{escape(name)}</th>' for name, n in groups)
    return f'<tr><th scope="col" rowspan=2>Method</th>{over}</tr><tr class=second>{names}</tr>'


def _line(table: Table, line: Line, classes: str, card: Card) -> str:
    mark = f" {FACTORISED}" if line.factorised else ""
    words = f"<small>{escape(line.scheme)}</small>" if line.scheme != BASELINE else ""
    head = f'<th scope="row" id="{row_address(table, line)}">{escape(line.label)}{mark} {words}</th>'
    cells = "".join(_entry(table, line, cell, span, card) for cell, span in line.entries)
    named = f' class="{classes}"' if classes else ""
    return f'<tr{named} data-scheme="{escape(scheme(line))}">{head}{cells}</tr>'


def _entry(table: Table, line: Line, cell: Cell | None, span: int, card: Card) -> str:
    wide = f" colspan={span}" if span > 1 else ""
    if cell is None:
        return f"<td{wide}></td>"
    here = address(table, line, cell)
    numbers = {"published": cell.published.mean, "measured": cell.measured.mean if cell.measured else NAN}
    data = "".join(f" data-{name}={number:g}" for name, number in numbers.items() if number == number)
    link = f'<a href="#{here}">{values(cell)}</a>'
    return f'<td{wide} id="{here}" class={kind(cell.state)}{data}>{link}{card(table, line, cell)}</td>'


def values(cell: Cell) -> str:
    """What stands in a cell: "91.7 ± 0.5 | ○ 80.7 ± 0.9", and below it the verdict."""
    mark = f"<sup>{cell.published.mark}</sup>" if cell.published.mark else ""
    printed = _best(_narrow(survey_text.printed(cell)), cell.published.bold) + mark
    parts = [f"<span class=printed>{printed}</span>"]
    if own := survey_text.measured(cell):
        parts.append(f"<span class=own>{_best(_narrow(own), cell.best_measured)}</span>")
    if (said := survey_text.judged(cell)) and cell.measured:
        source = survey_text.authors(cell)  # what the verdict is about, then
        parts += [f"<span class=authors>authors {_narrow(source)}</span>"] if source else []
        parts.append(f"<span class={cell.measured.verdict}>{escape(said)}</span>")
    return " ".join(parts)


def _best(html: str, best: bool) -> str:
    return f"<strong>{html}</strong>" if best else html


def _narrow(text: str) -> str:
    """The value, its spread in letters that a phone leaves out."""
    value, sign, spread = escape(text).partition(" ± ")
    return f"{value}<small>{sign}{spread}</small>" if sign else value
