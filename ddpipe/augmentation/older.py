"""DC's augmentation (Zhao et al., ICLR 2021), used only when networks are trained on its MNIST sets for evaluation.

Every image of a batch gets one operation of its own. Not differentiable: results are detached.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation.siamese import Draw
from ddpipe.settings.strategy import operations

PAD = 4  # pixels on each side before a crop
SCALES = (0.8, 1.2)  # range of the factors of height and width
DEGREES = 45  # integer angles in [-45, 45)


def crop(image: Tensor, row: int, column: int, mean: Tensor) -> Tensor:
    """Rows from `row` and columns from `column`, in [0, 8), of the (c, h, w) image framed by 4 pixels of `mean`."""
    c, h, w = image.shape
    framed = mean[:, None, None].repeat(1, h + 2 * PAD, w + 2 * PAD)
    framed[:, PAD : PAD + h, PAD : PAD + w] = image
    return framed[:, row : row + h, column : column + w]


def scale(image: Tensor, factor_h: float, factor_w: float) -> Tensor:
    """The (c, h, w) image resized by nearest neighbour, centred on zeros, and cut to its old size."""
    height, width = image.shape[1:]
    h, w = int(factor_h * height), int(factor_w * width)
    side = max(h, w, height, width)
    canvas = image.new_zeros(image.shape[0], side, side)
    top, left = (side - h) // 2, (side - w) // 2
    canvas[:, top : top + h, left : left + w] = F.interpolate(image[None], (h, w), mode="nearest")[0]
    return centre(canvas, height, width)


def rotate(image: Tensor, degrees: int, fill: float) -> Tensor:
    """The (c, h, w) CPU image turned by cubic splines on a canvas that holds it, `fill` outside, its centre cut."""
    from scipy.ndimage import rotate as spline_rotate

    turned = spline_rotate(image.numpy(), degrees, axes=(-2, -1), reshape=True, order=3, mode="constant", cval=fill)
    return centre(torch.from_numpy(turned), *image.shape[1:])


def centre(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


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
        batch = images.detach().cpu()
        mean = batch.mean(dim=(0, 2, 3))  # c
        fill = float(mean.mean())
        changed = []
        for image, (which, a, b) in zip(batch, draw.parameters.expand(3, len(batch)).T.tolist(), strict=True):
            match self.operations[int(which)]:
                case "crop":
                    changed.append(crop(image, int(a), int(b), mean))
                case "scale":
                    changed.append(scale(image, a, b))
                case "rotate":
                    changed.append(rotate(image, int(a), fill))
        return torch.stack(changed).to(images.device)
