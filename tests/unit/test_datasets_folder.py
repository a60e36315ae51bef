"""Folders of images: how they are read, and every reason to refuse them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpipe.datasets.prepared import Prepared
from tests.unit.original_files import noise, prepared, refused


@pytest.fixture
def photos(tmp_path) -> Path:
    """Ten 6x6 images of each of two classes, in folders, without a split."""
    for label, animal in enumerate(("dog", "cat")):
        (tmp_path / animal).mkdir()
        for i, pixels in enumerate(noise(10, 6, 6, 3) // (label + 1)):
            Image.fromarray(pixels).save(tmp_path / animal / f"{i}.png")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    return tmp_path


def folder(path: Path, **settings) -> Prepared:
    return prepared("pets", source="folder", path=str(path), **settings)


def test_folder_reads_pixels_as_they_are(photos):
    data = folder(photos, test_fraction=0.2)
    assert data.classes == ("cat", "dog")
    assert data.train_images.shape == (16, 3, 6, 6) and torch.bincount(data.test_labels).tolist() == [2, 2]
    everything = torch.cat([data.train_images, data.test_images]).permute(0, 2, 3, 1).numpy()
    expected = np.concatenate([noise(10, 6, 6, 3), noise(10, 6, 6, 3) // 2])
    assert sorted(map(bytes, everything)) == sorted(map(bytes, expected))


def test_folder_split_is_fixed_by_the_name_of_the_data_set(photos):
    same = [folder(photos, test_fraction=0.5).checksum for _ in range(2)]
    other = prepared("zoo", source="folder", path=str(photos), test_fraction=0.5)
    assert same[0] == same[1] != other.checksum


def test_folder_grey_and_resized(photos):
    Image.fromarray(noise(9, 12, 3)).save(photos / "cat" / "wide.jpg")
    data = folder(photos, test_fraction=0.2, grey=True, resolution=4)
    assert data.train_images.shape[1:] == (1, 4, 4)


@pytest.mark.parametrize(
    "mode, shape, grey",
    [("L", (6, 6), False), ("RGBA", (6, 6, 4), False), ("LA", (6, 6, 2), True), ("P", (6, 6), False)],
)
def test_folder_takes_every_8_bit_mode(photos, mode, shape, grey):
    image = Image.fromarray(noise(*shape)).convert(mode)
    image.save(photos / "cat" / "other.png")
    assert folder(photos, test_fraction=0.2, grey=grey).channels == (1 if grey else 3)


def test_folder_errors(photos):
    def error(match, path=photos, **settings):
        refused(match, "pets", source="folder", path=str(path), **{"test_fraction": 0.2, **settings})

    error(r"datasets\.pets\.path: .*nowhere is not a folder", photos / "nowhere")
    error(r"no sub-folders", photos / "cat")
    error(r"datasets\.pets\.test_fraction: .* has no folder test", test_fraction=None)
    broken = photos / "cat" / "broken.png"
    broken.write_bytes((photos / "cat" / "0.png").read_bytes()[:90])
    error(r"broken\.png is not a readable image")
    broken.write_bytes(b"no image at all")
    error(r"broken\.png is not a readable image")
    Image.fromarray(noise(6, 6).astype(np.float32)).save(photos / "cat" / "float.tif")
    broken.unlink()
    error(r"float\.tif has 32 bits a channel; save it with 8")
    (photos / "cat" / "float.tif").unlink()
    Image.fromarray(noise(7, 7, 3)).save(broken)
    error(r"datasets\.pets\.resolution: .*broken\.png is 7x7")
    broken.unlink()
    (photos / "bird").mkdir()
    error(r"bird has no images")
    Image.fromarray(noise(6, 6, 3)).save(photos / "bird" / "0.png")
    error(r"class 'bird' has a single image")


def test_folder_with_parts_errors(tmp_path):
    def put(part, animal, *shape):
        (tmp_path / part / animal).mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise(*shape, 3)).save(tmp_path / part / animal / "0.png")

    def error(match, **settings):
        refused(match, "pets", source="folder", path=str(tmp_path), **settings)

    put("test", "cat", 6, 6)
    error("no folder train")
    put("train", "cat", 6, 6)
    error("only one class, 'cat'")
    error("there is nothing to split", test_fraction=0.5)
    put("train", "dog", 6, 6)
    error("test/dog has no images")
    put("test", "dog", 6, 6)
    put("test", "bird", 6, 6)
    error("class 'bird' of .* has no folder in")
    put("train", "bird", 6, 6)
    assert folder(tmp_path).classes == ("bird", "cat", "dog")
    for animal in ("bird", "cat", "dog"):
        put("test", animal, 6, 7)
    error("the test images are 6 x 7 .* must be square; set its `resolution`")
    for animal in ("bird", "cat", "dog"):
        put("test", animal, 5, 5)
    error("differ in shape")
