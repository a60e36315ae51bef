"""A start before the first iteration: another objective, with optimisers of its own that the iterations do not inherit.

Its iterations are the run's like all others: counted, checkpointed and not repeated. No student judges them.
"""

from torch import Tensor

from ddpipe.distillation.outer import Outer
from ddpipe.objectives import Objective


class Warm:
    def __init__(self, objective: Objective, outer: Outer, iterations: int):
        self.objective, self.outer, self.iterations = objective, outer, iterations

    def state_dict(self) -> dict[str, Tensor]:
        parts: dict[str, Objective | Outer] = {"objective": self.objective, "outer": self.outer}
        return {f"{part}.{name}": value for part, kept in parts.items() for name, value in kept.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        parts: dict[str, dict[str, Tensor]] = {"objective": {}, "outer": {}}
        for key, value in state.items():
            part, _, name = key.partition(".")
            parts[part][name] = value
        self.objective.load_state_dict(parts["objective"])
        self.outer.load_state_dict(parts["outer"])
