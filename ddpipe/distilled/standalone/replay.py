"""The steps by which the set was learned, taken again."""

from typing import Any

import torch
from torch import Tensor, nn

from ddpipe.distilled.standalone.criteria import CRITERIA, targets


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """One step on a block of the set for each learned step size and momentum, over the blocks in order."""
    rules, images = about["training"], arrays["images"]
    goals = targets(rules["criterion"], about, arrays)
    numbers = arrays.get("hint_blocks", torch.zeros(len(images), device=images.device))
    rates = arrays["hint_lr"]
    kept = arrays.get("hint_momentum", torch.zeros_like(rates))
    velocities = [torch.zeros_like(p) for p in net.parameters()]
    for t, (lr, momentum) in enumerate(zip(rates.tolist(), kept.tolist(), strict=True)):
        rows = numbers == t % (int(numbers.max()) + 1)
        loss = CRITERIA[rules["criterion"]](net(images[rows]), goals[rows])
        moves = torch.autograd.grad(loss, list(net.parameters()))
        with torch.no_grad():
            for p, velocity, move in zip(net.parameters(), velocities, moves, strict=True):
                velocity.mul_(momentum).add_(move)
                p.sub_(lr * velocity)
