"""The README shows what the pipeline printed, not what somebody remembered."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import ddpipe
from tests.tracked import TRACKED
from tests.unit.small_project import Project


def test_what_is_measured_is_the_page_s() -> None:
    readme = (TRACKED / "README.md").read_text()
    shown = re.search(r"<!-- text of (\S+) -->\n(.*?)<!-- end of text -->", readme, re.DOTALL)
    assert shown, "README.md no longer says what is measured"
    assert shown[2] == (TRACKED / shown[1]).read_text()


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (TRACKED / "README.md").read_text()):
        assert (TRACKED / target).exists(), f"README.md links {target}"


def test_the_loop_reaches_the_accuracy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """README's program on README's cell, as a reader runs it: the mean of three runs is that of `ddpipe.evaluate`."""
    project = Project(tmp_path)
    for file in (
        "params.yaml",
        "dvc.yaml",
        *(f"ddpipe/methods/{path.name}" for path in (TRACKED / "ddpipe/methods").glob("*.yaml")),
    ):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(TRACKED / file, tmp_path / file)
    project.set("params.yaml", "methods.dm", {"sets": 1})
    for words in (("prepare", "digits"), ("distill", "dm-digits-1")):
        assert project.run(*words) == 0
    monkeypatch.chdir(tmp_path)
    [program] = re.findall(r"```python\n(import ddpipe\n.*?)```", (TRACKED / "README.md").read_text(), re.DOTALL)
    assert program.count('"my loop"') == 1 and len(program.splitlines()) < 20
    reached = []
    for number in range(3):
        names: dict[str, Any] = {}
        exec(program.replace('"my loop"', f'"my loop", {number}'), names)
        reached.append(names["accuracy"])
    expected = ddpipe.evaluate(names["chosen"], networks=4)
    # Without augmentation nine points are missing; a deviation estimated from four networks is no measure of chance.
    assert abs(sum(reached) / 3 - expected.mean) < 4.5, (reached, expected)
