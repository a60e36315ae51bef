"""What the commands of ddpipe print and write. Their mistakes are in test_errors.py, `plan` in tests/pipeline."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddpipe
from ddpipe import config, distilled, explain
from ddpipe.explain import short
from ddpipe.export import export, folder_names
from tests.unit.small_project import INFO, ROOT, Project, plain

Output = pytest.CaptureFixture[str]


def test_methods(project: Project, capsys: Output) -> None:
    project.set("params.yaml", "methods.dm", {"iterations": 5, "outer": {"images": {"lr": 2.0}}})
    project.set("params.yaml", "methods.dm-short", {"base": "dm"})
    assert project.run("methods") == 0
    head, *lines = (line.split("  ") for line in capsys.readouterr().out.splitlines())
    rows = {line[0]: [word.strip() for word in line if word] for line in lines}
    assert [word.strip() for word in head if word][:3] == ["METHOD", "OBJECTIVE", "SYNTHETIC"]
    assert rows["dm"][1:] == [
        *("distribution", "pixels", "fresh", "quick", "1", "iterations: 5, outer.images.lr: 2.0", "A paper")
    ]
    assert rows["dc"][1:] == ["gradient", "pixels", "trained", "quick", "1", "as published", "A paper"]
    assert rows["herding"][1:4] == ["herding (selection)", "real images", "-"]
    assert rows["dm-short"][5:7] == ["0", "base: dm"]


def test_a_long_citation_is_cut_at_a_word() -> None:
    assert short("A paper") == "A paper"
    assert short("word " * 40) == "word " * 15 + "..."


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
        "norm = instance default",
        "protocol quick on tiny",
        "epochs = 2 params.yaml:protocols.quick.exceptions.tiny",
        "batch = 8 params.yaml:protocols.quick",
        "protocol again on tiny",
        "ddpipe/objectives/distribution.py",
        "ddpipe/synthetic/pixels.py",
        "dvc repro evaluate@dm-tiny-1 # with everything it needs",
        "dvc repro further@dm-tiny-1-other-again",
        "data/distilled/dm-tiny-1",
        "The first choice.",
        "The second.",
    ):
        assert expected in lines, out
    assert any(line.startswith("data/results/tiny/dm-tiny-1.small.quick.json ") and "n = 1" in line for line in lines)


def test_explain_says_what_is_unverified(project: Project, capsys: Output) -> None:
    project.set("ddpipe/methods/dm.yaml", "dm.unverified", {"tiny-1": "Nobody published it.", "default": "Nor that."})
    assert project.run("explain", "dm-tiny-1") == 0
    assert "\nunverified\n  Nobody published it.\n\nnotes\n" in capsys.readouterr().out
    assert project.run("explain", "dc-tiny-1") == 0
    assert "unverified" not in capsys.readouterr().out


def test_explain_what_never_ran(project: Project, capsys: Output) -> None:
    (project.root / "data/results/tiny/herding-tiny-1.small.quick.json").unlink()
    assert project.run("explain", "herding-tiny-1") == 0
    out = capsys.readouterr().out
    assert "herding-tiny-1.small.quick.json  not measured yet" in out
    assert out.splitlines().count("  ddpipe/coresets.py") == 1  # named once though it is objective and synthetic


def test_explain_every_cell_of_the_project() -> None:
    found = config.load(ROOT)
    for cell in found.rows:
        assert explain.cell(found, cell).startswith(f"{cell}: ")


def test_export(project: Project, capsys: Output) -> None:
    assert project.run("export", "dm-tiny-1", "out") == 0
    assert "clamped" in capsys.readouterr().out
    out, chosen = project.root / "out", ddpipe.load(project.root / "data/distilled/dm-tiny-1")
    assert sorted(str(p.relative_to(out)) for p in out.rglob("*") if p.is_file()) == [
        *("0/0.png", "1/1.png", "2/2.png", "set.npz")
    ]
    with np.load(out / "set.npz", allow_pickle=False) as arrays:
        assert np.array_equal(arrays["images"], chosen.images.numpy()) and arrays["images"].dtype == np.float32
        assert np.array_equal(arrays["targets"], chosen.targets.numpy())
        assert arrays["classes"].tolist() == ["0", "1", "2"]
        assert arrays["pixels"].shape == (3, 8, 8, 1) and arrays["pixels"].dtype == np.uint8
        with Image.open(out / "1/1.png") as picture:
            assert picture.mode == "L" and np.array_equal(np.asarray(picture), arrays["pixels"][1, :, :, 0])


def test_export_of_a_path_and_another_set(project: Project) -> None:
    folder = project.root / "data/distilled/random-tiny-1"
    assert project.run("export", str(folder), "out", "--set", "1") == 0
    with np.load(project.root / "out/set.npz") as arrays:
        assert np.array_equal(arrays["images"], ddpipe.load(folder, 1).images.numpy())


def test_export_in_colour_with_awkward_class_names(tmp_path: Path) -> None:
    images = torch.tensor([-0.5, 0.6, 1.5]).view(1, 3, 1, 1).expand(3, 3, 4, 4)
    info = INFO | {"classes": ["a/b", "..", "a:b"]}
    distilled.write(tmp_path / "set", info, plain(3), [{"images": images, "targets": torch.eye(3)}])
    assert "reach from -0.50 to 1.50" in export(tmp_path / "set", tmp_path / "out")
    with Image.open(tmp_path / "out/a_b_0/0.png") as picture:
        assert picture.mode == "RGB" and picture.getpixel((0, 0)) == (0, 153, 255)
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"a_b_0", "_", "a_b_2", "set.npz"}


def test_folder_names_differ() -> None:
    assert folder_names(("cat", "dog")) == ["cat", "dog"]
    assert folder_names(("é", "..", ".git", "a b")) == ["é", "_", "git", "a_b"]


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


def test_the_package_loads_without_torch() -> None:
    script = "import sys, ddpipe; assert 'torch' not in sys.modules; ddpipe.load"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
    with pytest.raises(AttributeError, match="no attribute 'unknown'"):
        ddpipe.unknown  # noqa: B018
