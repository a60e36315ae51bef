"""The user's own arrays and JPEG containers: how they are read, and every reason to refuse them."""

import pickle

import numpy as np
import pytest
import torch

from tests.unit.original_files import noise, prepared, refused


def good(**changes) -> dict:
    arrays = {
        "train_images": noise(12, 5, 5),
        "train_labels": np.arange(12) % 3,
        "test_images": noise(6, 5, 5),
        "test_labels": np.arange(6) % 3,
    }
    return {key: value for key, value in {**arrays, **changes}.items() if value is not None}


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 1), (1, 5, 5), (5, 5, 3), (3, 5, 5)])
def test_npz_layouts(tmp_path, shape):
    path = tmp_path / "a.npz"
    train, test = noise(12, *shape), noise(6, *shape)
    labels = np.arange(12, dtype=np.uint8)[:, None] % 3
    np.savez(path, **good(train_images=train, test_images=test, train_labels=labels, classes=["a", "b", "c"]))
    data = prepared("mine", source="npz", path=str(path))
    assert data.classes == ("a", "b", "c")
    assert data.train_images.shape == (12, 3 if 3 in shape else 1, 5, 5)
    expected = train if shape[-1] not in (1, 3) else np.moveaxis(train, -1, 1)
    assert torch.equal(data.train_images, torch.from_numpy(expected.reshape(data.train_images.shape).copy()))


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"train_images": None}, "no array train_images; add it"),
        ({"test_labels": None}, "no array test_labels; add it"),
        ({"train_images": noise(12, 5, 5) / 255}, "train_images has dtype float64"),
        ({"train_images": noise(12, 5, 5, 2)}, "train_images has shape"),
        ({"train_images": noise(12, 25)}, "train_images has shape"),
        ({"train_images": noise(0, 5, 5), "train_labels": np.arange(0)}, "train_images has shape"),
        ({"train_images": noise(12, 5, 4), "test_images": noise(6, 5, 4)}, "5 x 4 .* must be square; save them square"),
        ({"train_labels": np.arange(11) % 3}, "train_labels has shape"),
        ({"train_labels": np.arange(12.0) % 3}, "dtype float64; save one integer"),
        ({"train_labels": np.arange(12) % 3 - 1}, "has the label -1; number the classes from 0"),
        ({"train_labels": np.arange(12) % 2 * 2}, "class number 1 .* has no training images"),
        ({"test_labels": np.arange(6) % 4}, "test_labels has the label 3 but the 3 classes"),
        ({"test_labels": np.arange(6) % 2}, "class number 2 .* has no test images"),
        ({"train_labels": np.zeros(12, int), "test_labels": np.zeros(6, int)}, "only one class"),
        ({"classes": ["a", "b"]}, "train_labels has the label 2 but the 2 classes"),
        ({"classes": np.ones((2, 2))}, "classes has shape"),
        ({"train_images": np.full((12, 5, 5), 7, np.uint8)}, "every pixel of channel 0 .* has the value 7"),
        ({"train_labels": np.array([object()] * 12)}, "pickled objects"),
        ({"test_images": noise(6, 6, 6)}, "differ in shape"),
    ],
)
def test_npz_errors(tmp_path, changes, match):
    np.savez(tmp_path / "a.npz", **good(**changes))
    refused(match, "mine", source="npz", path=str(tmp_path / "a.npz"))


def test_npz_files_that_are_none(tmp_path):
    path = tmp_path / "a.npz"
    refused(r"datasets\.mine\.path: .* does not exist", "mine", source="npz", path=str(path))
    np.savez(path, **good())
    whole = path.read_bytes()
    for content in (
        b"",
        b"text",
        whole[:-20],
        whole[: len(whole) // 2],
        whole.replace(b"descr", b"!!!!!"),
        pickle.dumps([1]),
    ):
        path.write_bytes(content)
        refused(r"datasets\.mine\.path: .*a\.npz is not an intact .npz", "mine", source="npz", path=str(path))


def test_npz_split_is_stated_or_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez(path, **good())
    refused("test_fraction: .* has a test part", "mine", source="npz", path=str(path), test_fraction=0.5)
    np.savez(path, **good(test_images=None, test_labels=None))
    refused("test_fraction: .* has no test_images", "mine", source="npz", path=str(path))
    data = prepared("mine", source="npz", path=str(path), test_fraction=0.25)
    assert torch.bincount(data.train_labels).tolist() == [3, 3, 3]
    assert torch.bincount(data.test_labels).tolist() == [1, 1, 1]
