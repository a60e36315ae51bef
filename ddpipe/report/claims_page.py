"""The survey's claims as a section of the page: verdicts as words and shapes, what stands behind them folded away."""

from collections.abc import Sequence
from html import escape
from itertools import groupby

from ddpipe.report import claims_text
from ddpipe.report.claims import FAILS, HOLDS, OPEN, Found, Verdict, summary

CLASSES = {HOLDS: "holds", FAILS: "fails", OPEN: "open"}
STYLE = """
.claims td, .claims th { text-align: left; white-space: normal; vertical-align: top; padding-right: 1.2rem; }
.claims thead th:nth-child(n + 2) { min-width: 12rem; }
.claims details { margin: .3rem 0 0; font-size: .86rem; } .claims summary { font-weight: 400; }
.claims ul { margin: .3rem 0; padding-left: 1.1rem; } .claims .soft { display: block; }
.claims th .soft { font-weight: 400; }
.claims .holds, .claims .fails { font-weight: 600; } .claims .holds { color: var(--good, #1a6b3c); }
.claims .fails { color: var(--low, #a3261c); } .claims .open { color: var(--soft); }
@media (max-width: 40rem) { .claims thead { display: none; } .claims tr, .claims th, .claims td { display: block; }
  .claims th, .claims td { border: 0; } .claims tr { border-bottom: 1px solid var(--line); }
  .claims td::before { content: attr(data-where) " "; color: var(--soft); } }
"""


def section(found: Sequence[Found]) -> str:
    """All claims in one table, a body for each section of the survey; "" without claims."""
    if not found:
        return ""
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("The survey observes", "In print", "Here"))
    bodies = []
    for number, group in groupby(found, key=lambda each: each.claim.section):
        over = f'<tr><th scope="rowgroup" colspan=3>Section {escape(number)}</th></tr>'
        bodies.append(f"<tbody>{over}{''.join(map(_line, group))}</tbody>")
    notes = "".join(f"<li>{escape(note)}</li>" for note in claims_text.LEGEND)
    return (
        '<section aria-labelledby="claims"><h2 id="claims">What the survey claims</h2>'
        f"<p>{escape(summary(found))} The same as Markdown and CSV: reports/survey/claims.md and claims.csv.</p>"
        f"<details><summary>How claims are decided</summary><ul class=notes>{notes}</ul></details>"
        '<div class=scroll tabindex=0 role="region" aria-label="The survey\'s claims"><table class=claims>'
        f"<thead><tr>{heads}</tr></thead>{''.join(bodies)}</table></div></section>"
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
        items = "".join(f"<li>{escape(words)}</li>" for words in but)
        parts.append(f"<details><summary>{len(but)} not so</summary><ul>{items}</ul></details>")
    return "".join(parts)
