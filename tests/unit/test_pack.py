"""What a pack says before it is packed; tests/pipeline/test_pack.py packs and runs."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ddpipe import config
from ddpipe.errors import UserError
from ddpipe.packing import bring, pack
from tests.unit.small_project import Project


@pytest.mark.parametrize(
    ("path", "stage"),
    [
        ("prepared/mine", "own@mine"),
        ("prepared/lost", "prepare@lost"),
        ("overview/mine", "own@mine"),
        ("distilled/dm-tiny-2", "distill@dm-tiny-2"),
        ("experts/tiny-long", "experts@tiny-long"),
    ],
)
def test_what_is_not_here_is_made_by_the_stage_that_writes_it(
    path: str, stage: str, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.set("params.yaml", "own", {"mine": {"source": "npz", "path": "data/raw/tiny.npz", "flip": False}})
    reader = pack.Stage("distill@dm-mine-1", "stages.distill", [], [f"data/{path}"], [], "")
    monkeypatch.setattr(pack, "stages", lambda *given: [reader])
    with pytest.raises(UserError) as error:
        pack.pack(config.load(project.root), ["dm-mine-1"], project.root / "pack")
    expected = f"data/{path}: distill@dm-mine-1 reads it and it is not here; run `dvc repro {stage}`"
    assert str(error.value) == expected


def told(**change: Any) -> dict[str, Any]:
    """home.json, as far as it is read before the archive."""
    stage = {"name": "distill@dm-tiny-1", "module": "stages.distill", "after": [], "reads": ["data/prepared/tiny"]}
    stage |= {"writes": ["data/distilled/dm-tiny-1"], "keeps": "data/checkpoints/distill/dm-tiny-1"}
    states = {"distill@dm-tiny-1": "finished"}
    return {"name": "0", "stages": [stage], "resolved": {}, "inputs": {}, "states": states, "files": {}} | change


@pytest.mark.parametrize(
    "change",
    [
        {"stages": 3},
        {"stages": [{"name": "distill@dm-tiny-1"}]},
        {"stages": [{**told()["stages"][0], "writes": None}]},
        {"stages": [{**told()["stages"][0], "writes": [3]}]},
        {"states": []},
        {"states": {"distill@dm-tiny-1": "done"}},
        {"files": "home.00"},
        {"resolved": {"distill/dm-tiny-1": 3}},
        {"inputs": {"data/prepared/tiny": None}},
    ],
)
def test_home_of_other_types_is_a_sentence(change: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text(json.dumps(told()))
    assert bring.manifest(tmp_path).stages[0].name == "distill@dm-tiny-1"
    (tmp_path / "home.json").write_text(json.dumps(told(**change)))
    with pytest.raises(UserError, match=r"home\.json is damaged .*; bring the whole folder that run\.py wrote"):
        bring.manifest(tmp_path)


@pytest.mark.parametrize("path", ["/etc", "../elsewhere"])
def test_home_names_nothing_outside_the_project(path: str, tmp_path: Path) -> None:
    (tmp_path / "home.json").write_text(json.dumps(told(inputs={path: "0"})))
    with pytest.raises(UserError, match="which no pack reads"):
        bring.manifest(tmp_path)


def finished(name: str, **change: Any) -> pack.Stage:
    return pack.Stage(**told()["stages"][0] | {"name": name} | change)


def test_what_came_back_is_of_the_numbers_of_today(project: Project, tmp_path: Path) -> None:
    """Whatever home.json says of it: run.py of a former version took what another pack had made there."""
    shutil.copytree(project.root / "data", tmp_path / "back/data")

    def unlike(name: str) -> str:
        return bring.unlike(config.load(project.root), finished(name), tmp_path / "back")

    names = ["distill@dm-tiny-1", "evaluate@dm-tiny-1", "further@dm-tiny-1-other-again", "evaluate@random-tiny-1"]
    assert [unlike(name) for name in names] == [""] * 4
    project.set("params.yaml", "protocols.quick.exceptions.tiny.epochs", 3)
    assert unlike("evaluate@dm-tiny-1").startswith("its result is of another set or protocol than there are now; pack")
    assert unlike("further@dm-tiny-1-other-again") == ""
    project.set("ddpipe/methods/dm.yaml", "dm.parts.iterations", 4)
    said = "its distilled.json says another thing of settings than the cell does now; pack and run it again"
    assert unlike("distill@dm-tiny-1") == said
    assert project.run("resolve") == project.run("distill", "dm-tiny-1") == 0
    assert unlike("further@dm-tiny-1-other-again").startswith("its result is of another set or protocol")
    shutil.rmtree(tmp_path / "back/data/distilled/dm-tiny-1")
    assert "does not exist" in unlike("distill@dm-tiny-1")


def test_a_stage_comes_with_those_whose_outputs_it_read(tmp_path: Path) -> None:
    (tmp_path / "data/distilled/dm-tiny-1").mkdir(parents=True)
    stage = finished("distill@dm-tiny-1", after=["experts@tiny"])
    assert bring.lacking(stage, tmp_path, []) == "it read what experts@tiny made, which was not taken"
    assert bring.lacking(stage, tmp_path, ["experts@tiny"]) == ""
    shutil.rmtree(tmp_path / "data")
    assert "dm-tiny-1 did not come back" in bring.lacking(stage, tmp_path, ["experts@tiny"])
