"""CIFAR and SVHN: official checksums, contents, and every reason to refuse the files."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision import datasets as official

from ddpipe.datasets.readers import cifar, svhn
from tests.unit.original_files import (
    cifar_batches,
    cifar_files,
    no_network,
    noise,
    prepared,
    python2_pickle,
    refused,
    svhn_files,
)

CIFAR = {"cifar10": official.CIFAR10, "cifar100": official.CIFAR100}


@pytest.mark.parametrize("source", CIFAR)
def test_checksums_are_torchvisions(source):
    release, theirs = cifar.RELEASES[source], CIFAR[source]
    assert (release.url, release.archive, release.md5) == (theirs.url, theirs.filename, theirs.tgz_md5)
    assert release.folder == theirs.base_folder
    assert [*release.train.items()] == [tuple(entry) for entry in theirs.train_list]
    assert [*release.test.items()] == [tuple(entry) for entry in theirs.test_list]
    assert [*release.meta.items()] == [(theirs.meta["filename"], theirs.meta["md5"])]
    assert release.names == theirs.meta["key"]
    urls = {svhn.URL + file.name: file for file in (svhn.TRAIN, svhn.TEST)}
    assert [(url, *file) for url, file in urls.items()] == [
        tuple(official.SVHN.split_list[part]) for part in ("train", "test")
    ]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("source", CIFAR)
def test_images_labels_and_names_are_those_of_the_files(tmp_path, monkeypatch, source, packed):
    cifar_files(source, tmp_path, monkeypatch, packed)
    release, batches = cifar.RELEASES[source], cifar_batches(source, 2)
    data = prepared(source, tmp_path, source=source)
    for files, images, labels in (
        (release.train, data.train_images, data.train_labels),
        (release.test, data.test_images, data.test_labels),
    ):
        pixels = np.concatenate([batches[file]["data"] for file in files])
        assert np.array_equal(images.flatten(1).numpy(), pixels)
        assert labels.tolist() == [label for file in files for label in batches[file][release.labels]]
    assert data.classes == tuple(batches[next(iter(release.meta))][release.names])
    assert data.source["md5"] == release.train | release.test | release.meta


def test_files_by_themselves_and_two_forms_of_one_source(tmp_path, monkeypatch):
    cifar_files("cifar10", tmp_path, monkeypatch, packed=False)
    for path in (tmp_path / cifar.RELEASES["cifar10"].folder).iterdir():
        path.rename(tmp_path / path.name)
    plain = prepared("cifar10", tmp_path, source="cifar10")
    other = prepared("cifar10-none", tmp_path, source="cifar10", standardise="none")
    assert torch.equal(plain.train_images, other.train_images) and plain.checksum != other.checksum


@pytest.mark.parametrize("source", CIFAR)
def test_cifar_that_cannot_be_downloaded(tmp_path, monkeypatch, source):
    no_network(monkeypatch)
    path = re.escape(str(tmp_path / cifar.RELEASES[source].archive))
    refused(
        rf"datasets.c: {path} is missing and cannot be downloaded \(.*\); put .* or the files",
        "c",
        tmp_path,
        source=source,
    )
    assert not list(tmp_path.iterdir())


def test_cifar_is_downloaded_whole(tmp_path, monkeypatch):
    import torchvision

    cifar_files("cifar10", tmp_path, monkeypatch)
    release = cifar.RELEASES["cifar10"]
    content = (tmp_path / release.archive).read_bytes()

    def fetch(url, root, filename, md5):
        assert (url, md5) == (release.url, release.md5) and filename.endswith(".part")
        Path(root, filename).write_bytes(content)

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fetch)
    (tmp_path / release.archive).unlink()
    assert len(prepared("cifar10", tmp_path, source="cifar10").train_labels) == 100
    assert [path.name for path in tmp_path.iterdir()] == [release.archive]


@pytest.mark.parametrize("packed", [True, False])
def test_damaged_cifar(tmp_path, monkeypatch, packed):
    cifar_files("cifar10", tmp_path, monkeypatch, packed)
    release = cifar.RELEASES["cifar10"]
    path = tmp_path / (release.archive if packed else f"{release.folder}/data_batch_3")
    whole = path.read_bytes()
    for content in (whole[:-1], b"", whole + b"x"):
        path.write_bytes(content)
        expected = release.md5 if packed else release.train["data_batch_3"]
        refused(
            f"{re.escape(str(path))} is damaged or another file: .* not {expected}", "c", tmp_path, source="cifar10"
        )
    monkeypatch.undo()
    path.write_bytes(whole)
    refused("is damaged or another file", "c", tmp_path, source="cifar10")


def batch(**changes) -> bytes:
    content = cifar_batches("cifar10", 2)["data_batch_1"] | changes
    return python2_pickle({key: value for key, value in content.items() if value is not None})


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"data_batch_1": batch(data=None)}, "data_batch_1 has no 'data' of n rows of 3072 bytes"),
        ({"data_batch_1": batch(data=[1, 2])}, "data_batch_1 has no 'data' of n rows of 3072 bytes"),
        ({"data_batch_1": batch(data=noise(20, 3071))}, "data_batch_1 has no 'data' of n rows of 3072 bytes"),
        ({"data_batch_1": batch(data=noise(20, 3072) / 255)}, "data_batch_1 has no 'data' of n rows of 3072 bytes"),
        ({"data_batch_1": batch(labels=None)}, "no list 'labels' of 20 labels from 0 to 9"),
        ({"data_batch_1": batch(labels=[1] * 19)}, "no list 'labels' of 20 labels from 0 to 9"),
        ({"data_batch_1": batch(labels=[10] * 20)}, "no list 'labels' of 20 labels from 0 to 9"),
        ({"data_batch_1": batch(labels=["cat"] * 20)}, "no list 'labels' of 20 labels from 0 to 9"),
        (
            {"data_batch_1": b"cos\nsystem\n(S'true'\ntR."},
            r"data_batch_1 is not a pickled .* refers to (os|posix).system",
        ),
        ({"batches.meta": python2_pickle({"label_names": 3})}, "batches.meta has no list 'label_names'"),
    ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_cifar_of_another_content(tmp_path, monkeypatch, packed, changes, match):
    """The checksums fit: what would happen if the official files were like that."""
    cifar_files("cifar10", tmp_path, monkeypatch, packed, **changes)
    refused(match, "c", tmp_path, source="cifar10")


def test_an_archive_without_a_file(tmp_path, monkeypatch):
    cifar_files("cifar10", tmp_path, monkeypatch)
    release = cifar.RELEASES["cifar10"]
    for changed in (release._replace(folder="other"), release._replace(train={"data_batch_9": "x"})):
        monkeypatch.setattr(cifar, "RELEASES", {"cifar10": changed})
        refused(r"cifar-10-python.tar.gz lacks a file \(.*\); replace it", "c", tmp_path, source="cifar10")
    (tmp_path / release.archive).write_bytes(b"")
    monkeypatch.setattr(cifar, "RELEASES", {"cifar10": release._replace(md5="d41d8cd98f00b204e9800998ecf8427e")})
    refused(r"cifar-10-python.tar.gz lacks a file \(.*\); replace it", "c", tmp_path, source="cifar10")


# --- SVHN -------------------------------------------------------------------------------------------------------------


def test_svhn_label_10_is_the_digit_0(tmp_path, monkeypatch):
    svhn_files(tmp_path, monkeypatch)
    data = prepared("svhn", tmp_path, source="svhn")
    assert data.train_labels.tolist() == [(i % 10 + 1) % 10 for i in range(30)]
    assert np.array_equal(data.train_images.numpy(), noise(32, 32, 3, 30).transpose(3, 2, 0, 1))
    assert data.classes == tuple("0123456789")


def test_missing_and_damaged_svhn(tmp_path, monkeypatch):
    no_network(monkeypatch)
    match = r"train_32x32.mat is missing and cannot be downloaded \(.*\); put train_32x32.mat, test_32x32.mat into"
    refused(match, "svhn", tmp_path, source="svhn")
    assert not list(tmp_path.iterdir())
    svhn_files(tmp_path, monkeypatch)
    path = tmp_path / "test_32x32.mat"
    path.write_bytes(path.read_bytes()[:-1])
    refused("test_32x32.mat is damaged or another file", "svhn", tmp_path, source="svhn")


@pytest.mark.parametrize(
    "changes, match",
    [
        ({"X": noise(30, 32, 32, 3)}, "no array X of 32 x 32 x 3 x n bytes"),
        ({"X": noise(32, 32, 3, 30) / 255}, "no array X of 32 x 32 x 3 x n bytes"),
        ({"y": np.arange(30)[:, None]}, "no array y of 30 labels from 1 to 10"),
        ({"y": np.ones((29, 1))}, "no array y of 30 labels from 1 to 10"),
        ({"y": np.array([["a"] * 30], dtype=object).T}, "no array y of 30 labels from 1 to 10"),
    ],
)
def test_svhn_of_another_content(tmp_path, monkeypatch, changes, match):
    svhn_files(tmp_path, monkeypatch, **changes)
    refused(f"train_32x32.mat has {match}; replace it", "svhn", tmp_path, source="svhn")


def test_svhn_that_is_no_matlab_file(tmp_path, monkeypatch):
    svhn_files(tmp_path, monkeypatch)
    whole = (tmp_path / svhn.TRAIN.name).read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        (tmp_path / svhn.TRAIN.name).write_bytes(content)
        monkeypatch.setattr(svhn, "verify", lambda path, stream, expected: None)
        refused("train_32x32.mat is not a MATLAB file", "svhn", tmp_path, source="svhn")
