"""Tiny ImageNet and ImageNet at 64x64: contents, and every reason to refuse the files."""

import pickle
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ddpipe.datasets.readers import imagenet64, tinyimagenet
from tests.unit.original_files import (
    WNIDS,
    imagenet64_batches,
    imagenet64_files,
    imagenet64_folders,
    md5,
    no_network,
    noise,
    prepared,
    refused,
    tinyimagenet_files,
    tinyimagenet_tree,
)

TRAIN, VAL = f"train/{WNIDS[0]}/images/{WNIDS[0]}_", "val/val_annotations.txt"


def pixels(content: bytes, tmp_path: Path) -> torch.Tensor:
    (tmp_path / "one.JPEG").write_bytes(content)
    return torch.from_numpy(np.array(Image.open(tmp_path / "one.JPEG").convert("RGB"))).permute(2, 0, 1)


@pytest.mark.parametrize("packed", [True, False])
def test_tinyimagenet_labels_are_sorted_wnids(tmp_path, monkeypatch, packed):
    tinyimagenet_files(tmp_path, monkeypatch, packed)
    data, tree = prepared("t", tmp_path, source="tinyimagenet"), tinyimagenet_tree()
    assert data.classes == tuple(sorted(WNIDS)) != WNIDS
    for label, wnid in enumerate(data.classes):
        for i, row in enumerate((data.train_labels == label).nonzero().flatten().tolist()):  # 2 before 10
            assert torch.equal(data.train_images[row], pixels(tree[f"train/{wnid}/images/{wnid}_{i}.JPEG"], tmp_path))
    for i in range(9):
        assert torch.equal(data.test_images[i], pixels(tree[f"val/images/val_{i}.JPEG"], tmp_path))
        assert data.classes[data.test_labels[i]] == WNIDS[i % 3]
    grey = [bool((image == image[:1]).all()) for image in data.train_images]
    assert sum(grey) == 1 and data.channels == 3


def test_tinyimagenet_missing_and_damaged_archive(tmp_path, monkeypatch):
    no_network(monkeypatch)
    path = re.escape(str(tmp_path / "tiny-imagenet-200.zip"))
    match = rf"{path} is missing and cannot be downloaded \(.*\); put tiny-imagenet-200.zip or the unpacked folder"
    refused(match, "t", tmp_path, source="tinyimagenet")
    assert not list(tmp_path.iterdir())
    tinyimagenet_files(tmp_path, monkeypatch)
    whole = (tmp_path / tinyimagenet.ARCHIVE).read_bytes()
    (tmp_path / tinyimagenet.ARCHIVE).write_bytes(whole[:-1])
    refused("tiny-imagenet-200.zip is damaged or another file", "t", tmp_path, source="tinyimagenet")
    monkeypatch.setattr(tinyimagenet, "MD5", md5(whole[:-30]))
    (tmp_path / tinyimagenet.ARCHIVE).write_bytes(whole[:-30])
    refused("tiny-imagenet-200.zip is not a zip archive", "t", tmp_path, source="tinyimagenet")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(
    "changes, match",
    [
        (
            {VAL: b"val_0.JPEG\tn99999999\t0\n"},
            "annotations.txt: 'val_0.JPEG n99999999' does not name an image and a cl",
        ),
        ({VAL: b"val_0.JPEG\n"}, "annotations.txt: 'val_0.JPEG' does not name"),
        ({VAL: f"val_99.JPEG {WNIDS[0]}\n".encode() * 3}, "val/images/val_99.JPEG is missing; unpack"),
        ({VAL: b"\n"}, "val has no images; unpack"),
        ({VAL: f"val_0.JPEG {WNIDS[0]}\n".encode()}, r"class number 0 \('n01443537'\) has no test images"),
        ({"wnids.txt": WNIDS[0].encode()}, "train/n0.* is not in wnids.txt; unpack"),
        ({"wnids.txt": "\n".join([*WNIDS, "n00000001"]).encode()}, r"class number 0 \('n00000001'\) has no training"),
        ({f"{TRAIN}3.JPEG": b"no image"}, f"{WNIDS[0]}_3.JPEG is not a readable image"),
        ({f"{TRAIN}3.JPEG": tinyimagenet_tree()[f"{TRAIN}3.JPEG"][:900]}, f"{WNIDS[0]}_3.JPEG is not a readable image"),
    ],
)
def test_tinyimagenet_of_another_content(tmp_path, monkeypatch, packed, changes, match):
    tinyimagenet_files(tmp_path, monkeypatch, packed, **changes)
    refused(match, "t", tmp_path, source="tinyimagenet")


def test_tinyimagenet_incomplete_tree(tmp_path, monkeypatch):
    tinyimagenet_files(tmp_path, monkeypatch, packed=False)
    (tmp_path / tinyimagenet.FOLDER / VAL).unlink()
    refused(f"{VAL} is missing; unpack the official", "t", tmp_path, source="tinyimagenet")
    shutil.rmtree(tmp_path / tinyimagenet.FOLDER / "train")
    tinyimagenet_files(tmp_path / "x", monkeypatch, packed=False)
    shutil.rmtree(tmp_path / "x" / tinyimagenet.FOLDER / "train")
    refused("train has no images; unpack", "t", tmp_path / "x", source="tinyimagenet")


# --- ImageNet at 64x64 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["npz", "pickled"])
def test_imagenet64_is_what_the_batches_say(tmp_path, monkeypatch, form):
    imagenet64_files(tmp_path, monkeypatch, form)
    data, batches = prepared("i", tmp_path, source="imagenet64"), imagenet64_batches()
    for files, images, labels in (
        (imagenet64.TRAIN, data.train_images, data.train_labels),
        (imagenet64.TEST, data.test_images, data.test_labels),
    ):
        assert np.array_equal(images.flatten(1).numpy(), np.concatenate([batches[file]["data"] for file in files]))
        assert (labels + 1).tolist() == [label for file in files for label in batches[file]["labels"]]
    assert data.classes == ("1", "2", "3") and data.train_images.shape[1:] == (3, 64, 64)
    assert len(data.source["md5"]) == 11


def test_imagenet64_in_folders_of_its_parts_with_wnids(tmp_path, monkeypatch):
    imagenet64_files(tmp_path, monkeypatch)
    (tmp_path / "Imagenet64_val_npz").mkdir()
    (tmp_path / "val_data.npz").rename(tmp_path / "Imagenet64_val_npz" / "val_data.npz")
    (tmp_path / "map_clsloc.txt").write_text("n04067472 3 reel\nn02124075 1 Egyptian_cat\nn01443537 2 goldfish\n")
    assert prepared("i", tmp_path, source="imagenet64").classes == ("n02124075", "n01443537", "n04067472")
    for wrong in ("n04067472 3 reel\n", "n1 1 a\nn1 2 b\nn3 3 c\n", "text"):
        (tmp_path / "map_clsloc.txt").write_text(wrong)
        refused("map_clsloc.txt does not name the classes 1 to 3", "i", tmp_path, source="imagenet64")


def test_imagenet64_folders_are_resized_as_a_whole(tmp_path, monkeypatch):
    imagenet64_folders(tmp_path, monkeypatch)
    half = Image.fromarray(np.kron(noise(64, 64, 3), np.ones((2, 3, 1), np.uint8)))
    half.save(tmp_path / "train" / WNIDS[0] / "0.png")
    data = prepared("i", tmp_path, source="imagenet64")
    assert data.classes == tuple(sorted(WNIDS))
    row = int((data.train_labels == data.classes.index(WNIDS[0])).nonzero()[0])
    assert torch.equal(data.train_images[row].permute(1, 2, 0), torch.from_numpy(noise(64, 64, 3)))
    (tmp_path / "val" / "n00000001").mkdir()
    refused("val/n00000001 has no folder in .*train; add it there", "i", tmp_path, source="imagenet64")
    (tmp_path / "val" / "n00000001").rmdir()
    shutil.rmtree(tmp_path / "val" / WNIDS[0])
    refused(f"val/{WNIDS[0]} has no images", "i", tmp_path, source="imagenet64")
    shutil.rmtree(tmp_path / "val")
    (tmp_path / "val").mkdir()
    refused("val has no sub-folders", "i", tmp_path, source="imagenet64")


def test_imagenet64_missing(tmp_path, monkeypatch):
    refused("train_data_batch_1 is missing; unpack the 64x64 archives", "i", tmp_path / "none", source="imagenet64")
    imagenet64_files(tmp_path, monkeypatch)
    (tmp_path / "val_data.npz").unlink()
    refused(r"datasets\.i: .*val_data is missing; unpack the 64x64 archives", "i", tmp_path, source="imagenet64")


def test_imagenet64_pickles_need_a_known_checksum(tmp_path, monkeypatch):
    imagenet64_files(tmp_path, monkeypatch, "pickled")
    sums = (tmp_path / "md5sums.txt").read_text()
    (tmp_path / "md5sums.txt").unlink()
    match = r"train_data_batch_1 is a pickle without a known checksum; use the archive's npz format, or .*md5sums.txt"
    refused(match, "i", tmp_path, source="imagenet64")
    (tmp_path / "md5sums.txt").write_text(sums.replace(sums[:8], "0" * 8))
    refused("train_data_batch_1 is damaged or another file", "i", tmp_path, source="imagenet64")


def test_imagenet64_npz_is_verified_where_checksums_are_given(tmp_path, monkeypatch):
    imagenet64_files(tmp_path, monkeypatch)
    (tmp_path / "md5sums.txt").write_text(f"{'0' * 32} *train_data_batch_2.npz\n")
    refused("train_data_batch_2.npz is damaged or another file", "i", tmp_path, source="imagenet64")


def other(**changes) -> dict:
    content = imagenet64_batches()["train_data_batch_2"] | changes
    return {"train_data_batch_2": {key: value for key, value in content.items() if value is not None}}


@pytest.mark.parametrize("form", ["npz", "pickled"])
@pytest.mark.parametrize(
    "changes, match",
    [
        (other(data=noise(4, 3072)), r"data has shape \(4, 3072\) and dtype uint8"),
        (other(data=np.zeros((4, 12288))), "data has shape .* and dtype float64"),
        (other(labels=[1, 2, 3]), "labels are not 4 whole numbers from 1 to 3"),
        (other(labels=[0, 1, 2, 3]), "labels are not 4 whole numbers from 1 to 3"),
        (other(labels=[4, 1, 2, 3]), "labels are not 4 whole numbers from 1 to 3"),
        (other(labels=[1.0, 1, 2, 3]), "labels are not 4 whole numbers from 1 to 3"),
        (other(data=None), r"no array data|data has shape \(\)"),
        (other(labels=None), "no array labels|labels are not 4 whole"),
    ],
)
def test_imagenet64_of_another_content(tmp_path, monkeypatch, form, changes, match):
    imagenet64_files(tmp_path, monkeypatch, form, **changes)
    refused(f"train_data_batch_2.*({match}).*; put the official file there", "i", tmp_path, source="imagenet64")


def test_imagenet64_hostile_and_cut_short(tmp_path, monkeypatch):
    imagenet64_files(tmp_path, monkeypatch, "pickled", train_data_batch_3=pickle.dumps({"data": print}))
    refused("train_data_batch_3 is not a pickled dictionary .*builtins.print", "i", tmp_path, source="imagenet64")
    (tmp_path / "npz").mkdir()
    imagenet64_files(tmp_path / "npz", monkeypatch)
    path = tmp_path / "npz" / "train_data_batch_3.npz"
    path.write_bytes(path.read_bytes()[:-40])
    refused(r"datasets\.i: .*train_data_batch_3.npz is not an intact .npz", "i", tmp_path / "npz", source="imagenet64")
