"""RTP's memory: its images, its start, its budget, and a set that lies on disk."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import ddpipe
from ddpipe import settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import make
from ddpipe.errors import UserError
from ddpipe.randomness import Streams, generator
from ddpipe.settings.shapes import Shape
from ddpipe.synthetic.memory import Memory, recall, xavier
from tests.contexts import context
from tests.unit.small_project import Project

GREY, COLOUR = Shape(1, 28, 10), Shape(3, 32, 10)
HUNDRED, TINY = Shape(3, 32, 100), Shape(3, 64, 200)


def chosen(bases: int, downsampling: int) -> settings.synthetic.memory.Memory:
    return settings.synthetic.memory.Memory(name="memory", bases=bases, downsampling=downsampling)


def started(bases: int, downsampling: int, ipc: int = 1, side: int = 8, channels: int = 2, classes: int = 3) -> Memory:
    images = torch.randint(256, (4 * classes, channels, side, side), generator=generator("memory")).to(torch.uint8)
    labels = torch.arange(classes).repeat_interleave(4)
    real = Resident(images, labels, fit(images, settings.Dataset(source="digits")))
    made = make(chosen(bases, downsampling), context(real, ipc, rng=Streams("memory", bases)))
    assert isinstance(made, Memory)
    return made


@pytest.mark.parametrize(
    ("shape", "ipc", "bases", "downsampling", "examples"),
    [
        (COLOUR, 1, 16, 2, 115),  # the README's setting
        (GREY, 1, 8, 2, 78),
        (GREY, 1, 32, 2, 4),
        (GREY, 10, 128, 2, 41),
        (GREY, 50, 256, 1, 74),
        (COLOUR, 10, 64, 1, 172),
        (COLOUR, 50, 16, 2, 9523),
        (HUNDRED, 1, 64, 2, 40),
        (HUNDRED, 10, 256, 1, 89),
        (TINY, 1, 16, 1, 706),
        (Shape(1, 14, 10), 1, 8, 2, 19),
    ],
)
def test_addresses_of_a_class_follow_from_the_budget(shape, ipc, bases, downsampling, examples):
    record, budget = chosen(bases, downsampling), ipc * shape.classes * shape.values
    assert record.refusal(shape, ipc) is None and record.examples(shape, ipc) == examples
    floats = record.floats(shape, ipc)
    assert floats <= budget < floats + bases * shape.classes, "one more address of each class does not fit"


def test_the_published_memory_stores_30688_numbers():
    assert chosen(16, 2).floats(COLOUR, 1) == 30_688


@pytest.mark.parametrize("downsampling", [1, 2, 4])
def test_an_image_is_a_weighted_sum_of_bases_enlarged(downsampling):
    draw = generator("recall")
    bases, addresses = (torch.randn(shape, generator=draw, dtype=torch.float64) for shape in ((3, 2, 2, 2), (4, 3)))
    images = recall(bases, addresses, downsampling)
    side = 2 * downsampling
    assert images.shape == (4, 2, side, side)
    for row, image in enumerate(images):
        small = sum(addresses[row, k] * bases[k] for k in range(3))
        for y in range(side):
            for x in range(side):  # pixel centres of the small image, the nearest four, none beyond its border
                at = [min(max((i + 0.5) / downsampling - 0.5, 0.0), 1.0) for i in (y, x)]
                top = small[:, 0, 0] * (1 - at[1]) + small[:, 0, 1] * at[1]
                low = small[:, 1, 0] * (1 - at[1]) + small[:, 1, 1] * at[1]
                torch.testing.assert_close(image[:, y, x], top * (1 - at[0]) + low * at[0])


def test_it_starts_by_xaviers_law_of_both_matrices():
    made = started(8, 2, ipc=4)
    for learned, (rows, columns) in ((made.bases, (8, 2 * 16)), (made.addresses, (len(made), 8))):
        values, bound = learned.detach().flatten(), (6 / (rows + columns)) ** 0.5
        assert 0.9 * bound < values.abs().max() <= bound
        assert abs(values.mean()) < 0.1 * bound and values.std() == pytest.approx(bound / 3**0.5, rel=0.1)
    assert xavier(3, 5, generator("law")).shape == (3, 5)
    assert not torch.equal(started(8, 2, 4).bases, started(7, 2, 4).bases)


def test_examples_of_a_class_lie_together_and_share_all_bases():
    made = started(4, 2, ipc=1)
    r = (3 * 2 * 64 - 4 * 32) // (3 * 4)
    assert made.sizes == [r, r, r] and made.classes.tolist() == [label for label in range(3) for _ in range(r)]
    with torch.no_grad():
        before = made.decode().images.clone()
        made.addresses[r + 2] = 0
        after = made.decode().images
    changed = (before != after).flatten(1).any(1).nonzero().flatten().tolist()
    assert changed == [r + 2] and bool((after[r + 2] == 0).all())


@pytest.mark.parametrize(
    ("bases", "downsampling", "mend"),
    [(40, 2, ("bases", 38)), (100, 1, ("bases", 9)), (4, 3, ("downsampling", 2)), (4, 9, ("downsampling", 7))],
)
def test_a_memory_that_the_budget_or_the_side_does_not_allow_is_refused_with_a_mend(bases, downsampling, mend):
    record = chosen(bases, downsampling)
    said = record.refusal(GREY, 1)
    assert said is not None and said.startswith(f"{mend[0]}: ") and f"set it to {mend[1]}" in said
    assert record.model_copy(update=dict([mend])).refusal(GREY, 1) is None
    if mend[0] == "bases":
        assert record.model_copy(update={"bases": mend[1] + 1}).refusal(GREY, 1) is not None


def test_the_stage_refuses_it_as_check_does():
    with pytest.raises(UserError, match=r"^synthetic\.bases: 11 take 35 numbers each, .* set it to 10 or less$"):
        started(11, 2)
    with pytest.raises(
        UserError, match=r"^synthetic\.downsampling: 3 does not divide a side of 8 pixels; set it to 2$"
    ):
        started(2, 3)


@pytest.fixture
def remembering(project: Project) -> Project:
    """The small project, its DM with a memory of three bases and (192 - 3 * 16) / (3 * 3) = 16 addresses a class."""
    outer = {"images": None, **{group: {"lr": 0.1, "momentum": 0.5} for group in ("bases", "addresses")}}
    change = {"synthetic": {"name": "memory", "bases": 3, "downsampling": 2}, "outer": outer}
    project.set("params.yaml", "methods.dm", change)
    assert project.run("check") == 0
    return project


def test_a_set_that_another_process_reads(remembering: Project, tmp_path: Path) -> None:
    """Loaded, evaluated, drawn, exported, and made again of its codes by who knows no more than the file."""
    assert remembering.run("distill", "dm-tiny-1") == 0
    folder = remembering.root / "data/distilled/dm-tiny-1"
    script = "import sys, ddpipe; made = ddpipe.load(sys.argv[1]); print(len(made), float(made.images.sum()))"
    command = [sys.executable, "-c", script, str(folder)]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    made = ddpipe.load(folder)
    assert int(said[0]) == len(made) == 48 and float(said[1]) == float(made.images.sum())
    assert made.contents is None and made.codes.keys() == {"bases", "addresses"}
    bases, addresses = made.codes["bases"], made.codes["addresses"]
    assert torch.equal(recall(bases, addresses, made.images.shape[-1] // bases.shape[-1]), made.images)
    assert made.targets.argmax(1).tolist() == [row // (len(addresses) // 3) for row in range(48)]
    assert made.info["budget"] == {"floats": 48 + 144, "images_per_class": 1.0}
    assert ddpipe.evaluate(made, networks=1).accuracies
    assert remembering.run("evaluate", "dm-tiny-1") == 0
    assert (remembering.root / "data/results/tiny/dm-tiny-1.png").stat().st_size < 60_000
    out = tmp_path / "out"
    assert remembering.run("export", "dm-tiny-1", str(out)) == 0
    assert len(list(out.glob("pictures/*/*.png"))) == 48
    with np.load(out / "set.npz") as arrays:
        low = (arrays["code_addresses"] @ arrays["code_bases"].reshape(3, -1)).reshape(48, 1, 4, 4)
        again = F.interpolate(torch.from_numpy(low), size=8, mode="bilinear", align_corners=False)
        torch.testing.assert_close(again, torch.from_numpy(arrays["images"]))


def test_check_names_the_key(remembering: Project, capsys: pytest.CaptureFixture[str]) -> None:
    remembering.set("params.yaml", "methods.dm.synthetic.bases", 11)
    assert remembering.run("check") == 2
    said = capsys.readouterr()
    assert (
        "methods.dm.synthetic.bases: 11 take 19 numbers each, with one address for every class" in said.err + said.out
    )
    assert remembering.run("distill", "dm-tiny-1") == 2
    assert "synthetic.bases: 11 take 19 numbers each" in capsys.readouterr().err
    assert not list((remembering.root / "data/checkpoints/distill/dm-tiny-1").glob("*.safetensors"))
    remembering.set("params.yaml", "methods.dm.synthetic.bases", 10)
    assert remembering.run("check") == 0
