"""One bit of one file flips between two stages: the next stage gives what it gave before, or names the file."""

import random
import shutil
from pathlib import Path

import pytest

from tests.unit.small_project import Project

CELLS = ("dm-tiny-1", "random-tiny-1")
FLIPS = 3  # a file, of each stage that reads it
NEXT = {  # folder of data/ -> the stages that read it, {} the cell to which a file belongs
    "prepared": ["distill random-tiny-1", "evaluate dm-tiny-1", "experts tiny"],
    "distilled": ["evaluate {}"],
    "costs": ["evaluate {}", "report tiny"],
    "results": ["report tiny", "page"],
}


@pytest.fixture(scope="module")
def shared(finished_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """With its checkpoints and costs: the stages give equal bytes again, seconds included."""
    root = tmp_path_factory.mktemp("flips") / "project"
    shutil.copytree(finished_project, root)
    project = Project(root)
    for cell in CELLS:
        assert project.run("evaluate", cell) == 0
    assert project.run("report", "tiny") == project.run("page") == 0
    return project


def files(project: Project, folder: str) -> list[Path]:
    found = sorted(path for path in (project.root / "data" / folder).rglob("*") if path.is_file())
    return [path for path in found if folder == "prepared" or any(cell in str(path) for cell in CELLS)]


@pytest.mark.parametrize("folder", NEXT)
def test_a_flipped_bit_is_found_or_harmless(folder: str, shared: Project, capsys: pytest.CaptureFixture[str]) -> None:
    rng = random.Random(folder)
    refused = 0
    for path in files(shared, folder):
        whole = path.read_bytes()
        cell = next((cell for cell in CELLS if cell in str(path)), "")
        before = shared.outputs()
        for command in NEXT[folder]:
            for flip in range(FLIPS):
                position, bit = rng.randrange(len(whole)), rng.randrange(8)
                flipped = bytearray(whole)
                flipped[position] ^= 1 << bit
                path.write_bytes(flipped)
                capsys.readouterr()
                code, said = shared.run(*command.format(cell).split()), capsys.readouterr().err
                path.write_bytes(whole)
                where = f"{path.name}, byte {position}, bit {bit}, {command}, flip {flip}"
                assert shared.outputs() == before, where
                assert code == 0 or code == 2 and str(path.relative_to(shared.root)) in said.splitlines()[-1], where
                assert said.count("error: ") == (code == 2), where
                refused += code == 2
    assert refused > 0
