"""The scores of a dataset's sets as a part of its section of the page."""

import pandas as pd

from ddpipe.report.html.markup import bullets, folded, sheet
from ddpipe.report.scores_text import LEGEND, sheets


def section(pool: pd.DataFrame, dataset: str) -> str:
    """Scores, costs of a point and transfer matrices, each table folded away; "" where there is nothing to show."""
    found = [(own.title, sheet(f"{own.title}, {dataset}", own.header, own.rows, own.words)) for own in sheets(pool)]
    if not found:
        return ""
    return f"<h3>Scores and transfer</h3>{bullets(LEGEND)}{''.join(folded(*each) for each in found)}"
