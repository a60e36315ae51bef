"""What cells cost on one piece of hardware: experts as far as they were used, nothing added up that differs."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from ddpipe.pipeline import costs
from ddpipe.pipeline.descriptions import Cost
from ddpipe.report.spent import kind, left_out, spent, totals


def cost(**said: Any) -> Cost:
    return Cost.model_validate({"seconds": 100.0} | said)


def chip(seconds: float, **more: Any) -> dict[str, Any]:
    return {"seconds": 10 * seconds, "processor_seconds": seconds, "hardware": "Chip"} | more


def card(seconds: float, **more: Any) -> dict[str, Any]:
    return {"seconds": seconds, "processor_seconds": 0.1, "device_seconds": seconds, "hardware": "Card"} | more


EXPERTS = {"buffer": "mnist"}


@pytest.mark.parametrize(
    ("said", "seconds", "on"),
    [
        (chip(3.0), 3.0, "Chip"),  # never the wall's
        (card(3.0), 3.0, "Card"),  # nor the host's processors
        (chip(3.0, experts=chip(8.0) | EXPERTS), 11.0, "Chip"),
        (chip(3.0, experts=chip(8.0, share=0.25) | EXPERTS), 5.0, "Chip"),
        (card(3.0, experts=card(8.0) | EXPERTS), 11.0, "Card"),
        (
            chip(3.0, generators=chip(8.0, generator="gan", experts=chip(20.0, share=0.1) | EXPERTS)),
            13.0,
            "Chip",
        ),
    ],
)
def test_seconds_of_one_device(said: dict[str, Any], seconds: float, on: str) -> None:
    assert spent(cost(**said)) == (pytest.approx(seconds), on)


@pytest.mark.parametrize(
    ("said", "on"),
    [
        ({}, ""),  # an early entry: a clock's seconds
        ({"experts": {"buffer": "mnist", "seconds": 5.0}}, ""),
        (chip(3.0, experts={"buffer": "mnist", "seconds": 5.0}), "Chip"),  # early experts, a later cell
        ({"experts": chip(3.0) | EXPERTS}, "Chip"),
        (chip(3.0, generators=chip(8.0, generator="gan")), "Chip"),  # which looked through experts of unknown cost
        (card(3.0, experts=chip(8.0) | EXPERTS), "Card / Chip"),
        (chip(3.0, experts=chip(8.0, hardware="Another chip") | EXPERTS), "Chip / Another chip"),
        ({"hardware": "Chip / Card"}, "Chip / Card"),  # begun on one, ended on the other
        (chip(3.0, generators=card(8.0, generator="gan", experts=chip(1.0) | EXPERTS)), "Chip / Card"),
    ],
)
def test_unknown_or_mixed_seconds_are_none(said: dict[str, Any], on: str) -> None:
    found = spent(cost(**said))
    assert math.isnan(found.seconds) and found.on == on


def test_what_a_ledger_keeps_of_experts_is_what_the_sum_needs() -> None:
    """Not their memory, versions or commit."""
    whole = cost(**card(8.0, peak_memory_mb=9.0, load=2.0, versions={"torch": "2"}, commit="a" * 40))
    assert costs.part(whole, 1.0) == card(8.0)
    used = cost(**card(3.0, experts={"buffer": "mnist"} | costs.part(whole, 0.25)))
    assert spent(used) == (5.0, "Card")


COLUMNS = ["cell", "main", "distilled", "mean", "processor_seconds", "device_seconds", "spent", "spent_on"]
COLUMNS += ["eval_spent", "eval_spent_on"]
ROWS = [
    ("a", True, True, 50.0, 3.0, np.nan, 4.0, "Chip", 1.0, "Chip"),
    ("a", False, True, 50.0, 3.0, np.nan, 4.0, "Chip", 2.0, "Card"),  # a further evaluation repeats its cell's
    ("b", True, True, 50.0, 0.1, 5.0, np.nan, "Card / Chip", 1.0, "Card"),
    ("c", True, True, 50.0, np.nan, np.nan, np.nan, "", np.nan, ""),
    ("d", True, True, np.nan, np.nan, np.nan, np.nan, "", np.nan, ""),  # no result
    ("random", True, False, 40.0, np.nan, np.nan, np.nan, "", np.nan, ""),
]


def test_it_is_said_what_figures_leave_out_and_why() -> None:
    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    assert left_out(frame) == (
        "2 of 3 distilled cells are in no figure over seconds: of 1 only wall seconds, of a machine that may have been "
        "busy, are known; of 1 sets and experts were made on different hardware."
    )
    assert left_out(frame.iloc[:2]) == ""
    assert (kind(frame.iloc[:2]), kind(frame.iloc[2:3])) == ("processor seconds", "device seconds")


def test_totals_are_told_apart_by_hardware() -> None:
    """Of the sets without their experts, which several cells may share, and of all evaluations."""
    assert totals(pd.DataFrame(ROWS, columns=COLUMNS)) == {"Chip": 4.0, "Card": 8.0}
    assert totals(pd.DataFrame(ROWS[3:], columns=COLUMNS)) == {}
