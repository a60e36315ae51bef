"""The outer optimiser: one step on the synthetic set for every loss an objective yields."""

from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.objectives.loss import Loss
from ddpipe.training import clipping, optimizers, schedules
from ddpipe.training.states import joined, load


class Outer:
    """An optimiser of its own for each group of what is learned.

    Args:
        clip: of the gradient of all groups together, before each one's own.
    """

    def __init__(
        self,
        groups: dict[str, list[Tensor]],
        config: dict[str, settings.Optimizer],
        clip: settings.Clip | None = None,
    ):
        if groups.keys() != config.keys():
            raise UserError(f"outer: has {sorted(config)}, but what is learned is {sorted(groups)}; name exactly these")
        self.config, self.clip = config, clipping.make(clip)
        self.optimizers = {name: optimizers.make(config[name], groups[name]) for name in groups}

    def begin(self, number: int, total: int) -> None:
        """Iteration `number` of `total` begins: the groups' schedules count them."""
        for name, optimizer in self.optimizers.items():
            optimizer.lr = schedules.rate(self.config[name], number, total)

    def step(self, loss: Loss) -> None:
        learned = [p for optimizer in self.optimizers.values() for p in optimizer.parameters]
        if not learned:
            return
        gradients = iter(self.clip(list(loss.gradients(learned))))
        for optimizer in self.optimizers.values():
            optimizer.step([next(gradients) for _ in optimizer.parameters])

    def state_dict(self) -> dict[str, Tensor]:
        """`<group>.<name>` -> tensor."""
        return joined(self.optimizers)

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load(self.optimizers, state)
