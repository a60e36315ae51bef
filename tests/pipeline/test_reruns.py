"""What DVC runs again after a change: exactly what depends on it. Real `dvc`, real stages, tiny numbers."""

import csv
import json
import time
from collections.abc import Callable

import numpy as np
import pytest

from tests.pipeline.project import CELLS, Project, cell_stages, outcome

REPORT = "report@digits"


def method_of_one(project: Project) -> None:
    with project.params() as params:
        params["methods"]["dc"] = {"real_batch": 8}


def method_of_two(project: Project) -> None:
    with project.params() as params:
        params["methods"]["dm"] = {"outer": {"images": {"lr": 2.0}}}


def cell_of_a_recipe(project: Project) -> None:
    with project.recipe("dm") as recipe:
        recipe["dm"]["cells"]["digits-10"]["real_batch"] = 8


def parts_of_a_recipe(project: Project) -> None:
    with project.recipe("dm") as recipe:
        recipe["dm"]["parts"]["augment"] = "none"


def protocol_of_one(project: Project) -> None:
    with project.params() as params:
        params["protocols"]["dc"]["epochs"] = 1


def protocol_of_four(project: Project) -> None:
    with project.params() as params:
        params["protocols"]["short"]["lr"] = 0.02


def network_of_one(project: Project) -> None:
    with project.params() as params:
        params["networks"]["small"]["width"] = 8


def network_of_four(project: Project) -> None:
    with project.params() as params:
        params["networks"]["convnet2_w16"]["width"] = 8


def measured_network(project: Project) -> None:
    with project.recipe("dm") as recipe:
        recipe["grid"]["dm-digits-1"]["network"] = "small"


def experts(project: Project) -> None:
    with project.params() as params:
        params["experts"]["digits"]["lr"] = 0.02


OTHERS = [cell for cell in CELLS if cell != "dc-digits-1"]
NUMBERS: list[tuple[Callable[[Project], None], set[str]]] = [
    (cell_of_a_recipe, cell_stages("dm-digits-10")),
    (protocol_of_one, {"evaluate@random-digits-1"}),
    (network_of_one, cell_stages("dc-digits-1")),
    (measured_network, {"evaluate@dm-digits-1"}),
]
MORE_NUMBERS: list[tuple[Callable[[Project], None], set[str]]] = [
    (method_of_one, cell_stages("dc-digits-1")),
    (method_of_two, cell_stages("dm-digits-1", "dm-digits-10")),
    (parts_of_a_recipe, cell_stages("dm-digits-1", "dm-digits-10")),
    (protocol_of_four, {f"evaluate@{cell}" for cell in CELLS if cell != "random-digits-1"}),
    (network_of_four, {"experts@digits", *cell_stages(*OTHERS)}),
    (experts, {"experts@digits", *cell_stages("herding-digits-1")}),
]


def check_number(project: Project, change: Callable[[Project], None], expected: set[str]) -> None:
    change(project)
    assert project.repro(REPORT).ran == {*expected, REPORT}
    assert project.repro(REPORT).ran == set()


@pytest.mark.parametrize(("change", "expected"), NUMBERS)
def test_a_number_reruns_what_reads_it(project: Project, change: Callable[[Project], None], expected: set[str]) -> None:
    check_number(project, change, expected)


@pytest.mark.slow
@pytest.mark.parametrize(("change", "expected"), MORE_NUMBERS)
def test_more_numbers_rerun_what_reads_them(
    project: Project, change: Callable[[Project], None], expected: set[str]
) -> None:
    check_number(project, change, expected)


def test_nothing_changed_or_only_the_writing_runs_nothing(project: Project) -> None:
    """1.0 or 1, 0.0005 or 5e-4, the order of keys and comments are no change."""
    assert project.repro(REPORT) == (set(), set())
    recipe = project.root / "ddpipe/methods/dm.yaml"
    params = project.root / "params.yaml"
    for path, old, new in ((recipe, "lr: 1.0", "lr: 1"), (params, "weight_decay: 0.0005", "weight_decay: 5.0e-04")):
        text = path.read_text()
        assert old in text
        path.write_text(f"# a new comment\n{text.replace(old, new)}")
    with project.params() as tree:
        for table in (tree["protocols"], tree["experts"], tree["networks"]):
            for name, numbers in table.items():
                table[name] = {key: numbers[key] for key in reversed(list(numbers))}
    ran = project.repro("--single-item", "distill@dm-digits-1", "evaluate@dm-digits-1", "experts@digits").ran
    assert ran == set()
    # The recipe's bytes are new: what its notes say may be too, which is the report's business alone.
    assert project.repro(REPORT).ran == {REPORT}


def test_experiment_changes_one_method(project: Project) -> None:
    """`dvc exp run -S` reruns one method's cells and the report; what compares and shows experiments works after it."""
    log = project.dvc("exp", "run", "--set-param", "+methods.dm.iterations=3", REPORT)
    assert outcome(log).ran == {*cell_stages("dm-digits-1", "dm-digits-10"), REPORT}
    assert project.repro(REPORT).ran == set()
    result = json.loads((project.root / "data/results/digits/dm-digits-1.convnet2_w16.short.json").read_text())
    assert result["overrides"] == {"iterations": 3}

    assert "methods.dm.iterations" in project.dvc("params", "diff")
    changed = json.loads(project.dvc("metrics", "diff", "--json"))
    assert changed.keys() <= {"data/metrics/digits/dm.json"}  # two iterations more may change no mean
    shown = list(csv.DictReader(project.dvc("exp", "show", "--only-changed", "--csv").splitlines()))
    assert {"2", "3"} & {line.get("methods.dm.iterations", "") for line in shown} == {"3"}


@pytest.mark.slow
def test_experiment_with_a_number_that_the_desk_names(project: Project) -> None:
    with project.params() as params:
        params["methods"]["dc"] = {"iterations": 3}
    project.repro(REPORT)
    project.commit("dc has an override")
    log = project.dvc("exp", "run", "--set-param", "methods.dc.iterations=4", REPORT)
    assert outcome(log).ran == {*cell_stages("dc-digits-1"), REPORT}


def row(method: str, ipc: int, **changed: str | int) -> dict[str, str | int]:
    """A row as a user writes it under `grid:` of params.yaml."""
    plain = {"method": method, "recipe": method, "cell": "digits", "dataset": "digits", "data": "digits", "ipc": ipc}
    plain |= {"student": "small", "network": "small", "protocol": "short", "needs": "data/prepared/digits"}
    return plain | changed


def add_ipc(project: Project) -> None:
    with project.params() as params:
        params["grid"]["random-digits-2"] = row("random", 2)


def add_method(project: Project) -> None:
    with project.params() as params:
        params["methods"]["dm-brief"] = {"base": "dm", "iterations": 1}
        params["grid"]["dm-brief-digits-1"] = row("dm-brief", 1, recipe="dm", cell="digits-1")


def add_evaluation(project: Project) -> None:
    """A further network for a cell that is there."""
    with project.params() as params:
        params["evaluations"]["dm-digits-1-small-short"] = {
            **{"cell": "dm-digits-1", "dataset": "digits", "data": "digits", "network": "small", "protocol": "short"}
        }


def add_dataset(project: Project) -> None:
    """The user's own images, with a row and a report."""
    labels = np.arange(4).repeat(6)
    ramp = np.linspace(0, 200, 8 * 8).reshape(8, 8)
    images = (ramp + 10 * labels[:, None, None] + np.arange(len(labels))[:, None, None]).astype(np.uint8)
    (project.root / "data/raw").mkdir(parents=True)
    np.savez(
        project.root / "data/raw/tiny.npz",
        **{"train_images": images, "train_labels": labels, "test_images": images[::2], "test_labels": labels[::2]},
    )
    with project.params() as params:
        params["own"]["tiny"] = {"source": "npz", "path": "data/raw/tiny.npz", "flip": False}
        params["grid"]["random-tiny-1"] = row(
            "random", 1, cell="default", dataset="tiny", data="tiny", needs="data/prepared/tiny"
        )
        params["reports"]["tiny"] = {}


def test_additions_run_only_what_is_new(project: Project) -> None:
    """Four additions in one run; each contributes its own stages and no others."""
    add_ipc(project)
    add_method(project)
    add_evaluation(project)
    add_dataset(project)
    assert project.repro(REPORT, "report@tiny").ran == {
        *cell_stages("random-digits-2"),
        *cell_stages("dm-brief-digits-1"),
        *{"further@dm-digits-1-small-short"},
        *{"own@tiny", *cell_stages("random-tiny-1"), "report@tiny"},
        REPORT,
    }
    shown = {(line["cell"], line["network"]) for line in report_rows(project)}
    assert {(cell, "small") for cell in ("random-digits-2", "dm-brief-digits-1", "dm-digits-1")} <= shown


@pytest.mark.slow
@pytest.mark.parametrize(
    ("add", "expected"),
    [
        (add_ipc, {*cell_stages("random-digits-2"), REPORT}),
        (add_method, {*cell_stages("dm-brief-digits-1"), REPORT}),
        (add_evaluation, {"further@dm-digits-1-small-short", REPORT}),
        # digits' report names the grid of params.yaml, so it is written anew (its tables do not change)
        (add_dataset, {"own@tiny", *cell_stages("random-tiny-1"), "report@tiny", REPORT}),
    ],
)
def test_an_addition_runs_only_what_is_new(
    project: Project, add: Callable[[Project], None], expected: set[str]
) -> None:
    add(project)
    targets = [stage for stage in sorted(expected) if stage.startswith("report@")]
    assert project.repro(*targets).ran == expected


@pytest.mark.slow
def test_a_cell_of_ddpipe_add_runs_as_it_stands(project: Project) -> None:
    """Its row and its rivals, and nothing of what was there."""
    with project.recipe("kcenter") as recipe:  # as many sets as the project has networks to choose them in
        recipe["kcenter"]["cells"]["digits"] = {"sets": 1}
    numbers = [f"--set={key}={value}" for key, value in (("iterations", 2), ("real_batch", 16), ("sets", 1))]
    project.call("ddpipe", "add", "dm", "digits", "--ipc", "2", "--protocol", "short", *numbers)
    cells = ("dm-digits-digits-2", "random-digits-2", "herding-digits-2", "kcenter-digits-2", "whole-digits-all")
    assert project.repro(REPORT).ran == {*cell_stages(*cells), REPORT}
    assert set(cells) <= {line["cell"] for line in report_rows(project)}
    assert project.repro(REPORT).ran == set()


def test_words_and_rows_rerun_only_the_report(project: Project) -> None:
    """A published value, a note, a removed row: the report, and for the row it is gone from the tables."""
    published = project.root / "data/published/table1.csv"
    published.write_text(published.read_text().replace("64.9", "65.9", 1))
    assert project.repro(REPORT).ran == {REPORT}

    with project.recipe("herding") as recipe:
        recipe["herding"]["notes"].append("One more remark.")
    assert project.repro(REPORT).ran == {REPORT}

    assert "random-digits-1" in {line["cell"] for line in report_rows(project)}
    with project.recipe("random") as recipe:
        del recipe["grid"]["random-digits-1"]
    assert project.repro(REPORT).ran == {REPORT}
    assert {line["cell"] for line in report_rows(project)} == set(CELLS) - {"random-digits-1"}
    assert "Random" not in (project.root / "reports/digits/table.md").read_text()


@pytest.mark.slow
def test_a_change_undone_comes_from_the_cache(project: Project) -> None:
    params = (project.root / "params.yaml").read_text()
    method_of_one(project)
    project.repro(REPORT)
    (project.root / "params.yaml").write_text(params)
    since = time.time()
    assert project.repro(REPORT) == ({REPORT, "evaluate@dc-digits-1"}, {"distill@dc-digits-1"})
    pieces = (project.root / "data/checkpoints").rglob("*.safetensors")
    assert not [path for path in pieces if path.stat().st_mtime > since], "a network was trained again"


@pytest.mark.slow
def test_a_methods_code_reruns_its_cells_and_equal_results_nothing_more(project: Project) -> None:
    code = project.root / "ddpipe/objectives/distribution.py"
    code.write_text(code.read_text() + "# a remark\nimport os\n")
    assert project.repro(REPORT).ran == set()
    code.write_text(code.read_text() + "CHANGED = 1\n")
    assert project.repro(REPORT).ran == {"distill@dm-digits-1", "distill@dm-digits-10"}


@pytest.mark.slow
def test_a_students_code_reruns_the_cells_that_use_it(project: Project) -> None:
    """In no row, and yet a dependency: what trains DC's networks between two iterations."""
    with open(project.root / "ddpipe/students/trained.py", "a") as file:
        file.write("CHANGED = 1\n")
    assert project.repro(REPORT).ran == {"distill@dc-digits-1"}


def report_rows(project: Project) -> list[dict[str, str]]:
    with open(project.root / "reports/digits/cells.csv", newline="") as file:
        return list(csv.DictReader(file))
