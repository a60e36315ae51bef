"""Which accuracies are bold: at the borders of budget, standard error, selection and single accuracies."""

import math

import pandas as pd
import pytest

from ddpipe.report.best import best, excess

KEEPS = {"network": "convnet", "protocol": "dsa", "data": "digits", "ipc": "1", "std": 1.2, "n": 9.0, "worth": 1.0}
PICKED = {"distilled": False, "selection": True, "mean": 83.0}


def rows(*changes: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame([KEEPS | {"distilled": True, "selection": False} | change for change in changes])


def bold(*changes: dict[str, object]) -> list[bool]:
    return best(rows(PICKED, *changes)).tolist()[1:]


def test_all_within_one_standard_error_of_the_best() -> None:
    """1.2 / sqrt(9) = 0.4, of the best one and not of the others."""
    assert bold({"mean": 90.0}, {"mean": 89.6}, {"mean": 89.5, "std": 9.0}) == [True, True, False]
    assert bold({"mean": 90.04}, {"mean": 89.56}) == [True, True]  # as they are shown: 90.0 and 89.6
    assert bold({"mean": 90.0, "std": 2.4}, {"mean": 90.0}, {"mean": 89.4}) == [True, True, False]  # of equals 0.4


def test_only_what_beats_the_best_selection() -> None:
    assert bold({"mean": 83.1}, {"mean": 83.0}) == [True, False]
    higher = PICKED | {"mean": 96.3}
    assert best(rows(PICKED, higher, {"mean": 96.2}, {"mean": 94.6})).tolist() == [False] * 4
    undistilled = {"distilled": False, "mean": 99.0}  # no selection, and nothing to be best at
    assert best(rows(PICKED, undistilled, {"mean": 90.0})).tolist() == [False, False, True]


def test_nothing_is_bold_while_a_selection_is_missing() -> None:
    assert best(rows(PICKED, PICKED | {"mean": math.nan}, {"mean": 90.0})).tolist() == [False] * 3


@pytest.mark.parametrize("elsewhere", [{"network": "resnet"}, {"protocol": "mtt"}, {"ipc": "10", "worth": 10.0}])
def test_nothing_is_bold_without_a_selection_beside(elsewhere: dict[str, object]) -> None:
    assert bold({"mean": 90.0} | elsewhere) == [False]
    assert best(rows(PICKED | elsewhere, {"mean": 90.0} | elsewhere)).tolist() == [False, True]


@pytest.mark.parametrize("elsewhere", [{"network": "resnet"}, {"protocol": "mtt"}, {"ipc": "10", "worth": 10.0}])
def test_networks_protocols_and_budgets_do_not_compete(elsewhere: dict[str, object]) -> None:
    assert best(rows(PICKED, PICKED | elsewhere, {"mean": 85.0}, {"mean": 90.0} | elsewhere)).tolist()[2:] == [
        True,
        True,
    ]


def test_prepared_forms_do_not_compete_but_share_their_selections() -> None:
    assert bold({"mean": 90.0}, {"mean": 85.0, "data": "digits-zca"}) == [True, True]


def test_a_single_accuracy_is_never_bold_nor_is_what_it_beats() -> None:
    single = {"mean": 90.0, "std": math.nan, "n": 1.0}
    assert bold(single) == [False]
    assert bold(single, {"mean": 85.0}) == [False, False]
    assert bold(single | {"mean": 84.9}, {"mean": 85.0}) == [False, True]


def test_a_set_above_its_budget_does_not_compete() -> None:
    assert bold({"mean": 95.0, "worth": 1.43125}, {"mean": 85.0}, {"mean": 84.0, "worth": 0.97}) == [False, True, False]
    assert bold({"mean": 95.0, "worth": 1.0049}) == [True]  # 1.00 as shown


def test_missing_results_and_whole_sets_are_not_bold() -> None:
    missing = {"mean": math.nan, "std": math.nan, "n": math.nan, "worth": math.nan}
    assert bold(missing, {"mean": 85.0}) == [False, True]
    whole = {"ipc": "all", "worth": 129.7}
    assert bold({"mean": 99.0} | whole) == [False]
    assert best(rows(missing)).tolist() == [False] and best(rows(PICKED)[:0]).tolist() == []


def test_what_a_set_stores_above_its_images_per_class() -> None:
    worths = [("1", 1.43125), ("1", 1.0049), ("10", 9.99), ("10", 10.3), ("all", 129.7), ("1", math.nan)]
    frame = rows(*({"ipc": ipc, "worth": worth} for ipc, worth in worths))
    assert excess(frame).tolist() == ["1.43 images a class", "", "", "10.30 images a class", "", ""]
