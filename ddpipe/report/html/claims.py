"""The survey's claims as a section of the page: verdicts as words and shapes, what stands behind them folded away."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from ddpipe.report import claims_text
from ddpipe.report.claims import FAILS, HOLDS, OPEN, Found, Verdict, summary
from ddpipe.report.html.markup import bullets, folded, region

CLASSES = {HOLDS: "holds", FAILS: "fails", OPEN: "open"}


def section(found: Sequence[Found]) -> str:
    """All claims in one table, a body for each section of the survey; "" without claims."""
    if not found:
        return ""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("The survey observes", "In print", "Here"))
    bodies = []
    for number, group in groupby(found, key=lambda each: each.claim.section):
        over = f'<tr><th scope="rowgroup" colspan=3>Section {escape(number)}</th></tr>'
        bodies.append(f"<tbody>{over}{''.join(map(_line, group))}</tbody>")
    table = f"<table class=claims><thead><tr>{heads}</tr></thead>{''.join(bodies)}</table>"
    return (
        '<section aria-labelledby="claims"><h2 id="claims">What the survey claims</h2>'
        f"<p>{escape(summary(found))} The same as Markdown and CSV: reports/survey/claims.md and claims.csv.</p>"
        f"{folded('How claims are decided', bullets(claims_text.LEGEND))}"
        f"{region('The claims of the survey', table)}</section>"
    )


def _line(found: Found) -> str:
    words = f"{escape(found.claim.claim)}<span class=soft>{escape(claims_text.rule(found))}</span>"
    places = (("In print", found.published), ("Here", found.ours))
    verdicts = "".join(f'<td data-where="{place}">{_verdict(verdict)}</td>' for place, verdict in places)
    return f'<tr id="claim-{escape(found.name)}"><th scope="row">{words}</th>{verdicts}</tr>'


def _verdict(verdict: Verdict) -> str:
    parts = [f"<span class={CLASSES[verdict.word]}>{escape(claims_text.told(verdict))}</span>"]
    if beside := claims_text.behind(verdict):
        parts.append(f"<span class=soft>{escape(beside)}</span>")
    if but := claims_text.exceptions(verdict):
        parts.append(folded(f"{len(but)} not so", bullets(but)))
    return "".join(parts)
