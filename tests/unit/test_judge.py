"""`ddpipe judge`: files as official programs write them, what they are refused for, accuracies beside them."""

import pickle

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from ddpipe import config
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.preprocessing import fit
from ddpipe.errors import UserError
from ddpipe.judging import forms
from ddpipe.judging.judge import beside
from ddpipe.judging.likeness import PICTURES, PLAIN, WHITENED, confused, likeness
from ddpipe.settings import Dataset
from ddpipe.settings.datasets import Whitening
from tests.tracked import TRACKED
from tests.unit.small_project import Project

CELL = "dm-tiny-1"
ZEROS = torch.zeros(1, 1, 8, 8)
save = torch.save  # noqa: TID251 - as the official programs do


@pytest.fixture
def chosen(project: Project) -> tuple[torch.Tensor, torch.Tensor]:
    """An image of each class in the pixel space of the small project, and its label."""
    data = Prepared.load(project.root / "data/prepared/tiny")
    rows = torch.tensor([0, 12, 24])
    return data.preprocessing.transform(data.train_images[rows]), data.train_labels[rows]


def said(project: Project, capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    capsys.readouterr()
    assert project.run("judge", *words) == code
    output = capsys.readouterr()
    return output.err if code else output.out


def test_experiments_of_dc_dsa_and_dm(project, chosen, capsys):
    images, labels = chosen
    accuracies = {"ConvNet": [np.float64(0.5), np.float64(0.75)]}  # numpy's numbers, as the official loop appends them
    data = [[images.clone(), labels.clone()], [images.flip(3), labels.clone()]]
    path = project.root / "res_DM_tiny_ConvNet_1ipc.pt"
    save({"data": data, "accs_all_exps": accuracies}, path)
    found = forms.open_(path)
    assert [torch.equal(given.images, kept[0]) for given, kept in zip(found.sets, data, strict=True)] == [True, True]
    assert found.accuracies == {"ConvNet": [50.0, 75.0]}
    text = said(project, capsys, path.name, CELL, "--data", "tiny", "--networks", "2")
    assert "2 set(s) of 3 images of 1x8x8; dm-tiny-1 under protocol quick, network small" in text
    assert "n = 4" in text and "the file says of ConvNet: 62.5 +- 12.5 %, n = 2" in text
    assert said(project, capsys, path.name, CELL, "--data", "tiny", "--networks", "2") == text


def test_older_files_of_torch_are_read_too(project, chosen):
    path = project.root / "old.pt"
    save({"data": [list(chosen)], "accs_all_exps": {}}, path, _use_new_zipfile_serialization=False)
    assert torch.equal(forms.open_(path).sets[0].images, chosen[0])


def test_images_and_labels_of_mtt_lie_apart(project, chosen, capsys):
    save(chosen[0], project.root / "images_best.pt")
    save(chosen[1], project.root / "labels_best.pt")
    plain = said(project, capsys, "images_best.pt", CELL, "--data", "tiny")
    assert "1 set(s) of 3 images" in plain
    project.set("params.yaml", "protocols.quick.learned_lr", True)
    project.edit("params.yaml", lambda content: content["protocols"]["quick"].pop("lr"))
    refusal = said(project, capsys, "images_best.pt", CELL, "--data", "tiny", code=2)
    assert "--lr" in refusal
    project.set("params.yaml", "protocols.quick.learned_lr", True)
    assert "n = 1" in said(project, capsys, "images_best.pt", CELL, "--data", "tiny", "--lr", "0.01")
    (project.root / "labels_best.pt").unlink()
    assert "with --labels" in said(project, capsys, "images_best.pt", CELL, "--data", "tiny", code=2)
    words = ["images_best.pt", CELL, "--data", "tiny", "--labels", "nowhere.pt"]
    assert "nowhere.pt does not exist" in said(project, capsys, *words, code=2)


def test_idc_holds_smaller_images(project, chosen, capsys):
    pictures = torch.linspace(0, 1, 3 * 64).view(3, 1, 8, 8)
    save([pictures, chosen[1]], project.root / "data_best.pt")
    assert "say how many with --factor" in said(project, capsys, "data_best.pt", CELL, "--data", "tiny", code=2)
    assert "n = 1" in said(project, capsys, "data_best.pt", CELL, "--data", "tiny", "--factor", "2")
    save([pictures * 5, chosen[1]], project.root / "data_best.pt")
    refusal = said(project, capsys, "data_best.pt", CELL, "--data", "tiny", "--factor", "2", code=2)
    assert "values from 0 to 5 are no pictures" in refusal


def test_arrays_of_kip(project, chosen, capsys):
    images, labels = chosen
    scores = torch.nn.functional.one_hot(labels, 3) - 1 / 3
    np.savez(project.root / "kip.npz", images=images.permute(0, 2, 3, 1).numpy(), labels=scores.numpy())
    [given] = forms.open_(project.root / "kip.npz").sets
    assert torch.equal(given.images, images) and given.labels.shape == (3, 3)
    np.savez(project.root / "kip.npz", images=images.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    assert "n = 1" in said(project, capsys, "kip.npz", CELL, "--data", "tiny")


class Call:
    def __reduce__(self):
        return print, ("called",)


@pytest.mark.parametrize("write", [save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_nothing_in_a_file_is_called(tmp_path, capsys, write):
    write({"data": [[Call(), torch.zeros(1)]]}, tmp_path / "hostile.pt")
    with pytest.raises(UserError, match="holds something else than plain tensors"):
        forms.open_(tmp_path / "hostile.pt")
    assert "called" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"images": torch.zeros(2, 5, 8, 8), "labels": torch.zeros(2)}, "are no \\(n, c, h, h\\)"),
        ({"images": torch.zeros(2, 1, 8, 8), "labels": torch.zeros(3)}, "2 images, but labels of shape \\(3,\\)"),
        ({"images": torch.full((1, 1, 8, 8), torch.nan), "labels": torch.zeros(1)}, "not finite"),
        ({"images": torch.zeros(0, 1, 8, 8), "labels": torch.zeros(0)}, "no images"),
        ({"images": torch.zeros(1, 1, 8, 8).cfloat(), "labels": torch.zeros(1)}, "complex numbers"),
        ({"images": torch.zeros(1, 1, 8, 8), "labels": torch.tensor(0)}, "1 images, but labels of shape \\(\\)"),
        ({"images": torch.zeros(1, 1, 8, 8), "labels": torch.tensor([0.5])}, "no whole numbers"),
        ({"data": []}, "has no pair"),
        ({"data": 5}, "has no pair"),
        ({"data": [[None, "b"]]}, "no numbers"),
        ({"data": [[torch.zeros(1, 1, 8, 8), torch.zeros(1)]], "accs_all_exps": [1]}, "no accuracies by network"),
        ({"data": [[torch.zeros(1, 1, 8, 8), torch.zeros(1)]], "accs_all_exps": {"a": 0.5}}, "no accuracies"),
        ({"data": [[ZEROS, torch.zeros(1)]], "accs_all_exps": {"a": [10**400]}}, "no accuracies"),
        ({"data": [[ZEROS, torch.zeros(1)]], "accs_all_exps": {"a": [torch.zeros(1, device="meta")]}}, "no accuracies"),
        ({"images": ZEROS.to_sparse(), "labels": torch.zeros(1)}, "no numbers .* in plain arrays"),
        ({"data": [[ZEROS, torch.zeros(1).to_sparse()]]}, "no numbers .* in plain arrays"),
        ([ZEROS.to("meta"), torch.zeros(1)], "no numbers .* in plain arrays"),
        ({"images": ZEROS.byte().view(torch.bits8), "labels": torch.zeros(1)}, "no numbers .* in plain arrays"),
        ({"weights": torch.zeros(3)}, "none of the published forms"),
        (torch.zeros(2, 1, 8, 8), "name the file of their labels with --labels"),
    ],
)
def test_other_contents_are_told(tmp_path, value, told):
    save(value, tmp_path / "some.pt")
    with pytest.raises(UserError, match=told):
        forms.open_(tmp_path / "some.pt")


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_quantised_images_are_told(tmp_path):
    images = torch.quantize_per_tensor(ZEROS, 0.1, 0, torch.quint8)
    save({"images": images, "labels": torch.zeros(1)}, tmp_path / "some.pt")
    with pytest.raises(UserError, match="nor sparse or quantised"):
        forms.open_(tmp_path / "some.pt")


@pytest.mark.parametrize("images", [">f4", "<f4", ">f8", np.longdouble, "f2", "u1", ">u2", ">i4"])
@pytest.mark.parametrize("labels", [">i8", "u1", "u2", ">u4", "u8", np.longdouble])
def test_numbers_of_any_kind_are_read(tmp_path, images, labels):
    pixels, known = np.arange(192).reshape(3, 1, 8, 8), np.array([2, 0, 1])
    np.savez(tmp_path / "some.npz", images=pixels.astype(images), labels=known.astype(labels))
    [found] = forms.open_(tmp_path / "some.npz").sets
    assert torch.equal(found.images, torch.from_numpy(pixels).float())
    assert torch.equal(found.labels, torch.from_numpy(known))


@pytest.mark.parametrize("kind", [torch.uint16, torch.uint32, torch.uint64])
def test_tensors_without_a_sign_are_read(tmp_path, kind):
    save([ZEROS.to(kind), torch.tensor([3]).to(kind)], tmp_path / "some.pt")
    [found] = forms.open_(tmp_path / "some.pt").sets
    assert torch.equal(found.images, ZEROS) and found.labels.tolist() == [3]


@pytest.mark.parametrize("label", [2**63, 2**64 - 1])
def test_a_label_beyond_64_bits_with_a_sign(tmp_path, label):
    np.savez(tmp_path / "some.npz", images=ZEROS.numpy(), labels=np.array([label], np.uint64))
    with pytest.raises(UserError, match="no numbers of at most 64 bits"):
        forms.open_(tmp_path / "some.npz")


def test_a_set_must_be_one_of_the_row(project, chosen, capsys):
    images, labels = chosen
    files = {
        "twice": (images.repeat(2, 1, 1, 1), labels.repeat(2)),
        "beyond": (images, labels + 1),
        "one class": (images, torch.zeros_like(labels)),
        "nothing": (torch.zeros_like(images), labels),
    }
    for name, (shown, known) in files.items():
        save({"images": shown, "labels": known}, project.root / f"{name}.pt")
    assert "2 images a class, but dm-tiny-1 has 1" in said(project, capsys, "twice.pt", CELL, "--data", "tiny", code=2)
    assert "a label goes beyond the 3 classes" in said(project, capsys, "beyond.pt", CELL, "--data", "tiny", code=2)
    odd = said(project, capsys, "one class.pt", CELL, "--data", "tiny", code=2)
    assert "3 images of class 0, but dm-tiny-1 has 1 of each" in odd
    assert "all its images are the same" in said(project, capsys, "nothing.pt", CELL, "--data", "tiny", code=2)
    asked = said(project, capsys, "beyond.pt", CELL, code=2)
    assert "--data is missing" in asked and "tiny (standardised)" in asked
    assert "no cell 'dm-tiny-2'" in said(project, capsys, "beyond.pt", "dm-tiny-2", "--data", "tiny", code=2)


def test_what_would_change_nothing_is_refused(project, chosen, capsys):
    save({"images": chosen[0], "labels": chosen[1]}, project.root / "set.pt")
    save(chosen[1], project.root / "labels.pt")
    for words, told in (
        (["--labels", "labels.pt"], "set.pt holds labels too"),
        (["--factor", "2"], "holds smaller ones; leave it out"),
        (["--lr", "0"], "--lr 0: a learned step size is above 0"),
        (["--lr", "0.5"], "protocol quick has a step size of its own"),
        (["--lr", "nan"], "a learned step size is above 0"),
    ):
        assert told in said(project, capsys, "set.pt", CELL, "--data", "tiny", *words, code=2)


def test_a_set_in_another_pixel_space_is_refused(project, capsys):
    digits = load_digits()
    rows = [i for i, label in enumerate(digits.target) if label < 3]
    images, labels = (digits.images[rows] * 15).astype(np.uint8), digits.target[rows]
    project.npz(
        train_images=images[:200], train_labels=labels[:200], test_images=images[200:], test_labels=labels[200:]
    )
    assert project.run("prepare", "tiny") == 0
    raw = torch.from_numpy(images[:200])[:, None]
    whitened = fit(raw, Dataset(source="digits", standardise="none", whitening=Whitening())).transform(raw)
    save({"images": whitened[:3], "labels": torch.tensor([0, 1, 2])}, project.root / "whitened.pt")
    refusal = said(project, capsys, "whitened.pt", CELL, "--data", "tiny", code=2)
    assert "look whitened" in refusal and "not standardised" in refusal and "--anyway" in refusal
    assert "n = 1" in said(project, capsys, "whitened.pt", CELL, "--data", "tiny", "--anyway")


def spaces() -> dict[str, torch.Tensor]:
    """The digits in three pixel spaces."""
    raw = torch.from_numpy(load_digits().images[:1200].astype(np.uint8) * 15)[:, None]
    plain = fit(raw, Dataset(source="digits", standardise="biased"))
    whitened = fit(raw, Dataset(source="digits", standardise="none", whitening=Whitening()))
    return {PLAIN: plain.transform(raw), WHITENED: whitened.transform(raw), PICTURES: raw / 255}


@pytest.mark.parametrize("said_to_be", [PLAIN, WHITENED])
@pytest.mark.parametrize("are", [PLAIN, WHITENED, PICTURES])
def test_statistics_tell_pixel_spaces_apart(said_to_be, are):
    images = spaces()
    known = {name: likeness(found) for name, found in images.items()}
    assert (confused(images[are][:10], said_to_be, known) is None) == (are == said_to_be)


def test_noise_is_where_plain_sets_begin():
    images = spaces()
    known = {name: likeness(found) for name, found in images.items()}
    noise = torch.randn(10, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert confused(noise, PLAIN, known) is None


def test_likeness_by_hand():
    image = torch.tensor([[1.0, -1.0], [1.0, -1.0]])[None, None]  # across -1, down +1
    found = likeness(image)
    assert found.size == 1.0 and found.alike == pytest.approx(0.0, abs=1e-12)
    assert found.distance(likeness(2 * image)) == pytest.approx(1.0)


def test_no_difference_is_told_where_the_row_evaluates_otherwise():
    """Only the evaluation counts: the set is the authors' own, whatever the row's method would have run with."""
    project = config.load(TRACKED)
    as_published, reduced, nobody = (
        beside(project, project.row(cell), 90.0) for cell in ("dc-mnist-1", "dc-short-mnist-1", "dc-digits-1")
    )
    assert as_published[0] == "the survey: 91.7 +- 0.5 %; measured less published: -1.7 points"
    assert reduced[0] == "the survey: 91.7 +- 0.5 %" and "points" not in "".join(reduced)
    assert "not to be compared, for dc-short-mnist-1 evaluates otherwise: width 16 of 128" in reduced[-1]
    assert nobody == ["nobody published a value of this row"]


def test_the_published_value_is_that_of_the_rows_network():
    """As Tables 3 and 4 print networks; of the ConvNet are the first two tables."""
    project = config.load(TRACKED)
    row = project.row("dm-cifar10-10")
    for network, value in ((row.network, "48.9"), ("resnet18_in", "38.2"), ("resnet10_w32_bn", "31.7")):
        told = beside(project, row.model_copy(update={"network": network}), 90.0)
        assert told[0].startswith(f"the survey: {value} +- "), network
