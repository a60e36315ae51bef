"""What a fitted preprocessing takes, and what makes other things such: the end of a sentence."""

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ddpipe.datasets.preprocessing import Preprocessing

DARK = 8  # how many times brighter a training image is than all of many images that are no such images
MANY = 16  # images that are not all dark by chance


def unlike(images: Any, fitted: "Preprocessing") -> str | None:
    """Why `images` are not such as `fitted` was fitted to, and what makes them such; None where they may be."""
    if not isinstance(images, Tensor):
        return f"these are a {type(images).__name__}; make a tensor of it with torch.as_tensor"
    channels, shape = len(fitted.scale), tuple(images.shape)
    if images.dim() != 4 or shape[1] != channels:
        told = f"these are of shape {shape}, and c is {channels} here"
        if images.dim() == 4 and shape[3] == channels:
            return f"{told}; permute(0, 3, 1, 2) puts channels first"
        if images.dim() == 3 and channels == 1:
            return f"{told}; images[:, None] gives grey images their channel"
        return (
            f"{told}; images[None] makes a batch of one image" if images.dim() == 3 and shape[0] == channels else told
        )
    if fitted.centre is not None and math.prod(shape[1:]) != len(fitted.centre):
        side = math.isqrt(len(fitted.centre) // channels)
        return f"these are of {shape[2]} x {shape[3]}, and the whitening is of {side} x {side}; resize them first"
    low, high = (float(images.min()), float(images.max())) if images.numel() else (0.0, 255.0)
    if images.dtype != torch.uint8:
        told = f"these are {str(images.dtype).removeprefix('torch.')} from {low:g} to {high:g}"
        if not (low >= 0 and high <= 255):  # NaN neither
            return f"{told}; start from the images as the files have them"
        if high > 128:
            return f"{told}; images.round().to(torch.uint8) makes them such"
        if high <= 1:
            return f"{told}; (images * 255).round().to(torch.uint8) makes them such"
        return f"{told}; (images * (255 / white)).round().to(torch.uint8) makes them such, white being its number"
    usual = 255 * max(
        map(sum, zip(*(fitted.description.get(key, ()) for key in ("mean", "std")), strict=True)), default=0
    )
    if fitted.description.get("standardise") != "none" and len(images) >= MANY and DARK * high < usual:
        return (
            f"no value of these {len(images)} images is above {high:g}, where bright pixels of the training images "
            f"have {min(usual, 255):.0f}; scale them so that white is 255"
        )
    return None
