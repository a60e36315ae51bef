"""Results, costs and prepared data that say what no stage writes: each is a sentence with its path, none a number."""
# ruff: noqa: E501 (a row of a table is one line)

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ddpipe import config
from ddpipe.datasets.preprocessing import tensors_digest
from ddpipe.files.artifacts import read_tensors, write_sealed, write_tensors
from ddpipe.pipeline import results
from tests.tracked import TRACKED
from tests.unit.small_project import Project

RESULT, COST = "data/results/tiny/dm-tiny-1.small.quick.json", "data/costs/dm-tiny-1.small.quick.json"
SEAL = "0" * 64
LOSSES, PICTURE = "data/results/tiny/dm-tiny-1.loss.csv", "data/results/tiny/dm-tiny-1.png"
DATA, TENSORS = "data/prepared/tiny/data.json", "data/prepared/tiny/data.safetensors"
DEEP = "[" * 100_000
INSTEAD = {  # of the value at a key
    RESULT: {
        "mean": (1e9, -1, None, "x", True, 50.0, 1e300),
        "std": (-1.0, 99.0, "x"),
        "n": (2, 0, True, 1e300, None),
        "sets": (0, 2, 10**400),
        "networks": (2, None),
        "accuracies": ([], [[]], [[101.0]], [[-1.0]], [["x"]], [[None]], 3, [[1.0, 2.0]], {}, [3.0]),
        "balanced": (None, -1.0, 100.0, "x"),
        "per_class": (None, [], [50.0], [50.0, 101.0, 50.0], [None, None, None], 3),
        "budget": (None, {}, {"floats": -5, "images_per_class": 1.0}, {"floats": 1, "images_per_class": 1e300}),
        "overrides": (None, []),
        "fingerprints": (None, ["0"], 3),
        "cell": ("dc-tiny-1", None),
        "method": ("dc",),
        "dataset": ("digits",),
        "ipc": (2, "all", "1", True),
        "network": ("other",),
        "protocol": ("again",),
        "files": (None, {"dm-tiny-1.png": "0"}),
    },
    COST: {
        "costs": (
            *(None, [], {"0": {"seconds": 1.0}}, {SEAL: None}, {SEAL: {}}),
            *({SEAL: {"seconds": seconds}} for seconds in (-1.0, 1e300, None, "x")),
            *({SEAL: {"seconds": 1.0, "peak_memory_mb": memory}} for memory in (-1.0, None, "x")),
            *({SEAL: {"seconds": 1.0, "iterations": count}} for count in (-1, 0.5)),
            *({SEAL: {"seconds": 1.0, "device": device}} for device in (None, 3)),
            *({SEAL: {"seconds": 1.0, "versions": versions}} for versions in (None, {"torch": 2}, [])),
            *({SEAL: {"seconds": 1.0, "experts": experts}} for experts in (3, {"buffer": "../x", "seconds": 1.0})),
            {SEAL: {"seconds": 1.0, "generators": {"generator": "../x", "seconds": 1.0}}},
            *({SEAL: {"seconds": 1.0, "distillation": cost}} for cost in (3, {}, {"seconds": -1.0})),
        ),
        "more": (1,),
    },
    DATA: {
        "name": ("tyni", "../up", None),
        "settings": ({}, None, {"source": "digits"}, {"source": "npz", "flip": True}),
        "classes": ([], ["0"], ["0", "1"], [0, 1, 2], ["0", "1", "2", "3"], None),
        "flip": ("no", None, 2),
        "preprocessing": (None, {}, {"standardise": "none"}),
        "checksum": ("0" * 64, None, ""),
        "shape": ([1, 8], [1, 8, 9], [3, 8, 8], [2, 8, 8], [1, 0, 0], [1, 10**30, 10**30], None),
        "images": (None, {}, {"train": 28, "test": 12}, {"train": 29, "test": 12, "more": 1}, {"train": True, "test": 12}),
        "more": (1,),
    },
}  # fmt: skip
NEXT = {RESULT: "report tiny", COST: "report tiny", DATA: "distill random-tiny-1", LOSSES: "report tiny"}
NEXT |= {PICTURE: "report tiny", TENSORS: "distill random-tiny-1"}
SAID = [(path, key, value) for path, keys in INSTEAD.items() for key, values in keys.items() for value in values]


@pytest.fixture(scope="module")
def shared(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("results") / "project"
    shutil.copytree(finished_project, root)
    return Project(root)


def refused(
    shared: Project, path: str, make: Callable[[Path], object], capsys: pytest.CaptureFixture, command: str = ""
) -> str:
    """The next stage's one sentence about `path`, after `make` changed it."""
    file, folder = shared.root / path, str(Path(path).parent)
    whole = file.read_bytes()
    try:
        make(file)
        before = shared.outputs()
        capsys.readouterr()
        code, (line, *more) = shared.run(*(command or NEXT[path]).split()), capsys.readouterr().err.splitlines()
        assert code == 2 and not more and line.startswith("error: ") and len(line) < 1000 and shared.outputs() == before
        assert path in line or folder in line and path == DATA
        return line
    finally:
        file.write_bytes(whole)


@pytest.mark.parametrize(("path", "key", "value"), SAID)
def test_what_no_stage_writes(path: str, key: str, value: Any, shared: Project, capsys: pytest.CaptureFixture) -> None:
    def make(file: Path) -> None:
        said = json.loads(file.read_text()) | {key: value}
        write_sealed(file, {name: value for name, value in said.items() if name != "seal"})

    line = refused(shared, path, make, capsys)
    assert "dvc " in line or path == COST


@pytest.mark.parametrize("path", INSTEAD)
@pytest.mark.parametrize(
    "text", ["", "[]", "1", "null", "{", DEEP, '{"a":' * 300, '{"n": NaN}', '{"n": ' + "9" * 5000 + "}", "\xff"]
)
def test_what_is_no_description(path: str, text: str, shared: Project, capsys: pytest.CaptureFixture) -> None:
    refused(shared, path, lambda file: file.write_bytes(text.encode("latin-1")), capsys)


@pytest.mark.parametrize("text", ["", "set,loss\n", "set,iteration,loss\n0,0\n", "set,iteration,loss\n0,0,nan\n", "set,iteration,loss\n-1,0,1\n", "set,iteration,loss\n0,1e3,1\n", "set,iteration,loss\n0,0,1,1\n", "\xff\x00"])  # fmt: skip
def test_losses_that_are_none(text: str, shared: Project, capsys: pytest.CaptureFixture) -> None:
    """With a result that does not say which losses were written with it, as early ones do not."""
    result = shared.root / RESULT
    whole = result.read_text()
    said = json.loads(whole)
    result.write_text(json.dumps({key: value for key, value in said.items() if key not in ("files", "seal")}))
    try:
        line = refused(shared, LOSSES, lambda file: file.write_bytes(text.encode("latin-1")), capsys)
    finally:
        result.write_text(whole)
    assert line.endswith("delete it and run `dvc repro evaluate@dm-tiny-1`")


@pytest.mark.parametrize("path", [LOSSES, PICTURE])
def test_a_file_of_another_result(path: str, shared: Project, capsys: pytest.CaptureFixture) -> None:
    other = shared.root / path.replace("dm-", "random-")
    line = refused(shared, path, lambda file: shutil.copy(other, file), capsys)
    assert "dvc repro evaluate@dm-tiny-1`" in line


@pytest.mark.parametrize(
    "change",
    [
        {"train_labels": torch.full((29,), 3)},
        {"train_labels": torch.zeros(29, dtype=torch.int64)},
        {"test_labels": torch.full((12,), -1)},
        {"train_images": torch.zeros(29, 1, 8, 8)},
        {"train_images": torch.zeros(29, 1, 8, 7, dtype=torch.uint8)},
        {"preprocessing.scale": torch.zeros(1, 1, 1)},
        {"preprocessing.shift": torch.full((1, 1, 1), float("nan"))},
        {"preprocessing.norm": torch.tensor(1.0)},
        {"more": torch.zeros(1)},
    ],
)
def test_tensors_of_other_data(change: dict[str, torch.Tensor], shared: Project, capsys: pytest.CaptureFixture) -> None:
    """The checksum fits, as that of a foreign program's file may."""
    about = shared.root / DATA
    whole = about.read_bytes()

    def make(file: Path) -> None:
        tensors = read_tensors(file)[0] | change
        write_tensors(file, tensors)
        said = json.loads(whole) | {"checksum": tensors_digest(tensors)}
        write_sealed(about, {key: value for key, value in said.items() if key != "seal"})

    try:
        assert "dvc " in refused(shared, TENSORS, make, capsys)
    finally:
        about.write_bytes(whole)


@pytest.mark.parametrize("command", ["explain dm-tiny-1", "page"])
def test_every_reader_of_results_is_the_same(command: str, shared: Project, capsys: pytest.CaptureFixture) -> None:
    def make(file: Path) -> None:
        file.write_text(json.dumps(json.loads(file.read_text()) | {"mean": 1e9}))

    refused(shared, RESULT, make, capsys, command)


BESIDE = ([".course"], [".space"])  # what is seen of cells while they are distilled


def test_results_of_earlier_versions_are_read() -> None:
    """All that git has: with and without a seal."""
    project = config.load(TRACKED)
    keys = [
        key for dataset in {row.dataset for row in project.rows.values()} for key in config.results_of(project, dataset)
    ]
    kept = [path for path in (TRACKED / "data/results").glob("*/*.json") if path.suffixes[:-1] not in BESIDE]
    assert sum(results.read(project, key) is not None for key in keys) == len(kept)
    assert any(results.losses(project, key.cell) for key in keys)


@pytest.mark.parametrize(
    ("key", "value", "command", "mend"),
    [
        ("datasets.tiny.flip", True, "distill dm-tiny-1", "dvc repro prepare@tiny"),
        ("datasets.tiny.flip", True, "experts tiny", "dvc repro prepare@tiny"),
        ("datasets.tiny.standardise", "unbiased", "evaluate dm-tiny-1", "dvc repro prepare@tiny"),
        ("methods.dm", {"iterations": 4}, "evaluate dm-tiny-1", "dvc repro distill@dm-tiny-1"),
        ("seed", 1, "evaluate dm-tiny-1", "dvc repro distill@dm-tiny-1"),
    ],
)
def test_other_settings_than_now(
    key: str, value: Any, command: str, mend: str, project: Project, capsys: pytest.CaptureFixture
) -> None:
    project.set("params.yaml", key, value)
    before = project.outputs()
    assert project.run(*command.split()) == 2 and mend in capsys.readouterr().err and project.outputs() == before
    stage, target = mend.removeprefix("dvc repro ").split("@")
    assert project.run(stage, target) == 0
    if stage == "prepare":
        assert project.run("distill", "dm-tiny-1") == 0
    assert project.run(*command.split()) == 0


def test_where_the_files_lie_does_not_matter(project: Project) -> None:
    (project.root / "data/raw/tiny.npz").rename(project.root / "data/raw/moved.npz")
    project.set("params.yaml", "datasets.tiny.path", "data/raw/moved.npz")
    assert project.run("evaluate", "dm-tiny-1") == 0
