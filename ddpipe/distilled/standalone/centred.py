"""Training of networks whose outputs at the start are taken away from them."""

import copy
import sys
from typing import Any

import torch
from torch import Tensor, nn

from ddpipe.distilled.standalone.bases import by_base, new_pass, one_of_each
from ddpipe.distilled.standalone.criteria import targets


def learn(net: nn.Module, about: dict[str, Any], arrays: dict[str, Tensor]) -> None:
    """Train `net`, which from now on gives what it says less what it says now; the best on real images is kept."""
    if "validation_images" not in arrays:
        sys.exit(
            "save some real training images beside this program: validation.npz, with `images` and `labels` like those "
            f"of TEST.npz, {about['training']['validation']} of each class; they tell when training ends"
        )
    rules, images, y = about["training"], arrays["images"], targets("squared-error", about, arrays)
    bases, start, scale = by_base(arrays), copy.deepcopy(net), rules["label_scale"]
    net.register_forward_hook(lambda module, given, found: found - start(given[0]).detach())
    descent = torch.optim.SGD(net.parameters(), lr=rules["lr"], momentum=rules["momentum"])
    left: list[Tensor] = []
    most, when, best = -1.0, 0, copy.deepcopy(net.state_dict())
    for step in range(1, rules["steps"] + 1):
        part, *left = left or new_pass(bases, rules["batch"])
        some = one_of_each(bases, part)
        apart = sum((p - q.detach()).square().sum() for p, q in zip(net.parameters(), start.parameters(), strict=True))
        loss = (net.train()(images[some]) - scale * y[some]).square().mean() / scale**2 + rules["pull"] * apart
        descent.zero_grad()
        loss.backward()
        descent.step()
        if step % rules["every"] and step < rules["steps"]:
            continue
        found = right(net, arrays["validation_images"], arrays["validation_labels"])
        if found > most:
            most, when, best = found, step, copy.deepcopy(net.state_dict())
        elif step - when >= rules["patience"]:
            break
    net.load_state_dict(best)


@torch.no_grad()
def right(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of preprocessed images that get their label."""
    net.eval()
    pairs = zip(images.split(256), labels.split(256), strict=True)
    return float(torch.cat([net(x).argmax(1) == y for x, y in pairs]).double().mean())
