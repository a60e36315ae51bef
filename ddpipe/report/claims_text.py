"""The survey's claims in words: a table in Markdown and in CSV, verdicts with the numbers behind them."""

import io
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from ddpipe.report.claims import OPEN, SHAPES, Found, Verdict, summary
from ddpipe.report.markup import md, pipes
from ddpipe.states import State

LEGEND = (
    "Each claim is a test in data/published/claims.yaml, decided among the numbers that the survey prints and among "
    "those measured here; of what is counted, the rule says. It holds where at least the stated share of the "
    "comparisons come out so. Here only evaluations of one data set, budget, network and protocol are compared, and "
    "costs on one device; reduced runs stand for their method.",
    "Printed numbers count as printed, doubtful ones too: beside it, how many of the deciding cells an objection of "
    "data/published is held against.",
    "A difference has a standard error where both accuracies are means over several networks: "
    "sqrt(s1²/n1 + s2²/n2); networks of one set are not quite independent, so it is rather too small. "
    "Unsure: by less than two of them.",
)


def told(verdict: Verdict) -> str:
    """The verdict with its count: "✓ holds: 183 of 190"."""
    count = f": {verdict.holding} of {len(verdict.comparisons)}" if verdict.comparisons else ""
    return f"{SHAPES[verdict.word]} {verdict.word}{count}"


def behind(verdict: Verdict) -> str:
    """What else the reader must know of the numbers: objections in print, states and errors here; "" without any."""
    if verdict.word == OPEN and not verdict.comparisons:
        return ""
    states, objections = verdict.states, verdict.objections
    parts = [f"{states[state]} {state}" for state in State if states[state]]
    if objections:
        numbers = ", ".join(sorted(objections, key=int))
        parts.append(f"objections to {objections.total()} of the deciding cells (no. {numbers})")
    if verdict.states and verdict.unsure:
        parts.append(f"{verdict.unsure} unsure")
    if verdict.states and verdict.unmeasured:
        parts.append(f"{verdict.unmeasured} without an error")
    return "; ".join(parts)


def rule(found: Found) -> str:
    """What is counted, and how often it must come out so."""
    share = found.claim.test.share
    return f"{found.claim.rule} It holds where {'all' if share == 1 else f'at least {share:.0%}'} come out as claimed."


def exceptions(verdict: Verdict) -> list[str]:
    """What does not come out as claimed: "DC 94.7, Random 95.1 on MNIST IPC 10 (-0.4)", with its error where known."""
    return [comparison.told for comparison in verdict.exceptions]


def markdown(found: Sequence[Found]) -> str:
    """The claims as a Markdown table, and the exceptions below it."""
    rows = [
        [each.claim.section, each.name, each.claim.claim, *map(told, (each.published, each.ours))] for each in found
    ]
    parts = ["# The survey's claims", summary(found), *LEGEND]
    parts.append(pipes(["Section", "Name", "Claim", "In print", "Here"], rows, 5))
    for each in found:
        parts.append(f"## {each.name}")
        parts.append(md(f"Section {each.claim.section}: {each.claim.claim} {rule(each)}"))
        for where, verdict in (("In print", each.published), ("Here", each.ours)):
            beside = behind(verdict)
            parts.append(f"**{where} {told(verdict)}.**{f' {beside[0].upper()}{beside[1:]}.' if beside else ''}")
            if but := exceptions(verdict):
                parts.append("\n".join(["Not so:", "", *(f"- {md(words)}" for words in but)]))
    return "\n\n".join(parts) + "\n"


def comma_separated(found: Sequence[Found]) -> str:
    """A row a claim and place (print, here), with counts and the exceptions in words."""
    rows = [
        {
            "claim": each.name,
            "section": each.claim.section,
            "place": place,
            "verdict": verdict.word,
            "holding": verdict.holding,
            "comparisons": len(verdict.comparisons),
            "share": each.claim.test.share,
            "unsure": verdict.unsure,
            "objected_cells": sum(verdict.objections.values()),
            "states": said(verdict.states),
            "exceptions": "; ".join(exceptions(verdict)),
            "words": each.claim.claim,
        }
        for each in found
        for place, verdict in (("print", each.published), ("here", each.ours))
    ]
    stream = io.StringIO()
    pd.DataFrame(rows).to_csv(stream, index=False, lineterminator="\n")
    return stream.getvalue()


def said(states: Counter[str]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(states.items()))
