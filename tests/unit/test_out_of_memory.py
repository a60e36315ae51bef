"""Advice when memory ends: keys that the stage has, and numbers that help."""

import subprocess
import sys

import numpy as np
import pytest

from ddpipe import memory, settings
from ddpipe.evaluation.trouble import explanation
from ddpipe.memory import images_at_once
from tests.contracts.compositions import of
from tests.unit.small_project import ROOT, arrays


def test_whitening_that_cannot_fit_is_refused_before_anything_is_written(monkeypatch, project, capsys):
    monkeypatch.setattr(memory, "machine_memory", lambda: 32 * 64**2 - 1)
    project.set("params.yaml", "datasets.tiny.standardise", "biased")
    project.set("params.yaml", "datasets.tiny.whitening", {})
    before = project.outputs()
    assert project.run("prepare", "tiny") == 2
    assert "datasets.tiny.whitening: images of 8x8 need matrices of 64 x 64" in capsys.readouterr().err
    assert project.outputs() == before
    monkeypatch.setattr(memory, "machine_memory", lambda: 32 * 64**2)
    assert project.run("prepare", "tiny") == 0


def test_large_images_need_what_no_small_machine_has(monkeypatch):
    monkeypatch.setattr(memory, "machine_memory", lambda: 2**34)
    assert "49152 x 49152, 72 GiB, but there are 16" in (memory.oversized_whitening((3, 128, 128)) or "")


@pytest.mark.parametrize(
    ("objective", "pool", "more", "lighter"),
    [
        ("trajectory-full", "experts", {}, {"objective.gradient": "exact"}),
        ("trajectory-chunks", "experts", {}, {"objective.batch": 2, "objective.steps": 2}),
        ("gradient-ours", "fresh", {}, {"real_batch": 3}),
        ("gradient-ours", "fresh", {"real_batch": 1}, {}),
        ("gradient-ours", "trained", {}, {"students.batch": 2, "real_batch": 3}),
        ("gradient-ours", "trained-augmented", {}, {"students.batch": 5, "real_batch": 3}),
        ("distribution", "fresh", {}, {"objective.chunk": 256, "real_batch": 3}),
        (
            "trajectory",
            "experts",
            {"start": "hallucinator", "regulariser": "contrast"},
            {"objective.batch": 5, "objective.steps": 1, "regulariser.batch": 5},
        ),
    ],
)
def test_only_keys_of_the_cell_are_named_and_values_that_take_less(objective, pool, more, lighter):
    assert of(objective, pool, **more).lighter(10) == lighter


def test_check_tells_of_a_whitening_that_cannot_fit(monkeypatch, project, capsys):
    def change(params):
        params["datasets"]["published"] = {"source": "tinyimagenet", "standardise": "none", "whitening": {}}
        params["datasets"]["own"] = {
            **{"source": "folder", "path": "images", "resolution": 96, "grey": True, "flip": False},
            **{"standardise": "none", "whitening": {}, "test_fraction": 0.5},
        }

    project.edit("params.yaml", change)
    monkeypatch.setattr(memory, "machine_memory", lambda: 32 * (3 * 64**2) ** 2)
    project.run("check")
    assert "whitening: images" not in capsys.readouterr().err
    monkeypatch.setattr(memory, "machine_memory", lambda: 2**20)
    assert project.run("check") == 2
    said = capsys.readouterr().err
    assert "datasets.published.whitening: images of 64x64 need matrices of 12288 x 12288" in said
    assert "datasets.own.whitening: images of 96x96 need matrices of 9216 x 9216" in said


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from tests.unit.small_project import Project
torch.set_num_threads(1)
torch.nn.functional.conv2d(torch.rand(64, 1, 8, 8), torch.rand(4, 1, 3, 3))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
page = resource.getpagesize()
now = int(Path("/proc/self/statm").read_text().split()[0]) * page
resource.setrlimit(resource.RLIMIT_AS, (now + 400 * 2**20, -1))
sys.exit(Project(Path(sys.argv[1])).run(*sys.argv[2:]))
"""


def limited(project, *words: str) -> subprocess.CompletedProcess:
    """A stage with 400 MB more than Python and torch need."""
    command = [sys.executable, "-c", LIMITED, str(project.root), *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def enlarge(project, network: str) -> None:
    """Images and a network of which each image takes 64 MB after the first convolution."""
    sizes = {part: len(labels) for part, labels in arrays().items() if part.endswith("labels")}
    rng = np.random.default_rng(0)
    images = {
        part.replace("labels", "images"): rng.integers(0, 256, (n, 64, 64), np.uint8) for part, n in sizes.items()
    }
    project.npz(**images)
    assert project.run("prepare", "tiny") == 0
    project.set(
        "params.yaml",
        f"networks.{network}",
        {"kind": "convnet", "depth": 1, "width": 4000, "norm": "instance", "initialisation": "default"},
    )


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as on Linux")
def test_a_stage_without_memory_names_keys_that_help(project):
    enlarge(project, "small")
    broken = limited(project, "distill", "dm-tiny-1")
    assert broken.returncode == 2, broken.stderr
    assert "out of memory; set methods.dm.objective.chunk to 256 or methods.dm.real_batch to 2" in broken.stderr


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited as on Linux")
def test_an_evaluation_without_memory_names_its_batch(project):
    enlarge(project, "small")
    assert project.run("distill", "random-tiny-1") == 0
    broken = limited(project, "evaluate", "random-tiny-1")
    assert broken.returncode == 2, broken.stderr
    assert "protocols.quick.batch: out of memory with one network and 3 images at once; set it to 1" in broken.stderr


FITTED = """
import torch
from ddpipe.datasets.preprocessing import fit
from ddpipe.settings import Dataset
torch.set_num_threads(1)
images = torch.randint(256, (64, 1, 40, 40), dtype=torch.uint8)
peak = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
fit(images[:, :, :8, :8], Dataset(source="digits", whitening={}))
before = peak()
fit(images, Dataset(source="digits", whitening={}))
print((peak() - before) * 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory as Linux tells it")
def test_a_whitening_takes_what_it_is_said_to():
    done = subprocess.run([sys.executable, "-c", FITTED], cwd=ROOT, capture_output=True, text=True, check=True)
    said = memory.whitening_bytes(40 * 40)
    assert 0.6 * said < int(done.stdout) < said + 2**26  # what does not grow with the matrices


def test_large_images_are_tested_in_smaller_batches():
    assert [images_at_once(3 * side**2) for side in (8, 28, 32, 64, 96, 4096)] == [
        1024,
        1024,
        1024,
        256,
        113,
        1,
    ]


RIDGE = {"kind": "ridge", "regularisation": 1e-6}


def told(rules: settings.Protocol) -> str | None:
    data, examination = type("Data", (), {"n": 9})(), type("Examination", (), {"protocol": rules})()
    return explanation(MemoryError(), examination, "protocols.quick", "set 0", data, 1)


@pytest.mark.parametrize("rules", [settings.Trained(epochs=1, batch=1), settings.Ridge(**RIDGE)])
def test_no_batch_is_set_to_nothing(rules: settings.Protocol):
    said = told(rules)
    assert said and "set it to" not in said and "smaller network" in said


def test_the_batch_is_named_where_it_stands():
    assert str(told(settings.Trained(epochs=1, batch=8))).startswith("protocols.quick.batch: out of memory with one")
    rules = settings.Ridge(**RIDGE, training=settings.SetTraining(epochs=1, batch=8))
    expected = "protocols.quick.training.batch: out of memory with one network and 8 images at once; set it to 4, "
    assert str(told(rules)).startswith(expected)
