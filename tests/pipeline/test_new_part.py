"""A method that nobody published, added by the files of its parts and a recipe: nothing else of the program changes.

Its objective matches mean and variance of each feature of a random network; its students are experts' last snapshots,
so that it needs a buffer as no other students do.
"""

import shutil
import subprocess
import sys

import pytest

from tests.pipeline.project import SOURCE, Project

RECORD = '''
"""Mean and variance of embeddings."""

from typing import Literal

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import NonNegative
from ddpipe.settings.part import Objective
from ddpipe.settings.work import Cell, Operation, Work, times


class Moments(Objective):
    reference = "nobody published it"
    name: Literal["moments"]
    variance: NonNegative = 1.0  # weight of the distance of variances

    def stated(self) -> dict[str, str]:
        return needed("variance")

    def work(self, cell: Cell) -> Work:
        work = cell.siamese() + cell.decode(cell.bases, cell.classes * cell.styles)
        work[Operation("gather", cell.data.shape), cell.real] += cell.classes
        work[cell.operation("forward"), cell.real] += cell.classes
        work[cell.operation("image gradient"), cell.decoded] += cell.classes
        return times(cell.chosen.iterations, work)
'''
MODULE = '''
"""Moments: the embeddings of a class shall have the mean and the variance of the real ones."""

import torch

from ddpipe.objectives import Objective
from ddpipe.objectives.loss import Loss


def moments(features):
    return features.mean(0), features.var(0, unbiased=False)


class Moments(Objective):
    def __init__(self, config, real_batch):
        self.config, self.real_batch = config, real_batch

    def losses(self, synthetic, student, real, augment, rng):
        images, value = synthetic.decode().images, 0
        for label, mine in enumerate(images.split(synthetic.sizes)):
            draw = augment.draw(rng("augment"), 1, *images.shape[-2:])
            theirs = augment(real.sample(label, self.real_batch, rng("real")), draw)
            with torch.no_grad():
                mean, variance = moments(student.network.embed(theirs))
            own = moments(student.network.embed(augment(mine, draw)))
            value = value + (own[0] - mean).square().sum() + self.config.variance * (own[1] - variance).square().sum()
        yield Loss(value.detach(), value)


def make(config, context):
    return Moments(config, context.real_batch)
'''
STUDENTS = '''
"""Networks at the end of their training on real data, as they lie in a buffer."""

from typing import Literal

from ddpipe.settings.part import Students


class GrownStudents(Students):
    reference = "nobody published it"
    name: Literal["grown"]

    @property
    def epochs(self) -> int:
        return 1
'''
GROWN = '''
"""A finished network for every step, drawn from a buffer."""

import torch

from ddpipe.experts.training import restore_
from ddpipe.networks import initialise_
from ddpipe.students import Student
from ddpipe.students.stateless import Stateless


class Grown(Stateless):
    def __init__(self, network, buffer):
        self.network, self.buffer = network, buffer

    def next(self, synthetic, rng, iteration):
        expert = int(torch.randint(len(self.buffer), (), generator=rng("students.grown")))
        initialise_(self.network.train(), rng("students.init"))  # statistics of batch norm are in no snapshot
        return Student(restore_(self.network, self.buffer.snapshot(expert, -1)), number=iteration)


def make(config, context):
    return Grown(context.network, context.buffer)
'''
RECIPE = """
moments:
  paper: Nobody published it
  protocol: dsa
  parts:
    kind: distillation
    revision: 1
    synthetic: {name: pixels, init: real}
    objective: {name: moments, variance: 0.5}
    students: {name: grown}
    augment: none
    outer: {images: {lr: 0.1, momentum: 0.5}}
    iterations: 6
    real_batch: 16
    sets: 1
  cells:
    default: {}
"""
FILES = {
    "ddpipe/settings/objectives/moments.py": RECORD,
    "ddpipe/objectives/moments.py": MODULE,
    "ddpipe/settings/students/grown.py": STUDENTS,
    "ddpipe/students/grown.py": GROWN,
    "ddpipe/methods/moments.yaml": RECIPE,
}


@pytest.fixture
def extended(project: Project) -> Project:
    """The finished clone with the method's files and one row of it in params.yaml."""
    for path, content in FILES.items():
        assert not (project.root / path).exists()
        (project.root / path).write_text(content.lstrip())
    with project.params() as params:
        row = dict(params["grid"].get("dm-digits-1") or row_of(project))
        row |= {"method": "moments", "recipe": "moments", "cell": "default", "needs": "data/prepared/digits"}
        params.setdefault("grid", {})["moments-digits-1"] = row
        params["methods"]["moments"] = {}
        params["experts"]["digits-grown"] = dict(params["experts"]["digits"]) | {"keep": "all", "flat": None}
    return project


def row_of(project: Project) -> dict:
    with project.recipe("dm") as recipe:
        return dict(recipe["grid"]["dm-digits-1"])


def fails(project: Project, *command: str) -> str:
    done = subprocess.run(command, cwd=project.root, env=project.environment(), text=True, capture_output=True)
    assert done.returncode != 0, done.stdout
    return done.stdout + done.stderr


def mistakes(project: Project) -> list[str]:
    """What `ddpipe check` says of the method; the small clone has mistakes of its own, as cells without baselines."""
    said = fails(project, sys.executable, "-m", "ddpipe.cli", "check")
    found = [line for line in said.splitlines() if "moments" in line or "grown" in line]
    return [line for line in found if ": a distilled set of " not in line]


def test_it_is_checked_planned_explained_and_run(extended: Project) -> None:
    [said] = mistakes(extended)
    assert "grid.moments-digits-1.needs: moments (of moments.parts" in said and "name data/experts/<buffer>" in said
    with extended.params() as params:
        network = params["experts"]["digits-grown"]["network"]
        params["grid"]["moments-digits-1"] |= {"student": network, "needs": "data/experts/digits-grown"}
    assert mistakes(extended) == []
    assert "distill@moments-digits-1" in extended.call(sys.executable, "-m", "ddpipe.cli", "plan", "moments-digits-1")
    explained = extended.call(sys.executable, "-m", "ddpipe.cli", "explain", "moments-digits-1")
    assert "ddpipe/objectives/moments.py  nobody published it" in explained
    ran = extended.repro("evaluate@moments-digits-1").ran
    assert {"experts@digits-grown", "distill@moments-digits-1", "evaluate@moments-digits-1"} <= ran
    assert (extended.root / "data/distilled/moments-digits-1/0.safetensors").is_file()


def test_the_contract_suite_tries_it_unasked(extended: Project) -> None:
    for path in ("tests/contexts.py", "tests/tracked.py", "tests/conftest.py", "tests/contracts"):
        source, place = SOURCE / path, extended.root / path
        place.parent.mkdir(exist_ok=True)
        shutil.copytree(source, place) if source.is_dir() else shutil.copy(source, place)
    suite = (
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/contracts/test_parts.py",
        "-k",
        "moments or grown",
    )
    said = extended.call(*suite, "-m", "not slow")
    assert "[100%]" in said and said.count(".") > 100
    (extended.root / "ddpipe/students/grown.py").unlink()
    assert "No module named 'ddpipe.students.grown'" in fails(extended, *suite)
