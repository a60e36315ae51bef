"""data/published holds what the survey prints, cell by cell, and what is doubtful about it."""

from collections import Counter
from itertools import product
from pathlib import Path

import pandas as pd
import pytest

from ddpipe import config
from ddpipe.errors import UserError
from ddpipe.report import published
from tests.tracked import TRACKED

FOLDER = Path(__file__).parents[2] / "data" / "published"
SMALL = ("mnist", "fashionmnist", "svhn", "cifar10", "cifar100")
LARGE = ("tinyimagenet", "imagenet64")  # 64x64: a ConvNet of depth 4
SHAPES = {  # table -> datasets, images per class, networks
    "1": ((*SMALL, "tinyimagenet"), ("1", "10", "50"), ("convnet",)),
    "2": (("imagenet64",), ("1", "2", "10", "50"), ("convnet",)),
    "3": (("cifar10",), ("1", "10", "50"), ("convnet", "resnet18", "resnet152")),
    "4": (("cifar10",), ("1", "10", "50"), ("convnet", "resnet10", "densenet121")),
}
NETWORKS = {  # the survey's name -> ours, as those who measured the table define it
    "resnet18": "resnet18_in",
    "resnet152": "resnet152_in",
    "resnet10": "resnet10_w32_bn",
    "densenet121": "densenet121_g12_bn",
}


@pytest.fixture(scope="module")
def survey() -> pd.DataFrame:
    return published.read(FOLDER)


def test_counts(survey):
    assert len(survey) == 473
    assert Counter(survey["table"]) == {"1": 348, "2": 17, "3": 72, "4": 36}
    filled = survey[survey["mean"].notna()]
    assert Counter(filled["table"]) == {"1": 232, "2": 13, "3": 51, "4": 36}
    assert (filled["std"].notna()).all() and survey.loc[survey["mean"].isna(), "std"].isna().all()


def test_filled_cells_of_each_method(survey):
    first = survey[(survey["table"] == "1") & survey["mean"].notna()]
    expected = {"random": 18, "herding": 18, "dd": 2, "ld": 7, "dc": 15, "dsa": 15, "dcc": 9, "mtt": 15, "ftd": 8}
    expected |= {"tesla": 9, "dm": 12, "cafe": 15, "kip": 14, "frepo": 14, "rfad": 14, "idc": 7, "rtp": 15}
    assert Counter(first["method"]) == expected | {"haba": 9, "kfs": 10, "whole": 6}


def test_every_cell_of_the_survey_has_its_coordinates(survey):
    """A table is a rectangle, printed dashes included: with the counts above no coordinate can be missing."""
    for table, part in survey.groupby("table"):
        for method, rows in part.groupby("method"):
            datasets, budgets, networks = SHAPES[table]
            expected = set(product(datasets, ("all",) if method == "whole" else budgets, networks))
            found = list(zip(rows["dataset"], rows["ipc"], rows["network"], strict=True))
            assert len(found) == len(expected) and set(found) == expected, (table, method)
    assert len(survey[survey["mean"].notna()]) == 332


@pytest.fixture(scope="module")
def grid() -> config.Config:
    return config.load(TRACKED)


def at_hand(survey: pd.DataFrame, grid: config.Config) -> list[dict[str, str]]:
    """The survey's filled cells of the methods that have a recipe."""
    filled = survey[survey["mean"].notna() & survey["method"].isin(list(grid.recipes))]
    return (
        filled[["table", "method", "scheme", "dataset", "ipc", "network", "note"]]
        .fillna({"note": ""})
        .to_dict("records")
    )


def test_every_filled_cell_of_the_methods_at_hand_is_measured(survey, grid):
    """A row with the survey's ConvNet under the authors' protocol; for the networks of Tables 3 and 4 an evaluation."""
    cells = at_hand(survey, grid)
    assert {cell["method"] for cell in cells} >= {"random", "herding", "whole", "dm", "dc", "dsa"}
    measured = {(row.method, row.dataset, str(row.ipc), row.network, row.protocol) for row in grid.rows.values()}
    for entry in grid.evaluations.values():
        row = grid.row(entry.cell)
        measured.add((row.method, row.dataset, str(row.ipc), entry.network, entry.protocol))
    for cell in cells:
        recipe = grid.recipes[cell["method"]]
        if cell["network"] == "convnet":  # in Tables 3 and 4 the number of Table 1 again
            network = "convnet4" if cell["dataset"] in LARGE else "convnet3"
            protocols = {recipe.protocol, *recipe.also}
        else:
            network, protocols = NETWORKS[cell["network"]], {recipe.tables[int(cell["table"])]}
        names = [network]
        if (cell["scheme"], cell["network"]) == ("KRR", "convnet"):  # the same, says the survey, but each has its own
            names = [f"{network}_{cell['method']}"]
        if "LeNet on MNIST" in cell["note"]:  # what DD and LD were published on, says the table
            kind = "lenet" if cell["dataset"] == "mnist" else "alexnet"
            names = [name for name, chosen in grid.params.networks.items() if chosen.kind == kind]
        tried = ((name, protocol) for name in names for protocol in protocols)
        assert any((cell["method"], cell["dataset"], cell["ipc"], *each) in measured for each in tried), cell


def test_tables_of_others_are_named_where_they_hold_the_method(survey, grid):
    there = {(cell["method"], int(cell["table"])) for cell in at_hand(survey, grid) if cell["table"] in ("3", "4")}
    assert {(method, table) for method, recipe in grid.recipes.items() for table in recipe.tables} == there


def test_rows_stand_in_order(grid):
    """Datasets as in the survey, then by images per class; combinations of a recipe's parts follow in any order."""
    order = ("digits", *SHAPES["1"][0], *SHAPES["2"][0])
    for file in (name for name in grid.files if name != "params.yaml"):
        rows = [row for cell in grid.files[file]["grid"] if (row := grid.rows[cell]).method == row.recipe]
        keys = [(order.index(row.dataset), published_ipc(row.ipc)) for row in rows]
        assert keys == sorted(keys), file
        cells = list(grid.files[file]["grid"])
        places = [cells.index(entry["cell"]) for entry in grid.files[file].get("evaluations", {}).values()]
        assert places == sorted(places), file


def published_ipc(ipc: int | str) -> float:
    return float("inf") if ipc == "all" else float(ipc)


ELSEWHERE = {("idc", "mnist"), ("idc", "fashionmnist")}  # in the authors' README, which the notes cite


def test_a_cell_that_nobody_published_says_so(survey, grid):
    """Distilled cells of the survey's datasets without a published accuracy; those with one may say so too."""
    published_cells = {(cell["method"], cell["dataset"], cell["ipc"]) for cell in at_hand(survey, grid)}
    for row in grid.rows.values():
        recipe = grid.recipes[row.recipe]
        learned = recipe.parts["kind"] == "distillation" and row.method == row.recipe
        if learned and row.dataset != "digits" and (row.method, row.dataset, str(row.ipc)) not in published_cells:
            assert recipe.doubts(row.cell) or (row.method, row.dataset) in ELSEWHERE, row


def test_vocabulary(survey):
    datasets = {"mnist", "fashionmnist", "svhn", "cifar10", "cifar100", "tinyimagenet", "imagenet64"}
    assert set(survey["dataset"]) == datasets
    assert set(survey["ipc"]) == {"1", "2", "10", "50", "all"}
    assert set(survey["network"]) == {"convnet", "resnet18", "resnet152", "resnet10", "densenet121"}


def test_every_objection_has_a_note_and_every_note_a_number(survey):
    doubted = survey["doubtful"] != ""
    assert (doubted == (survey["note"] != "")).all()
    assert set(survey.loc[doubted, "doubtful"].astype(int)) == set(range(1, 24))
    assert (survey.loc[survey["source_mean"].notna(), "source"] != "").all()


def test_a_double_dagger_is_for_wrong_values_only(survey):
    """Objections by their mark: another protocol, network, variant, run or edition has a section sign."""
    marks = survey["objection"].map(published.MARKS)
    found = {mark: set(survey.loc[marks == mark, "doubtful"].astype(int)) for mark in "‡§"}
    assert found == {
        "‡": {1, 2, 3, 4, 5, 6, 9, 10, 12, 16, 20},
        "§": {7, 8, 11, 12, 13, 14, 15, 17, 18, 19, 21, 22, 23},
    }
    two = survey[survey["doubtful"] == "12"]  # printed as 0.5, where the authors' figure has 0.7
    assert set(zip(two["std"], two["objection"], strict=True)) == {(0.5, "wrong"), (0.7, "other")}
    copied = survey[survey["objection"] == "copied"]
    assert Counter(copied["doubtful"]) == {"1": 3, "5": 2, "6": 3, "9": 6, "10": 2}


def test_over_how_many_accuracies_values_go(survey):
    first = survey[survey["table"] == "1"].dropna(subset="n")
    assert first.groupby("method")["n"].unique().map(list).to_dict() == {
        **{"dc": [100], "dsa": [100], "dm": [100], "dd": [200], "ld": [20], "rtp": [10], "tesla": [3]},
        **{"mtt": [5], "ftd": [5], "haba": [5], "frepo": [5]},
    }
    transfer = survey[(survey["table"] == "3") & (survey["network"] != "convnet")].dropna(subset="n")
    assert set(transfer["n"]) == {5} and set(transfer["method"]) == {"dc", "dsa", "dm", "mtt", "kip"}


@pytest.mark.parametrize(
    "key, mean, std, doubtful, source",
    [
        (("random", "mnist", "1", "convnet"), 64.9, 3.5, "22", None),
        (("whole", "cifar10", "all", "convnet"), 84.8, 0.1, "", None),
        (("dc", "cifar10", "10", "convnet"), 44.9, 0.5, "", None),
        (("dc", "cifar100", "1", "convnet"), 13.9, 0.4, "1", 12.8),
        (("dc", "mnist", "10", "convnet"), 94.7, 0.2, "3", 97.4),
        (("dsa", "fashionmnist", "10", "convnet"), 86.6, 0.3, "4", 84.6),
        (("dm", "mnist", "50", "convnet"), 94.8, 0.2, "5", 98.6),
        (("tesla", "tinyimagenet", "10", "convnet"), 18.8, 1.3, "6", None),
        (("tesla", "imagenet64", "10", "convnet"), 17.8, 1.3, "21", None),
        (("mtt", "cifar10", "10", "resnet18"), 38.8, 0.7, "11", None),  # what its own paper has is of another protocol
        (("kfs", "cifar10", "50", "densenet121"), 76.3, 0.4, "", None),
    ],
)
def test_spot_values(survey, key, mean, std, doubtful, source):
    cell = published.lookup(survey)[key]
    assert (cell.mean, cell.std, cell.doubtful) == (mean, std, doubtful)
    assert cell.source_mean == source if source is not None else pd.isna(cell.source_mean)


def test_table_1_wins_over_its_repetitions(survey):
    assert published.lookup(survey)["dsa", "cifar10", "1", "convnet"].std == 0.7  # Table 3 prints 0.5


def test_what_the_survey_calls_cafe_is_two_methods(survey):
    """Table 1 has the one with DSA, Table 3 the one without: each is compared with what it is."""
    found = published.lookup(survey)
    assert found["cafe", "cifar10", "50", "convnet"].mean == 62.3
    assert found["cafe-plain", "cifar10", "50", "convnet"].mean == 55.5
    assert found["cafe-plain", "cifar10", "50", "resnet18"].mean == 25.3
    printed = survey[survey["method"].str.startswith("cafe")]
    assert set(printed["label"]) == {"CAFE"} and set(printed["table"]) == {"1", "3"}


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("table,method\n1,dm\n", r"table1\.csv lacks the column 'scheme'"),
        (",".join(published.COLUMNS) + "\n1,dm,DM,no,mnist,1,convnet,ninety,1.0,,no\n", r"line 2: mean .* 'ninety'"),
        (",".join(published.COLUMNS) + "\n1,dm,DM,no,mnist,1,convnet,90.0,1.0,0,no\n", r"line 2: n must be a whole"),
        (",".join(published.COLUMNS) + "\n1,dm,DM,no,mnist,1,convnet,90.0,1.0,,\n", r"line 2: bold must be yes or no"),
        (
            ",".join(published.COLUMNS) + "\n1,dm,DM,no,mnist,1,convnet,90.0,1.0,,no,5,\n",
            r"line 2: objection must be said exactly where doubtful is, not ''",
        ),
        (
            ",".join(published.COLUMNS) + "\n1,dm,DM,no,mnist,1,convnet,90.0,1.0,,no,5,odd\n",
            r"line 2: objection must be wrong, copied, other, or nothing, not 'odd'",
        ),
        ("", r"table1\.csv is not a readable CSV"),
    ],
)
def test_damaged_file(tmp_path, text, complaint):
    (tmp_path / "table1.csv").write_text(text)
    with pytest.raises(UserError, match=complaint):
        published.read(tmp_path)


def test_every_method_of_the_survey_has_a_label(survey):
    names = published.labels(FOLDER)
    assert set(survey["method"]) <= names.keys() and set(survey["label"]) <= set(names.values())
    assert names["haba"] == "HaBa" and names["kip"] == "KIP"


@pytest.mark.parametrize(("text", "complaint"), [("method\ndm\n", "lacks the column 'label'"), ("", "not a readable")])
def test_damaged_labels(tmp_path, text, complaint):
    (tmp_path / "methods.csv").write_text(text)
    with pytest.raises(UserError, match=complaint):
        published.labels(tmp_path)


def test_no_files_is_no_published_value(tmp_path):
    assert published.lookup(published.read(tmp_path)) == {}
