"""The user's own arrays and JPEG containers: how they are read, and every reason to refuse them."""

import pickle

import numpy as np
import pytest
import torch

from tests.unit.original_files import WNIDS, jpeg_container, noise, prepared, refused


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


# --- one file a part, and JPEG ----------------------------------------------------------------------------------------


def test_npz_test_part_in_a_file_of_its_own(tmp_path):
    both = {"source": "npz", "path": str(tmp_path)}
    arrays = good()
    np.savez(tmp_path / "val.npz", **{key: value for key, value in arrays.items() if "test" in key})
    refused(r"datasets\.mine\.path: .* is a folder without train.npz", "mine", **both)
    np.savez(tmp_path / "train.npz", **{key: value for key, value in arrays.items() if "train" in key})
    data = prepared("mine", **both)
    assert np.array_equal(data.test_images[:, 0].numpy(), arrays["test_images"])
    assert data.source["test_path"] == str(tmp_path / "val.npz")
    refused("test_fraction: .*val.npz has a test part, so nothing", "mine", **both, test_fraction=0.5)
    np.savez(
        tmp_path / "test.npz", **{key: value for key, value in arrays.items() if "test" in key}, classes=list("xyz")
    )
    refused("path: .*test.npz names other classes than .*train.npz", "mine", **both)
    np.savez(tmp_path / "train.npz", **arrays)
    refused("path: .*train.npz has a test part of its own, so take .*test.npz out", "mine", **both)
    refused("grey: .*train.npz has pixels", "mine", source="npz", path=str(tmp_path / "train.npz"), grey=True)
    (tmp_path / "train.npz").rename(tmp_path / "other.npz")
    refused("path: .*none.npz does not exist; name an .npz", "mine", source="npz", path=str(tmp_path / "none.npz"))


def test_npz_compressed_column_major_and_longer_than_a_chunk(tmp_path):
    images, labels = noise(2500, 5, 5), np.arange(2500) % 3
    for order in "CF":
        save = {"train_images": np.asarray(images, order=order), "train_labels": labels}
        np.savez_compressed(tmp_path / "a.npz", **save, test_images=images[:6], test_labels=labels[:6])
        data = prepared("mine", source="npz", path=str(tmp_path / "a.npz"), classes=("2", "0"))
        assert np.array_equal(data.train_images[:, 0].numpy(), images[labels != 1])


@pytest.fixture
def jpegs(tmp_path):
    """A function that writes train.npz with changes, and test.npz; returns the settings."""

    def write(**changes) -> dict:
        for part, n in (("train", 12), ("test", 6)):
            arrays = jpeg_container(noise(n, 8, 8, 3), np.arange(n, dtype=np.uint8) % 3, wnid=list(WNIDS))
            arrays |= changes if part == "train" else {}
            np.savez(tmp_path / f"{part}.npz", **{key: value for key, value in arrays.items() if value is not None})
        return {"source": "npz", "path": str(tmp_path)}

    return write


def test_jpeg_containers_are_decoded_to_rgb_or_grey(jpegs, tmp_path):
    data = prepared("mine", **jpegs())
    assert data.classes == WNIDS and data.train_images.shape == (12, 3, 8, 8) and data.test_images.shape == (6, 3, 8, 8)
    close = (data.train_images.permute(0, 2, 3, 1).float() - torch.from_numpy(noise(12, 8, 8, 3)).float()).abs()
    assert float(close.mean()) < 60  # random pixels lose their fine structure, no more
    assert prepared("mine", **jpegs(), grey=True).train_images.shape == (12, 1, 8, 8)
    greys = jpeg_container(noise(12, 8, 8), np.arange(12) % 3)
    assert prepared("mine", **jpegs(**greys)).train_images.shape == (12, 3, 8, 8)
    assert prepared("mine", **jpegs(wnid=None, classes=list(WNIDS))).classes == WNIDS
    split = prepared("mine", **(jpegs() | {"path": str(tmp_path / "train.npz")}), test_fraction=0.25)
    assert len(split.test_labels) == 3


WHOLE = jpeg_container(noise(12, 8, 8, 3), np.arange(12) % 3)
SPOILT = WHOLE["jpeg"].copy()
SPOILT[WHOLE["offset"][5] : WHOLE["offset"][5] + 40] = 0
SIZES = [*noise(11, 8, 8, 3), noise(9, 8, 3)]


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"offset": None}, "train.npz has no array offset; a file with jpeg needs"),
        ({"label": None}, "train.npz has no array label; a file with jpeg needs"),
        ({"jpeg": WHOLE["jpeg"].astype(int)}, "jpeg has shape .* and dtype int64; save it as uint8"),
        ({"jpeg": WHOLE["jpeg"][:-1]}, "offset must rise from image to image and end at"),
        ({"offset": WHOLE["offset"][::-1]}, "offset must rise"),
        ({"offset": WHOLE["offset"] / 2}, "offset must rise"),
        ({"offset": WHOLE["offset"] - 1}, "offset must rise"),
        ({"offset": np.array([0])}, "offset must rise"),
        ({"label": np.arange(11) % 3}, "label has shape .* save one integer for each of the 12 images"),
        ({"label": np.arange(12) % 4}, "has the label 3 but the 3 classes"),
        ({"wnid": np.ones((3, 3))}, "wnid has shape .* save a list of names"),
        (
            {"jpeg": SPOILT},
            r"train.npz: image number 5 \(counting from 0\) is not a readable image \(its format is none of .*JPEG",
        ),
        (jpeg_container(SIZES, np.arange(12) % 3), "image number 11 .* is 8x9 and .* image number 0 .* is 8x8"),
        ({"jpeg": np.array([{}])}, "holds pickled objects"),
    ],
)
def test_jpeg_container_errors(jpegs, changes, match):
    refused(match, "mine", **jpegs(**changes))


def test_jpeg_cut_in_the_middle(jpegs):
    files = [WHOLE["jpeg"][a:b] for a, b in zip(WHOLE["offset"][:-1], WHOLE["offset"][1:], strict=True)]
    files[7] = files[7][: len(files[7]) // 2]
    offset = np.cumsum([0, *map(len, files)])
    refused("image number 7 .* is not a readable image", "mine", **jpegs(jpeg=np.concatenate(files), offset=offset))
