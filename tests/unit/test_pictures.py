"""Pictures of sets: size, order, scale, limits."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from ddpipe.errors import UserError
from ddpipe.report import pictures


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def ramp(count: int, side: int = 8) -> np.ndarray:
    """Grey images whose brightness tells their number."""
    return np.broadcast_to((np.arange(count) / count)[:, None, None, None], (count, 1, side, side))


def tile(picture: np.ndarray, row: int, column: int, side: int = 40) -> np.ndarray:
    top, left = pictures.GAP + row * (side + pictures.GAP), pictures.GAP + column * (side + pictures.GAP)
    return picture[top : top + side, left : left + side]


def test_one_row_a_class():
    picture = opened(pictures.image_grid(ramp(3 * 6), 6))
    assert picture.shape == (3 * 42 + 2, 6 * 42 + 2, 3)
    for label, i in itertools.product(range(3), range(6)):
        assert (tile(picture, label, i) == round((label * 6 + i) / 18 * 255)).all()


def test_at_most_ten_images_a_class():
    picture = opened(pictures.image_grid(ramp(2 * 12), 12))
    assert picture.shape == (2 * 42 + 2, 10 * 42 + 2, 3)
    assert (tile(picture, 1, 0) == round(12 / 24 * 255)).all()


def test_one_image_a_class_shares_rows():
    assert opened(pictures.image_grid(ramp(20), 1)).shape == (2 * 42 + 2, 10 * 42 + 2, 3)


def test_small_images_are_enlarged_without_smoothing():
    image = np.zeros((1, 1, 8, 8))
    image[0, 0, 3, 5] = 1
    inside = tile(opened(pictures.image_grid(image, 1)), 0, 0)
    assert (inside[15:20, 25:30] == 255).all() and inside.sum() == 25 * 3 * 255


def test_values_are_clamped_and_nan_is_black():
    images = np.array([-3.0, 5.0, np.nan]).reshape(3, 1, 1, 1) * np.ones((3, 3, 8, 8))
    picture = opened(pictures.image_grid(images, 1))
    assert [int(tile(picture, 0, i).max()) for i in range(3)] == [0, 255, 0]


@pytest.mark.parametrize(
    "classes, count, channels, side",
    [
        (10, 10, 3, 32),
        (10, 50, 1, 28),
        (100, 10, 3, 32),
        (200, 1, 3, 64),
        (2, 1, 3, 500),
        (1000, 1, 3, 64),
        (1, 1, 2, 7),
    ],
)
def test_noise_of_any_shape_stays_below_the_limit(classes, count, channels, side):
    images = np.random.default_rng(0).random((classes * count, channels, side, side), dtype=np.float32)
    png = pictures.image_grid(images, count)
    assert len(png) < 60_000
    if side not in (32, 64):  # which take seconds
        assert png == pictures.image_grid(images, count)


def test_extreme_shapes():
    assert opened(pictures.image_grid(np.ones((1, 1, 1, 300)), 1)).size


@pytest.mark.parametrize("shape, columns", [((0, 1, 8, 8), 1), ((3, 1, 8, 8), 2), ((3, 8, 8), 1), ((3, 1, 8, 8), 0)])
def test_wrong_shapes(shape, columns):
    with pytest.raises(UserError, match="cannot draw images of shape"):
        pictures.image_grid(np.zeros(shape), columns)


def test_classes_are_called_by_their_names():
    """Above the first image of each; numbers that they have anyway are not written."""
    plain, numbers = (pictures.image_grid(ramp(20), 10, names) for names in ((), ("0", "1")))
    assert plain == numbers
    picture = opened(pictures.image_grid(ramp(20), 10, ("gull", "a name that is much longer than its images " * 3)))
    assert picture.shape == (2 * (42 + pictures.LINE) + 2, 10 * 42 + 2, 3)
    for row in range(2):
        top = pictures.GAP + row * (pictures.LINE + 40 + pictures.GAP)
        strip = picture[top : top + pictures.LINE]
        assert (strip == 0).any() and (strip[:, -pictures.GAP :] == pictures.BACKGROUND).all()
        assert (picture[top + pictures.LINE, pictures.GAP] == round(row * 10 / 20 * 255)).all()
    assert opened(pictures.image_grid(ramp(3), 1, ("Übel", "鳥", "a\x00b"))).shape[0] == 42 + pictures.LINE + 2
