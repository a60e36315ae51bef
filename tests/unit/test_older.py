"""DC's older augmentation of a batch against a straight-line version, image by image, with scipy's splines."""

import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import rotate
from torch import Tensor

from ddpipe.augmentation import spline
from ddpipe.augmentation.older import OlderAugment, nearest
from ddpipe.augmentation.siamese import Draw
from ddpipe.randomness import generator

SHAPES = [(1, 28, 28), (3, 32, 32), (2, 9, 12), (1, 5, 4), (3, 21, 20)]


def centre(image: Tensor, height: int, width: int) -> Tensor:
    top, left = (image.shape[1] - height) // 2, (image.shape[2] - width) // 2
    return image[:, top : top + height, left : left + width]


def crop(image: Tensor, row: float, column: float, mean: Tensor) -> Tensor:
    c, h, w = image.shape
    framed = mean[:, None, None].repeat(1, h + 8, w + 8)
    framed[:, 4 : 4 + h, 4 : 4 + w] = image
    return framed[:, int(row) : int(row) + h, int(column) : int(column) + w]


def scale(image: Tensor, factor_h: float, factor_w: float, mean: Tensor) -> Tensor:
    height, width = image.shape[1:]
    h, w = int(factor_h * height), int(factor_w * width)
    side = max(h, w, height, width)
    canvas = image.new_zeros(image.shape[0], side, side)
    top, left = (side - h) // 2, (side - w) // 2
    canvas[:, top : top + h, left : left + w] = F.interpolate(image[None], (h, w), mode="nearest")[0]
    return centre(canvas, height, width)


def turn(image: Tensor, degrees: float, unused: float, mean: Tensor) -> Tensor:
    fill = float(mean.mean())
    turned = rotate(image.numpy(), int(degrees), axes=(-2, -1), reshape=True, order=3, mode="constant", cval=fill)
    return centre(torch.from_numpy(turned), *image.shape[1:])


STRAIGHT = {"crop": crop, "scale": scale, "rotate": turn}


def one_by_one(policy: OlderAugment, images: Tensor, draw: Draw) -> Tensor:
    mean = images.mean((0, 2, 3))
    each = zip(images, draw.parameters.expand(3, len(images)).T.tolist(), strict=True)
    return torch.stack([STRAIGHT[policy.operations[int(which)]](image, a, b, mean) for image, (which, a, b) in each])


@pytest.mark.parametrize("names", ["crop", "scale", "rotate", "crop_scale_rotate"])
@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_is_augmented_as_its_images_one_by_one(shape, names):
    policy, draw = OlderAugment(f"older:{names}"), generator("older", shape)
    images = torch.randn(90, *shape, generator=draw) + 0.5
    given = policy.draw(draw, len(images), *shape[1:])
    changed, wanted = policy(images, given), one_by_one(policy, images, given)
    torch.testing.assert_close(changed, wanted, rtol=1e-6, atol=1e-6)
    if names in ("crop", "scale"):
        assert torch.equal(changed, wanted)
    assert not torch.equal(changed, images)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_angle_turns_as_scipy_does(shape, dtype):
    degrees, fill = torch.arange(-45, 45, dtype=torch.float64), torch.tensor(0.3, dtype=dtype)
    images = torch.randn(len(degrees), *shape, generator=generator("angles", shape), dtype=dtype)
    turned = spline.rotate(images, degrees, fill)
    wanted = torch.stack([turn(image, float(by), 0, fill) for image, by in zip(images, degrees, strict=True)])
    assert turned.dtype == dtype
    # float64 shows a wrong pole, border or half a pixel; outside the same pixels are filled
    torch.testing.assert_close(turned, wanted, rtol=0, atol=1e-5 if dtype == torch.float32 else 1e-12)
    assert torch.equal(turned == fill, wanted == fill)


def test_scales_of_every_size_are_those_of_interpolate():
    """Where sides are resized to each length, the nearest pixel is torch's, rounding included."""
    for side in (28, 32, 64, 96, 224):
        images = torch.arange(float(side)).expand(1, 1, 4, side)
        for length in range(int(0.8 * side), int(1.2 * side)):
            canvas = torch.full((max(side, length),), float(side))
            first = (len(canvas) - length) // 2
            canvas[first : first + length] = F.interpolate(images, (4, length), mode="nearest")[0, 0, 0]
            first = (len(canvas) - side) // 2
            assert torch.equal(nearest(side, length, len(canvas)).float(), canvas[first : first + side])


def test_one_draw_serves_all_images():
    policy = OlderAugment("older:rotate")
    images = torch.randn(3, 1, 12, 12, generator=generator("one"))
    draw = Draw("older", torch.tensor([[0.0], [30.0], [0.0]], dtype=torch.float64))
    torch.testing.assert_close(policy(images, draw), one_by_one(policy, images, draw), rtol=1e-6, atol=1e-6)
