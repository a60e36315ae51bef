"""What holds for every registered reader and every preprocessing; a new one joins by a line in SOURCES or SETTINGS."""

import dataclasses
import hashlib
import typing

import numpy as np
import pytest
import torch
from PIL import Image

from ddpipe.datasets import resident
from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.datasets.readers import READERS, idx
from ddpipe.datasets.resident import Resident
from ddpipe.randomness import generator
from ddpipe.settings import Dataset


def noise(*shape: int) -> np.ndarray:
    return torch.randint(256, shape, generator=generator("images", shape), dtype=torch.uint8).numpy()


def digits(folder, monkeypatch):
    return {}


def idx_files(folder, monkeypatch):
    """Tiny files whose checksums stand in for the official ones."""
    arrays = [noise(20, 6, 6), np.arange(20, dtype=np.uint8) % 10, noise(10, 6, 6), np.arange(10, dtype=np.uint8)]
    files = []
    for name, array in zip(idx.NAMES, arrays, strict=True):
        header = bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape)
        (folder / name).write_bytes(header + array.tobytes())
        files.append(idx.File(name, "", hashlib.md5(header + array.tobytes()).hexdigest()))
    releases = {source: release._replace(files=tuple(files)) for source, release in idx.RELEASES.items()}
    monkeypatch.setattr(idx, "RELEASES", releases)
    return {}


def folder_of_images(folder, monkeypatch):
    for part, n in (("train", 4), ("test", 2)):
        for label, animal in enumerate(("cat", "dog")):
            (folder / part / animal).mkdir(parents=True)
            for i, pixels in enumerate(noise(n, 5, 5, 3) // (label + 1)):
                Image.fromarray(pixels).save(folder / part / animal / f"{i}.png")
    return {"path": str(folder)}


def npz(folder, monkeypatch):
    path = folder / "arrays.npz"
    np.savez(path, train_images=noise(12, 5, 5), train_labels=np.arange(12) % 3)
    return {"path": str(path), "test_fraction": 0.5}


SOURCES = {
    "digits": digits,
    "mnist": idx_files,
    "fashionmnist": idx_files,
    "folder": folder_of_images,
    "npz": npz,
}
SETTINGS = {
    "plain": {},
    "unbiased": {"standardise": "unbiased"},
    "none": {"standardise": "none"},
    "zca": {"standardise": "none", "whitening": {}},
    "kip": {"per_image": True, "whitening": {"relative": True, "centred": False, "ddof": 0}},
    "per-image": {"per_image": True},
}


def test_every_reader_is_tested_and_can_be_set():
    assert set(SOURCES) == set(READERS) == set(typing.get_args(Dataset.model_fields["source"].annotation))


@pytest.fixture(params=SOURCES)
def arguments(request, tmp_path, monkeypatch):
    """(settings without preprocessing, raw folder) of one reader."""
    return {"source": request.param, **SOURCES[request.param](tmp_path, monkeypatch)}, tmp_path


def test_prepared_is_complete_repeatable_and_survives_the_disk(arguments, tmp_path):
    settings, raw = arguments
    prepared = prepare("name", Dataset(**settings, flip=False), raw)
    for images, labels in (
        (prepared.train_images, prepared.train_labels),
        (prepared.test_images, prepared.test_labels),
    ):
        assert images.dtype == torch.uint8 and images.shape[1:] == (prepared.channels, *2 * [prepared.resolution])
        assert labels.dtype == torch.int64 and labels.shape == images.shape[:1]
        assert labels.unique().tolist() == list(range(len(prepared.classes)))
    assert prepared.channels in (1, 3) and prepared.source["reader"] and not prepared.flip

    prepared.save(tmp_path / "one")
    prepare("name", Dataset(**settings, flip=False), raw).save(tmp_path / "two")
    loaded = Prepared.load(tmp_path / "one")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["data.json", "data.safetensors"]
    for file in ("data.json", "data.safetensors"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    assert loaded.checksum == prepared.checksum
    assert loaded.preprocessing.to_json() == prepared.preprocessing.to_json()
    plain = [field.name for field in dataclasses.fields(Prepared) if field.type in ("str", str, bool, tuple[str, ...])]
    assert all(getattr(loaded, name) == getattr(prepared, name) for name in plain)


@pytest.mark.parametrize("limit", [resident.GIB, 0], ids=["small", "large"])
@pytest.mark.parametrize("how", SETTINGS)
def test_resident_gives_what_preprocessing_gives(arguments, how, limit, monkeypatch):
    monkeypatch.setattr(resident, "GIB", limit)  # 0: too large to be kept as float32
    settings, raw = arguments
    prepared = prepare("name", Dataset(**settings, **SETTINGS[how]), raw)
    data = Resident(prepared.train_images, prepared.train_labels, prepared.preprocessing)
    everything = prepared.preprocessing.apply(prepared.train_images)
    assert everything.dtype == torch.float32 and bool(everything.isfinite().all())
    index = torch.arange(len(prepared.train_labels)).flip(0)
    if prepared.preprocessing.pointwise:
        assert torch.equal(data.batch(index), everything[index])
    else:  # matrix products of other sizes round differently
        torch.testing.assert_close(data.batch(index), everything[index], rtol=1e-4, atol=1e-5)

    assert torch.equal(torch.cat(data.class_index).sort().values, index.flip(0))
    for label, rows in enumerate(data.class_index):
        assert bool((prepared.train_labels[rows] == label).all()) and bool((rows.diff() > 0).all())
        drawn = data.sample_index(label, 2, generator("draw", label))
        assert len(set(drawn.tolist()) & set(rows.tolist())) == 2
        assert torch.equal(data.sample(label, 2, generator("draw", label)), data.batch(drawn))
        every = data.sample_index(label, len(rows) + 5, generator("draw", label))
        assert torch.equal(every.sort().values, rows)


@pytest.mark.parametrize("how", SETTINGS)
def test_pictures_come_back(arguments, how):
    settings, raw = arguments
    prepared = prepare("name", Dataset(**settings, **SETTINGS[how]), raw)
    pictures = prepared.preprocessing.invert(prepared.preprocessing.apply(prepared.train_images))
    assert pictures.dtype == torch.float32
    original = prepared.train_images / 255
    if not prepared.preprocessing.to_json()["per_image"]:
        torch.testing.assert_close(pictures, original, rtol=0, atol=1e-4)
    else:  # brightness and contrast of the single image are lost, the picture is not
        pairs = torch.stack([pictures.flatten(1).T, original.flatten(1).T])  # (2, F, n)
        pairs = (pairs - pairs.mean(1, keepdim=True)) / pairs.std(1, keepdim=True)
        assert float((pairs[0] * pairs[1]).mean(0).min()) > 0.95
