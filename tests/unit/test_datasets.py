"""Preparing and storing: what holds whatever the reader."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.datasets.storage import TensorFile
from ddpipe.errors import UserError
from ddpipe.settings import Dataset
from tests.unit.original_files import no_network, noise, prepared, refused, svhn_files


def arrays(**changes) -> dict:
    given = {"train_images": noise(12, 5, 5), "train_labels": np.arange(12) % 3}
    return given | {"test_images": noise(6, 5, 5), "test_labels": np.arange(6) % 3} | changes


@pytest.mark.parametrize("part, number", [("train", 5), ("test", 2)])
def test_constant_image_has_no_norm(tmp_path, part, number):
    given = arrays()
    given[f"{part}_images"][number] = 77
    np.savez(tmp_path / "a.npz", **given)
    source = {"source": "npz", "path": str(tmp_path / "a.npz")}
    assert prepared("mine", **source).channels == 1
    refused(rf"per_image: {part}.* image number {number} ", "mine", **source, per_image=True)


def test_constant_images_are_counted_beyond_the_first_chunk(tmp_path):
    given = arrays(train_images=noise(2000, 5, 5), train_labels=np.arange(2000) % 3)
    given["train_images"][1500] = 77
    np.savez(tmp_path / "a.npz", **given)
    refused("training image number 1500 ", "mine", source="npz", path=str(tmp_path / "a.npz"), per_image=True)


def test_one_number_a_channel(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays())
    given = {"standardise": "given", "mean": (0.5, 0.5, 0.5), "std": (0.2, 0.2, 0.2)}
    source = {"source": "npz", "path": str(tmp_path / "a.npz")}
    refused(r"datasets\.mine\.mean has 3 numbers but the images have 1 channel", "mine", **source, **given)


def test_unknown_classes_are_named(tmp_path):
    np.savez(tmp_path / "a.npz", **arrays(), classes=["cat", "dog", "hen"])
    source = {"source": "npz", "path": str(tmp_path / "a.npz")}
    assert prepared("mine", **source, classes=("hen", "cat")).source["classes"] == "2 of 3"
    refused(
        r"datasets\.mine\.classes: .* no class 'catt'; did you mean 'cat'\?", "mine", **source, classes=("catt", "hen")
    )
    np.savez(tmp_path / "a.npz", **arrays(), classes=[f"{i:04d}" for i in range(1000)])
    refused("no class 'x'; its 1000 classes are called like '0000'$", "mine", **source, classes=("x", "0001"))


def test_damaged_prepared_data(tmp_path):
    folder = tmp_path / "prepared" / "digits"
    mend = "dvc repro prepare@digits"
    with pytest.raises(UserError, match=f"data.json does not exist.*{mend}"):
        Prepared.load(folder)
    prepare("digits", Dataset(source="digits"), Path(), folder)
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


def test_prepared_forms_of_one_source_share_its_files(project, monkeypatch):
    raw = project.root / "data/raw"
    (raw / "svhn").mkdir()
    svhn_files(raw / "svhn", monkeypatch)
    no_network(monkeypatch)
    project.set("params.yaml", "datasets.tiny", {"source": "svhn"})
    assert project.run("prepare", "tiny") == 0
    (raw / "tiny").mkdir()  # a folder of its own comes first
    assert project.run("prepare", "tiny") == 2
    (raw / "svhn").rename(raw / "elsewhere")
    svhn_files(raw / "tiny", monkeypatch)
    assert project.run("prepare", "tiny") == 0


# --- the file ---------------------------------------------------------------------------------------------------------

TENSORS = {
    "train_images": torch.from_numpy(noise(7, 3, 5, 5)),
    "test_images": torch.from_numpy(noise(3, 3, 5, 5)),
    "train_labels": torch.arange(7),
    "test_labels": torch.arange(3),
    "snapshots": torch.arange(8.0).half().view(2, 4),
    "preprocessing.norm": torch.tensor(0.5),
    "preprocessing.matrix": torch.arange(6.0).view(2, 3),
}


@pytest.mark.parametrize("rows", [1, 3, 100])
def test_a_file_filled_in_pieces_is_the_librarys(tmp_path, rows):
    with TensorFile(tmp_path / "x", {name: (t.dtype, tuple(t.shape)) for name, t in TENSORS.items()}) as file:
        for name, tensor in reversed(TENSORS.items()):
            for piece in tensor.split(rows) if tensor.ndim else [tensor]:
                file.write(name, piece)
        pieces = list(file.stored("train_images").split(rows))
        assert max(map(len, pieces)) <= rows and torch.equal(torch.cat(pieces), TENSORS["train_images"])
    assert (tmp_path / "x").read_bytes() == save(TENSORS, metadata={})


def test_a_file_that_is_not_full_is_refused(tmp_path):
    with (
        pytest.raises(ValueError, match="rows are missing: .'b'"),
        TensorFile(tmp_path / "x", dict.fromkeys("ab", (torch.uint8, (2, 2)))) as file,
    ):
        file.write("a", torch.zeros(2, 2, dtype=torch.uint8))
        file.write("b", torch.zeros(1, 2, dtype=torch.uint8))


# --- memory -----------------------------------------------------------------------------------------------------------

MEASURE = """
import sys, zipfile
from pathlib import Path
import numpy as np, torch
from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.settings import Dataset

def status(key):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(key)) / 1024

def write(archive, name, n):
    block = torch.randint(256, (1024, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)).numpy()
    with archive.open(f"{name}_images.npy", "w") as file:
        shape = {"descr": "|u1", "fortran_order": False, "shape": (n, 3, 64, 64)}
        np.lib.format.write_array_header_1_0(file, shape)
        for _ in range(n // 1024):
            file.write(block.data)
    with archive.open(f"{name}_labels.npy", "w") as file:
        np.lib.format.write_array(file, np.arange(n) % 10)

torch.set_num_threads(1)
folder, n = Path(sys.argv[1]), int(sys.argv[2])
with zipfile.ZipFile(folder / "a.npz", "w") as archive:
    write(archive, "train", n)
    write(archive, "test", 1024)
settings = Dataset(source="npz", path=str(folder / "a.npz"))
warm = Dataset(source="digits")
prepare("digits", warm, Path(), folder / "digits")  # what is allocated once
before = status("VmHWM")
prepare("a", settings, Path(), folder / "out")
peak = status("VmHWM") - before
held = status("RssAnon")
data = Prepared.load(folder / "out")
print(peak, status("RssAnon") - held, (folder / "out" / "data.safetensors").stat().st_size / 2**20)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read from /proc")
def test_memory_does_not_grow_with_the_set(tmp_path):
    command = [sys.executable, "-c", MEASURE, str(tmp_path), str(24 * 1024)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    peak, loaded, written = map(float, done.stdout.split())  # MiB
    assert written > 300 and peak < written / 3, "preparing holds the images"
    assert loaded < 30, "loading copies the images"
    assert json.loads((tmp_path / "out" / "data.json").read_text())["images"]["train"] == 24 * 1024
