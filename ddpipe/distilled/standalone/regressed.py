"""A network trained below a last layer that is a mean of ridge regressions."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Train what lies below the last layer of `net`, whose weights then are the regressions' mean."""
    rules, images, targets = about["training"], arrays["images"], arrays["targets"]
    bases = arrays.get("contents", torch.arange(len(images))).cpu()
    rows = bases.argsort(stable=True).view(int(bases.max()) + 1, -1)  # examples that show one base
    entering: list[Tensor] = []
    last = [module for module in net.modules() if isinstance(module, nn.Linear)][-1]
    hook = last.register_forward_pre_hook(lambda module, inputs: entering.append(inputs[0]))
    w = torch.zeros(last.in_features + 1, last.out_features, device=images.device, dtype=images.dtype)
    scale = torch.ones(1, device=images.device, dtype=images.dtype, requires_grad=True)
    numbers = {"betas": tuple(rules["betas"]), "eps": rules["eps"]}
    groups = [{"params": list(net.parameters()), "lr": rules["lr"]}, {"params": [scale], "lr": rules["scale_lr"]}]
    adam = torch.optim.Adam(groups, **numbers)
    for _ in range(rules["steps"]):
        order = torch.arange(len(rows)) if len(rows) <= rules["batch"] else torch.randperm(len(rows))
        part = order[: rules["batch"]]
        some = rows[part].gather(1, torch.randint(rows.shape[1], (len(part), 1))).flatten()
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
