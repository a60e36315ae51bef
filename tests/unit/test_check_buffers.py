"""`ddpipe check` and the buffers that cells follow."""

import shutil
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ddpipe import config, settings
from ddpipe.checks import buffers, project
from ddpipe.training import loop
from tests.tracked import TRACKED

CELL, BUFFER = "ftd-digits-1", "digits-flat"
SENTENCES = [
    ({"keep": "last"}, "experts.digits-flat.keep: 'last', but ftd-digits-1 (of ftd.parts, ftd.cells"),
    (
        {"epochs": 6},
        "experts.digits-flat.epochs: 6, but ftd-digits-1 goes up to 7 by its students.starts and students.span",
    ),
    ({"network": "convnet3"}, "grid.ftd-digits-1.student: 'convnet2_w16', but data/experts/digits-flat holds networks"),
    ({"data": "mnist"}, "grid.ftd-digits-1.needs: experts.digits-flat was trained on 'mnist', but the row's data is"),
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The project's own settings with the cells of FTD and herding alone, to be changed."""
    for file in ("params.yaml", "dvc.yaml", "dvc.lock"):  # which knows the images that are not here
        shutil.copy(TRACKED / file, tmp_path / file)
    (tmp_path / "ddpipe/methods").mkdir(parents=True)
    for method in ("ftd", "herding"):
        shutil.copy(TRACKED / f"ddpipe/methods/{method}.yaml", tmp_path / "ddpipe/methods")
    keys = YAML(typ="safe").load(TRACKED / "params.yaml")["methods"]
    methods = {key: numbers for key, numbers in keys.items() if key.partition("-")[0] in ("ftd", "herding")}
    change(tmp_path / "params.yaml", [], {"methods": methods, "grid": {}, "evaluations": {}})
    return tmp_path


def sentences(root: Path) -> list[str]:
    """What is wrong, apart from dvc.yaml and the reports, which are of all methods."""
    return [s for s in project.problems(config.load(root)) if not s.startswith(("dvc.yaml", "reports."))]


def change(path: Path, keys: list[str], numbers: dict) -> None:
    yaml = YAML()
    tree = yaml.load(path)
    entry = tree
    for key in keys:
        entry = entry[key]
    entry |= numbers
    yaml.dump(tree, path)


@pytest.mark.parametrize(("numbers", "says"), SENTENCES)
def test_a_buffer_that_its_cell_cannot_follow(root: Path, numbers: dict, says: str) -> None:
    change(root / "params.yaml", ["experts", BUFFER], numbers)
    found = sentences(root)
    assert len(found) == 1 and found[0].startswith(says)


def test_a_cell_that_wants_more_than_its_buffer_has(root: Path) -> None:
    change(root / "params.yaml", ["methods", "ftd"], {"students": {"span": 3}})
    assert any("ftd-digits-1 goes up to 8 by " in sentence for sentence in sentences(root))


def test_followers_without_a_buffer(root: Path) -> None:
    change(root / "ddpipe/methods/ftd.yaml", ["grid", CELL], {"needs": "data/prepared/digits"})
    (found,) = sentences(root)
    assert found.startswith(
        "grid.ftd-digits-1.needs: ftd (of ftd.parts, ftd.cells.digits-1 and methods.ftd) has students that "
        "follow experts"
    )
    assert found.endswith("name data/experts/<buffer>, trained on 'digits'")


def test_a_buffer_that_trains_further_than_its_cells_look_is_noted(root: Path) -> None:
    assert list(buffers.notes(config.load(root))) == []
    change(root / "params.yaml", ["experts", BUFFER], {"epochs": 9})
    (note,) = buffers.notes(config.load(root))
    assert note == "experts.digits-flat.epochs: 9, but its cells go up to 7: so many would do"
    assert sentences(root) == []


def test_a_pool_of_last_snapshots_may_train_as_long_as_it_likes(root: Path) -> None:
    change(root / "params.yaml", ["experts", BUFFER], {"epochs": 9})
    change(root / "ddpipe/methods/herding.yaml", ["grid", "herding-digits-1"], {"needs": f"data/experts/{BUFFER}"})
    assert list(buffers.notes(config.load(root))) == []


@pytest.mark.parametrize("extra", [False, True])
def test_passes_are_those_of_the_code(extra: bool) -> None:
    numbers = settings.Trained(epochs=3, extra_epoch=extra)
    assert numbers.passes == loop.passes(numbers) == 3 + extra
