"""Ridge regression in the features of a network."""

from typing import Any

import torch
from torch import Tensor, nn

from ddpipe.distilled.standalone.criteria import targets
from ddpipe.distilled.standalone.descent import descend


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Train `net` if the rules say so, then give it its last layer."""
    rules = about["training"]
    if how := rules["training"]:
        descend(net, how, arrays, targets(how["criterion"], about, arrays, how.get("hard", False)))
    give_head(net.eval(), rules["regularisation"], arrays["images"], targets("squared-error", about, arrays))


@torch.no_grad()
def give_head(net: nn.Module, regularisation: float, images: Tensor, targets: Tensor) -> None:
    """Put the ridge regression of the targets on what enters the last layer in the place of that layer."""
    entering: list[Tensor] = []
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: entering.append(inputs[0]))
    for part in images.split(256):
        net(part)
    hook.remove()
    x, y = torch.cat(entering).double(), targets.double()
    wide = x.shape[0] <= x.shape[1]  # the system is solved in the smaller of the two spaces
    system = x @ x.T if wide else x.T @ x
    system.diagonal().add_(regularisation * x.square().sum() / len(x))
    solved = torch.linalg.solve(system, y if wide else x.T @ y)
    last.weight.copy_((x.T @ solved if wide else solved).T)
    last.bias.zero_()
