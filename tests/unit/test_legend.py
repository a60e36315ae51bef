"""Footnotes of the tables: meanings of marks and states, and reasons of many results in few lines."""

from ddpipe.report import legend
from ddpipe.report.legend import Told
from ddpipe.states import State


def reduced(label: str, ipc: str, why: str, dataset: str = "") -> Told:
    return Told(label, dataset, ipc, State.REDUCED, why)


def test_only_states_that_occur_are_explained_the_best_first() -> None:
    results = [Told("a", "", "1", State.OWN, "init x of y"), Told("DM", "", "1", State.PUBLISHED, "")]
    notes = legend.states(results, results)
    assert [note.partition(":")[0] for note in notes] == ["● as published", "⊕ own combination"]
    assert legend.states([], []) == []
    assert set(legend.MEANINGS) == set(State)


def test_equal_words_of_many_results_share_a_line() -> None:
    """40 results of 20 methods: three lines below the meaning."""
    results = [
        reduced(f"M{i}", ipc, f"iterations {300 if i else 150} of 20,000, width 16 of 128" + ", lr 1 of 2" * (i > 17))
        for i in range(20)
        for ipc in ("1", "10")
    ]
    others = ", ".join(f"M{i}" for i in range(1, 20))
    assert legend.states(results, results)[1:] == [
        f"○ iterations: 150 of 20,000 (M0), 300 of 20,000 ({others}).",
        "○ width: 16 of 128 (all).",
        "○ M18, M19: lr 1 of 2.",
    ]


def test_reasons_name_the_cells_where_not_all_of_a_method_are_concerned() -> None:
    results = [
        reduced("DM", "1", "iterations 300 of 20,000"),
        reduced("DM", "10", "iterations 300 of 20,000"),
        reduced("DM", "50", "iterations 100 of 20,000"),
        reduced("DC", "1", "iterations 300 of 1,000, augment none of dsa"),
    ]
    assert legend.states(results, results)[1:] == [
        "○ iterations: 300 of 20,000 (DM IPC 1, 10), 100 of 20,000 (DM IPC 50), 300 of 1,000 (DC).",
        "○ DC: augment none of dsa.",
    ]


def test_clauses_without_numbers_and_lists() -> None:
    results = [reduced("DM", "1", "epochs [1, 2] of [3, 4], no real labels"), reduced("DC", "1", "no real labels")]
    assert legend.states(results, results)[1:] == ["○ no real labels (all).", "○ DM: epochs [1, 2] of [3, 4]."]


def test_clauses_of_what_stands_in_place_of_something_else() -> None:
    """Words of ddpipe/publication; how many are left out is no reason."""
    results = [
        reduced("DM", "1", "protocol short in place of dsa, epochs 0 in place of 1,000, and 2 more"),
        reduced("DC", "1", "protocol short in place of dc, and 1 more"),
    ]
    assert legend.states(results, results)[1:] == [
        "○ protocol: short in place of dsa (DM), short in place of dc (DC).",
        "○ DM: epochs 0 in place of 1,000.",
        "Of many differences only the foremost are listed; `ddpipe explain CELL` tells all of a cell.",
    ]
    assert len(legend.states(results, [])) == 1, "what the shape means, whoever is explained"


def test_places_in_words() -> None:
    assert legend.places([("", "1"), ("", "10"), ("", "1")]) == "IPC 1, 10"
    assert legend.places([("", "all"), ("", "1")]) == "IPC 1, whole set"
    assert legend.places([("MNIST", "1"), ("SVHN", "1"), ("MNIST", "50")]) == "MNIST IPC 1, 50 and SVHN IPC 1"


def test_marks_that_are_used() -> None:
    assert [note[0] for note in legend.marks(["§22", "‡5", ""])] == ["‡", "§"]
    assert legend.marks([""]) == []
