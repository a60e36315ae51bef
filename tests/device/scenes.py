"""What the guard counts: an iteration of the published methods, a pass of experts and of evaluated networks.

Networks, classes and steps are those of MNIST's cells; images and widths are small, as no count depends on them.
`python -m tests.device.scenes` prints the table.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F

from ddpipe import config, networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.evaluation import Examination, TrainingSet
from ddpipe.experts.buffer import Buffer
from ddpipe.experts.training import Cohort, real_batches
from ddpipe.randomness import Streams, generator
from ddpipe.training.batch import Batch, rows_of
from tests.contexts import context
from tests.contracts.compositions import written
from tests.device.guard import Counts, at_work, counted, set_up
from tests.tracked import TRACKED

SIDE, PER_CLASS = 8, 12
NETWORK = settings.ConvNet(kind="convnet", depth=3, width=4)


class Scene(NamedTuple):
    """A cell of a recipe, of so many classes; `changed` numbers of its parts."""

    recipe: str
    ipc: int
    classes: int = 10
    changed: dict[str, Any] = {}
    before: int = 0  # iterations that are not counted: 1 where the second trains the student


SCENES = {
    "dm 1": Scene("dm", 1),
    "dm 1, 100 classes": Scene("dm", 1, 100),
    "dc 1": Scene("dc", 1),
    "dc 10": Scene("dc", 10, before=1),
    "dsa 10": Scene("dsa", 10, before=1),
    "mtt 1": Scene("mtt", 1),
    "tesla 1": Scene("tesla", 1),
    "idc 1": Scene("idc", 1, changed={"students": {"inner_loop": 5}}, before=1),
    "dcc 1": Scene("dcc", 1),
    "cafe 1": Scene("cafe", 1, before=1),
    "kfs 10": Scene("kfs", 10, before=1),
    "haba 1": Scene("haba", 1, changed={"objective": {"steps": 5}}),
    "dd 1": Scene("dd", 1, changed={"objective": {"steps": 5}}),
    "ld 1": Scene("ld", 1, before=1),
    "frepo 1": Scene("frepo", 1, before=1),
    "rfad 1": Scene("rfad", 1, changed={"students": {"networks": 2}}),
}
TRAINING = {"lr": 0.01, "batch": 5, "augment": "color_crop_cutout_flip_scale_rotate"}
EXPERTS = {"data": "none", "network": "none", "networks": 1, "epochs": 3, "momentum": 0.0} | TRAINING
PASSES: dict[str, tuple[str, dict[str, Any], int]] = {  # kind, numbers, networks at once
    "expert": ("experts", {}, 1),
    "expert, flat": ("experts", {"flat": {"rho": 0.05, "alpha": 0.5}}, 1),
    "experts, three": ("experts", {}, 3),
    "evaluation": ("evaluation", {}, 1),
    "evaluation, older": ("evaluation", {"augment": "older:crop_scale_rotate"}, 1),
    "evaluation, three": ("evaluation", {}, 3),
}


def images_of(classes: int, device: torch.device | str, per_class: int = PER_CLASS) -> Resident:
    labels = torch.arange(classes).repeat_interleave(per_class)
    images = torch.randint(256, (len(labels), 1, SIDE, SIDE), generator=generator("guard")).to(torch.uint8)
    return Resident(images, labels, fit(images, settings.Dataset(source="digits")), device)


def composed(scene: Scene, device: torch.device | str) -> Distillation:
    recipe = config.load(TRACKED).recipes[scene.recipe]
    layers = [("parts", recipe.parts), *recipe.layers("default", scene.ipc), ("changed", scene.changed)]
    chosen = config.resolve(layers)
    assert isinstance(chosen, settings.Distillation)
    network = networks.build(NETWORK, 1, SIDE, scene.classes, device)
    with tempfile.TemporaryDirectory() as folder:
        buffer = None
        if chosen.epochs:
            written(Path(folder), network, 1, chosen.epochs + 1)
            buffer = Buffer(Path(folder), device)
        real = images_of(scene.classes, device)
        return compose(
            chosen,
            context(real, scene.ipc, network, Streams("guard"), False, chosen.real_batch, buffer, NETWORK),
        )


def examined(numbers: dict[str, Any], together: int, device: torch.device | str) -> Callable[[], Any]:
    """Networks evaluated on a small set."""
    test = images_of(10, device)
    images = torch.randn(20, 1, SIDE, SIDE, generator=generator("set")).to(device)
    targets = F.one_hot(torch.arange(20) % 10, 10).float().to(device)
    data = TrainingSet(rows_of(Batch(images, targets)), 20)
    protocol = settings.Trained.model_validate({"epochs": 3} | TRAINING | numbers)
    examination = Examination(NETWORK, protocol, test, 10, False)
    return lambda: examination.scores(data, [Streams("guard", number) for number in range(together)])


def expert(numbers: dict[str, Any], together: int, device: torch.device | str) -> Cohort:
    real = images_of(10, device, 2)
    network = networks.build(NETWORK, 1, SIDE, 10, device)
    streams = [Streams("guard", number) for number in range(together)]
    chosen = settings.Experts.model_validate(EXPERTS | numbers)
    return Cohort(chosen, network, real_batches(real, 10), len(real.labels), False, streams)


def iteration(scene: Scene, times: int = 1) -> tuple[Counts, int]:
    """What so many iterations of a method ask for, after the first ones of it."""
    run = composed(scene, set_up())
    for _ in range(scene.before):
        run.advance()
    with counted() as counts:
        for _ in range(times):
            run.advance()
    return counts, times


def one_pass(kind: str, numbers: dict[str, Any], together: int) -> tuple[Counts, int]:
    """What a pass asks for, less the first one; of evaluated networks all three with the test."""
    if kind == "experts":
        made = expert(numbers, together, set_up())
        work, times = made.advance, 1
    else:
        work, times = examined(numbers, together, set_up()), 3
    work()
    with counted() as counts:
        work()
    return counts, times


if __name__ == "__main__":
    import sys

    torch.set_num_threads(1)
    for name in [name for name in (*SCENES, *PASSES) if not sys.argv[1:] or name in sys.argv[1:]]:
        with at_work():
            counts, times = iteration(SCENES[name]) if name in SCENES else one_pass(*PASSES[name])
        print(f'    "{name}": ({", ".join(str(round(n / times)) for n in counts.totals())}),', flush=True)
        if sys.argv[1:]:
            for title in ("copies", "waits", "operations"):
                for what, n in getattr(counts, title).most_common(40):
                    print(f"        {title} {n / times:8.1f} {what}")
