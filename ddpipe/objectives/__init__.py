"""What the set must imitate (survey sections 3 and 4), by the `name` of its settings.

The module of an objective has its name: rows of the grid point at that file, so that a change of its mathematics
redistils exactly the cells that use it.
"""

from ddpipe.objectives.distribution import DistributionMatching
from ddpipe.objectives.gradient import GradientMatching

OBJECTIVES = {"gradient": GradientMatching, "distribution": DistributionMatching}  # built with (settings, real_batch)
