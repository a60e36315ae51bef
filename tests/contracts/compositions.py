"""Settings of every part, and small compositions of them; `conftest.py` makes the trajectories that some follow."""

import itertools
from typing import Annotated

import pytest
import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.experts.buffer import Buffer
from ddpipe.randomness import Streams, generator

SIZES = [7, 5, 9]  # training images of each class: unequal, and fewer than a real batch in class 1
SIDE = 8
STRATEGY = "color_crop_cutout_flip_scale_rotate"

SYNTHETIC = {
    "pixels-real": {"name": "pixels", "init": "real"},
    "pixels-noise": {"name": "pixels", "init": "noise"},
    "hallucinator": {"name": "hallucinator", "hallucinators": 3},
    "hallucinator-grey": {"name": "hallucinator", "hallucinators": 2, "channels": 1},
}
OBJECTIVE = {
    "gradient-ours": {"name": "gradient"},
    "gradient-mse": {"name": "gradient", "metric": "mse"},
    "gradient-cos": {"name": "gradient", "metric": "cos"},
    "distribution": {"name": "distribution"},
    "distribution-chunks": {"name": "distribution", "chunk": 6},
    "trajectory": {"name": "trajectory", "steps": 3, "lr": 0.05},
    "trajectory-full": {"name": "trajectory", "steps": 3, "lr": 0.05, "gradient": "full"},
    "trajectory-chunks": {"name": "trajectory", "steps": 4, "lr": 0.05, "batch": 4, "gradient": "truncated"},
    "trajectory-soft": {"name": "trajectory", "steps": 2, "lr": 0.05, "soft_labels": True},
}
REGULARISER = {"none": None, "contrast": {"name": "contrast"}}
STUDENTS = {
    "fresh": {"name": "fresh"},
    "trained": {"name": "trained", "outer_loop": 3, "inner_loop": 2, "momentum": 0.5, "batch": 4},
    "trained-augmented": {"name": "trained", "outer_loop": 2, "inner_loop": 1, "augment": STRATEGY},
    "experts": {"name": "experts", "starts": 2, "span": 2},
}
EXPERTS, SNAPSHOTS = 2, 43  # of the buffer: enough for every recipe
ARCHITECTURE = settings.ConvNet(kind="convnet", depth=2, width=4)
BUFFERS: dict[str, Buffer] = {}  # filled by conftest.py

MATCHING = [name for name in OBJECTIVE if not name.startswith("trajectory")]
FOLLOWING = [name for name in OBJECTIVE if name.startswith("trajectory")]
GROWING = [name for name in STUDENTS if name != "experts"]  # students with weights of their own
PAIRS = [*itertools.product(MATCHING, GROWING), *itertools.product(FOLLOWING, ["experts"])]
SOME = [*itertools.product(["gradient-ours", "distribution-chunks"], GROWING), ("trajectory", "experts")]
SETS = [("pixels-real", "none"), ("hallucinator", "none"), ("hallucinator", "contrast")]  # and what is beside them

every_start = pytest.mark.parametrize("start", SYNTHETIC)
every_objective = pytest.mark.parametrize("objective", OBJECTIVE)
every_pool = pytest.mark.parametrize("pool", STUDENTS)
every_augment = pytest.mark.parametrize("augment", ["none", STRATEGY])
every_norm = pytest.mark.parametrize("norm", ["instance", "batch"])
every_pair = pytest.mark.parametrize(("objective", "pool"), PAIRS)
every_combination = pytest.mark.parametrize(("objective", "pool"), SOME)
every_set = pytest.mark.parametrize(("start", "regulariser"), SETS)


def resident(sizes=tuple(SIZES), dtype: torch.dtype = torch.float32) -> Resident:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    images = torch.randint(256, (len(labels), 2, SIDE, SIDE), generator=generator("parts", sizes)).to(torch.uint8)
    return Resident(images, labels, fit(images, settings.Dataset(source="digits"), dtype))


def of(
    objective: str = "gradient-ours",
    pool: str = "fresh",
    augment: str = "none",
    start: str = "pixels-real",
    regulariser: str = "none",
    lr: float = 0.1,
    **more,
):
    parts = {
        "synthetic": SYNTHETIC[start],
        "objective": OBJECTIVE[objective],
        "regulariser": REGULARISER[regulariser],
        "students": STUDENTS[pool],
        "augment": augment,
        "iterations": 8,
        "real_batch": 6,
    }
    rates = {"images": lr, "bases": lr, "hallucinators": 0.1 * lr, "lr": 1e-4 * lr}
    learned = settings_of(parts["synthetic"]).learned | settings_of(parts["objective"]).learned
    outer = {group: {"lr": rates[group], "momentum": 0.5} for group in sorted(learned)}
    return settings.Distillation.model_validate(parts | {"outer": outer} | more)


def settings_of(spec: dict):
    """The settings of one synthetic set or objective."""
    fields = settings.Distillation.model_fields
    kinds = fields["synthetic"].annotation | fields["objective"].annotation
    return TypeAdapter(Annotated[kinds, Field(discriminator="name")]).validate_python(spec)


def run_of(chosen: settings.Distillation, path=(0, "cell", 0), ipc: int = 2, norm: str = "instance", real=None):
    real = real or resident()
    architecture = ARCHITECTURE.model_copy(update={"norm": norm})
    network = networks.build(architecture, 2, SIDE, len(real.class_index))
    return compose(chosen, ipc, real, network, True, Streams(*path), BUFFERS["small"])


def advanced(run: Distillation, steps: int) -> Distillation:
    for _ in range(steps):
        run.advance()
    return run


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def learned_by(part) -> list[Tensor]:
    return [tensor for tensors in part.groups().values() for tensor in tensors]
