"""data/published holds what the survey prints, cell by cell, and what is doubtful about it."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.report import published

FOLDER = Path(__file__).parents[2] / "data" / "published"


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


def test_vocabulary(survey):
    datasets = {"mnist", "fashionmnist", "svhn", "cifar10", "cifar100", "tinyimagenet", "imagenet64"}
    assert set(survey["dataset"]) == datasets
    assert set(survey["ipc"]) == {"1", "2", "10", "50", "all"}
    assert set(survey["network"]) == {"convnet", "resnet18", "resnet152", "resnet10", "densenet121"}


def test_every_objection_has_a_note_and_every_note_a_number(survey):
    doubted = survey["doubtful"] != ""
    assert (doubted == (survey["note"] != "")).all()
    assert set(survey.loc[doubted, "doubtful"].astype(int)) == set(range(1, 23))
    assert (survey.loc[survey["source_mean"].notna(), "source"] != "").all()


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
        (("mtt", "cifar10", "10", "resnet18"), 38.8, 0.7, "11", 46.4),
        (("kfs", "cifar10", "50", "densenet121"), 76.3, 0.4, "", None),
    ],
)
def test_spot_values(survey, key, mean, std, doubtful, source):
    cell = published.lookup(survey)[key]
    assert (cell.mean, cell.std, cell.doubtful) == (mean, std, doubtful)
    assert cell.source_mean == source if source is not None else pd.isna(cell.source_mean)


def test_table_1_wins_over_its_repetitions(survey):
    assert published.lookup(survey)["cafe", "cifar10", "50", "convnet"].mean == 62.3  # Table 3 prints 55.5


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("table,method\n1,dm\n", r"table1\.csv lacks the column 'scheme'"),
        (",".join(published.COLUMNS) + "\n1,dm,DM,no,mnist,1,convnet,ninety,1.0,,,,,\n", r"line 2: mean .* 'ninety'"),
        ("", r"table1\.csv is not a readable CSV"),
    ],
)
def test_damaged_file(tmp_path, text, complaint):
    (tmp_path / "table1.csv").write_text(text)
    with pytest.raises(UserError, match=complaint):
        published.read(tmp_path)


def test_no_files_is_no_published_value(tmp_path):
    assert published.lookup(published.read(tmp_path)) == {}


@pytest.mark.parametrize(
    "network, name",
    [
        (settings.ConvNet(kind="convnet"), "convnet"),
        (settings.ResNet(kind="resnet", blocks=(1, 1, 1, 1)), "resnet10"),
        (settings.ResNet(kind="resnet", blocks=(2, 2, 2, 2)), "resnet18"),
        (settings.ResNet(kind="resnet", block="bottleneck", blocks=(3, 8, 36, 3)), "resnet152"),
        (settings.ResNet(kind="resnet", blocks=(1, 1, 1, 1), widths=(32, 64, 128, 256)), ""),
        (settings.DenseNet(kind="densenet"), "densenet121"),
    ],
)
def test_network_names(network, name):
    assert published.network_id(network) == name
