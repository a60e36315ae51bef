"""What the set must imitate (survey sections 3 and 4), by the `name` of its settings.

The module of an objective has its name: rows of the grid point at that file, so that a change of its mathematics
redistils exactly the cells that use it.
"""

from collections.abc import Callable

from ddpipe.objectives.distribution import DistributionMatching
from ddpipe.objectives.gradient import GradientMatching
from ddpipe.objectives.objective import Objective
from ddpipe.objectives.trajectory import TrajectoryMatching

OBJECTIVES: dict[str, Callable[..., Objective]] = {  # built with (settings, real_batch)
    "gradient": GradientMatching,
    "distribution": DistributionMatching,
    "trajectory": TrajectoryMatching,
}

__all__ = ["OBJECTIVES", "Objective"]
