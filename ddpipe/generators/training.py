"""Training of a GAN on real images: hinge loss, critic and generator in turns (Brock et al., ICLR 2019).

Every step of the generator comes after `critic_steps` of the critic, each on a real batch in passes over the data and
as many generated images of random classes. What the critic sees, real and generated, goes through one differentiable
augmentation (Zhao et al., NeurIPS 2020): it cannot learn a small data set by heart.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from ddpipe import augmentation, settings
from ddpipe.datasets.passes import Passes
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.datasets.resident import Resident
from ddpipe.generators.networks import Critic, Generator, initialise_
from ddpipe.randomness import Streams
from ddpipe.settings.shapes import Shape
from ddpipe.training import optimizers
from ddpipe.training.loop import Diverged


def plain(channels: int) -> Preprocessing:
    """0..255 to -1..1, the range of what is generated."""
    return Preprocessing(torch.full((channels, 1, 1), 1 / 127.5), torch.full((channels, 1, 1), -1.0))


def critics_loss(real: Tensor, made: Tensor) -> Tensor:
    """Of its scores (n,) and (m,): at least 1 for real images, at most -1 for generated ones."""
    return (1 - real).relu().mean() + (1 + made).relu().mean()


class Adversaries:
    """A GAN that runs to its end step by step (`distillation.running.Running`).

    Args:
        real: images as `plain` preprocesses them.
        flip: False where a mirrored image is another class.
    """

    unit, steps = "step", 1

    def __init__(self, config: settings.Generators, shape: Shape, real: Resident, flip: bool, rng: Streams):
        self.config, self.shape, self.rng, self.device = config, shape, rng, real.labels.device
        self.generator, self.critic = Generator(config, shape), Critic(config, shape)
        for network, purpose in ((self.generator, "generator.init"), (self.critic, "critic.init")):
            initialise_(network, rng(purpose))
            network.to(self.device).train()
        self.averaged = copy.deepcopy(self.generator)
        self.policy, self.real = augmentation.make(config.augment, flip), Passes(real, config.batch)
        self.makes = optimizers.make(config.generator, self.generator.parameters())
        self.judges = optimizers.make(config.critic, self.critic.parameters())
        self.iteration, self.iterations = 0, config.steps
        self.values = torch.zeros(2, device=self.device)  # last losses of critic and generator

    def advance(self) -> None:
        """One step of the generator, and of the critic those before it."""
        for _ in range(self.config.critic_steps):
            self.judge()
        self.make()
        self.iteration += 1

    def judge(self) -> None:
        """A step of the critic, on a real batch and one that is made."""
        images, labels = self.real.next(self.rng("real"))
        with torch.no_grad():
            made, classes = self.generated(len(images))
        scores = self.scored(torch.cat([images, made]), torch.cat([labels, classes]))
        loss = critics_loss(*scores.split(len(images)))
        self.values[0] = loss.detach()
        self.judges.step(torch.autograd.grad(loss, self.judges.parameters))

    def make(self) -> None:
        """A step of the generator, which its average follows."""
        made, classes = self.generated(self.config.batch)
        loss = -self.scored(made, classes).mean()
        self.values[1] = loss.detach()
        self.makes.step(torch.autograd.grad(loss, self.makes.parameters))
        self.average()

    def generated(self, n: int) -> tuple[Tensor, Tensor]:
        """n images of random classes, and these."""
        draw = self.rng("latents")
        latents = torch.randn(n, self.config.noise, generator=draw).to(self.device)
        classes = torch.randint(self.shape.classes, (n,), generator=draw).to(self.device)
        return self.generator(latents, classes), classes

    def scored(self, images: Tensor, classes: Tensor) -> Tensor:
        draw = self.policy.draw(self.rng("augment"), len(images), *images.shape[-2:])
        return self.critic(self.policy(images, draw), classes)

    @torch.no_grad()
    def average(self) -> None:
        """What is handed over follows the generator: weights, statistics and estimates of norms alike."""
        for own, live in zip(floats(self.averaged), floats(self.generator), strict=True):
            own.lerp_(live, 1 - (self.config.average or 0.0))

    def check_finite(self) -> None:
        """Diverged once a loss is not a number: of two that play against each other it is either's step that did it."""
        if self.values.isfinite().all():
            return
        rates = sorted(((getattr(self.config, key).lr, key) for key in ("critic", "generator")), reverse=True)
        named = " or ".join(f"{key}.lr ({lr:g})" for lr, key in rates)
        raise Diverged(
            f"{named}: a loss of the GAN is not a number; lower the first, and if that does not help the next"
        )

    def about(self) -> dict[str, Any]:
        """Its state is tensors alone."""
        return {}

    def parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "critic": self.critic,
            "averaged": self.averaged,
            "makes": self.makes,
            "judges": self.judges,
            "real": self.real,
            "rng": self.rng,
        }

    def state_dict(self) -> dict[str, Tensor]:
        state = {"iteration": torch.tensor(self.iteration)}
        for name, part in self.parts().items():
            state |= {f"{name}/{key}": value for key, value in part.state_dict().items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.iteration = int(state["iteration"])
        for name, part in self.parts().items():
            start = f"{name}/"
            part.load_state_dict({key.removeprefix(start): v for key, v in state.items() if key.startswith(start)})


def floats(network: torch.nn.Module) -> list[Tensor]:
    """All its tensors of real numbers, the buffers too."""
    return [tensor for tensor in network.state_dict().values() if tensor.is_floating_point()]
