"""What a pack says before it is packed; tests/pipeline/test_pack.py packs and runs."""

import pytest

from ddpipe import config
from ddpipe.errors import UserError
from ddpipe.packing import pack
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
