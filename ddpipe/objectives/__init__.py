"""What the set must imitate (survey sections 3 and 4): a module for each record in ddpipe/settings/objectives."""

from ddpipe.objectives.objective import Objective

__all__ = ["Objective"]
