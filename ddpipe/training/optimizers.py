"""Steps along gradients: SGD, Adam, AdamW, LAMB and AdaBelief, with their state in plain tensors.

Why not torch.optim's classes: the first of them costs a process more than a second of imports, which a stage of a few
seconds pays every time; and a state made of tensors alone goes into a checkpoint as it is. With g the gradient,
clipped first if it shall be, p what is learned and w the weight decay; m and s are decaying means, divided by
1 - beta^t as they start at zero:

    sgd        v <- momentum v + g + w p    p <- p - lr v      v starts at zero, no dampening
    adam       m of g + w p, s of its square                   p <- p - lr m / (sqrt(s) + eps)
    adamw      m of g, s of g^2                                p <- p - lr (m / (sqrt(s) + eps) + w p)
    lamb       as adamw, but the bracket is made as long as p, tensor by tensor
    adabelief  m of g + w p, s of (g + w p - m)^2 + eps        p <- p - lr m / (sqrt(s) + eps)

LAMB (You et al., ICLR 2020) is optax's, which FRePo uses: with both corrections, without a clamp, and the bracket left
as it is where a length is zero. AdaBelief (Zhuang et al., NeurIPS 2020) is torch_optimizer's, which RFAD uses.

A step size is a number of Python's that a kernel is called with, and t lies on the CPU. A step that is captured
(captured.py) would keep such numbers for ever: once an optimiser `resides` on a device, both are tensors there.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.training import clipping
from ddpipe.training.clipping import Clip, Each, alone


class Optimizer(ABC):
    """Changes `parameters` in place; `lr` may be set anew before every step.

    Args:
        clip: what becomes of a step's gradients first; `list` leaves them as they are.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, weight_decay: float = 0.0, clip: Clip = list):
        self.parameters, self.weight_decay, self.clip = list(parameters), weight_decay, clip
        self.state: dict[str, Tensor] = {}
        self.rate: Tensor | None = None  # (), float64: what `lr` says, where a captured step reads it
        self.lr = lr

    @property
    def lr(self) -> float:
        return self._lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self._lr = lr
        if self.rate is not None:
            self.rate.fill_(lr)

    def reside(self) -> None:
        """From now on what changes from step to step lies in tensors on the parameters' device: a step reads no more.

        Steps of SGD are then rounded twice in their last bit, where a fused product and sum is rounded once.
        """
        if self.rate is None:
            self.rate = torch.tensor(self.lr, dtype=torch.float64, device=self.parameters[0].device)

    def factor(self, number: float | Tensor) -> float | Tensor:
        """`number`, made of `lr` or of `rate`, as kernels for all parameters take it."""
        return number.to(self.parameters[0].dtype) if isinstance(number, Tensor) else number

    def descend(self, moves: list[Tensor]) -> None:
        """p <- p - lr moves."""
        if self.rate is None:
            torch._foreach_add_(self.parameters, moves, alpha=-self.lr)
        else:
            torch._foreach_sub_(self.parameters, torch._foreach_mul(moves, self.factor(self.rate)))

    def zeros(self, name: str) -> list[Tensor]:
        """A new part of the state, like the parameters."""
        made = [torch.zeros_like(p) for p in self.parameters]
        self.state |= {f"{name}{number}": tensor for number, tensor in enumerate(made)}
        return made

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step along `gradients`, one a parameter, in order; they are left as they are."""
        self.move(self.clip(list(gradients)))

    @abstractmethod
    def move(self, gradients: list[Tensor]) -> None:
        """The step itself."""

    def decayed(self, moves: list[Tensor]) -> list[Tensor]:
        """`moves` and the share of the weights."""
        return list(torch._foreach_add(moves, self.parameters, alpha=self.weight_decay)) if self.weight_decay else moves

    def forget(self) -> None:
        """Start again from rest, as a new optimiser would."""
        for tensor in self.state.values():
            tensor.zero_()

    def state_dict(self) -> dict[str, Tensor]:
        return dict(self.state)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state.items():
            tensor.copy_(state[name])


class Sgd(Optimizer):
    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        momentum: float = 0.0,
        weight_decay: float = 0.0,
        clip: Clip = list,
    ):
        super().__init__(parameters, lr, weight_decay, clip)
        self.momentum = momentum
        self.velocity = self.zeros("") if momentum else []

    def move(self, gradients: list[Tensor]) -> None:
        moves = self.decayed(gradients)
        if self.momentum:
            torch._foreach_mul_(self.velocity, self.momentum)
            torch._foreach_add_(self.velocity, moves)
            moves = self.velocity
        self.descend(moves)


class Moments(Optimizer):
    """What the others share: m, s and t.

    Args:
        each: makes a function of one network's tensors one of those of several.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float = 0.0,
        clip: Clip = list,
        each: Each = alone,
    ):
        super().__init__(parameters, lr, weight_decay, clip)
        self.betas, self.eps, self.each = betas, eps, each
        self.mean, self.square = self.zeros("mean."), self.zeros("square.")
        self.state["count"] = self.count = torch.zeros(())

    def reside(self) -> None:
        super().reside()
        self.state["count"] = self.count = self.count.to(self.parameters[0].device)

    def corrections(self) -> tuple[float | Tensor, float | Tensor]:
        """What m and the root of s are divided by, (), once one more gradient is counted."""
        self.count += 1
        if self.rate is None:
            first, second = (1 - beta ** float(self.count) for beta in self.betas)
            return first, math.sqrt(second)
        one, other = (1 - beta ** self.count.double() for beta in self.betas)
        return one, other.sqrt()

    def direction(self, gradients: list[Tensor], centred: bool = False) -> list[Tensor]:
        """m / (sqrt(s) + eps) with one more gradient in them; `centred`: s of what m does not expect."""
        mean, root = self.moments(gradients, centred)
        return list(torch._foreach_div(torch._foreach_div(self.mean, self.factor(mean)), root))

    def moments(self, gradients: list[Tensor], centred: bool = False) -> tuple[float | Tensor, list[Tensor]]:
        """What m is to be divided by, () and tensor by tensor: 1 - beta^t, and sqrt(s) + eps."""
        first, second = self.betas
        torch._foreach_lerp_(self.mean, gradients, 1 - first)
        parts = torch._foreach_sub(gradients, self.mean) if centred else gradients
        torch._foreach_mul_(self.square, second)
        torch._foreach_addcmul_(self.square, parts, parts, 1 - second)
        if centred:
            torch._foreach_add_(self.square, self.eps)
        mean, square = self.corrections()
        root = list(torch._foreach_div(torch._foreach_sqrt(self.square), self.factor(square)))
        torch._foreach_add_(root, self.eps)
        return mean, root


class Adam(Moments):
    decoupled = False

    def move(self, gradients: list[Tensor]) -> None:
        """torch.optim's, to the bit on a CPU: m is multiplied with one number, lr / (1 - beta^t)."""
        lr = self.lr if self.rate is None else self.rate
        if self.decoupled and self.weight_decay:
            torch._foreach_mul_(self.parameters, self.factor(1 - lr * self.weight_decay))
        mean, root = self.moments(gradients if self.decoupled else self.decayed(gradients))
        if isinstance(size := self.factor(lr / mean), Tensor):
            torch._foreach_sub_(self.parameters, torch._foreach_div(torch._foreach_mul(self.mean, size), root))
        else:
            torch._foreach_addcdiv_(self.parameters, self.mean, root, value=-size)


class AdamW(Adam):
    decoupled = True


class Lamb(Moments):
    def move(self, gradients: list[Tensor]) -> None:
        moves = self.decayed(self.direction(gradients))
        self.descend([self.each(as_long)(move, p) for move, p in zip(moves, self.parameters, strict=True)])


def as_long(move: Tensor, parameter: Tensor) -> Tensor:
    """`move`, made as long as `parameter`; as it is where one of them has no length."""
    own, wanted = torch.linalg.vector_norm(move), torch.linalg.vector_norm(parameter)
    return torch.where((own > 0) & (wanted > 0), wanted / own, torch.ones_like(own)) * move


class AdaBelief(Moments):
    def move(self, gradients: list[Tensor]) -> None:
        self.descend(self.direction(self.decayed(gradients), centred=True))


KINDS: dict[str, type[Moments]] = {"adam": Adam, "adamw": AdamW, "lamb": Lamb, "adabelief": AdaBelief}


def make(config: settings.Optimizer, parameters: Iterable[Tensor], each: Each = alone) -> Optimizer:
    """The optimiser of `config`, at rest.

    Args:
        each: makes a function of one network's tensors one of those given: norms are of one network each.
    """
    clip = clipping.make(config.clip, each)
    if config.optimizer == "sgd":
        return Sgd(parameters, config.lr, config.momentum, config.weight_decay, clip)
    kind = KINDS[config.optimizer]
    return kind(parameters, config.lr, config.betas, config.epsilon, config.weight_decay, clip, each)
