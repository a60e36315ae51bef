"""The survey's Tables 1-4 as data: which results enter, what is bold, verdicts at their borders."""

import math
from pathlib import Path

import pytest
from ddpipe.report.matching import survey_network

from ddpipe import config
from ddpipe.report import published, survey
from ddpipe.report.published import Published
from tests.tracked import TRACKED
from tests.unit.survey_project import FILLED, ROOT, cells, filled, make, put

IPCS = ("1", "10", "50")
# What the survey itself prints in bold, column by column
BOLD = {
    "1": {
        "mnist": ("frepo rfad rtp", "frepo rfad rtp", "dsa frepo rtp"),
        "fashionmnist": ("frepo rfad rtp", "mtt rfad rtp", "frepo rfad rtp"),
        "svhn": ("kip rfad rtp", "dsa dcc kfs", "dcc kip kfs"),
        "cifar10": ("kip rfad rtp", "ftd tesla kfs", "ftd tesla kfs"),
        "cifar100": ("frepo rfad kfs", "ftd frepo kfs", "haba"),
        "tinyimagenet": ("ftd frepo kfs", "ftd frepo kfs", "mtt tesla"),
    },
    "3": {
        "convnet": ("kip", "tesla", "ftd"),
        "resnet18": ("mtt", "tesla", "ftd"),
        "resnet152": ("dc", "kip", "dm"),
    },
    "4": dict.fromkeys(("convnet", "resnet10", "densenet121"), ("kfs", "kfs", "kfs")),
}
UNPRINTED = ("cifar100", "50")  # the rule makes FTD and TESLA bold here, the survey does not


@pytest.fixture(scope="module")
def printed() -> dict[str, survey.Table]:
    """The tables without anything measured."""
    return {table.number: table for table in survey.tables(published.read(ROOT / "data" / "published"), {})}


def bold_of(table: survey.Table, dataset: str, ipc: str, network: str) -> set[str]:
    return {key[0] for key, cell in cells(table).items() if key[1:] == (dataset, ipc, network) and cell.best_published}


def test_every_cell_appears_once(printed):
    assert {number: len(cells(table)) for number, table in printed.items()} == {"1": 348, "2": 17, "3": 72, "4": 36}
    for number, table in printed.items():
        assert table.states().total() == FILLED[number]
        assert sum(span for _, span in table.lines[0].entries) == len(table.columns)


def test_rows_and_columns_are_the_survey_s(printed):
    order = "Random Herding DD LD DC DSA DCC MTT FTD TESLA DM CAFE KIP FRePo RFAD IDC RTP HaBa KFS Whole"
    assert " ".join(line.label for line in printed["1"].lines) == order
    groups = list(dict.fromkeys(line.group for line in printed["1"].lines))
    assert groups == ["-", "BPTT", "GM", "TM", "DM", "KRR", "factorised"]
    assert [(column.group, column.name) for column in printed["1"].columns[-3:]] == [
        ("Tiny ImageNet", f"IPC {ipc}") for ipc in IPCS
    ]
    assert [(column.group, column.name) for column in printed["4"].columns[:3]] == [
        ("IPC 1", "ConvNet"),
        ("IPC 1", "RN-10"),
        ("IPC 1", "DN-121"),
    ]
    assert [column.name for column in printed["2"].columns] == ["IPC 1", "IPC 2", "IPC 10", "IPC 50"]
    assert [span for _, span in printed["1"].lines[-1].entries] == [3] * 6
    assert [span for _, span in printed["2"].lines[-1].entries] == [4]


def test_bold_is_what_the_survey_prints_bold(printed):
    for dataset, columns in BOLD["1"].items():
        for ipc, methods in zip(IPCS, columns, strict=True):
            extra = {"ftd", "tesla"} if (dataset, ipc) == UNPRINTED else set()
            assert bold_of(printed["1"], dataset, ipc, "convnet") == set(methods.split()) | extra, (dataset, ipc)
    for number in ("3", "4"):
        for network, columns in BOLD[number].items():
            for ipc, method in zip(IPCS, columns, strict=True):
                assert bold_of(printed[number], "cifar10", ipc, network) == {method}
    for ipc in ("1", "2", "10", "50"):
        assert bold_of(printed["2"], "imagenet64", ipc, "convnet") == {"tesla"}


@pytest.mark.parametrize(
    "places, value, values, best",
    [
        (1, 3.0, [1.0, 3.0, math.nan], True),
        (1, 2.0, [2.0, 3.0], False),
        (2, 2.0, [2.0, 3.0, 1.0], True),
        (2, 2.0, [2.0, 2.0, 3.0], True),  # equals share a place
        (2, 1.0, [3.0, 3.0, 1.0], False),
        (1, math.nan, [math.nan], False),
    ],
)
def test_best_of_a_column(places, value, values, best):
    assert survey._among(places, value, values) is best


def known(mean: float, std: float = math.nan, doubtful: str = "", source: float = math.nan, spread: float = math.nan):
    return Published(mean, std, doubtful, source, spread, "A note.")


@pytest.mark.parametrize(
    "mean, std, reference, verdict",
    [
        (51.0, 0.1, known(50.0, 0.1), survey.AGREES),  # a point is always within
        (51.1, 0.1, known(50.0, 0.1), survey.ABOVE),
        (48.9, 0.1, known(50.0, 0.1), survey.BELOW),
        (52.0, 1.0, known(50.0, 1.0), survey.AGREES),  # two pooled stds
        (52.1, 1.0, known(50.0, 1.0), survey.ABOVE),
        (54.9, 3.0, known(50.0, 1.8), survey.AGREES),  # 2 sqrt((9 + 3.24) / 2) = 4.947...
        (55.0, 3.0, known(50.0, 1.8), survey.ABOVE),
        (52.0, 1.0, known(50.0), survey.AGREES),  # an unknown std is left out
        (51.1, math.nan, known(50.0), survey.ABOVE),
        (50.0, 0.1, known(60.0, 0.1, "3", 50.0), survey.AGREES),  # the authors' value counts where there is a doubt
        (60.0, 0.1, known(60.0, 0.1, "3", 50.0), survey.ABOVE),
        (60.0, 0.1, known(60.0, 0.1, "", 50.0), survey.AGREES),
        (60.0, 0.1, known(60.0, 0.1, "22"), survey.AGREES),  # a doubt without another value
        (60.0, 0.1, known(60.0, 0.1, "9"), survey.MEASURED),  # another row's number is no target
        (60.0, 0.1, known(math.nan, math.nan, "15", 60.5), survey.AGREES),
        (60.0, 0.1, known(math.nan), survey.MEASURED),
    ],
)
def test_verdicts(mean, std, reference, verdict):
    assert survey.verdict(mean, std, reference) == verdict


def test_doubtful_cells_are_compared_with_the_authors(printed):
    table = cells(printed["1"])
    assert table["dc", "mnist", "10", "convnet"].reference == (97.4, pytest.approx(math.nan, nan_ok=True))
    assert table["dm", "mnist", "50", "convnet"].reference == (98.6, 0.1)
    assert table["dc", "mnist", "1", "convnet"].reference == (91.7, 0.5)
    assert math.isnan(table["tesla", "tinyimagenet", "1", "convnet"].reference[0])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return make(tmp_path)


def state(tables: dict[str, survey.Table], number: str, method: str, ipc: str, network: str = "convnet") -> str:
    return cells(tables[number])[method, "cifar10", ipc, network].state


@pytest.mark.parametrize("method", config.load(TRACKED).recipes)
def test_rows_of_a_published_method_are_measured_as_its_authors_did(method):
    """Or their published values would be compared with nothing."""
    project = config.load(TRACKED)
    recipe = project.recipes[method]
    cells = {(row[1], row[4], row[5]) for row in printed_cells()}
    for name, row in project.rows.items():
        if row.method == method and (method, row.dataset, str(row.ipc)) in cells and not row.variant:
            assert row.protocol in (recipe.protocol, *recipe.also), f"{name}: {row.protocol} is not under `also`"


def printed_cells() -> list[list[str]]:
    lines = [line.split(",") for number in (1, 2) for line in table_lines(number)]
    return [line for line in lines if len(line) > 7 and line[7]]


def table_lines(number: int) -> list[str]:
    return (ROOT / f"data/published/table{number}.csv").read_text().splitlines()[1:]


def test_a_measured_cell(root):
    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.54, 0.44)
    tables = filled(root)
    for number in ("1", "3", "4"):  # Tables 3 and 4 repeat the ConvNet of Table 1
        cell = cells(tables[number])["dm", "cifar10", "1", "convnet"]
        assert (cell.mean, cell.std, cell.n, cell.difference) == (26.5, 0.4, 5, 0.5)
        assert (cell.state, cell.evaluation) == (survey.AGREES, "dm-cifar10-1.convnet3.dsa")
        assert cell.best_measured and not cell.best_published
    assert state(tables, "3", "dm", "1", "resnet18") == survey.MISSING


def test_missing_is_for_methods_of_the_grid(root):
    tables = filled(root)
    assert state(tables, "1", "dm", "1") == state(tables, "1", "kfs", "50") == survey.MISSING
    assert state(tables, "1", "mtt", "1") == ""
    assert cells(tables["1"])["dm", "fashionmnist", "1", "convnet"].state == ""  # the survey prints a dash


def test_only_published_settings_enter(root):
    put(root, "dm-short-cifar10-1", "convnet3", "dsa", 26.0, overrides={"iterations": 7}, base="dm")
    put(root, "dm-cifar10-jpeg75-1", "convnet3", "dsa", 26.0)
    assert all(not cell.n for table in filled(root).values() for cell in cells(table).values())
    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.0, overrides={"iterations": 7})
    put(root, "dsa-cifar10-1", "convnet3", "short", 28.8)
    put(root, "dsa-cifar10-1", "plain18", "dsa", 28.8)
    tables = filled(root)
    assert all(not cell.n for table in tables.values() for cell in cells(table).values())
    assert state(tables, "1", "dm", "1") == survey.ALTERED  # overrides
    assert state(tables, "1", "dsa", "1") == state(tables, "3", "dsa", "1", "resnet18") == survey.ALTERED  # protocol
    assert state(tables, "1", "dsa", "10") == state(tables, "3", "dm", "1", "resnet18") == survey.MISSING


def test_measured_bold_has_its_own_ranking(root):
    put(root, "random-cifar10-1", "convnet3", "dc", 99.0)
    put(root, "dm-cifar10-1", "convnet3", "dsa", 30.0)
    put(root, "dsa-cifar10-1", "convnet3", "dsa", 29.0)
    put(root, "kfs-cifar10-1", "convnet3", "dsa", 28.0)
    tables = filled(root)
    best = {
        number: {k[0] for k, cell in cells(table).items() if cell.best_measured} for number, table in tables.items()
    }
    assert best == {"1": {"dm", "dsa", "kfs"}, "2": set(), "3": {"dm"}, "4": {"dm"}}


def test_no_published_files_give_no_tables(tmp_path):
    assert survey.tables(published.read(tmp_path), {}) == []
