"""What work cost in seconds of one piece of hardware: processor seconds on a CPU, device seconds on a GPU.

Seconds of a clock are none: they tell what else the machine did as well. Seconds on different hardware are never added.
"""

import math
from typing import NamedTuple

import pandas as pd

from ddpipe.pipeline import descriptions
from ddpipe.pipeline.costs import APART, joined


class Spent(NamedTuple):
    """`seconds` are NaN where they are unknown, or `on` names several pieces of hardware."""

    seconds: float
    on: str  # models; "" where nobody noted it


def spent(cost: descriptions.Spent) -> Spent:
    """Of the work itself and of the experts and generators that it used, as far as it used them."""
    own = cost.processor_seconds if cost.device_seconds is None else cost.device_seconds
    parts = [Spent(math.nan if own is None else own, cost.hardware)]
    if cost.experts:
        seconds, on = spent(cost.experts)
        parts.append(Spent(cost.experts.share * seconds, on))
    if cost.generators:
        parts.append(spent(cost.generators))
    if isinstance(cost, descriptions.GeneratorsCost) and not cost.experts:  # which it always needs
        parts.append(Spent(math.nan, ""))
    on = joined(part.on for part in parts)
    known = APART not in on and all(part.on for part in parts)
    return Spent(sum(part.seconds for part in parts) if known else math.nan, on)


def kind(shown: pd.DataFrame) -> str:
    """What the seconds `spent` of rows on one piece of hardware are."""
    return "device seconds" if shown["device_seconds"].notna().any() else "processor seconds"


def left_out(frame: pd.DataFrame) -> str:
    """How many of the measured distilled cells no figure over seconds shows, and why; "" where there is none."""
    cells = frame[frame["main"] & frame["distilled"] & frame["mean"].notna()]
    unknown = cells[cells["spent"].isna()]
    mixed = int(unknown["spent_on"].str.contains(APART, regex=False).sum())
    reasons = [
        (len(unknown) - mixed, "only wall seconds, of a machine that may have been busy, are known"),
        (mixed, "sets and experts were made on different hardware"),
    ]
    told = "; ".join(f"of {count} {why}" for count, why in reasons if count)
    return f"{len(unknown)} of {len(cells)} distilled cells are in no figure over seconds: {told}." if told else ""


def totals(frame: pd.DataFrame) -> dict[str, float]:
    """Hardware -> seconds of the sets and the evaluations in `frame`, without experts, as far as they are known."""
    cells = frame.drop_duplicates("cell")  # further evaluations repeat what their cell cost
    own, on = cells["device_seconds"].fillna(cells["processor_seconds"]), cells["spent_on"].str.partition(APART)[0]
    spent_each = pd.concat([own, frame["eval_spent"]]).groupby(pd.concat([on, frame["eval_spent_on"]]), sort=False)
    return {str(name): float(seconds) for name, seconds in spent_each.sum().items() if name}
