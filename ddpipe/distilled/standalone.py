"""Train networks on this distilled set and test them, the way its accuracy was measured. Needs torch and numpy alone.

    python train.py TEST.npz

TEST.npz has `images`, uint8 (n, c, h, w) with the values 0 to 255 of the files, and `labels`, integers (n,) that count
`classes` of about.json from 0. README.md beside this file says what is done here in words; about.json has the numbers.
"""
# `ddpipe export` copies this file as it is, so it knows nothing of ddpipe; tests/unit/test_export.py runs it.

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def preprocess(images: Tensor, arrays: dict[str, Tensor]) -> Tensor:
    """uint8 images (n, c, h, w) in the pixel space of the set: what networks trained on it have to be tested on."""
    x = images.float() * arrays["scale"] + arrays["shift"]
    if "norm" in arrays:  # each image is centred and divided by its own norm
        x = x - x.mean((1, 2, 3), keepdim=True)
        x = x / x.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    if "matrix" in arrays:  # whitening
        x = ((x.flatten(1) - arrays["centre"]) @ arrays["matrix"]).view_as(x)
    return x


def network(about: dict[str, Any]) -> nn.Module:
    """The ConvNet: blocks of 3x3 convolution, normalisation, ReLU and 2x2 average pooling, then a linear layer."""
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


def train(about: dict[str, Any], arrays: dict[str, Tensor]) -> nn.Module:
    """A new network that knows the set, by the rules of about.json."""
    rules, images = about["training"], arrays["images"]
    net = network(about).to(images.device).train()
    if rules["kind"] == "trained":
        descend(net, rules, arrays, targets(rules["criterion"], about, arrays))
    elif rules["kind"] == "replay":
        replay(net, rules, arrays, targets(rules["criterion"], about, arrays))
    else:
        if how := rules["training"]:
            descend(net, how, arrays, targets(how["criterion"], about, arrays))
        ridge(net.eval(), rules, images, targets("squared-error", about, arrays))
    return net.eval()


def targets(criterion: str, about: dict[str, Any], arrays: dict[str, Tensor]) -> Tensor:
    """Distributions over the classes, for squared errors less 1 / K; a set whose targets are scores has those."""
    shift = criterion == "squared-error" and about["targets"] == "one-hot"
    return arrays["targets"] - 1 / len(about["classes"]) if shift else arrays["targets"]


def descend(net: nn.Module, rules: dict[str, Any], arrays: dict[str, Tensor], targets: Tensor) -> None:
    """Passes over batches in random order; a "single" pass is one batch."""
    images = arrays["images"]
    # the examples that show one base belong together: a pass takes one of them at random
    bases = arrays.get("contents", torch.arange(len(images))).cpu()
    rows = bases.argsort(stable=True).view(int(bases.max()) + 1, -1)
    left: list[Tensor] = []
    for number in range(rules["passes"]):
        if str(number) in rules["rates"]:
            lr = rules["rates"][str(number)]
            if number == 0 or rules["drop_resets_momentum"]:
                descent = optimizer(net, rules)
            descent.param_groups[0]["lr"] = lr
        if not left:
            order = torch.arange(len(rows)) if len(rows) <= rules["batch"] else torch.randperm(len(rows))
            left = list(order.split(rules["batch"]))
        parts, left = (left[:1], left[1:]) if rules["single"] else (left, [])
        for part in parts:
            some = rows[part].gather(1, torch.randint(rows.shape[1], (len(part), 1))).flatten()
            x, y = cutmix(augment(images[some], rules["augment"]), targets[some], rules["cutmix"])
            with torch.autocast(x.device.type, torch.bfloat16, enabled=rules["precision"] == "bfloat16"):
                logits = net(x)
            loss = CRITERIA[rules["criterion"]](logits.to(y.dtype), y)
            descent.zero_grad()
            loss.backward()
            clip(net, rules["clip"] or {})
            descent.step()


CRITERIA: dict[str, Any] = {
    "cross-entropy": F.cross_entropy,
    "squared-error": lambda outputs, targets: (outputs - targets).square().sum(1).mean() / 2,
}


def replay(net: nn.Module, rules: dict[str, Any], arrays: dict[str, Tensor], targets: Tensor) -> None:
    """One plain step on a block of the set for each learned step size, over the blocks in order."""
    images = arrays["images"]
    numbers = arrays.get("hint_blocks", torch.zeros(len(images), device=images.device))
    for t, lr in enumerate(arrays["hint_lr"].tolist()):
        rows = numbers == t % (int(numbers.max()) + 1)
        loss = CRITERIA[rules["criterion"]](net(images[rows]), targets[rows])
        with torch.no_grad():
            for p, gradient in zip(net.parameters(), torch.autograd.grad(loss, list(net.parameters())), strict=True):
                p.sub_(lr * gradient)


@torch.no_grad()
def ridge(net: nn.Module, rules: dict[str, Any], images: Tensor, targets: Tensor) -> None:
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
    system.diagonal().add_(rules["regularisation"] * x.square().sum() / len(x))
    solved = torch.linalg.solve(system, y if wide else x.T @ y)
    last.weight.copy_((x.T @ solved if wide else solved).T)
    last.bias.zero_()


def optimizer(net: nn.Module, rules: dict[str, Any]) -> torch.optim.Optimizer:
    kinds: dict[str, Any] = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    numbers = {name: rules[name] for name in ("momentum", "betas", "eps", "weight_decay") if name in rules}
    return kinds[rules["optimizer"]](net.parameters(), lr=0.0, **numbers)  # `train` sets lr


def clip(net: nn.Module, bounds: dict[str, Any]) -> None:
    """Bound the gradients of `net`: their norm all together, or each of their numbers."""
    if bounds.get("norm"):
        nn.utils.clip_grad_norm_(net.parameters(), bounds["norm"])
    if bounds.get("value"):
        nn.utils.clip_grad_value_(net.parameters(), bounds["value"])


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor, arrays: dict[str, Tensor]) -> float:
    """Percent of the raw test images that get their label."""
    right = [
        net(preprocess(x, arrays)).argmax(1) == y for x, y in zip(images.split(256), labels.split(256), strict=True)
    ]
    return 100 * float(torch.cat(right).float().mean())


# --- augmentation -----------------------------------------------------------------------------------------------------


def augment(images: Tensor, how: dict[str, Any]) -> Tensor:
    """DSA: one operation for a batch. IDC ("composed"): most of them. DC ("older"): one for each image."""
    names = how["operations"]
    if how["policy"] == "older":
        return older(images, names)
    if how["policy"] == "composed":
        choices = [name for name in names if name in ("crop", "scale", "rotate")]
        one = [choices[int(torch.randint(len(choices), ()))]] if choices else []
        names = [name for name in ("flip", "color", *one, "cutout") if name in names]
    elif names:
        names = [names[int(torch.randint(len(names), ()))]]
    for name in names:
        images = OPERATIONS[name](images)
    return images


def uniform(count: int, images: Tensor) -> Tensor:
    """`count` numbers in [0, 1) for each image, each of shape (n, 1, 1, 1)."""
    return torch.rand(count, len(images)).to(images.device)[:, :, None, None, None]


def integers(low: int, high: int, n: int) -> list[Tensor]:
    """A row and a column for each of `n` images, from `low` to `high` inclusive."""
    return [torch.randint(low, high + 1, (n,)), torch.randint(low, high + 1, (n,))]


def color(x: Tensor) -> Tensor:
    brightness, saturation, contrast = uniform(3, x)
    x = x + brightness - 0.5
    x = torch.lerp(x.mean(1, keepdim=True), x, 2 * saturation)
    return torch.lerp(x.mean((1, 2, 3), keepdim=True), x, contrast + 0.5)


def crop(x: Tensor) -> Tensor:
    side, reach = x.shape[2], int(x.shape[2] / 8 + 0.5)
    framed = F.pad(x, (reach,) * 4)
    shifts = torch.stack(integers(-reach, reach, len(x))).T.add(reach).tolist()
    return torch.stack([f[:, r : r + side, c : c + side] for f, (r, c) in zip(framed, shifts, strict=True)])


def cutout(x: Tensor) -> Tensor:
    side, k = x.shape[2], int(x.shape[2] / 2 + 0.5)
    inside = []
    for start in integers(0, side - k % 2, len(x)):
        at = torch.arange(side) - (start[:, None] - k // 2)  # n side
        inside.append((at >= 0) & (at < k))
    return x * ~(inside[0][:, None, :, None] & inside[1][:, None, None, :]).to(x.device)


def flip(x: Tensor) -> Tensor:
    return torch.where(uniform(1, x)[0] < 0.5, x.flip(3), x)


def scale(x: Tensor) -> Tensor:
    s_x, s_y = (u.flatten() * (1.2 - 1 / 1.2) + 1 / 1.2 for u in uniform(2, x))
    return affine(x, s_x, 0 * s_x, 0 * s_y, s_y)


def rotate(x: Tensor) -> Tensor:
    angle = (uniform(1, x).flatten() - 0.5) * (2 * 15 * math.pi / 180)
    return affine(x, angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def affine(x: Tensor, xx: Tensor, xy: Tensor, yx: Tensor, yy: Tensor) -> Tensor:
    theta = torch.stack([xx, xy, 0 * xx, yx, yy, 0 * xx], 1).view(-1, 2, 3)
    return F.grid_sample(x, F.affine_grid(theta, list(x.shape), align_corners=False), align_corners=False)


OPERATIONS = {"color": color, "crop": crop, "cutout": cutout, "flip": flip, "scale": scale, "rotate": rotate}


def older(images: Tensor, names: list[str]) -> Tensor:
    """DC's augmentation of MNIST; rotations need scipy."""
    side, batch = images.shape[2], images.cpu()
    which, draws = torch.randint(len(names), (len(batch),)), torch.rand(2, len(batch), dtype=torch.float64)
    mean, changed = batch.mean((0, 2, 3)), []

    def middle(x: Tensor) -> Tensor:
        start = (x.shape[1] - side) // 2
        return x[:, start : start + side, start : start + side]

    for x, number, (a, b) in zip(batch, which.tolist(), draws.T.tolist(), strict=True):
        if names[number] == "crop":
            framed = mean[:, None, None].repeat(1, side + 8, side + 8)
            framed[:, 4:-4, 4:-4] = x
            changed.append(framed[:, int(8 * a) : int(8 * a) + side, int(8 * b) : int(8 * b) + side])
        elif names[number] == "scale":
            h, w = (int((0.8 + u * (1.2 - 0.8)) * side) for u in (a, b))
            canvas = torch.zeros(len(x), max(h, w, side), max(h, w, side))
            top, left = (canvas.shape[1] - h) // 2, (canvas.shape[1] - w) // 2
            canvas[:, top : top + h, left : left + w] = F.interpolate(x[None], (h, w))[0]
            changed.append(middle(canvas))
        else:
            from scipy.ndimage import rotate as turn

            turned = turn(x.numpy(), int(90 * a) - 45, axes=(1, 2), order=3, mode="constant", cval=float(mean.mean()))
            changed.append(middle(torch.from_numpy(turned)))
    return torch.stack(changed).to(images.device)


def cutmix(images: Tensor, targets: Tensor, probability: float) -> tuple[Tensor, Tensor]:
    """With `probability` a rectangle of each image comes from another one of the batch, and as much of its target."""
    if not probability or float(torch.rand(())) >= probability:
        return images, targets
    side, share = images.shape[2], float(torch.rand((), dtype=torch.float64))
    half = int(side * math.sqrt(1 - share)) // 2
    r, c = (slice(max(m - half, 0), min(m + half, side)) for m in (int(torch.randint(side, ())) for _ in range(2)))
    partners, mixed = torch.randperm(len(images)).to(images.device), images.clone()
    mixed[:, :, r, c] = images[partners][:, :, r, c]
    pasted = (r.stop - r.start) * (c.stop - c.start) / side**2
    return mixed, torch.lerp(targets, targets[partners], pasted)


def main(test: str) -> None:
    here, device = Path(__file__).parent, "cuda" if torch.cuda.is_available() else "cpu"
    about = json.loads((here / "about.json").read_text(encoding="utf-8"))
    with np.load(here / "set.npz") as file:
        arrays = {name: torch.from_numpy(file[name]).to(device) for name in file if file[name].dtype.kind in "fiu"}
    with np.load(test) as file:
        images, labels = (torch.from_numpy(file[name]).to(device) for name in ("images", "labels"))
    if images.dtype != torch.uint8 or list(images.shape[1:]) != about["shape"]:
        sys.exit(f"{test}: images must be uint8 of shape (n, {', '.join(map(str, about['shape']))})")
    found = []
    for number in range(about["training"]["networks"]):
        torch.manual_seed(number)  # noqa: TID251 (a program of its own)
        found.append(accuracy(train(about, arrays), images, labels, arrays))
        print(f"network {number}: {found[-1]:.1f} %", flush=True)
    print(f"accuracy: {np.mean(found):.2f} +- {np.std(found):.2f} % of {len(found)} networks")


if __name__ == "__main__":
    main(sys.argv[1]) if len(sys.argv) == 2 else sys.exit(__doc__)
