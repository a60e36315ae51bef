"""A network trained on the set."""

from typing import Any

from torch import Tensor, nn

from ddpipe.distilled.standalone.criteria import targets
from ddpipe.distilled.standalone.descent import descend


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Train `net` by batches."""
    rules = about["training"]
    descend(net, rules, arrays, targets(rules["criterion"], about, arrays, rules.get("hard", False)))
