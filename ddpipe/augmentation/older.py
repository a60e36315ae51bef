"""DC's augmentation (Zhao et al., ICLR 2021), used only when networks are trained on its MNIST sets for evaluation.

Every image of a batch gets one operation of its own. Not differentiable: results are detached.
"""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation import spline
from ddpipe.augmentation.siamese import Draw, picked
from ddpipe.sending import sent
from ddpipe.settings.strategy import operations

PAD = 4  # pixels on each side before a crop
SCALES = (0.8, 1.2)  # range of the factors of height and width
DEGREES = 45  # integer angles in [-45, 45)


def crop(images: Tensor, draws: Tensor, mean: Tensor) -> Tensor:
    """Of each image, framed by 4 pixels of `mean`, what begins at its row and its column, in [0, 8)."""
    height, width = images.shape[2:]
    framed = mean[:, None, None].expand(*images.shape[:2], height + 2 * PAD, width + 2 * PAD).clone()
    framed[:, :, PAD : PAD + height, PAD : PAD + width] = images
    first = sent(draws.long(), images.device)[:, :, None]  # 2 n 1
    r, c = first[0] + torch.arange(height, device=images.device), first[1] + torch.arange(width, device=images.device)
    return picked(framed, r, c)


def scale(images: Tensor, draws: Tensor, mean: Tensor) -> Tensor:
    """Each resized by its factors by nearest neighbour, centred on zeros, and cut to its old size."""
    height, width = images.shape[2:]
    rows, columns = [], []
    for factor_h, factor_w in draws.T.tolist():
        h, w = int(factor_h * height), int(factor_w * width)
        side = max(h, w, height, width)
        rows.append(nearest(height, h, side))
        columns.append(nearest(width, w, side))
    found = sent(torch.cat([torch.stack(rows), torch.stack(columns)], 1), images.device)
    return picked(F.pad(images, (0, 1, 0, 1)), *found.split([height, width], 1))


@lru_cache(maxsize=4096)
def nearest(old: int, new: int, canvas: int) -> Tensor:
    """What lies in the middle of a canvas, as wide as `old` pixels, on which these were resized to `new`: (old,) int64.

    Numbers of old pixels; `old` where there is none. The ratio is rounded to float32 once, as by `interpolate`.
    """
    at = torch.arange(old) + (canvas - old) // 2 - (canvas - new) // 2
    source = (at.float() * (torch.tensor(float(old)) / new)).floor().long().clamp(max=old - 1)
    return torch.where((at >= 0) & (at < new), source, old)


def rotate(images: Tensor, draws: Tensor, mean: Tensor) -> Tensor:
    """Each turned by its own angle by cubic splines, the mean of `mean` outside, its centre cut."""
    return spline.rotate(images, draws[0], mean.mean())


# images (n, c, h, w), their draws (2, n) on the host, means (c,) of the batch -> images
OPERATIONS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {"crop": crop, "scale": scale, "rotate": rotate}


class OlderAugment:
    """`strategy` is "older:" and a choice of crop, scale and rotate joined by "_"; UserError for another name.

    Same interface as `siamese.Augment`. A draw has the operation "older" and parameters (3, n) float64, one
    column an image: the number of its operation in `operations`, then the raw draws of that operation, the second zero
    for rotate. One column serves all images.
    """

    def __init__(self, strategy: str):
        self.operations = operations(strategy)

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        """An operation and its parameters for each of `n` images; none depends on height and width."""
        which = torch.randint(len(self.operations), (n,), generator=rng)
        u = torch.rand(2, n, generator=rng, dtype=torch.float64)
        draws = {
            "crop": (u * 2 * PAD).floor(),
            "scale": SCALES[0] + u * (SCALES[1] - SCALES[0]),
            "rotate": torch.stack([(u[0] * 2 * DEGREES).floor() - DEGREES, torch.zeros(n, dtype=torch.float64)]),
        }
        choices = torch.stack([draws[name] for name in self.operations])  # operations 2 n
        return Draw("older", torch.cat([which[None].double(), choices[which, :, torch.arange(n)].T]))

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """`images` (n, c, h, w), any device; the means that fill are those of the whole batch as it came."""
        batch = images.detach()
        mean = batch.mean(dim=(0, 2, 3))  # c
        which, *draws = draw.parameters.expand(3, len(batch))
        order = which.argsort(stable=True)  # the images of each operation together
        counts = which.long().bincount(minlength=len(self.operations)).tolist()
        here, sorted_draws = sent(order, batch.device), torch.stack(draws).index_select(1, order)
        parts = zip(
            self.operations, batch.index_select(0, here).split(counts), sorted_draws.split(counts, 1), strict=True
        )
        changed = torch.cat([OPERATIONS[name](part, own, mean) for name, part, own in parts if len(part)])
        return torch.empty_like(batch).index_copy_(0, here, changed)
