"""GAN inversion: the latent whose image looks most like a given real one, in pixels and in features.

Each latent goes its own way down

    mean over the pixels of (G(z) - x)^2  +  features * mean over the features of (psi(G(z)) - psi(x))^2

in the run's pixel space, psi the embedding of a trained network, from a standard normal start. IT-GAN (Zhao and Bilen,
2022) says that both are matched; how they are weighed is unverified.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.datasets.resident import Resident
from ddpipe.generators.decoding import Weights, decoded, levels
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.training import optimizers, schedules
from ddpipe.training.loop import Diverged


def unlikeness(
    images: Tensor, wanted: Tensor, embed: Callable[[Tensor], Tensor], features: Tensor, weight: float
) -> Tensor:
    """(n,) of what inversion makes small.

    Args:
        images, wanted: (n, c, h, w) in the run's pixel space.
        features: (n, F) of the wanted ones.
    """
    return (images - wanted).square().flatten(1).mean(1) + weight * (embed(images) - features).square().mean(1)


class Inversion:
    """The latents of all training images, some at a time, step by step (`distillation.running.Running`).

    Args:
        rows: (N,) of the real images; the latents have their order.
        weights: of the generator.
        network: whose embedding has the features; in evaluation mode.
    """

    unit, steps = "step", 1

    def __init__(
        self,
        config: settings.Inversion,
        real: Resident,
        rows: Tensor,
        weights: Weights,
        network: Classifier,
        rng: Streams,
    ):
        self.config, self.real, self.rows, self.weights, self.network = config, real, rows, weights, network
        device = real.labels.device
        self.classes = real.labels[rows.to(device)]
        noise = weights["linear.weight"].shape[1]
        self.latents = torch.randn(len(rows), noise, generator=rng("inversion")).to(device)
        self.chunks = torch.arange(len(rows)).split(config.batch)
        self.iteration, self.iterations = 0, len(self.chunks) * config.steps
        self.value = torch.zeros((), device=device)  # of the last step, summed over its latents
        self.begin()

    def begin(self) -> None:
        """The latents at hand, as a tensor of their own, and their optimiser at rest."""
        chunk = self.chunks[min(self.iteration // self.config.steps, len(self.chunks) - 1)]
        self.own = self.latents[chunk].clone().requires_grad_()
        self.optimizer = optimizers.make(self.config, [self.own])
        self.wanted, self.labels = self.real.batch(self.rows[chunk]), self.classes[chunk]
        with torch.no_grad():
            self.features = self.network.embed(self.wanted)

    def advance(self) -> None:
        number, config = self.iteration % self.config.steps, self.config
        self.optimizer.lr = schedules.rate(config, number, config.steps)
        made = decoded(self.own, self.labels, self.weights, self.wanted.shape[-1])
        images = self.real.preprocessing.transform(levels(made))
        loss = unlikeness(images, self.wanted, self.network.embed, self.features, config.features).sum()
        self.value = loss.detach()
        self.optimizer.step(torch.autograd.grad(loss, [self.own]))
        self.latents[self.chunks[self.iteration // config.steps]] = self.own.detach()
        self.iteration += 1
        if self.iteration % config.steps == 0:  # so that the state is always that of the next step's latents
            self.begin()

    def check_finite(self) -> None:
        """Diverged once latents are not finite."""
        if not self.latents.isfinite().all() or not self.value.isfinite():
            raise Diverged(f"inversion.lr: inversion with {self.config.lr} gave latents that are not numbers; lower it")

    def about(self) -> dict[str, Any]:
        """Its state is tensors alone."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        own = {f"optimizer/{name}": value for name, value in self.optimizer.state_dict().items()}
        return {"iteration": torch.tensor(self.iteration), "latents": self.latents} | own

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.iteration = int(state["iteration"])
        self.latents.copy_(state["latents"])
        self.begin()
        own = {name.removeprefix("optimizer/"): v for name, v in state.items() if name.startswith("optimizer/")}
        self.optimizer.load_state_dict(own)
