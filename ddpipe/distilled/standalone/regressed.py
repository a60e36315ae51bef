"""A network trained below a last layer that is a mean of ridge regressions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ddpipe.distilled.standalone.bases import by_base, new_pass, one_of_each


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Train what lies below the last layer of `net`, whose weights then are the regressions' mean."""
    rules, images, targets, bases = about["training"], arrays["images"], arrays["targets"], by_base(arrays)
    entering: list[Tensor] = []
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: entering.append(inputs[0]))
    w = torch.zeros(last.in_features + 1, last.out_features, device=images.device, dtype=images.dtype)
    scale = torch.ones(1, device=images.device, dtype=images.dtype, requires_grad=True)
    numbers = {"betas": tuple(rules["betas"]), "eps": rules["eps"]}
    groups = [{"params": list(net.parameters()), "lr": rules["lr"]}, {"params": [scale], "lr": rules["scale_lr"]}]
    adam = torch.optim.Adam(groups, **numbers)
    for _ in range(rules["steps"]):
        some = one_of_each(bases, new_pass(bases, rules["batch"])[0])
        net(images[some])
        x, y = entering.pop(), targets[some]
        x = torch.cat([x, torch.ones_like(x[:, :1])], 1)
        system = x @ x.T + rules["regularisation"] * torch.eye(len(x), device=x.device, dtype=x.dtype)
        w = (1 - rules["mixing"]) * w.detach() + rules["mixing"] * (x.T @ torch.linalg.solve(system, y))
        adam.zero_grad()
        F.cross_entropy(x @ (scale * w), y).backward()
        adam.step()
    hook.remove()
    with torch.no_grad():
        last.weight.copy_(w[:-1].T)
        last.bias.copy_(w[-1])
