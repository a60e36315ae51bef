"""The exported program is put together from parts; a kind of protocol without one is found before anything runs."""

import shutil
from pathlib import Path

import pytest

from ddpipe import config, settings
from ddpipe.checks.project import problems
from ddpipe.distilled import bundle
from tests.unit.small_project import Project


@pytest.fixture
def less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The parts of the program, to be broken."""
    folder = Path(shutil.copytree(bundle.PARTS, tmp_path / "standalone"))
    monkeypatch.setattr(bundle, "PARTS", folder)
    return folder


def test_a_kind_without_a_program_is_found_before_anything_runs(
    less: Path, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (less / "trained.py").unlink()
    told = (
        "sets measured by kind 'trained' cannot leave ddpipe: write ddpipe/distilled/standalone/trained.py with learn("
    )
    assert any(sentence.startswith(f"protocols.quick.kind: {told}") for sentence in problems(config.load(project.root)))
    assert project.run("export", "dm-tiny-1", "out") == 2
    assert f"protocols.quick.kind: {told}" in capsys.readouterr().err and not (project.root / "out").exists()


def test_a_kind_that_only_a_test_defines_lacks_one() -> None:
    class Dreamt(settings.Replay):
        __module__ = "ddpipe.settings.protocols.dreamt"

    assert "write ddpipe/distilled/standalone/dreamt.py" in str(bundle.lacking(Dreamt))


def test_parts_that_give_one_name_twice_are_refused(less: Path) -> None:
    part = less / "trained.py"
    part.write_text(part.read_text() + "\n\ndef clip() -> None: ...\n")
    with pytest.raises(ValueError, match="parts of the program of trained both define clip"):
        bundle.program("trained")
