"""What the commands of ddpipe print and write. Their mistakes are in test_errors.py, `export` in
test_export.py, `plan` in tests/pipeline."""

import os
import re
import subprocess
import sys

import pytest

import ddpipe
from ddpipe import config
from ddpipe.planning import explain
from ddpipe.planning.explain import short
from tests.tracked import TRACKED
from tests.unit.small_project import ROOT, Project

Output = pytest.CaptureFixture[str]


def test_methods(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "methods.dm", {"iterations": 5, "outer": {"images": {"lr": 2.0}}})
    project.set("params.yaml", "methods.dm-short", {"base": "dm"})
    assert project.run("methods") == 0
    head, *lines = capsys.readouterr().out.splitlines()
    assert head.split() == ["METHOD", "OBJECTIVE", "LEARNED", "STUDENTS", "PROTOCOL", "ROWS", "SOURCE"]
    start = head.index("SOURCE")
    rows, last = {}, ""
    for line in lines:  # what goes on below belongs to the line above
        last = line.split()[0] if line[0] != " " else last
        rows.setdefault(last, [line[:start].split(), []])[1].append(line[start:].strip())
    told = {name: (words[1:], " ".join(filter(None, end))) for name, (words, end) in rows.items()}
    assert told["dm"] == (["distribution", "pixels", "fresh", "quick", "1"], "iterations: 5, outer.images.lr: 2.0")
    assert told["dc"] == (["gradient", "pixels", "trained", "quick", "1"], "A paper")
    assert told["herding"][0] == ["herding", "(selection)", "real", "images", "-", "quick", "1"]
    assert told["dm-short"] == (["distribution", "pixels", "fresh", "quick", "0"], "base: dm")


def test_a_citation_is_its_first_author_and_its_year() -> None:
    assert short("A paper") == "A paper"
    assert short("Zhao, Mopuri and Bilen, Dataset Condensation, ICLR 2021 (arXiv 2006.05929)") == "Zhao 2021"
    assert short("Lee and Hwang, Sharing, arXiv 2208.10494, 2022") == "Lee 2022"


def test_what_is_printed_fits_a_terminal(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "methods.dm", {"iterations": 5, "outer": {"images": {"lr": 2.0}}})
    project.set("ddpipe/methods/dm.yaml", "dm.notes", ["words " * 60])
    for words in (("methods",), ("explain", "dm-tiny-1")):
        assert project.run(*words) == 0
        assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_explain(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "methods.dm", {"iterations": 5})
    project.set("ddpipe/methods/dm.yaml", "dm.notes", ["The first choice.", "The second."])
    assert project.run("explain", "dm-tiny-1") == 0
    out = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for expected in (
        "dm-tiny-1: dm on tiny, 1 images per class",
        "params.yaml changes: iterations: 5",
        "needs = data/prepared/tiny",
        "iterations = 5 params.yaml:methods.dm",
        "real_batch = 4 ddpipe/methods/dm.yaml:dm.parts",
        "revision = 1 default",
        "depth = 1 params.yaml:networks.small",
        "cutmix = 0.0 default",
        "protocol quick on tiny",
        "epochs = 2 params.yaml:protocols.quick.exceptions.tiny",
        "batch = 8 params.yaml:protocols.quick",
        "protocol again on tiny",
        "students = fresh ddpipe/students/fresh.py DM, and DC and DSA at one image per class",
        "dvc repro evaluate@dm-tiny-1 # with everything it needs",
        "dvc repro further@dm-tiny-1-other-again",
        "data/distilled/dm-tiny-1",
        "The first choice.",
        "The second.",
    ):
        assert expected in lines, out
    assert any(
        line.startswith("data/results/tiny/dm-tiny-1.small.quick.json ") and "n = 1, balanced" in line for line in lines
    )


def test_explain_says_what_is_unverified(project: Project, capsys: Output) -> None:
    project.set("ddpipe/methods/dm.yaml", "dm.unverified", {"tiny-1": "Nobody published it.", "default": "Nor that."})
    assert project.run("explain", "dm-tiny-1") == 0
    assert "\nunverified\n  Nobody published it.\n\nnotes\n" in capsys.readouterr().out
    project.set("ddpipe/methods/dm.yaml", "dm.unverified", {"tiny-1": "Nobody published it.", "all": "Nor any."})
    assert project.run("explain", "dm-tiny-1") == 0
    assert "\nunverified\n  Nobody published it.\n  Nor any.\n\nnotes\n" in capsys.readouterr().out
    assert project.run("explain", "dc-tiny-1") == 0
    assert "\nunverified\n" not in capsys.readouterr().out


def test_explain_says_whose_numbers_a_cell_took(project: Project, capsys: Output) -> None:
    project.set("ddpipe/methods/dm.yaml", "dm.cells.tiny-1", {"by_ipc": {"1": {}, "10": {"real_batch": 5}}})
    assert project.run("explain", "dm-tiny-1") == 0
    assert "\nunverified\n" not in capsys.readouterr().out  # it has numbers of its own
    project.set("ddpipe/methods/dm.yaml", "dm.cells.tiny-1", {"by_ipc": {"2": {"real_batch": 5}, "10": {}}})
    assert project.run("explain", "dm-tiny-1") == 0
    out = capsys.readouterr().out
    assert "\nunverified\n  IPC 1: no numbers of its own; those of IPC 2, the nearest by ratio of 2, 10.\n" in out
    assert re.search("real_batch = 5 +ddpipe/methods/dm.yaml:dm.cells.tiny-1.by_ipc.2\n", out)


def test_explain_what_never_ran(project: Project, capsys: Output) -> None:
    (project.root / "data/results/tiny/herding-tiny-1.small.quick.json").unlink()
    assert project.run("explain", "herding-tiny-1") == 0
    out = capsys.readouterr().out
    told = "herding-tiny-1.small.quick.json  not measured yet\n    would be ⊙ unverified settings: nobody published"
    assert told in out
    assert "  rule = herding  ddpipe/selections/herding.py  Welling, ICML 2009" in out.splitlines()


def test_explain_says_what_a_result_is_worth(project: Project, capsys: Output) -> None:
    assert project.run("explain", "dm-tiny-1") == 0
    out = capsys.readouterr().out
    assert "    ⊙ unverified settings: nobody published anything for tiny\n" in out
    assert "    ○ reduced: augmentation none of color_crop, epochs 1 of 2, protocol again in place of quick," in out
    assert max(len(line) for line in out.partition("\nresults\n")[2].splitlines() if line.startswith("    ")) <= 100


def test_explain_every_cell_of_the_project() -> None:
    found = config.load(TRACKED)
    for cell in found.rows:
        assert explain.cell(found, cell).startswith(f"{cell}: ")


@pytest.mark.parametrize("command", ["--help", "methods", "check", "explain"])
def test_looking_things_up_does_not_wait_for_torch(command: str, project: Project) -> None:
    words = [command, *(["dm-tiny-1"] if command == "explain" else [])]
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "ddpipe.cli", *words],
        **{"cwd": project.root, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True},
    )
    assert done.returncode == 0, done.stderr
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "ddpipe.command" in loaded and not {"torch", "dvc", "matplotlib", "pandas"} & loaded


@pytest.mark.parametrize("package", ["ddpipe", "ddpipe.cli"])
def test_the_package_is_the_command_too(package: str, project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", package, "explain", "dm-tiny-1"],
        **{"cwd": project.root, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "capture_output": True, "text": True},
    )
    assert done.returncode == 0 and done.stdout.startswith("dm-tiny-1: "), done.stderr


def test_the_package_loads_without_torch() -> None:
    script = "import sys, ddpipe; assert 'torch' not in sys.modules; ddpipe.load"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        ddpipe.unknown  # noqa: B018
