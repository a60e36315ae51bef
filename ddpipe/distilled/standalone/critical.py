"""A network trained at a share of its largest stable step size."""

from typing import Any

import torch
from torch import Tensor, nn

from ddpipe.distilled.standalone.criteria import targets
from ddpipe.distilled.standalone.descent import descend


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Train `net` by batches, its learning rates times the largest stable one."""
    rules, images = about["training"], arrays["images"]
    count = min(rules["images"], len(images))
    most = 2 * count / (sharpest(net, images[torch.arange(count) * len(images) // count]) + 1e-12)
    scaled = {number: rate * most for number, rate in rules["rates"].items()}
    descend(
        net, rules | {"rates": scaled}, arrays, targets(rules["criterion"], about, arrays, rules.get("hard", False))
    )


def sharpest(net: nn.Module, images: Tensor) -> float:
    """The largest eigenvalue of the tangent kernel of the sum of the logits over the root of their number."""
    logits = net(images)
    outputs = logits.sum(1) / logits.shape[1] ** 0.5
    vector, found = torch.full_like(outputs, len(images) ** -0.5).detach(), 0.0
    for _ in range(100):
        vector.requires_grad_()
        slopes = torch.autograd.grad(outputs @ vector, list(net.parameters()), create_graph=True)
        (image,) = torch.autograd.grad(slopes, vector, [slope.detach() for slope in slopes], retain_graph=True)
        before, found = found, float(image.norm())
        if abs(found - before) <= 1e-4 * found:
            break
        vector = image / found
    return found
