"""The survey's Tables 1-4 as data: which results enter, what is bold, verdicts at their borders."""

import math
from pathlib import Path

import pytest

from ddpipe import config
from ddpipe.report import published, survey
from ddpipe.report.frame import collect_all
from ddpipe.report.published import Published
from ddpipe.states import State
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
COUNTED = {"1": 51, "2": 4, "3": 9, "4": 9}  # bold cells of each table


@pytest.fixture(scope="module")
def printed() -> dict[str, survey.Table]:
    """The tables without anything measured."""
    return {table.number: table for table in survey.tables(published.read(ROOT / "data" / "published"), {})}


def bold_of(table: survey.Table, dataset: str, ipc: str, network: str) -> set[str]:
    return {key[0] for key, cell in cells(table).items() if key[1:] == (dataset, ipc, network) and cell.published.bold}


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
            assert bold_of(printed["1"], dataset, ipc, "convnet") == set(methods.split()), (dataset, ipc)
    for number in ("3", "4"):
        for network, columns in BOLD[number].items():
            for ipc, method in zip(IPCS, columns, strict=True):
                assert bold_of(printed[number], "cifar10", ipc, network) == {method}
    for ipc in ("1", "2", "10", "50"):
        assert bold_of(printed["2"], "imagenet64", ipc, "convnet") == {"tesla"}
    counts = {number: sum(cell.published.bold for cell in cells(table).values()) for number, table in printed.items()}
    assert counts == COUNTED


def known(mean: float, std: float = math.nan, n: float = math.nan, objection: str = "", **source: float) -> Published:
    return Published(mean, std, n, False, "5" if objection else "", objection, **source, note="A note.")


ONLY = math.nan  # the standard deviation of a single accuracy
OURS = known(math.nan, source_mean=60.5, objection="other")


@pytest.mark.parametrize(
    "mean, std, published, verdict, difference, error",
    [
        (51.0, 0.3, known(50.0, 0.1), survey.AGREES, 1.0, 0.1),  # a point is always within; 0.3 / sqrt(9)
        (51.1, 0.3, known(50.0, 0.1), survey.ABOVE, 1.1, 0.1),
        (48.9, 0.3, known(50.0, 0.1), survey.BELOW, -1.1, 0.1),
        (51.2, 1.8, known(50.0, 9.9), survey.AGREES, 1.2, 0.6),  # two standard errors; the published n is unknown
        (51.3, 1.8, known(50.0, 9.9), survey.ABOVE, 1.3, 0.6),
        (52.0, 1.8, known(50.0, 8.0, 100), survey.AGREES, 2.0, 1.0),  # sqrt(1.8² / 9 + 8² / 100)
        (52.1, 1.8, known(50.0, 8.0, 100), survey.ABOVE, 2.1, 1.0),
        (51.6, ONLY, known(50.0, 8.0, 100), survey.AGREES, 1.6, 0.8),
        (51.1, ONLY, known(50.0, 8.0), survey.ABOVE, 1.1, math.nan),
        (51.0, ONLY, known(50.0, 8.0), survey.AGREES, 1.0, math.nan),
        (50.0, 0.3, known(60.0, 0.1, 5, "wrong", source_mean=50.0), survey.AGREES, 0.0, 0.1),  # the authors' counts
        (60.0, 0.3, known(60.0, 0.1, 5, "wrong", source_mean=50.0), survey.ABOVE, 10.0, 0.1),
        (60.0, 0.3, known(60.0, 0.1, 5, "copied", source_mean=50.0, source_std=0.6), survey.ABOVE, 10.0, 0.3),
        (60.0, 0.3, known(60.0, 0.1, source_mean=50.0), survey.AGREES, 0.0, 0.1),  # no objection, no authors
        (60.0, 0.3, known(60.0, 0.1, objection="other"), survey.AGREES, 0.0, 0.1),  # a doubt without another value
        (60.0, 0.3, known(60.0, 0.1, objection="copied"), "", math.nan, math.nan),  # another row's number is no target
        (60.0, 0.3, OURS, survey.AGREES, -0.5, 0.1),
        (60.0, 0.3, known(math.nan), "", math.nan, math.nan),
    ],
)
def test_verdicts(mean, std, published, verdict, difference, error):
    for state in State:
        own = survey.judged(survey.Measured("dm-x-1.convnet3.dsa", mean, std, 9, state, ""), published)
        expected = (
            [verdict, difference, error] if state in ("as published", "unverified settings") else ["", *[math.nan] * 2]
        )
        assert [own.verdict, own.difference, own.error] == pytest.approx(expected, nan_ok=True)


def test_doubtful_cells_are_compared_with_the_authors(printed):
    table = cells(printed["1"])

    def reference(method: str, dataset: str, ipc: str) -> tuple[float, float]:
        return survey.reference(table[method, dataset, ipc, "convnet"].published)

    assert reference("dc", "mnist", "10") == (97.4, pytest.approx(math.nan, nan_ok=True))
    assert reference("dm", "mnist", "50") == (98.6, 0.1)
    assert reference("dc", "mnist", "1") == (91.7, 0.5)
    assert math.isnan(reference("tesla", "tinyimagenet", "1")[0])


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
        own = cell.measured
        assert (own.mean, own.std, own.n, own.verdict) == (26.5, 0.4, 5, survey.AGREES)
        assert (own.difference, own.error) == (0.5, 0.2)  # sqrt(0.4² / 5 + 0.8² / 100)
        assert (own.state, own.evaluation) == (State.PUBLISHED, "dm-cifar10-1.convnet3.dsa")
        assert not cell.best_measured and not cell.published.bold  # no selection stands beside it
    assert state(tables, "3", "dm", "1", "resnet18") == survey.MISSING


def test_missing_is_for_cells_of_the_grid(root):
    tables = filled(root)
    assert state(tables, "1", "dm", "1") == survey.MISSING
    assert state(tables, "1", "kfs", "50") == state(tables, "1", "mtt", "1") == ""
    assert state(tables, "1", "dm", "1", "convnet") == survey.MISSING
    assert cells(tables["1"])["dm", "fashionmnist", "1", "convnet"].state == ""  # the survey prints a dash


def test_a_reduced_result_stands_in_the_cell_until_there_is_a_better_one(root):
    put(root, "dm-cifar10-jpeg75-1", "convnet3", "dsa", 26.0)  # of another dataset
    assert all(cell.measured is None for table in filled(root).values() for cell in cells(table).values())
    put(root, "dm-short-cifar10-1", "convnet3", "dsa", 25.0, overrides={"iterations": 7}, base="dm")
    own = cells(filled(root)["1"])["dm", "cifar10", "1", "convnet"].measured
    assert (own.mean, own.state, own.why, own.verdict) == (25.0, State.REDUCED, "iterations 7 of 10", "")
    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.0)
    own = cells(filled(root)["1"])["dm", "cifar10", "1", "convnet"].measured
    assert (own.mean, own.state, own.why, own.verdict) == (26.0, State.PUBLISHED, "", survey.AGREES)


def test_measured_bold_is_told_among_what_is_shown(root):
    put(root, "random-cifar10-1", "convnet3", "dsa", 28.5)
    put(root, "dm-cifar10-1", "convnet3", "dsa", 30.0, 0.3)
    put(root, "dm-short-cifar10-1", "convnet3", "dsa", 40.0, overrides={"iterations": 7}, base="dm")  # is not shown
    put(root, "dsa-cifar10-1", "convnet3", "dsa", 29.9, 0.1)
    put(root, "kfs-cifar10-1", "convnet3", "dsa", 29.8)
    tables = filled(root)
    best = {
        number: {k[0] for k, cell in cells(table).items() if cell.best_measured} for number, table in tables.items()
    }
    assert best == {
        "1": {"dm", "dsa"},
        "2": set(),
        "3": {"dm", "dsa"},
        "4": {"dm", "dsa"},
    }  # 0.3 / sqrt(5) is above 0.1


def test_the_best_state_stands_in_a_cell(root):
    """Whatever the order of rows: as published, then unverified, reduced, one's own."""
    put(root, "dm-cifar10-1", "convnet3", "dsa", 26.0)
    put(root, "dm-cifar10-10", "convnet3", "dsa", 46.0)
    frames = collect_all(config.load(root))
    frame = frames["cifar10"]
    ten = (frame["cell"] == "dm-cifar10-10") & (frame["protocol"] == "dsa") & (frame["network"] == "convnet3")
    frame.loc[ten, ["ipc", "state", "why"]] = ["1", State.UNVERIFIED, "lr not published"]
    rows = published.read(root / "data/published")
    for first in (frame, frame[::-1].reset_index(drop=True)):
        tables = {table.number: table for table in survey.tables(rows, {"cifar10": first})}
        own = cells(tables["1"])["dm", "cifar10", "1", "convnet"].measured
        assert (own.state, own.evaluation) == (State.PUBLISHED, "dm-cifar10-1.convnet3.dsa")
    frame.loc[frame["state"] == State.PUBLISHED, "state"] = State.REDUCED
    tables = {table.number: table for table in survey.tables(rows, {"cifar10": frame})}
    own = cells(tables["1"])["dm", "cifar10", "1", "convnet"].measured
    assert (own.state, own.why, own.verdict) == (State.UNVERIFIED, "lr not published", survey.ABOVE)


def test_no_published_files_give_no_tables(tmp_path):
    assert survey.tables(published.read(tmp_path), {}) == []
