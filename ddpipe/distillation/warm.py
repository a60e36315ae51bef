"""A start before the first iteration: another objective, with optimisers of its own that the iterations do not inherit.

Its iterations are the run's like all others: counted, checkpointed and not repeated. No student judges them.
"""

from torch import Tensor

from ddpipe.distillation.outer import Outer
from ddpipe.objectives import Objective
from ddpipe.training.states import Stateful, joined, load


class Warm:
    def __init__(self, objective: Objective, outer: Outer, iterations: int):
        self.objective, self.outer, self.iterations = objective, outer, iterations

    def parts(self) -> dict[str, Stateful]:
        return {"objective": self.objective, "outer": self.outer}

    def state_dict(self) -> dict[str, Tensor]:
        return joined(self.parts())

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        load(self.parts(), state)
