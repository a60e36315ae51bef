"""What the results cost, a line a data set."""

from collections.abc import Mapping
from html import escape

import pandas as pd

from ddpipe.report.html.markup import bullets, facts, region
from ddpipe.report.spent import left_out, totals

SECONDS = {"Distillation": "distill_seconds", "Experts": "experts_seconds", "Evaluation": "eval_seconds"}


def section(frames: Mapping[str, pd.DataFrame]) -> str:
    """Seconds as the stages counted them; a cell's, or a buffer's, count once however often it is evaluated."""
    rows = []
    for dataset, frame in frames.items():
        cells, buffers = frame.drop_duplicates("cell"), frame[frame["experts"] != ""].drop_duplicates("experts")
        sums = (cells["distill_seconds"].sum(), buffers["experts_seconds"].sum(), frame["eval_seconds"].sum())
        devices = ", ".join(dict.fromkeys(filter(None, frame["device"])))
        numbers = "".join(f"<td>{seconds:,.0f}</td>" for seconds in sums)
        rows.append(f'<tr><th scope="row">{escape(dataset)}</th>{numbers}<td class=word>{escape(devices)}</td></tr>')
    known = [(dataset, on, spent) for dataset, frame in frames.items() for on, spent in totals(frame).items()]
    facts_ = {f"{dataset}, {on}": f"{spent:,.0f} s" for dataset, on, spent in known}
    notes = [f"{dataset}: {words}" for dataset, frame in frames.items() if (words := left_out(frame))]
    heads = "".join(f'<th scope="col">{name}, s</th>' for name in SECONDS)
    table = (
        f'<table><thead><tr><th scope="col">Data set</th>{heads}<th scope="col" class=word>Device</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return (
        '<section aria-labelledby="costs"><h2 id="costs">Costs</h2><h3>Seconds of a clock</h3>'
        "<p>Of machines that may have been busy: no measure of what a method costs.</p>"
        f"{region('Seconds by data set', table)}<h3>Seconds of a processor or a device</h3>"
        f"<p>Of sets and evaluations, without experts, as far as they are known.</p>{facts(facts_)}"
        f"{bullets(notes)}</section>"
    )
