"""`ddpipe add`: complete rows, in a file whose other bytes stay; and what a hand-written row is told."""

import difflib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from ddpipe import config
from ddpipe.files.insert import insert
from ddpipe.planning.add import add
from tests.tracked import TRACKED
from tests.unit.small_project import Project

Output = pytest.CaptureFixture[str]
LEARNED = {"mtt": {"name": "trajectory", "steps": 2, "lr": 0.01, "smallest_lr": 0.001, "gradient": "exact"}}


def says(project: Project) -> dict:
    return YAML(typ="safe").load(project.root / "params.yaml")


def new_lines(before: str, after: str) -> list[str]:
    """The lines that came; none may have gone."""
    marked = list(difflib.ndiff(before.splitlines(), after.splitlines()))
    assert [line for line in marked if line.startswith("- ")] == []
    return [line[2:] for line in marked if line.startswith("+ ")]


def test_a_cell_comes_with_its_rivals_and_all_of_it_runs(project: Project, capsys: Output) -> None:
    """On images of the user's own: from nothing but their entry under datasets: to a report."""
    own = {"source": "npz", "path": "data/raw/tiny.npz", "flip": False}
    project.set("params.yaml", "datasets.birds", own)
    numbers = ("--set", "iterations=2", "--set", "outer.images.lr=0.5")
    assert project.run("add", "dm", "birds", "--ipc", "2", "--protocol", "again", *numbers) == 0
    assert "now run `dvc repro report@birds`" in capsys.readouterr().out
    assert project.run("check") == 0
    said = says(project)
    assert said["methods"]["dm-birds"] == {"base": "dm", "iterations": 2, "outer": {"images": {"lr": 0.5}}}
    cells = {"dm-birds-birds-2", "random-birds-2", "herding-birds-2"}
    assert said["grid"].keys() == cells and {row["protocol"] for row in said["grid"].values()} == {"again"}
    assert said["grid"]["herding-birds-2"]["needs"] == "data/experts/birds"
    assert said["experts"]["birds"] == said["experts"]["tiny"] | {"data": "birds"}
    assert said["reports"] == {"tiny": {}, "birds": {}}
    for words in [("resolve",), ("prepare", "birds"), ("experts", "birds")]:
        assert project.run(*words) == 0, words
    for cell in cells:
        assert project.run("distill", cell) == 0 and project.run("evaluate", cell) == 0
    assert project.run("report", "birds") == 0
    table = (project.root / "reports/birds/cells.csv").read_text()
    assert all(cell in table for cell in cells)


def test_more_of_a_cell_that_has_rivals(project: Project) -> None:
    """Another network: the rivals are measured on it too; the method that --set made is used again, not made twice."""
    words = ("dm", "tiny", "--network", "other", "--protocol", "again", "--set", "iterations=2")
    assert project.run("add", *words, "--ipc", "1") == 0
    found = config.load(project.root)
    assert {"random-tiny-1-other-again", "herding-tiny-1-other-again"} <= found.evaluations.keys()
    assert found.rows["dm-tiny-tiny-1"].student == found.rows["dm-tiny-tiny-1"].network == "other"
    assert project.run("add", *words, "--ipc", "2", "--student", "small") == 0
    found = config.load(project.root)
    assert (found.rows["dm-tiny-tiny-2"].student, found.rows["dm-tiny-tiny-2"].network) == ("small", "other")
    assert found.rows["herding-tiny-2"].student == "small"
    assert project.run("check") == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("dn tiny --ipc 1", "no method 'dn'; did you mean 'dm'?"),
        ("dm tyni --ipc 1", "datasets.tyni: no such entry in params.yaml; did you mean 'tiny'?"),
        ("dm birds --ipc 1", "`birds: {source: folder, path: data/raw/birds, resolution: 32, flip: true}`"),
        ("dm tiny --ipc 1", "grid.dm-tiny-1: exists already; `ddpipe explain dm-tiny-1` shows it"),
        ("dm tiny --ipc 2 --network smal", "no network 'smal'; did you mean 'small'?"),
        ("dm tiny --ipc 2 --student othr", "no student 'othr'; did you mean 'other'?"),
        ("dm tiny --ipc 2 --protocol quik", "no protocol 'quik'; did you mean 'quick'?"),
        ("dm tiny --ipc 2 --data tyni", "datasets.tyni: no such entry in params.yaml; did you mean 'tiny'?"),
        ("dm tiny --ipc 2 --set iteration=3", "methods.dm-tiny.iteration: unknown key"),
        ("dm tiny --ipc 2 --set iterations=none", "methods.dm-tiny.iterations: must be"),
        ("dm tiny --ipc 2 --set iterations", "--set iterations: must be <key>=<value>"),
        ("dm tiny --ipc 2 --set iterations=[1", "--set iterations=[1: what stands behind iterations= is no value"),
        ("dm tiny --ipc two", "--ipc two: must be a number of images per class, or all"),
        ("dm tiny --ipc 0", "grid.dm-tiny-0.ipc: must be greater than 0"),
        ("dm tiny --ipc 6", "at most 5"),  # images of the smallest class
        ("dm tiny --ipc all", "'all' is for rule 'whole'"),
        ("random tiny --ipc 1", "grid.random-tiny-1: exists already"),
    ],
)
def test_what_is_refused_changes_nothing(words: str, sentence: str, project: Project, capsys: Output) -> None:
    before = project.outputs(), (project.root / "params.yaml").read_bytes()
    assert project.run("add", *words.split()) == 2
    assert sentence in capsys.readouterr().err
    assert (project.outputs(), (project.root / "params.yaml").read_bytes()) == before


def test_a_method_of_that_name_with_other_numbers(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "methods.dm-tiny", {"base": "dm", "iterations": 4})
    assert project.run("add", "dm", "tiny", "--ipc", "2", "--set", "iterations=5") == 2
    assert "methods.dm-tiny: exists with other numbers" in capsys.readouterr().err
    assert project.run("add", "dm-tiny", "tiny", "--ipc", "2") == 0  # the mend
    assert "dm-tiny-tiny-2" in says(project)["grid"]


@pytest.fixture
def desk(tmp_path: Path) -> Path:
    """The project's own params.yaml and recipes, without data."""
    for name in ("params.yaml", "dvc.yaml"):
        (tmp_path / name).write_bytes((TRACKED / name).read_bytes())
    (tmp_path / "ddpipe").mkdir()
    (tmp_path / "ddpipe/methods").symlink_to(TRACKED / "ddpipe/methods")
    return tmp_path


def test_the_desk_keeps_its_comments_and_line_breaks(desk: Path) -> None:
    before = (desk / "params.yaml").read_text()
    add(desk, "mtt", "svhn", 7, {"network": "convnet3_w16"}, ["iterations=9"])
    after = (desk / "params.yaml").read_text()
    kept = before.replace("\ngrid: {} # rows", "\ngrid: # rows")
    assert all(len(line) <= 120 for line in new_lines(kept, after))
    found = config.load(desk)
    row = found.rows["mtt-svhn-svhn-7"]
    assert (row.recipe, row.cell, row.protocol) == ("mtt", "default", "mtt")
    buffer = found.params.experts[str(row.buffer)]
    students = found.resolved("mtt-svhn-svhn-7").students
    assert (buffer.data, buffer.network, buffer.keep) == ("svhn", "convnet3_w16", "all")
    assert buffer.epochs == students.epochs
    random = found.rows["random-svhn-7"]
    assert random.protocol == "dsa"  # mtt's numbers, with a step size of its own
    assert random.network == "convnet3_w16"


def test_the_usual_network_is_that_of_such_images(desk: Path) -> None:
    for dataset, network in (("tinyimagenet10", "convnet4_w16"), ("digits", "convnet2_w16"), ("cifar10", "convnet3")):
        add(desk, "dm", dataset, 3, {}, [])
        assert config.load(desk).rows[f"dm-{dataset}-3"].network == network


def test_a_buffer_that_is_too_short_is_not_lengthened_unasked(desk: Path) -> None:
    with pytest.raises(
        Exception, match="experts.digits-trajectories.epochs: 7, but mtt-digits-5 needs 21; set it to 21"
    ):
        add(desk, "mtt", "digits", 5, {}, [])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: {}\n", "a:\n  k: {v: 1}\n"),
        ("a: {} # why\nb: 1\n", "a: # why\n  k: {v: 1}\nb: 1\n"),
        ("a:\nb: 1\n", "a:\n  k: {v: 1}\nb: 1\n"),
        ("a: {x: 1} # why\n", "a: {x: 1, k: {v: 1}} # why\n"),
        ("a:\n    x: 1 # one\n    # two\n\nb: 1\n", "a:\n    x: 1 # one\n    k: {v: 1}\n    # two\n\nb: 1\n"),
        ("a:\n  x:\n    {y: 1,\n     z: 2}\nb: 1", "a:\n  x:\n    {y: 1,\n     z: 2}\n  k: {v: 1}\nb: 1"),
        ("a:\n  x:\n  - 1\n  - y: 2\n", "a:\n  x:\n  - 1\n  - y: 2\n  k: {v: 1}\n"),
        ("a:\n  x: 1", "a:\n  x: 1\n  k: {v: 1}\n"),
        ("b: 1\n", "b: 1\n\na:\n  k: {v: 1}\n"),
        ("{a: {}, b: 1}\n", "{a: {k: {v: 1}}, b: 1}\n"),
    ],
)
def test_an_entry_put_into_a_block(text: str, expected: str) -> None:
    assert insert(text, {"a": {"k": {"v": 1}}}) == expected
    assert YAML(typ="safe").load(expected)["a"]["k"] == {"v": 1}


@pytest.mark.parametrize("grid", ["grid: &none {}", "grid: {<<: &none {}}"])
def test_a_file_that_cannot_be_extended_is_left_alone(grid: str, project: Project, capsys: Output) -> None:
    """What else refers to a block would be extended with it."""
    path = project.root / "params.yaml"
    text = path.read_text()
    assert "grid: {}" in text and "reports: {tiny: {}}" in text
    path.write_text(text.replace("grid: {}", grid).replace("reports: {tiny: {}}", "reports: {tiny: *none}"))
    before = path.read_bytes()
    code, said = project.run("add", "dm", "tiny", "--ipc", "2"), capsys.readouterr().err
    assert (code, path.read_bytes()) == (2, before) or code == 0 and project.run("check") == 0
    assert code == 0 or "params.yaml: is written in a way that cannot be extended" in said


ROW = {"method": "dm", "dataset": "tiny", "ipc": 2}


@pytest.mark.parametrize(
    ("key", "row", "sentence"),
    [
        ("dm-tiny-2", ROW, "lacks recipe, cell, data, student, network, protocol, needs; write `recipe: dm, cell: "
         "default, data: tiny, student: small, network: small, protocol: quick, needs: data/prepared/tiny` there"),
        ("dm-tiny-2", None, "write `method: dm, recipe: dm, cell: default, dataset: tiny, data: tiny, ipc: 2, "),
        ("dm-tiny-2", ROW | {"network": "other"}, "student: other, protocol: quick, needs: data/prepared/tiny`"),
        ("herding-tiny-2", {"network": "small"}, "needs: data/experts/tiny` there"),
        ("herding-tiny-2", {"network": "other"},
         "data/experts/tiny-other` there, and under experts: `tiny-other: {"),
        ("dx-tiny-2", {}, "its key must be <method>-<dataset>-<ipc>"),
        ("dm-tiny-2", ROW | {"netwrok": "small"}, "grid.dm-tiny-2.netwrok: unknown key; did you mean 'network'?"),
    ],
)  # fmt: skip
def test_a_row_is_told_what_it_lacks(
    key: str, row: dict | None, sentence: str, project: Project, capsys: Output
) -> None:
    project.set("params.yaml", "grid", {key: row})
    assert project.run("check") == 2
    said = capsys.readouterr().err
    assert f"grid.{key}" in said and sentence in said


def test_what_it_is_told_to_write_is_right(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "grid", {"herding-tiny-2": {"network": "other"}})
    assert project.run("check") == 2
    row, buffer = (part.partition("`")[0] for part in capsys.readouterr().err.split(" `")[1:3])
    project.set(
        "params.yaml", "grid", {"herding-tiny-2": {"network": "other"} | YAML(typ="safe").load("{" + row + "}")}
    )
    said = says(project)["experts"] | YAML(typ="safe").load(buffer)
    project.set("params.yaml", "experts", said)
    assert project.run("check") == 0
