"""Settings of every part, and small compositions of them; `conftest.py` makes the trajectories that some follow."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.experts.buffer import Buffer, Snapshots, write_about
from ddpipe.generators.networks import Generator, initialise_
from ddpipe.generators.stored import Stored
from ddpipe.pipeline.descriptions import Rows
from ddpipe.randomness import Streams, generator
from ddpipe.settings.part import Part, records
from ddpipe.settings.shapes import Shape
from tests.contexts import context

SIZES = [7, 5, 9]  # training images of each class: unequal, and fewer than a real batch in class 1
SIDE = 8
STRATEGY = "color_crop_cutout_flip_scale_rotate"


def variants(family: str, numbers: dict[str, dict[str, dict]]) -> dict[str, dict]:
    """What the suites try of every part that has a record: its variants below, or its name alone."""
    found = {}
    for name in records(family):
        for variant, changed in numbers.get(name, {"": {}}).items():
            found["-".join(filter(None, [name, variant]))] = {"name": name} | changed
    return found


SYNTHETIC = variants(
    "synthetic",
    {
        "pixels": {"real": {"init": "real"}, "noise": {"init": "noise"}},
        "multiformation": {"": {"factor": 2}, "single": {"factor": 1}, "filled": {"factor": 3}},
        "hallucinator": {"": {"hallucinators": 3}, "grey": {"hallucinators": 2, "channels": 1}},
        "generator": {"": {"batches": 2, "batch": 6, "noise": 4, "hidden": 8, "maps": (6, 4)}},
        "latents": {
            "": {"noise": 4, "width": 1, "start": "inverted"},
            "drawn": {"noise": 3, "width": 2, "start": "drawn"},
        },
        # so many that what the budget leaves for examples divides into two blocks
        "memory": {"": {"bases": 6, "downsampling": 2}},
        "decoder": {
            "": {"codes": 2, "channels": 2, "side": 2, "decoders": 3, "width": 3},
            "cut": {"codes": 4, "channels": 2, "side": 3, "decoders": 1, "width": 2},
        },
    },
)
OBJECTIVE = variants(
    "objectives",
    {
        "gradient": {metric: {"metric": metric} for metric in ("ours", "mse", "cos")}
        | {
            "joint": {"metric": "ours", "scope": "joint", "warmup": {"networks": 3, "updates": 1}, "chunk": 4},
            "both": {"metric": "magnitude", "scope": "both", "warmup": None},
            "sequential": {"metric": "l1", "weights": "convolutions", "sequential": True, "batch": None},
        },
        "ridge": {
            "": {"criterion": "squared-error", "regularisation": 0.01, "flipped": True, "margin": True, "batch": 9},
            "balanced": {"criterion": "mean-squared-error", "regularisation": 0.005},
            "platt": {"criterion": "platt", "regularisation": 0.01, "batch": 5, "passes": False, "batches": 2},
        },
        "distribution": {"": {}, "chunks": {"chunk": 6}, "batch": {"batch": 2}},
        "solve": {"": {"regularisation": 0.01}},
        "reconstruction": {"": {}, "batch": {"batch": 2}},
        "lookahead": {"": {}, "chunks": {"chunk": 5}},
        "features": {"": {}, "chunks": {"earlier": 0.3, "discrimination": 0.1, "chunk": 4}},
        "trajectory": {
            "": {"steps": 3, "lr": 0.05},
            "full": {"steps": 3, "lr": 0.05, "gradient": "full"},
            "chunks": {"steps": 4, "lr": 0.05, "batch": 4, "gradient": "truncated"},
            "soft": {"steps": 2, "lr": 0.05, "soft_labels": True},
        },
        "unroll": {
            "": {"steps": 4, "blocks": 2, "lr": 0.05, "rates": "softplus", "batch": 64},
            "judged": {
                **{"steps": 4, "blocks": 2, "lr": 0.05, "rates": "log", "momentum": 0.5, "momenta": "log"},
                "every": 2,
            },
            "full": {
                "steps": 3,
                "blocks": 1,
                "lr": 0.05,
                "rates": "log",
                "gradient": "full",
                "augment": "reflect:crop",
            },
            "balanced": {"steps": 3, "examples": 4, "lr": 0.05, "momentum": 0.9, "classes": 2},
        },
    },
)
REGULARISER = {"none": None} | variants("regularisers", {"partners": {"": {"weight": 0.3, "batch": 4}}})
STUDENTS = variants(
    "students",
    {
        "trained": {
            "": {"outer_loop": 3, "inner_loop": 2, "momentum": 0.5, "batch": 4},
            "augmented": {"outer_loop": 3, "inner_loop": [2, 1], "augment": STRATEGY},
            "until": {
                "outer_loop": 3,
                "inner_loop": 3,
                "lr": 0.1,
                "until": {"window": 2, "probe": 4, "settled": 0.1, "moved": 0.1},
            },
            "real": {"outer_loop": 3, "inner_loop": 2, "momentum": 0.9, "batch": 4, "on": "real", "cutmix": 0.5},
            "early": {"outer_loop": 2, "start": {"epochs": [1, 3], "perturbed": [0.01, 0.09]}},
        },
        "ensemble": {"": {"networks": 2, "chunk": 7}},
        "infinite": {"": {"kernel": "ntk"}, "nngp": {"kernel": "nngp", "chunk": 9000}},
        "pool": {"": {"networks": 2, "life": 1, "lr": 0.01, "batch": 4, "momentum": 0.5, "chunk": 7}},
        "experts": {"": {"starts": 2, "span": 2}},
        "restarted": {"": {"lr": 0.01, "patience": 1}},
    },
)
EXPERTS, SNAPSHOTS = 2, 43  # of the buffer: enough for every recipe
ARCHITECTURE = settings.ConvNet(kind="convnet", depth=2, width=4)
LIMITED = settings.Plain(kind="plain", layer="convolution", depth=1, width=4, pooled=(1,))  # with a kernel
BUFFERS: dict[str, Buffer] = {}  # filled by conftest.py


def record(family: str, spec: dict) -> type[Part]:
    return records(family)[spec["name"]]


def fits(objective: str, pool: str) -> bool:
    """Whether these students give what this objective needs, by their records."""
    accepts = record("objectives", OBJECTIVE[objective]).accepts
    return accepts <= record("students", STUDENTS[pool]).gives


def serves(regulariser: str, pool: str) -> bool:
    """Whether these students give what this regulariser needs."""
    spec = REGULARISER[regulariser]
    return spec is None or record("regularisers", spec).accepts <= record("students", STUDENTS[pool]).gives


def partner(objective: str) -> str:
    """The first students that serve the objective."""
    return next(pool for pool in sorted(STUDENTS, reverse=True) if fits(objective, pool))


PAIRS = [pair for pair in itertools.product(OBJECTIVE, STUDENTS) if fits(*pair)]
FIRST = {spec["name"]: name for name, spec in reversed(OBJECTIVE.items())}  # one variant of each objective
SOME = [(objective, pool) for objective, pool in PAIRS if objective in FIRST.values()]
SETS = [  # and what is beside them
    ("pixels-real", "none"),
    ("generator", "none"),
    ("memory", "none"),
    ("multiformation", "none"),
    ("decoder", "none"),
    ("latents-drawn", "none"),
    ("hallucinator", "none"),
    ("hallucinator", "contrast"),
]
AUGMENT = ["none", STRATEGY]
STILL = [name for name, spec in SYNTHETIC.items() if not record("synthetic", spec).learned]  # nothing of them moves


def covering(rows: list[tuple]) -> set[tuple]:
    """Few of these rows, taken greedily, in which still meet any two values that meet in one of them."""
    pairs = {row: set(itertools.combinations(enumerate(row), 2)) for row in rows}
    left, few = set().union(*pairs.values()), set()
    while left:
        few.add(best := max(pairs, key=lambda row: len(pairs[row] & left)))
        left -= pairs[best]
    return few


def named(row: tuple) -> str:
    """All names in it, so that `-k` finds a part wherever it stands."""
    return "-".join(name for value in row for name in ([value] if isinstance(value, str) else value))


def every_two(pairs: list[tuple], **factors: Iterable) -> pytest.MarkDecorator:
    """An objective with its pool and these beside: all compositions in the slow tests, else so few that any two meet.

    What breaks is a part, or two that meet: all triples took two thirds of the time of these suites.
    """
    rows = [(*pair, *beside) for pair in pairs for beside in itertools.product(*factors.values())]
    few = covering(rows)
    marked = [pytest.param(*row, id=named(row), marks=() if row in few else pytest.mark.slow) for row in rows]
    return pytest.mark.parametrize(("objective", "pool", *factors), marked)


every_start = pytest.mark.parametrize("start", SYNTHETIC)
every_objective = pytest.mark.parametrize("objective", OBJECTIVE)
every_pool = pytest.mark.parametrize("pool", STUDENTS)
every_norm = pytest.mark.parametrize("norm", ["instance", "batch"])
every_pair = pytest.mark.parametrize(("objective", "pool"), PAIRS)
every_combination = pytest.mark.parametrize(("objective", "pool"), SOME)
every_two_and_a_set = every_two(SOME, beside=SETS)
every_set = pytest.mark.parametrize(("start", "regulariser"), SETS)


def written(folder: Path, network: nn.Module, experts: int, snapshots: int) -> None:
    """Random walks of so many steps from fresh weights, as the buffer of that folder's name."""
    digests: list[list[str]] = []
    for number in range(experts):
        draw = generator("expert", number)
        start = torch.cat([p.detach().flatten().cpu() for p in networks.initialise_(network, draw).parameters()])
        steps = 0.02 * torch.randn(snapshots, len(start), generator=draw)
        with Snapshots(folder / f"{number}.safetensors", (snapshots, len(start)), "float32") as file:
            for row in start + steps.cumsum(0):
                file.append(row)
        digests.append(file.digests)
    stored = Rows(shape=(snapshots, len(start)), dtype="float32", digests=digests)
    write_about(folder, {"buffer": folder.name, "data_checksum": "", "recipe": {}}, stored)


def resident(sizes=tuple(SIZES), dtype: torch.dtype = torch.float32, device: torch.device | str = "cpu") -> Resident:
    labels = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    images = torch.randint(256, (len(labels), 2, SIDE, SIDE), generator=generator("parts", sizes)).to(torch.uint8)
    return Resident(images, labels, fit(images, settings.Dataset(source="digits"), dtype), device)


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
    rates = {"hallucinators": 0.1 * lr, "decoders": 0.1 * lr, "lr": 1e-4 * lr}
    learned = (
        settings_of("synthetic", SYNTHETIC[start]).learned | settings_of("objectives", OBJECTIVE[objective]).learned
    )
    outer = {group: {"lr": rates.get(group, lr), "momentum": 0.5} for group in sorted(learned)}
    return settings.Distillation.model_validate(parts | {"outer": outer} | more)


def settings_of(family: str, spec: dict) -> Part:
    """The settings of one part."""
    return record(family, spec).model_validate(spec)


def gan(real: Resident, chosen: Part) -> Stored | None:
    """A generator of random weights with a latent for every image, if the set decodes by one."""
    if not getattr(chosen, "generated", False):
        return None
    channels, side = real.batch(torch.zeros(1, dtype=torch.int64)).shape[1:3]
    network = Generator(chosen, Shape(channels, side, len(real.class_index)))
    initialise_(network, generator("gan"))
    latents = torch.randn(len(real.labels), chosen.noise, generator=generator("latents"))
    weights = {name: weight.to(real.images.dtype) for name, weight in network.eval().weights().items()}
    latents = latents.to(real.images.dtype)
    device = real.labels.device
    at = {name: weight.to(device) for name, weight in weights.items()}
    return Stored(at, latents.to(device), torch.cat(real.class_index))


def architecture_for(pool: Part, norm: str) -> settings.Network:
    return LIMITED if pool.infinite else ARCHITECTURE.model_copy(update={"norm": norm})


def run_of(
    chosen: settings.Distillation,
    path=(0, "cell", 0),
    ipc: int = 2,
    norm: str = "instance",
    real=None,
    device: torch.device | str = "cpu",
):
    """`ipc` examples of a class; so many training images, where the set is as large as the data."""
    real = real or resident((ipc,) * len(SIZES) if chosen.whole else tuple(SIZES), device=device)
    architecture = architecture_for(chosen.students, norm)
    network = networks.build(architecture, 2, SIDE, len(real.class_index), device)
    buffer = BUFFERS["small" if str(device) == "cpu" else "device"]
    made = context(real, ipc, network, Streams(*path), True, chosen.real_batch, buffer, architecture)
    return compose(chosen, replace(made, generator=gan(real, chosen.synthetic)))


def advanced(run: Distillation, steps: int) -> Distillation:
    for _ in range(steps):
        run.advance()
    return run


def equal(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def learned_by(part) -> list[Tensor]:
    return [tensor for tensors in part.groups().values() for tensor in tensors]
