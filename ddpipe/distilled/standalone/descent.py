"""Training by batches."""

from typing import Any

import torch
from torch import Tensor, nn

from ddpipe.distilled.standalone.augmentation import augment, cutmix
from ddpipe.distilled.standalone.bases import by_base, new_pass, one_of_each
from ddpipe.distilled.standalone.criteria import CRITERIA


def descend(net: nn.Module, rules: dict[str, Any], arrays: dict[str, Tensor], targets: Tensor) -> None:
    """Passes over batches in random order; a "single" pass is one batch, of "subsets" always the first of an order."""
    images, bases = arrays["images"], by_base(arrays)
    left: list[Tensor] = []
    tensor_floats(rules["precision"] == "tf32")
    for number in range(rules["passes"]):
        if str(number) in rules["rates"]:
            lr = rules["rates"][str(number)]
            if number == 0 or rules["drop_resets_momentum"]:
                descent = optimizer(net, rules)
            descent.param_groups[0]["lr"] = lr
        if not left:
            left = new_pass(bases, rules["batch"])
        parts, left = (left[:1], [] if rules["subsets"] else left[1:]) if rules["single"] else (left, [])
        for part in parts:
            some = one_of_each(bases, part)
            x, y = cutmix(augment(images[some], rules["augment"]), targets[some], rules["cutmix"])
            with torch.autocast(x.device.type, torch.bfloat16, enabled=rules["precision"] == "bfloat16"):
                logits = net(x)
            loss = CRITERIA[rules["criterion"]](logits.to(y.dtype), y)
            descent.zero_grad()
            loss.backward()
            clip(net, rules["clip"] or {})
            descent.step()
    tensor_floats(False)


def tensor_floats(allowed: bool) -> None:
    """Whether a CUDA device may round to TensorFloat32; torch by itself lets convolutions."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def optimizer(net: nn.Module, rules: dict[str, Any]) -> torch.optim.Optimizer:
    kinds: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    numbers = {name: rules[name] for name in ("momentum", "betas", "eps", "weight_decay") if name in rules}
    return kinds[rules["optimizer"]](net.parameters(), lr=0.0, **numbers)  # `descend` sets lr


def clip(net: nn.Module, bounds: dict[str, Any]) -> None:
    """Bound the gradients of `net`: their norm all together, or each of their numbers."""
    if bounds.get("norm"):
        nn.utils.clip_grad_norm_(net.parameters(), bounds["norm"])
    if bounds.get("value"):
        nn.utils.clip_grad_value_(net.parameters(), bounds["value"])
