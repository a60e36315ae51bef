"""Train networks on this distilled set and test them, the way its accuracy was measured. Needs torch and numpy alone.

    python train.py TEST.npz

TEST.npz has `images`, uint8 (n, c, h, w) with the values 0 to 255 of the files, and `labels`, integers (n,) that count
`classes` of about.json from 0. README.md beside this file says what is done here in words; about.json has the numbers.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

Learn = Callable[[nn.Module, dict[str, Any], dict[str, Tensor]], None]


def preprocess(images: Tensor, arrays: dict[str, Tensor]) -> Tensor:
    """uint8 images (n, c, h, w) in the pixel space of the set: what networks trained on it have to be tested on."""
    if images.dtype != torch.uint8 or images.dim() != 4 or images.shape[1] != len(arrays["scale"]):
        told = f"{images.dtype} of shape {tuple(images.shape)}"
        raise ValueError(
            f"images must be uint8 (n, {len(arrays['scale'])}, h, w), values 0 to 255 of the files, not {told}"
        )
    x = images.float() * arrays["scale"] + arrays["shift"]
    if "norm" in arrays:  # each image is centred and divided by its own norm
        x = x - x.mean((1, 2, 3), keepdim=True)
        x = x / x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    if "matrix" in arrays:  # whitening
        x = ((x.flatten(1) - arrays["centre"]) @ arrays["matrix"]).view_as(x)
    return x


def network(about: dict[str, Any]) -> nn.Module:
    """The ConvNet: blocks of 3x3 convolution, normalisation, ReLU and 2x2 average pooling, then a linear layer."""
    if "kernel" in about.get("training", {}):  # it answers without
        return nn.Module()
    about, (inputs, side, _), classes = about["network"], about["shape"], len(about["classes"])
    if (about["kind"], about.get("initialisation")) != ("convnet", "default"):
        sys.exit(f"build the network {about} of about.json here: this program has the usual ConvNet only")
    widths = [about["width"]] * about["depth"] if isinstance(about["width"], int) else about["width"]
    norms: dict[str, Any] = {
        "instance": lambda w: nn.GroupNorm(w, w),
        "batch": nn.BatchNorm2d,
        "none": lambda w: nn.Identity(),
    }
    padding = about["first_padding"] or (3 if side == 28 else 1)
    side = (side + 2 * padding - 2) >> len(widths)
    layers: list[nn.Module] = []
    if about["prepended"]:
        layers, inputs, padding = [nn.Conv2d(inputs, widths[0], 3, padding=padding), nn.ReLU()], widths[0], 1
    for width in widths:
        layers += [nn.Conv2d(inputs, width, 3, padding=padding), norms[about["norm"]](width)]
        layers += [nn.ReLU(), nn.AvgPool2d(2)]
        inputs, padding = width, 1
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(inputs * side**2, classes))


def train(about: dict[str, Any], arrays: dict[str, Tensor], learn: Learn) -> nn.Module:
    """A new network that knows the set, by the rules of about.json."""
    net = network(about).to(arrays["images"].device).train()
    learn(net, about, arrays)
    return net.eval()


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor, arrays: dict[str, Tensor]) -> float:
    """Percent of the raw test images that get their label."""
    right = [
        net(preprocess(x, arrays)).argmax(1) == y for x, y in zip(images.split(256), labels.split(256), strict=True)
    ]
    return 100 * float(torch.cat(right).float().mean())


def main(test: str, learn: Learn) -> None:
    here, device = Path(__file__).parent, "cuda" if torch.cuda.is_available() else "cpu"
    about = json.loads((here / "about.json").read_text(encoding="utf-8"))
    with np.load(here / "set.npz") as file:
        arrays = {name: torch.from_numpy(file[name]).to(device) for name in file if file[name].dtype.kind in "fiu"}
    if (beside := here / "validation.npz").exists():
        with np.load(beside) as file:
            arrays["validation_labels"] = torch.from_numpy(file["labels"]).to(device)
            arrays["validation_images"] = preprocess(torch.from_numpy(file["images"]).to(device), arrays)
    with np.load(test) as file:
        images, labels = (torch.from_numpy(file[name]).to(device) for name in ("images", "labels"))
    if images.dtype != torch.uint8 or list(images.shape[1:]) != about["shape"]:
        sys.exit(f"{test}: images must be uint8 of shape (n, {', '.join(map(str, about['shape']))})")
    found = []
    for number in range(about["training"]["networks"]):
        torch.manual_seed(number)  # noqa: TID251 (a program of its own)
        found.append(accuracy(train(about, arrays, learn), images, labels, arrays))
        print(f"network {number}: {found[-1]:.1f} %", flush=True)
    print(f"accuracy: {np.mean(found):.2f} +- {np.std(found):.2f} % of {len(found)} networks")


def run(learn: Learn) -> None:
    """What the command line asks for."""
    main(sys.argv[1], learn) if len(sys.argv) == 2 else sys.exit(__doc__)
