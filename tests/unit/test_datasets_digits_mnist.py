"""Digits, MNIST and FashionMNIST: contents, missing, damaged and downloaded files."""

import gzip
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ddpipe import config
from ddpipe.checks.data import data
from ddpipe.datasets.prepared import Prepared, prepare
from ddpipe.datasets.readers import digits, idx
from ddpipe.errors import UserError
from ddpipe.files.yaml import read_yaml
from ddpipe.planning.shapes import data_of
from ddpipe.settings import Dataset
from ddpipe.settings.shapes import Shape
from tests.tracked import TRACKED
from tests.unit.original_files import idx_bytes, no_network, noise, refused


def test_digits_are_1297_and_500_of_every_class():
    source = digits.read("digits", Dataset(source="digits"), Path())
    train, test = (torch.cat(list(part.images())) for part in (source.train, source.test))
    assert train.shape == (1297, 1, 8, 8) and test.shape == (500, 1, 8, 8)
    assert torch.bincount(source.train.labels).tolist() == [128, 131, 128, 132, 130, 131, 130, 129, 128, 130]
    assert torch.bincount(source.test.labels).tolist() == [50, 51, 49, 51, 51, 51, 51, 50, 46, 50]
    assert sorted(set(train.unique().tolist())) == [round(v * 255 / 16) for v in range(17)]


def test_digits_are_those_of_scikit_learn_without_importing_it(tmp_path):
    code = "import sys; from ddpipe.datasets.prepared import prepare; from ddpipe.settings import Dataset; "
    code += "from pathlib import Path; prepare('d', Dataset(source='digits'), Path(), Path(sys.argv[1])); "
    code += "sys.exit('sklearn' in sys.modules or 'torchvision' in sys.modules)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "d")], check=True)


def test_idx_parsing_and_its_errors():
    array = noise(3, 4, 5)
    assert torch.equal(idx.parse(Path("f"), idx_bytes(array)), torch.from_numpy(array))
    for broken in (idx_bytes(array)[:-1], idx_bytes(array)[:6], b"", b"\1" + idx_bytes(array)[1:]):
        with pytest.raises(UserError, match="^f is "):
            idx.parse(Path("f"), broken)


@pytest.mark.parametrize("source", ["mnist", "fashionmnist"])
def test_missing_files_that_cannot_be_downloaded(tmp_path, monkeypatch, source):
    no_network(monkeypatch)
    raw = tmp_path / source
    every_name = ".*".join(f"{name}.gz" for name in idx.NAMES)
    refused(rf"{re.escape(str(raw))}.*cannot be downloaded \(.*\); put {every_name} into", source, raw, source=source)
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


def test_a_smaller_form_of_published_images_averages_over_squares(tmp_path):
    whole, small = (tmp_path / name for name in ("whole", "small"))
    prepare("digits", Dataset(source="digits"), tmp_path, whole)
    about = prepare("digits4", Dataset(source="digits", resolution=4), tmp_path, small)
    assert about["shape"] == [1, 4, 4] and about["source"]["resolution"] == "4, of 8"
    one, other = (Prepared.load(folder) for folder in (whole, small))
    for part in ("train_images", "test_images"):
        images = getattr(one, part).double()
        sums = sum(images[..., row::2, column::2] for row in range(2) for column in range(2))
        assert (getattr(other, part) - sums / 4).abs().max() <= 0.5
    assert torch.equal(one.train_labels, other.train_labels) and torch.equal(one.test_labels, other.test_labels)
    for resolution, nearest in ((3, 2), (16, 8), (7, 8)):
        said = rf"^datasets\.d\.resolution: {resolution} does not divide .* 8 pixels; set it to {nearest}$"
        with pytest.raises(UserError, match=said):
            prepare("d", Dataset(source="digits", resolution=resolution), tmp_path, tmp_path / "none")
    again = prepare("digits", Dataset(source="digits", resolution=8), tmp_path, tmp_path / "again")
    assert again["checksum"] == Prepared.load(whole).checksum


def test_a_smaller_form_is_known_before_it_is_prepared():
    said = read_yaml(TRACKED / "params.yaml")
    said["datasets"] |= {
        "mnist-half": {"source": "mnist", "resolution": 14},
        "odd": {"source": "mnist", "resolution": 9},
    }
    project = config.load(TRACKED, said)
    found = data_of(project, "mnist-half")
    assert found is not None and found.shape == Shape(1, 14, 10) and found.train == 60_000
    assert list(data(project)) == [
        "datasets.odd.resolution: 9 does not divide the side of the images, 28 pixels; set it to 7"
    ]
