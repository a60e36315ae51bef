"""What holds for every registered reader and every preprocessing; a new one joins by a line in SOURCES or SETTINGS."""

import functools
import typing
from types import SimpleNamespace

import pytest
import torch

from ddpipe.datasets import resident
from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.datasets.readers import READERS
from ddpipe.datasets.resident import Resident
from ddpipe.randomness import generator
from ddpipe.settings import Dataset
from tests.unit import original_files as files

# source, or source and form: makes small files of exactly the original format and returns further settings
SOURCES = {
    "digits": lambda folder, monkeypatch: {},
    "mnist": files.idx_files,
    "fashionmnist": files.idx_files,
    "svhn": files.svhn_files,
    "cifar10": functools.partial(files.cifar_files, "cifar10"),
    "cifar10 unpacked": functools.partial(files.cifar_files, "cifar10", packed=False),
    "cifar100": functools.partial(files.cifar_files, "cifar100"),
    "tinyimagenet": files.tinyimagenet_files,
    "tinyimagenet unpacked": functools.partial(files.tinyimagenet_files, packed=False),
    "imagenet64": files.imagenet64_files,
    "imagenet64 pickled": functools.partial(files.imagenet64_files, form="pickled"),
    "imagenet64 folders": files.imagenet64_folders,
    "folder": files.image_folder,
    "npz": files.npz_file,
    "npz jpeg": files.jpeg_files,
}
SETTINGS = {
    "plain": {},
    "unbiased": {"standardise": "unbiased"},
    "none": {"standardise": "none"},
    "zca": {"standardise": "none", "whitening": {}},
    "kip": {"per_image": True, "whitening": {"relative": True, "centred": False, "ddof": 0}},
    "per-image": {"per_image": True},
}
WHITENED = ("digits", "mnist", "folder", "npz", "npz jpeg")  # images small enough for an eigenvalue problem each
PAIRS = [(source, how) for source in WHITENED for how in SETTINGS] + [("svhn", "plain"), ("tinyimagenet", "per-image")]


def test_every_reader_is_tested_and_can_be_set():
    assert {source.split()[0] for source in SOURCES} == set(READERS)
    assert set(READERS) == set(typing.get_args(Dataset.model_fields["source"].annotation))


@pytest.fixture
def make(tmp_path, monkeypatch):
    """A function that makes the original files of a source and prepares them, in a new folder each time."""
    raw = tmp_path / "raw"
    given = {}

    def call(source, folder="prepared", **options):
        if not raw.exists():
            raw.mkdir()
            given.update(SOURCES[source](raw, monkeypatch))
        settings = Dataset(source=source.split()[0], **given, **options)
        about = prepare("name", settings, raw, tmp_path / folder)
        return SimpleNamespace(about=about, folder=tmp_path / folder, data=Prepared.load(tmp_path / folder))

    return call


@pytest.mark.parametrize("source", SOURCES)
def test_prepared_is_complete_and_repeatable(make, source):
    one, two = make(source, "one", flip=False), make(source, "two", flip=False)
    data = one.data
    for images, labels in ((data.train_images, data.train_labels), (data.test_images, data.test_labels)):
        assert images.dtype == torch.uint8 and images.shape[1:] == (data.channels, *2 * [data.resolution])
        assert labels.dtype == torch.int64 and labels.shape == images.shape[:1]
        assert labels.unique().tolist() == list(range(len(data.classes)))
    assert data.channels in (1, 3) and data.source["reader"] and not data.flip
    assert one.about["checksum"] == data.checksum and tuple(one.about["classes"]) == data.classes
    assert one.about["images"] == {"train": len(data.train_labels), "test": len(data.test_labels)}
    assert one.about["shape"] == list(data.train_images.shape[1:])
    assert one.about["preprocessing"] == data.preprocessing.to_json() and one.about["source"] == data.source
    assert sorted(path.name for path in one.folder.iterdir()) == ["data.json", "data.safetensors"]
    for file in ("data.json", "data.safetensors"):
        assert (one.folder / file).read_bytes() == (two.folder / file).read_bytes()


@pytest.mark.parametrize("source", SOURCES)
def test_chosen_classes_are_the_same_images_in_their_order(make, source):
    whole = make(source, "whole").data
    chosen = (1, 0) if len(whole.classes) < 3 else (2, 0)
    some = make(source, "some", classes=tuple(whole.classes[label] for label in chosen)).data
    assert some.classes == tuple(whole.classes[label] for label in chosen)
    for part in ("train", "test"):
        images, labels = (getattr(whole, f"{part}_{what}") for what in ("images", "labels"))
        kept = torch.isin(labels, torch.tensor(chosen))
        assert torch.equal(getattr(some, f"{part}_images"), images[kept])
        assert [chosen[label] for label in getattr(some, f"{part}_labels").tolist()] == labels[kept].tolist()


@pytest.mark.parametrize("limit", [resident.GIB, 0], ids=["small", "large"])
@pytest.mark.parametrize("source, how", PAIRS)
def test_resident_gives_what_preprocessing_gives(make, source, how, limit, monkeypatch):
    monkeypatch.setattr(resident, "GIB", limit)  # 0: too large to be kept as float32
    prepared = make(source, **SETTINGS[how]).data
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


@pytest.mark.parametrize("source, how", PAIRS)
def test_pictures_come_back(make, source, how):
    prepared = make(source, **SETTINGS[how]).data
    pictures = prepared.preprocessing.invert(prepared.preprocessing.apply(prepared.train_images))
    assert pictures.dtype == torch.float32
    original = prepared.train_images / 255
    if not prepared.preprocessing.to_json()["per_image"]:
        torch.testing.assert_close(pictures, original, rtol=0, atol=1e-4)
    else:  # brightness and contrast of the single image are lost, the picture is not
        pairs = torch.stack([pictures.flatten(1).T, original.flatten(1).T])  # (2, F, n)
        pairs = (pairs - pairs.mean(1, keepdim=True)) / pairs.std(1, keepdim=True)
        assert float((pairs[0] * pairs[1]).mean(0).min()) > 0.95
