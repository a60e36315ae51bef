"""The scores of a dataset's sets as a part of its section of the page."""

from html import escape

import pandas as pd

from ddpipe.report.scores_text import LEGEND, Sheet, sheets


def section(pool: pd.DataFrame, dataset: str) -> str:
    """Scores, costs of a point and transfer matrices, each table folded away; "" where there is nothing to show."""
    found = sheets(pool)
    if not found:
        return ""
    notes = "".join(f"<li>{escape(note)}</li>" for note in LEGEND)
    tables = "".join(
        f"<details><summary>{escape(sheet.title)}</summary>{_table(sheet, dataset)}</details>" for sheet in found
    )
    return f"<h3>Scores and transfer</h3><ul class=notes>{notes}</ul>{tables}"


def _table(sheet: Sheet, dataset: str) -> str:
    words = sheet.words
    heads = "".join(
        f'<th scope="col"{" class=word" if i < words else ""}>{escape(name)}</th>'
        for i, name in enumerate(sheet.header)
    )
    lines = []
    for first, *others in sheet.rows:
        cells = "".join(
            f"<td{' class=word' if i < words - 1 else ''}>{escape(cell)}</td>" for i, cell in enumerate(others)
        )
        lines.append(f'<tr><th scope="row">{escape(first)}</th>{cells}</tr>')
    label = escape(f"{sheet.title}, {dataset}")
    return (
        f'<div class=scroll tabindex=0 role="region" aria-label="{label}"><table class=long>'
        f"<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )
