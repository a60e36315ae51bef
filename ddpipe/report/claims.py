"""What the survey claims, decided twice: on the numbers that it prints, and on those measured here."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ddpipe.report import pool
from ddpipe.report.decisions import Comparison, decide
from ddpipe.settings.claims import Cells, Claim

HOLDS, FAILS, OPEN = "holds", "does not hold", "not enough cells"
SHAPES = {HOLDS: "✓", FAILS: "✗", OPEN: "…"}


@dataclass(frozen=True)
class Verdict:
    """How a claim comes out on one pool of accuracies."""

    comparisons: tuple[Comparison, ...]
    share: float
    least: int

    @property
    def holding(self) -> int:
        return sum(comparison.holds for comparison in self.comparisons)

    @property
    def word(self) -> str:
        if len(self.comparisons) < max(1, self.least):
            return OPEN
        return HOLDS if self.holding >= self.share * len(self.comparisons) else FAILS

    @property
    def exceptions(self) -> list[Comparison]:
        return [comparison for comparison in self.comparisons if not comparison.holds]

    @property
    def unsure(self) -> int:
        """How many come out by less than two standard errors."""
        return sum(comparison.unsure for comparison in self.comparisons)

    @property
    def unmeasured(self) -> int:
        """How many differences have no standard error: in print nobody knows n, and one accuracy has no deviation."""
        return sum(math.isnan(each.error) and not math.isnan(each.difference) for each in self.comparisons)

    @property
    def objections(self) -> Counter[str]:
        """How many of the deciding cells each objection of data/published is held against."""
        cells = {(row["cell"], row["network"], row["table"]): row for each in self.comparisons for row in each.cells}
        return Counter(row["doubtful"] for row in cells.values() if row["doubtful"])

    @property
    def states(self) -> Counter[str]:
        """How many of the deciding evaluations are in which state."""
        cells = {(row["cell"], row["network"], row["protocol"]): row for each in self.comparisons for row in each.cells}
        return Counter(str(row["state"]) for row in cells.values() if row["state"])


@dataclass(frozen=True)
class Found:
    """A claim and what the numbers say to it."""

    name: str
    claim: Claim
    published: Verdict
    ours: Verdict


def verdict(claim: Claim, cells: Cells, among: pd.DataFrame) -> Verdict:
    """How `claim` comes out on those rows of the pool `among` that fit `cells`."""
    compared = decide(claim.test, pool.chosen(among, cells)) if len(among) else []
    return Verdict(tuple(compared), claim.test.share, claim.least)


def evaluate(known: Mapping[str, Claim], printed: pd.DataFrame, ours: pd.DataFrame) -> list[Found]:
    """All claims in the order of the file, decided on both pools (pool.printed, pool.measured)."""
    return [
        Found(name, claim, verdict(claim, claim.published, printed), verdict(claim, claim.ours, ours))
        for name, claim in known.items()
    ]


def summary(found: Sequence[Found]) -> str:
    """How the claims come out, in one sentence."""
    words = []
    for where, of in (("in print", [each.published for each in found]), ("here", [each.ours for each in found])):
        count = Counter(each.word for each in of)
        words.append(f"{where} {', '.join(f'{count[word]} {told}' for word, told in PLURAL.items() if count[word])}")
    return f"{len(found)} claims: {'; '.join(words)}."


PLURAL = {HOLDS: "hold", FAILS: "do not hold", OPEN: "have not enough cells"}
