"""DD's augmentation of real batches (Wang et al., 2018): a crop out of a reflected frame, then a flip, image by image.

As torchvision's RandomCrop(side, padding=4, padding_mode="reflect") and RandomHorizontalFlip do it.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe.augmentation.siamese import Draw, flip
from ddpipe.sending import sent
from ddpipe.settings.strategy import allowed

PAD = 4  # pixels on each side


class ReflectedAugment:
    """`strategy` is "reflect:" and crop, flip or both; `flip=False` drops "flip". UserError: nothing is left of it.

    Same interface as `siamese.Augment`. A draw has the operation "reflect" and parameters (3, n): the first row and
    column of the crop in the framed image, in [0, 8], and a number in [0, 1), mirrored below 0.5. One column serves all
    images.
    """

    def __init__(self, strategy: str, flip: bool = True):
        self.operations = allowed(strategy, flip)

    def draw(self, rng: torch.Generator, n: int, height: int, width: int) -> Draw:
        """All parameters for each of `n` images, whatever is used of them; none depends on height and width."""
        places = torch.randint(2 * PAD + 1, (2, n), generator=rng)
        return Draw("reflect", torch.cat([places.float(), torch.rand(1, n, generator=rng)]))

    def __call__(self, images: Tensor, draw: Draw) -> Tensor:
        """`images` (n, c, h, w), any device and dtype, more than PAD pixels high and wide."""
        rows, columns, u = draw.parameters
        if "crop" in self.operations:
            n, _, height, width = images.shape
            framed = F.pad(images, (PAD,) * 4, mode="reflect")
            r = sent(torch.arange(height, device=rows.device) + rows.long()[:, None], images.device)  # n h
            c = sent(torch.arange(width, device=rows.device) + columns.long()[:, None], images.device)  # n w
            which = torch.arange(n, device=images.device)[:, None, None]
            images = framed[which, :, r[:, :, None], c[:, None, :]].permute(0, 3, 1, 2).contiguous()
        return flip(images, u) if "flip" in self.operations else images
