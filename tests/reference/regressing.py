"""RFAD and FRePo as the pipeline composes them and as straight lines (krr.py), of any size and with the same draws."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ddpipe import networks, settings
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import Distillation, compose
from ddpipe.randomness import Streams, generator
from tests.contexts import context
from tests.reference.krr import frepo, rfad

LAMB = {"optimizer": "lamb", "lr": 0.003, "betas": [0.9, 0.999], "schedule": {"name": "cosine", "last": 0.1}}


def belief(lr: float) -> dict:
    return {"optimizer": "adabelief", "lr": lr, "betas": [0.9, 0.999]}


@dataclass(frozen=True)
class Scene:
    """Args:
    batch: real images; RFAD takes two such batches.
    """

    method: str
    iterations: int
    flipped: bool = False
    side: int = 8
    depth: int = 2
    width: int = 4
    classes: int = 3
    ipc: int = 2
    each: int = 7  # real images of a class
    batch: int = 9
    pool: int = 3
    life: int = 4
    chunk: int = 1024
    dtype: torch.dtype = torch.float64

    @property
    def architecture(self) -> settings.ConvNet:
        widths = self.width if self.method == "rfad" else tuple(self.width * 2**i for i in range(self.depth))
        norm, law = ("none", "kernel") if self.method == "rfad" else ("flax", "lecun")
        numbers = {"kind": "convnet", "depth": self.depth, "width": widths, "norm": norm, "initialisation": law}
        return settings.ConvNet.model_validate(numbers | {"first_padding": 1})

    @property
    def chosen(self) -> settings.Distillation:
        own: dict = {"iterations": self.iterations, "labels": {"scale": "centred", "learned": self.method == "frepo"}}
        if self.method == "rfad":
            own["synthetic"] = {"name": "transformed"}
            numbers = {"regularisation": 0.005, "criterion": "platt", "passes": False, "batches": 2}
            own["students"] = {"name": "ensemble"}
            own["outer"] = {"images": belief(0.001), "transform": belief(0.00005), "temperature": belief(0.01)}
        else:
            own["synthetic"] = {"name": "pixels"}
            numbers = {"flipped": self.flipped, "margin": True}
            own["students"] = {"name": "pool", "life": self.life, "optimizer": "adam"}
            own["outer"] = {"images": LAMB, "targets": LAMB}
        own["students"] |= {"networks": self.pool, "chunk": self.chunk}
        return settings.Distillation.model_validate(
            own | {"objective": {"name": "ridge", "batch": self.batch} | numbers}
        )

    def resident(self) -> Resident:
        labels = torch.arange(self.classes).repeat(self.each)
        shape = (len(labels), 1, self.side, self.side)
        pixels = torch.randint(60, shape, generator=generator("krr")).to(torch.uint8)
        pixels += (180 // self.classes * labels[:, None, None, None]).to(torch.uint8)
        return Resident(pixels, labels, fit(pixels, settings.Dataset(source="digits"), self.dtype))

    def network(self) -> networks.Classifier:
        return networks.build(self.architecture, 1, self.side, self.classes).to(self.dtype)


def composed(scene: Scene) -> Distillation:
    made = context(scene.resident(), scene.ipc, scene.network(), Streams("krr"), architecture=scene.architecture)
    return compose(scene.chosen, made)


def straight(scene: Scene) -> Iterator[tuple[Tensor, Tensor, float]]:
    """Images (n, c, h, w), targets (n, K) and the loss after each iteration."""
    x, y = (part.detach().clone() for part in composed(scene).synthetic.decode())
    rng, real = Streams("krr"), scene.resident()
    several = [scene.network().train() for _ in range(scene.pool)]
    passes = Passes(real, scene.batch)

    def renew(network: networks.Classifier) -> None:
        networks.initialise_(network.train(), rng("students.init"))

    def drawn() -> tuple[Tensor, Tensor]:
        rows = [torch.randperm(len(real.labels), generator=rng("real"))[: scene.batch] for _ in range(2)]
        return real.batch(torch.cat(rows)), real.labels[torch.cat(rows)]

    def chosen() -> int:
        return int(torch.randint(scene.pool, (), generator=rng("students.pool")))

    if scene.method == "rfad":
        yield from ((images, y, loss) for images, loss in rfad(x, y, several, renew, drawn, 0.005))
    else:
        batch = lambda: passes.next(rng("real"))  # noqa: E731
        steps, life = scene.iterations, scene.life
        yield from frepo(x, y, several, renew, chosen, batch, steps, LAMB["lr"], life, scene.flipped)
