"""The stage `course`: accuracy over iterations, images as they change, and where they lie among real ones."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import ddpipe
from ddpipe import config
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, space
from ddpipe.files.artifacts import file_digest, read_tensors, write_sealed
from ddpipe.pipeline import courses
from ddpipe.randomness import generator
from ddpipe.report import figures, seen
from ddpipe.report.frame import collect
from ddpipe.report.pictures import LIMIT
from ddpipe.report.strip import strip
from tests.unit.small_project import Project

CELL = "dc-tiny-1"
KINDS = ("course.json", "course.png", "space.json")


@pytest.fixture
def watched(project: Project) -> Project:
    """Its set as it began and after one and two of three iterations, judged by two networks."""
    project.set("params.yaml", f"courses.{CELL}.snapshots", [0, 1, 2])
    project.set("params.yaml", "protocols.quick.networks", 2)
    for stage in ("distill", "evaluate", "course"):
        assert project.run(stage, CELL) == 0
    return project


def of(project: Project, kind: str) -> Path:
    return project.root / f"data/results/tiny/{CELL}.{kind}"


def said(project: Project, kind: str = "course.json") -> dict:
    return json.loads(of(project, kind).read_text())


def test_the_last_accuracies_are_those_of_the_result(watched: Project) -> None:
    course = said(watched)
    result = said(watched, "small.quick.json")
    assert course["iterations"] == [0, 1, 2, 3] and course["n"] == 2
    assert course["accuracies"][-1] == result["accuracies"][0]
    for row, mean in zip(course["accuracies"], course["mean"], strict=True):
        assert mean == pytest.approx(sum(row) / 2)


def test_the_others_are_those_of_the_snapshots(watched: Project) -> None:
    """As `ddpipe.evaluate` measures one that was loaded: the networks begin alike at every moment."""
    folder = watched.root / f"data/distilled/{CELL}"
    accuracies = said(watched)["accuracies"]
    for row, at in zip(accuracies, (0, 1, 2, None), strict=True):
        assert list(ddpipe.evaluate(ddpipe.load(folder, at=at)).accuracies) == row
    assert not torch.equal(ddpipe.load(folder, at=0).images, ddpipe.load(folder, at=2).images)
    with pytest.raises(UserError, match=r"holds no snapshot of set 0 after iteration 7 \(of set 0: 0, 1, 2\)"):
        ddpipe.load(folder, at=7)


def test_keeping_snapshots_changes_no_byte_of_the_set(watched: Project, finished_project: Path) -> None:
    files = {path.name: file_digest(path) for path in (watched.root / f"data/distilled/{CELL}").glob("*.safetensors")}
    assert {"0.at-0.safetensors", "0.at-1.safetensors", "0.at-2.safetensors"} < files.keys()
    for path in (finished_project / f"data/distilled/{CELL}").glob("[0-9p]*.safetensors"):
        assert files[path.name] == file_digest(path)


def test_a_killed_distillation_ends_with_the_same_bytes(watched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    from ddpipe.distillation.loop import Distillation

    folder = watched.root / f"data/distilled/{CELL}"
    whole = {path.name: file_digest(path) for path in folder.iterdir()}
    for path in (watched.root / "data/checkpoints/distill").rglob("*.safetensors"):
        path.unlink()
    advance = Distillation.advance

    def killed(run: Distillation) -> None:
        if run.iteration == 2:
            raise KeyboardInterrupt
        advance(run)

    with monkeypatch.context() as patch:
        patch.setattr(Distillation, "advance", killed)
        assert watched.run("distill", CELL) != 0
    [partial] = (watched.root / "data/checkpoints/distill").rglob("*.partial.safetensors")
    assert {"snapshot/0/images", "snapshot/1/images"} <= read_tensors(partial)[0].keys()
    assert watched.run("distill", CELL) == 0
    assert {path.name: file_digest(path) for path in folder.iterdir()} == whole


def test_what_lies_there_is_not_measured_again(watched: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {kind: of(watched, kind).read_bytes() for kind in KINDS}
    for path in (watched.root / "data/checkpoints/course").rglob("*.safetensors"):
        path.unlink()

    def refused(*_: object) -> None:
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(Examination, "scores", refused)
        patch.setattr(space, "neighbourly", refused)
        of(watched, "course.png").unlink()
        assert watched.run("course", CELL) == 0
    assert {kind: of(watched, kind).read_bytes() for kind in KINDS} == before
    of(watched, "course.json").write_text("{}")  # damaged: all is done afresh, to the same bytes
    assert watched.run("course", CELL) == 0
    assert {kind: of(watched, kind).read_bytes() for kind in KINDS} == before


def test_fewer_networks_are_the_first_ones(watched: Project) -> None:
    both = said(watched)["accuracies"]
    watched.set("params.yaml", f"courses.{CELL}.networks", 1)
    assert watched.run("course", CELL) == 0
    assert said(watched)["accuracies"] == [row[:1] for row in both] and said(watched)["std"] == [0.0] * 4


def test_its_points_and_coverage(watched: Project) -> None:
    found = courses.space(config.load(watched.root), CELL)
    assert found is not None
    assert (found.reference, found.synthetic, found.drawn) == (26, 3, 3)  # of 29 images
    assert found.points["set"].classes == found.points["random"].classes == (0, 1, 2)
    assert sorted(set(found.points["real"].classes)) == [0, 1, 2] and len(found.points["real"].classes) == 26
    assert found.neighbours == space.neighbours(26, 3) and 0 <= found.coverage["set"] <= 1


def test_the_report_shows_it(watched: Project) -> None:
    assert watched.run("report", "tiny") == 0
    folder = watched.root / "reports/tiny"
    assert (folder / f"images/{CELL}.course.png").read_bytes() == of(watched, "course.png").read_bytes()
    project = config.load(watched.root)
    frame = collect(project, "tiny")
    curves = seen.curves(project, frame)
    assert curves["iteration"].tolist() == [0, 1, 2, 3] and set(curves["cell"]) == {CELL}
    assert curves["mean"].tolist() == pytest.approx(said(watched)["mean"])
    beside = seen.levels(project, frame, curves)
    assert sorted(beside["method"]) == ["herding", "random"] and set(beside["cell"]) == {CELL}
    drawings = {each.name: each for each in seen.draw(project, "tiny", frame, figures.looks(project), 60)}
    assert drawings.keys() == {"accuracy_vs_iteration", "feature_space"}
    assert f"of {26} real images" in drawings["feature_space"].caption
    for name, drawing in drawings.items():
        assert (folder / f"{name}.png").stat().st_size > 1000 and drawing.svg.startswith("<svg")
    others = frame[frame["cell"] != CELL]
    assert seen.draw(project, "tiny", others, figures.looks(project), 60) == []


@pytest.mark.parametrize(
    ("kind", "change", "told"),
    [
        ("course.json", {"n": 1}, "accuracies must be of 1 networks"),
        ("course.json", {"mean": [0.0, 0.0, 0.0, 0.0]}, "that is not the mean of its accuracies"),
        ("course.json", {"cell": "dm-tiny-1"}, "is of another cell (dm-tiny-1)"),
        ("course.json", {"protocol": "again"}, "is of another evaluation (small, again, not small, quick)"),
        ("space.json", {"classes": ["a", "b"]}, "a point is of a class that is none"),
        ("space.json", {"coverage": {"set": 0.5}}, "coverage and points must be"),
    ],
)
def test_a_damaged_file_is_told(watched: Project, kind: str, change: dict, told: str) -> None:
    content = {key: value for key, value in said(watched, kind).items() if key != "seal"}
    write_sealed(of(watched, kind), content | change)
    read = courses.course if kind == "course.json" else courses.space
    with pytest.raises(UserError) as error:
        read(config.load(watched.root), CELL)
    assert told in str(error.value) and f"delete it and run `dvc repro course@{CELL}`" in str(error.value)


def test_another_picture_is_refused(watched: Project) -> None:
    project = config.load(watched.root)
    assert courses.picture(project, CELL) == of(watched, "course.png").read_bytes()
    of(watched, "course.png").write_bytes(b"")
    with pytest.raises(UserError, match="its SHA-256 is not what was written"):
        courses.picture(project, CELL)


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"snapshots": [0, 4]}, "snapshots: 4 is after the last of 3 iterations"),
        ({"snapshots": [2, 1]}, "snapshots: must ascend, each number once: [1, 2]"),
        ({"snapshots": []}, f"courses.{CELL}.snapshots"),
        ({"experts": "tyni"}, f"courses.{CELL}.experts: 'tyni' is not under experts:; did you mean 'tiny'"),
        ({"data": "other"}, f"courses.{CELL}.data: 'other', but the cell's is 'tiny'; use the cell's"),
        ({"cell": "dc-tiny-2"}, "rename it to 'dc-tiny-2'"),
    ],
)
def test_a_mistaken_entry_is_told(project: Project, capsys: pytest.CaptureFixture[str], entry: dict, told: str) -> None:
    for key, value in entry.items():
        project.set("params.yaml", f"courses.{CELL}.{key}", value)
    assert project.run("check") == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        (
            "random-tiny-1",
            "random (of random.parts, random.cells.tiny-1, methods.random and courses.random-tiny-1) chooses",
        ),
        ("dm-tiny-9", "not under grid"),
    ],
)
def test_a_cell_that_is_not_distilled_has_no_course(
    project: Project, capsys: pytest.CaptureFixture[str], cell: str, told: str
) -> None:
    entry = {"cell": cell, "dataset": "tiny", "data": "tiny", "experts": "tiny", "snapshots": [0]}
    project.set("params.yaml", f"courses.{cell}", entry)
    assert project.run("check") == 2
    assert told in capsys.readouterr().err
    assert project.run("course", "dm-tiny-1") == 2
    assert "no cell 'dm-tiny-1' under courses" in capsys.readouterr().err


def test_coverage_of_points_that_one_can_draw() -> None:
    """Of 0, 1, 3, 7 and 15 the nearest others lie 1, 1, 2, 4 and 8 away, the second ones 3, 2, 3, 6 and 12."""
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0], [15.0]])
    assert space.coverage(real, torch.tensor([[1.5]]), 1) == 2 / 5  # in the balls of 1 and 3
    assert space.coverage(real, torch.tensor([[1.5]]), 2) == 4 / 5  # of all but 15
    assert space.coverage(real, torch.tensor([[2.0]]), 1) == 2 / 5  # on the border of 1's
    assert space.coverage(real, torch.tensor([[100.0]]), 4) == 0
    assert space.coverage(real, torch.tensor([[1.5], [15.0]]), 1) == 3 / 5


def test_coverage_does_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    real, shown = torch.randn(50, 3, generator=generator("real")), torch.randn(7, 3, generator=generator("shown"))
    distances = torch.cdist(real, real).double()
    radius = (distances + torch.diag(torch.full((50,), torch.inf))).sort(1).values[:, 2]
    straight = (torch.cdist(real, shown).amin(1) <= radius).float().mean()
    assert space.coverage(real, shown, 3) == pytest.approx(float(straight))
    monkeypatch.setattr(space, "BLOCK", 8)
    assert space.coverage(real, shown, 3) == pytest.approx(float(straight))


def test_how_many_neighbours_are_half_of_the_real_images() -> None:
    """Against draws: the mean coverage of N real images by M others of their distribution is lemma 2's."""
    shares = []
    for number in range(400):
        points = torch.randn(30, 2, generator=generator("draw", number))
        shares.append(space.coverage(points[:24], points[24:], 3))
    assert np.mean(shares) == pytest.approx(space.expected(24, 6, 3), abs=0.02)
    k = space.neighbours(1287, 10)
    assert space.expected(1287, 10, k) >= 0.5 > space.expected(1287, 10, k - 1)
    with pytest.raises(UserError, match="1 real images are left beside a selection of 3"):
        space.neighbours(1, 3)


def test_planes_repeat_bit_by_bit() -> None:
    real = torch.randn(40, 5, generator=generator("real"))
    first, again = (space.neighbourly([real, real[:3] + 1], generator("seed")) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True)) and first[1].shape == (3, 2)
    (plane,), explained = space.principal(real, [real[:2]])
    values = torch.linalg.svdvals((real - real.mean(0)).double()) ** 2
    assert explained == pytest.approx((values[:2] / values.sum()).tolist())
    assert plane.shape == (2, 2)


def test_a_selection_is_as_many_of_each_class_and_no_reference() -> None:
    labels = torch.arange(90) % 3
    found = space.rows(labels, 3, 4, generator("rows"))
    assert labels[found.drawn].bincount().tolist() == [4, 4, 4]
    assert sorted([*found.drawn.tolist(), *found.reference.tolist()]) == list(range(90))
    assert set(found.looked_at.tolist()) <= set(found.reference.tolist())


def test_a_strip_shows_every_moment_and_stays_small() -> None:
    rng = np.random.default_rng(0)
    small = strip([np.full((2, 1, 8, 8), grey, np.float32) for grey in (0.0, 1.0)], ["zero", "one"], ["0", "10"])
    with Image.open(io.BytesIO(small)) as image:
        grey = np.asarray(image.convert("L"))
    assert (grey == 255).sum() == 2 * 40 * 40 and (grey == 0).sum() > 2 * 40 * 40  # with the letters
    noise = [rng.random((10, 3, 64, 64), dtype=np.float32) for _ in range(7)]
    large = strip(noise, [f"class {i}" for i in range(10)], [str(10**i) for i in range(7)])
    assert len(large) < LIMIT and large == strip(
        noise, [f"class {i}" for i in range(10)], [str(10**i) for i in range(7)]
    )


def test_a_shorter_run_leaves_out_the_snapshots_that_it_no_longer_reaches(project: Project) -> None:
    project.set("params.yaml", "courses.dc-tiny-1.snapshots", [0, 1, 3])
    assert config.load(project.root).resolved("dc-tiny-1").snapshots == (0, 1, 3)
    project.set("params.yaml", "methods.dc", {"iterations": 2})
    assert config.load(project.root).resolved("dc-tiny-1").snapshots == (0, 1)
