"""Readers, their errors, and the prepared form on disk."""

import gzip
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.datasets.readers import digits, idx
from ddpipe.errors import UserError
from ddpipe.randomness import generator
from ddpipe.settings import Dataset


def noise(*shape: int) -> np.ndarray:
    return torch.randint(256, shape, generator=generator("images", shape), dtype=torch.uint8).numpy()


def refused(match: str, name: str, raw: Path = Path("raw"), **settings) -> None:
    with pytest.raises(UserError, match=match) as error:
        prepare(name, Dataset(**settings), raw)
    assert "\n" not in str(error.value)


# --- digits -----------------------------------------------------------------------------------------------------------


def test_digits_are_1297_and_500_of_every_class():
    source = digits.read("digits", Dataset(source="digits"), Path())
    assert source.train_images.shape == (1297, 1, 8, 8) and source.test_images.shape == (500, 1, 8, 8)
    assert torch.bincount(source.train_labels).tolist() == [128, 131, 128, 132, 130, 131, 130, 129, 128, 130]
    assert torch.bincount(source.test_labels).tolist() == [50, 51, 49, 51, 51, 51, 51, 50, 46, 50]
    assert sorted(set(source.train_images.unique().tolist())) == [round(v * 255 / 16) for v in range(17)]


def test_digits_are_those_of_scikit_learn_without_importing_it():
    code = "import sys; from ddpipe.datasets.prepared import prepare; from ddpipe.settings import Dataset; "
    code += "from pathlib import Path; prepare('d', Dataset(source='digits'), Path()); "
    code += "sys.exit('sklearn' in sys.modules or 'torchvision' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- idx --------------------------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def test_idx_parsing_and_its_errors():
    array = noise(3, 4, 5)
    assert torch.equal(idx.parse(Path("f"), idx_bytes(array)), torch.from_numpy(array))
    for broken in (idx_bytes(array)[:-1], idx_bytes(array)[:6], b"", b"\1" + idx_bytes(array)[1:]):
        with pytest.raises(UserError, match="^f is "):
            idx.parse(Path("f"), broken)


@pytest.fixture
def no_network(monkeypatch):
    import torchvision

    def fail(url, root, filename, md5):
        Path(root).mkdir(parents=True, exist_ok=True)
        Path(root, filename).write_bytes(b"half of it")
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fail)


@pytest.mark.parametrize("source", ["mnist", "fashionmnist"])
def test_missing_files_that_cannot_be_downloaded(tmp_path, no_network, source):
    raw = tmp_path / source
    every_name = ".*".join(f"{name}.gz" for name in idx.NAMES)
    refused(f"{re.escape(str(raw))}.*cannot be downloaded; put {every_name} into", source, raw, source=source)
    assert not list(raw.iterdir())


@pytest.mark.parametrize("folder", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_damaged_files_name_path_and_checksum(tmp_path, folder, suffix):
    (tmp_path / folder).mkdir(parents=True, exist_ok=True)
    content = idx_bytes(noise(2, 28, 28))
    for name in idx.NAMES:
        (tmp_path / folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    file = idx.RELEASES["mnist"].files[0]
    expected = file.packed if suffix else file.unpacked
    refused(f"{idx.NAMES[0]}{suffix} is damaged.*{expected}; delete it", "mnist", tmp_path, source="mnist")


def test_downloads_are_kept_and_only_the_missing_ones_fetched(tmp_path, monkeypatch):
    import torchvision

    asked = []

    def fetch(url, root, filename, md5):
        asked.append((url.rsplit("/", 1)[1], md5))
        Path(root, filename).write_bytes(b"x")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fetch)
    (tmp_path / idx.NAMES[0]).write_bytes(b"x")
    refused("MD5", "mnist", tmp_path, source="mnist")
    assert asked == [(f"{file.name}.gz", file.packed) for file in idx.RELEASES["mnist"].files[1:]]
    assert {path.name for path in tmp_path.iterdir()} == {idx.NAMES[0], *(f"{name}.gz" for name in idx.NAMES[1:])}


# --- folder -----------------------------------------------------------------------------------------------------------


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
    return prepare("pets", Dataset(source="folder", path=str(path), **settings), Path("raw"))


def test_folder_reads_pixels_as_they_are(photos):
    prepared = folder(photos, test_fraction=0.2)
    assert prepared.classes == ("cat", "dog")
    assert prepared.train_images.shape == (16, 3, 6, 6) and torch.bincount(prepared.test_labels).tolist() == [2, 2]
    everything = torch.cat([prepared.train_images, prepared.test_images]).permute(0, 2, 3, 1).numpy()
    expected = np.concatenate([noise(10, 6, 6, 3), noise(10, 6, 6, 3) // 2])
    assert sorted(map(bytes, everything)) == sorted(map(bytes, expected))


def test_folder_split_is_fixed_by_the_name_of_the_data_set(photos):
    same = [folder(photos, test_fraction=0.5).checksum for _ in range(2)]
    other = prepare("zoo", Dataset(source="folder", path=str(photos), test_fraction=0.5), Path("raw"))
    assert same[0] == same[1] != other.checksum


def test_folder_grey_and_resized(photos):
    Image.fromarray(noise(9, 12, 3)).save(photos / "cat" / "wide.jpg")
    prepared = folder(photos, test_fraction=0.2, grey=True, resolution=4)
    assert prepared.train_images.shape[1:] == (1, 4, 4)


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
    Image.fromarray(noise(6, 6).astype(np.uint16)).save(broken)
    error(r"broken\.png has more than 8 bits")
    Image.fromarray(noise(7, 7, 3)).save(broken)
    error(r"datasets\.pets\.resolution: .*broken\.png is 7x7")
    broken.unlink()
    (photos / "bird").mkdir()
    error(r"bird has no images")
    Image.fromarray(noise(6, 6, 3)).save(photos / "bird" / "0.png")
    error(r"class number 0 has a single image")


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


# --- npz --------------------------------------------------------------------------------------------------------------


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
    prepared = prepare("mine", Dataset(source="npz", path=str(path)), Path())
    assert prepared.classes == ("a", "b", "c")
    assert prepared.train_images.shape == (12, 3 if 3 in shape else 1, 5, 5)
    expected = train if shape[-1] not in (1, 3) else np.moveaxis(train, -1, 1)
    assert torch.equal(prepared.train_images, torch.from_numpy(expected.reshape(prepared.train_images.shape).copy()))


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
    prepared = prepare("mine", Dataset(source="npz", path=str(path), test_fraction=0.25), Path())
    assert torch.bincount(prepared.train_labels).tolist() == [3, 3, 3]
    assert torch.bincount(prepared.test_labels).tolist() == [1, 1, 1]


# --- preparing and storing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("part, number", [("train", 5), ("test", 2)])
def test_constant_image_has_no_norm(tmp_path, part, number):
    arrays = good()
    arrays[f"{part}_images"][number] = 77
    np.savez(tmp_path / "a.npz", **arrays)
    prepare("mine", Dataset(source="npz", path=str(tmp_path / "a.npz")), Path())
    refused(
        rf"per_image: {part}.* image number {number} ",
        "mine",
        source="npz",
        path=str(tmp_path / "a.npz"),
        per_image=True,
    )


def test_one_number_a_channel():
    given = {"standardise": "given", "mean": (0.5, 0.5, 0.5), "std": (0.2,)}
    refused(r"datasets\.digits\.mean has 3 numbers but the images have 1 channel", "digits", source="digits", **given)


def test_damaged_prepared_data(tmp_path):
    folder = tmp_path / "prepared" / "digits"
    mend = "dvc repro prepare@digits"
    with pytest.raises(UserError, match=f"data.json does not exist.*{mend}"):
        Prepared.load(folder)
    prepare("digits", Dataset(source="digits"), Path()).save(folder)
    file = folder / "data.safetensors"
    whole = file.read_bytes()
    flipped = bytearray(whole)
    flipped[-100] ^= 1
    for content, match in ((whole[:-1], "cut short"), (bytes(flipped), "checksum"), (b"", "cut short")):
        file.write_bytes(content)
        with pytest.raises(UserError, match=f"{match}.*{mend}"):
            Prepared.load(folder)
    file.unlink()
    with pytest.raises(UserError, match=f"data.safetensors does not exist.*{mend}"):
        Prepared.load(folder)
