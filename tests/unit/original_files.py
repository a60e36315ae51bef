"""Small data sets in exactly the formats of the official releases; their checksums take the official ones' place."""

import hashlib
import io
import pickle
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.datasets.readers import cifar, idx, imagenet64, svhn, tinyimagenet
from ddpipe.errors import UserError
from ddpipe.randomness import generator
from ddpipe.settings import Dataset


def noise(*shape: int) -> np.ndarray:
    return torch.randint(256, shape, generator=generator("images", shape), dtype=torch.uint8).numpy()


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def jpeg(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", quality=95)
    return stream.getvalue()


def prepared(name: str, raw: Path = Path("raw"), **settings: Any) -> Prepared:
    """The dataset, prepared in a folder that is forgotten: its mapped tensors stay."""
    with tempfile.TemporaryDirectory() as folder:
        prepare(name, Dataset(**settings), raw, Path(folder) / name)
        return Prepared.load(Path(folder) / name)


def refused(match: str, name: str, raw: Path = Path("raw"), **settings: Any) -> None:
    """Preparing ends with one sentence that matches, and leaves nothing behind."""
    with tempfile.TemporaryDirectory() as folder:
        with pytest.raises(UserError, match=match) as error:
            prepare(name, Dataset(**settings), raw, Path(folder) / name)
        assert "\n" not in str(error.value)
        assert not list(Path(folder).iterdir())


def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every download breaks off."""
    import torchvision

    def fail(url: str, root: str, filename: str, md5: str) -> None:
        Path(root).mkdir(parents=True, exist_ok=True)
        Path(root, filename).write_bytes(b"half of it")
        raise OSError("no network")

    monkeypatch.setattr(torchvision.datasets.utils, "download_url", fail)


# --- MNIST, FashionMNIST ----------------------------------------------------------------------------------------------


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + b"".join(n.to_bytes(4, "big") for n in array.shape) + array.tobytes()


def idx_files(folder: Path, monkeypatch: Any) -> dict:
    arrays = [noise(20, 6, 6), np.arange(20, dtype=np.uint8) % 10, noise(10, 6, 6), np.arange(10, dtype=np.uint8)]
    files = []
    for name, array in zip(idx.NAMES, arrays, strict=True):
        (folder / name).write_bytes(idx_bytes(array))
        files.append(idx.File(name, "", md5(idx_bytes(array))))
    releases = {source: release._replace(files=tuple(files)) for source, release in idx.RELEASES.items()}
    monkeypatch.setattr(idx, "RELEASES", releases)
    return {}


# --- CIFAR ------------------------------------------------------------------------------------------------------------


class Python2Pickler(pickle._Pickler):  # type: ignore[name-defined]
    """Writes what Python 2's cPickle wrote, with numpy of that time: strings are bytes, names are the old ones."""

    dispatch = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

    def save_string(self, value: str | bytes) -> None:
        data = value.encode("latin1") if isinstance(value, str) else value
        short = len(data) < 256
        self.write((b"U" + bytes([len(data)]) if short else b"T" + len(data).to_bytes(4, "little")) + data)
        self.memoize(value)

    def save_name(self, value: Any, name: str | None = None) -> None:
        module = value.__module__.replace("numpy._core", "numpy.core")
        self.write(b"c" + f"{module}\n{name or value.__qualname__}\n".encode())
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = save_string
    save_global = save_name
    dispatch[type] = dispatch[type(len)] = dispatch[type(noise)] = save_name


def python2_pickle(value: Any) -> bytes:
    stream = io.BytesIO()
    Python2Pickler(stream, protocol=2).dump(value)
    return stream.getvalue()


def cifar_batches(source: str, n: int) -> dict[str, dict]:
    """The contents of the release's files, n images of every class in each batch."""
    release, classes = cifar.RELEASES[source], {"cifar10": 10, "cifar100": 100}[source]
    found = {}
    for number, file in enumerate([*release.train, *release.test]):
        labels = [label for label in range(classes) for _ in range(n)]
        data = noise(len(labels) + number, 3072)[number:]
        found[file] = {"batch_label": file, release.labels: labels, "data": data, "filenames": ["a.png"] * len(labels)}
    names = [f"class {label}" for label in range(classes)]
    found |= {file: {release.names: names, "num_vis": 3072} for file in release.meta}
    return found


def cifar_files(source: str, folder: Path, monkeypatch: Any, packed: bool = True, **changes: Any) -> dict:
    """The archive or the unpacked files; `changes`: file -> bytes in the place of its contents."""
    release = cifar.RELEASES[source]
    files = {file: python2_pickle(content) for file, content in cifar_batches(source, 2).items()} | changes
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for file, content in files.items():
            member = tarfile.TarInfo(f"{release.folder}/{file}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    if packed:
        (folder / release.archive).write_bytes(archive.getvalue())
    else:
        (folder / release.folder).mkdir()
        for file, content in files.items():
            (folder / release.folder / file).write_bytes(content)
    sums = {key: {file: md5(files[file]) for file in getattr(release, key)} for key in ("train", "test", "meta")}
    changed = release._replace(md5=md5(archive.getvalue()), **sums)
    monkeypatch.setattr(cifar, "RELEASES", {**cifar.RELEASES, source: changed})
    return {}


# --- SVHN -------------------------------------------------------------------------------------------------------------


def svhn_files(folder: Path, monkeypatch: Any, **changes: Any) -> dict:
    """`changes`: arrays of the training file in the place of X and y."""
    for key, n in (("TRAIN", 30), ("TEST", 20)):
        name = getattr(svhn, key).name
        arrays = {"X": noise(32, 32, 3, n), "y": (np.arange(n, dtype=np.uint8) % 10 + 1)[:, None]}
        savemat(folder / name, arrays | (changes if key == "TRAIN" else {}), do_compression=True)
        monkeypatch.setattr(svhn, key, svhn.File(name, md5((folder / name).read_bytes())))
    return {}


# --- Tiny ImageNet ----------------------------------------------------------------------------------------------------

WNIDS = ("n02124075", "n01443537", "n04067472")  # as in wnids.txt: not sorted


def tinyimagenet_tree() -> dict[str, bytes]:
    """The files of the release with three classes of 11 training and 3 validation images; one is greyscale."""
    files = {"wnids.txt": "".join(f"{wnid}\n" for wnid in WNIDS).encode(), "words.txt": b"n00001740\tentity\n"}
    for k, wnid in enumerate(WNIDS):
        boxes = ""
        for i in range(11):
            pixels = noise(11, 64, 64, 3)[i] // (k + 1)
            files[f"train/{wnid}/images/{wnid}_{i}.JPEG"] = jpeg(pixels[:, :, 0] if (k, i) == (1, 4) else pixels)
            boxes += f"{wnid}_{i}.JPEG\t0\t10\t63\t58\n"
        files[f"train/{wnid}/{wnid}_boxes.txt"] = boxes.encode()
    annotations = ""
    for i in range(9):
        files[f"val/images/val_{i}.JPEG"] = jpeg(noise(9, 64, 64, 3)[i])
        annotations += f"val_{i}.JPEG\t{WNIDS[i % 3]}\t0\t32\t44\t62\n"
    files["val/val_annotations.txt"] = annotations.encode()
    files["test/images/test_0.JPEG"] = jpeg(noise(64, 64, 3))
    return files


def tinyimagenet_files(folder: Path, monkeypatch: Any, packed: bool = True, **changes: bytes) -> dict:
    files = tinyimagenet_tree() | changes
    if packed:
        with zipfile.ZipFile(folder / tinyimagenet.ARCHIVE, "w") as archive:
            for name, content in files.items():
                archive.writestr(f"{tinyimagenet.FOLDER}/{name}", content)
        monkeypatch.setattr(tinyimagenet, "MD5", md5((folder / tinyimagenet.ARCHIVE).read_bytes()))
        return {}
    for name, content in files.items():
        path = folder / tinyimagenet.FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {}


# --- ImageNet at 64x64 ------------------------------------------------------------------------------------------------


def imagenet64_batches() -> dict[str, dict]:
    """The contents of the archive's files, with 3 of its classes."""
    found = {}
    for number, file in enumerate([*imagenet64.TRAIN, *imagenet64.TEST]):
        data = noise(3 + number, 12288)
        labels = [1 + (i + number) % 3 for i in range(len(data))]
        found[file] = {"data": data, "labels": labels, "mean": data.mean(0)}
    return found


def imagenet64_files(folder: Path, monkeypatch: Any, form: str = "npz", **changes: Any) -> dict:
    """The archive in either form; `changes`: file -> other contents."""
    monkeypatch.setattr(imagenet64, "CLASSES", 3)
    sums = ""
    for file, content in (imagenet64_batches() | changes).items():
        if form == "npz":
            np.savez(folder / f"{file}.npz", **content)
        else:  # the authors' script ran under Python 3
            data = content if isinstance(content, bytes) else pickle.dumps(content, protocol=3)
            (folder / file).write_bytes(data)
            sums += f"{md5(data)}  ./{file}\n"
    if sums:
        (folder / "md5sums.txt").write_text(sums)
    return {}


def imagenet64_folders(folder: Path, monkeypatch: Any) -> dict:
    for part, n in (("train", 3), ("val", 2)):
        for wnid in WNIDS:
            (folder / part / wnid).mkdir(parents=True)
            for i in range(n):
                (folder / part / wnid / f"{wnid}_{i}.JPEG").write_bytes(jpeg(noise(80 + 5 * i, 70, 3)))
    return {}


# --- the user's own ---------------------------------------------------------------------------------------------------


def image_folder(folder: Path, monkeypatch: Any) -> dict:
    for part, n in (("train", 4), ("test", 2)):
        for label, animal in enumerate(("cat", "dog")):
            (folder / part / animal).mkdir(parents=True)
            for i, pixels in enumerate(noise(n, 5, 5, 3) // (label + 1)):
                Image.fromarray(pixels).save(folder / part / animal / f"{i}.png")
    return {"path": str(folder)}


def npz_file(folder: Path, monkeypatch: Any) -> dict:
    path = folder / "arrays.npz"
    np.savez(path, train_images=noise(12, 5, 5), train_labels=np.arange(12) % 3)
    return {"path": str(path), "test_fraction": 0.5}


def jpeg_container(images: np.ndarray, labels: np.ndarray, **more: Any) -> dict[str, Any]:
    """The arrays of a JPEG container of images (n, h, w, c) or (n, h, w)."""
    files = [jpeg(image) for image in images]
    offset = np.cumsum([0, *map(len, files)], dtype=np.int64)
    return {"jpeg": np.frombuffer(b"".join(files), np.uint8), "offset": offset, "label": labels, **more}


def jpeg_files(folder: Path, monkeypatch: Any) -> dict:
    for part, n in (("train", 12), ("test", 6)):
        names = {"wnid": list(WNIDS), "name": ["cat", "fish", "chair"]}
        np.savez(folder / f"{part}.npz", **jpeg_container(noise(n, 8, 8, 3), np.arange(n) % 3, **names))
    return {"path": str(folder)}
