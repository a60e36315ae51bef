"""The user's own images as they come: each oddity is read as a viewer shows it, or named with its number."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from ddpipe.datasets.folders import folders
from ddpipe.datasets.survey import notes, refusals, survey
from ddpipe.errors import UserError
from ddpipe.settings import Own
from tests.unit.original_files import noise, prepared, refused
from tests.unit.small_project import Project

OWN = {"source": "folder", "path": "data/raw/birds", "flip": True}


def put(path: Path, image: Image.Image | None = None, **saved: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    (Image.fromarray(noise(6, 6, 3)) if image is None else image).save(path, **saved)


def fill(root: Path, *folders: str, count: int = 3, size: tuple[int, int] = (6, 6)) -> None:
    """Images of size (width, height) in each of the folders below `root`."""
    for word in folders:
        for i, pixels in enumerate(noise(count, size[1], size[0], 3)):
            put(root / word / f"{i}.png", Image.fromarray(pixels))


def told(path: Path, **settings: object) -> list[str]:
    return list(notes(survey("birds", Own.model_validate(OWN | {"path": str(path)} | settings))))


def trouble(path: Path, most: int | None = None, **settings: object) -> list[str]:
    return list(refusals(survey("birds", Own.model_validate(OWN | {"path": str(path)} | settings), most)))


# --- where images lie -------------------------------------------------------------------------------------------------


def test_everything_below_a_class_belongs_to_it(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "cat/2024/may", "dog", "dog/.hidden")
    found = folders("own", "birds", tmp_path, 0.5)
    assert found.classes == ("cat", "dog") and Counter(label for _, label in found.train) == {0: 6, 1: 3}
    assert found.test is None and not found.left_out


@pytest.mark.parametrize(
    ("train", "test"), [("train", "test"), ("Train", "VAL"), ("training", "testing"), ("train", "validation")]
)
def test_the_split_by_any_usual_name(train: str, test: str, tmp_path: Path) -> None:
    fill(tmp_path, *(f"{part}/{word}" for part in (train, test) for word in ("cat", "dog")))
    found = folders("own", "birds", tmp_path, None)
    assert found.test is not None and {path.parts[-3] for path, _ in found.test} == {test}
    assert told(tmp_path) == ([] if test == "test" else [f"the test part is the folder {test}"])


def test_what_is_left_out_is_named(tmp_path: Path) -> None:
    fill(tmp_path, *(f"{part}/{word}" for part in ("train", "val", "test", "extra") for word in ("cat", "dog")))
    put(tmp_path / "train" / "loose.png")
    put(tmp_path / "loose.png")
    for name in ("a.heic", "b.HEIC", "notes", ".DS_Store"):
        (tmp_path / "train/cat" / name).write_text("")
    assert set(told(tmp_path)) == {
        f"left out: images in {tmp_path / 'val'} (6)",
        f"left out: images in {tmp_path / 'extra'} (6)",
        f"left out: images in {tmp_path} itself, in no class (1)",
        f"left out: images in {tmp_path / 'train'} itself, in no class (1)",
        "left out: files called *.heic (2)",
        "left out: files without a suffix (1)",
    }


def test_what_cannot_be_meant_so(tmp_path: Path) -> None:
    def error(match: str, path: Path) -> None:
        refused(match, "birds", source="folder", path=str(path), test_fraction=0.5)

    fill(tmp_path / "inside", "cat/train", "cat/test", "dog/train", "dog/test")
    error(
        "inside/cat has folders test, train; the split must lie above the classes: train/<class>", tmp_path / "inside"
    )
    fill(tmp_path / "val", "val/cat")
    error("val has a folder val but no folder train; add it", tmp_path / "val")
    fill(tmp_path / "linked", "cat", "dog")
    (tmp_path / "linked/dog/more").symlink_to(tmp_path / "inside")
    error("linked/dog/more is a link to a folder, where DVC does not see what changes", tmp_path / "linked")
    fill(tmp_path / "empty", "cat", "dog")
    (tmp_path / "empty/owl").mkdir()
    (tmp_path / "empty/owl/a.heic").write_text("")
    error(r"empty/owl has no images \(.*\); it has 1 \.heic; add some", tmp_path / "empty")


def test_a_linked_class_is_refused_and_a_linked_path_is_not(tmp_path: Path) -> None:
    """DVC looks behind the path itself, not behind links to folders inside it."""
    fill(tmp_path / "real", "cat", "dog")
    (tmp_path / "path").symlink_to(tmp_path / "real")
    assert folders("own", "birds", tmp_path / "path", 0.5).classes == ("cat", "dog")
    (tmp_path / "real/owl").symlink_to(tmp_path / "real/cat")
    with pytest.raises(UserError, match="owl is a link to a folder"):
        folders("own", "birds", tmp_path / "path", 0.5)


# --- how an image is read ---------------------------------------------------------------------------------------------


def read(path: Path, **settings: object) -> torch.Tensor:
    """The image of `path` as it is prepared, (c, h, w)."""
    root = path.parent.parent
    fill(root, "other", count=2)
    data = prepared("birds", source="folder", path=str(root), test_fraction=0.01, **settings)
    return torch.cat([data.train_images, data.test_images])[torch.cat([data.train_labels, data.test_labels]) == 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_an_image(orientation: int, tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, :8] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name in ("a.jpg", "b.jpg"):
        put(tmp_path / "a" / name, Image.fromarray(pixels), exif=exif, quality=100)
    with Image.open(tmp_path / "a/a.jpg") as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    size = expected.shape[1::-1]
    fill(tmp_path, "other", count=2, size=size)
    found = trouble(tmp_path, test_fraction=0.5)
    assert f"all images are {size[0]}x{size[1]} (4) (width x height) but must be square" in found[0]
    data = read(tmp_path / "a/a.jpg", resolution=8)
    square = ImageOps.fit(Image.fromarray(expected), (8, 8), Image.Resampling.BICUBIC)
    assert torch.equal(data[0], torch.from_numpy(np.array(square)).permute(2, 0, 1))
    turned = "2 of 4 images are turned or mirrored as their EXIF data say"
    assert (turned in told(tmp_path, test_fraction=0.5, resolution=8)) == (orientation > 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_white_shows_through(mode: str, tmp_path: Path) -> None:
    colours = np.full((6, 6, 4), (10, 10, 10, 255), np.uint8)
    colours[:3, :, 3] = 0
    image, saved = Image.fromarray(colours), {}
    if mode == "P":
        image = Image.fromarray((colours[:, :, 3] > 0).astype(np.uint8), "P")
        image.putpalette([200, 0, 0, 10, 10, 10])
        saved = {"transparency": 0}
    for name in ("a.png", "b.png"):
        put(tmp_path / "a" / name, image if mode == "P" else image.convert(mode), **saved)
    found = read(tmp_path / "a/a.png")[0]
    assert bool((found[:, :3] == 255).all()) and bool((found[:, 3:] == 10).all())
    assert "2 of 4 images have transparency: white shows through" in told(tmp_path, test_fraction=0.5)


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_become_8(suffix: str, tmp_path: Path) -> None:
    deep = np.arange(36, dtype=np.uint16).reshape(6, 6) * 1800
    for name in ("a", "b"):
        put(tmp_path / "a" / f"{name}.{suffix}", Image.fromarray(deep))
    found = read(tmp_path / f"a/a.{suffix}", grey=True)[0, 0]
    assert found.tolist() == (deep >> 8).tolist()
    assert "2 of 4 images have 16 bits a channel: the upper 8 are taken" in told(tmp_path, test_fraction=0.5)
    assert trouble(tmp_path, test_fraction=0.5) == []
    for name in ("a", "b"):  # as X-rays of 12 bits are saved: they would be black
        put(tmp_path / "a" / f"{name}.{suffix}", Image.fromarray(deep >> 4))
    [said] = trouble(tmp_path, test_fraction=0.5)
    assert (
        said.startswith("own.birds.path: 2 of 4 images have 16 bits a channel, as ") and "no value above 4095" in said
    )


def test_what_stops_is_counted(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog", count=5)
    for i in range(3):
        (tmp_path / "cat" / f"{i}.png").write_bytes(b"no image")
    for i in range(2):
        put(tmp_path / "dog" / f"f{i}.tif", Image.fromarray(noise(6, 6).astype(np.float32)))
    fill(tmp_path, "dog/wide", count=4, size=(9, 6))
    unreadable, wide, sizes = trouble(tmp_path, test_fraction=0.5)
    assert unreadable.startswith("own.birds.path: 3 of 16 images cannot be read; the first: ")
    assert "cat/0.png is not a readable image" in unreadable and unreadable.endswith("replace or remove it")
    assert wide.startswith("own.birds.path: 2 of 16 images have 32 bits a channel, as ")
    assert sizes.startswith("own.birds.resolution: the 16 images have 2 sizes (width x height), 6x6 (9), 9x6 (4); set")
    unreadable, wide = trouble(tmp_path, test_fraction=0.5, resolution=4)
    assert "4 of 13 images looked at are not square: their largest centred square is taken" in told(
        tmp_path, test_fraction=0.5, resolution=4
    )
    some = trouble(tmp_path, 8, test_fraction=0.5)[0]
    assert some.startswith("own.birds.path: 2 of 8 images looked at (of 16) cannot be read")


# --- in a project -----------------------------------------------------------------------------------------------------


@pytest.fixture
def birds(project: Project) -> Path:
    fill(project.root / "data/raw/birds", *(f"{p}/{c}" for p in ("train", "val") for c in ("gull", "wren")), count=4)
    project.edit("params.yaml", lambda params: params.update(own={"birds": OWN}))
    return project.root / "data/raw/birds"


def test_check_looks_before_anything_runs(project: Project, birds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert project.run("check") == 0
    assert "note: own.birds: the test part is the folder val\n" in capsys.readouterr().out
    (birds / "train/gull/2.png").write_bytes(b"no image")
    assert project.run("check") == 2
    assert "error: own.birds.path: 1 of 16 images cannot be read; the first: " in capsys.readouterr().err
    assert project.run("prepare", "birds") == 2
    assert "error: own.birds.path: 1 of 16 images cannot be read; the first: " in capsys.readouterr().err
    (birds / "train/gull/2.png").unlink()
    assert project.run("prepare", "own@birds") == 0 and project.run("check") == 0
    assert "note: own.birds" not in capsys.readouterr().out  # prepared: it was said then
    (birds / "train/gull/2.png").write_bytes(b"no image")  # but what would stop it now is told
    assert project.run("check") == 2
    assert "error: own.birds.path: 1 of 16 images cannot be read; the first: " in capsys.readouterr().err
    (birds / "train/gull/2.png").unlink()
    overview = project.root / "data/overview/birds"
    assert (overview / "overview.txt").read_text() == (
        "birds: 7 training and 8 test images of 3x6x6, 2 classes\n"
        "  gull       3 training       4 test\n"
        "  wren       4 training       4 test\n"
        "  sizes (width x height): 6x6 (15)\n"
        "  modes: RGB (15)\n"
        "  the test part is the folder val\n"
    )
    with Image.open(overview / "samples.png") as picture:
        assert picture.format == "PNG"


@pytest.mark.parametrize("name", [b"train/gull/caf\xe9.png", b"notes/caf\xe9.txt", b"train/gull/.caf\xe9"])
def test_a_file_whose_name_is_no_text(
    name: bytes, project: Project, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """DVC lists all files there, images or not, in JSON."""
    file = Path(os.fsdecode(os.fsencode(birds) + b"/" + name))
    try:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes((birds / "train/gull/0.png").read_bytes())
    except OSError:
        pytest.skip("this file system takes text alone")
    for command in (["check"], ["prepare", "birds"]):
        assert project.run(*command) == 2
        said = (
            f"own.birds.path: the name of the file data/raw/birds/{name.decode(errors='backslashreplace')} is no text"
        )
        assert f"{said} in UTF-8; rename it" in capsys.readouterr().err


@pytest.mark.parametrize("name", [b"caf\xe9", b"caf\xe9.npz"])
def test_a_path_that_is_no_text(name: bytes, project: Project, birds: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = birds.with_name(os.fsdecode(name))
    try:
        path.mkdir() if path.suffix else birds.rename(path)
    except OSError:
        pytest.skip("this file system takes text alone")
    words = ("dm", "tits", "--ipc", "1", "--no-flip", "--images")
    assert project.run("add", *words, f"data/raw/{path.name}") == 2
    assert f"{name.decode(errors='backslashreplace')} is no text in UTF-8; rename it" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("data/raw/gone", "own.birds.path: data/raw/gone is not a folder; name one that has a sub-folder"),
        ("data/raw/kept", "own.birds.path: data/raw/kept is not here; `dvc pull data/raw/kept.dvc` fetches it"),
    ],
)
def test_a_path_where_nothing_lies(
    path: str, says: str, project: Project, birds: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project.set("params.yaml", "own.birds.path", path)
    (project.root / "data/raw/kept.dvc").write_text("outs: []\n")
    assert project.run("check") == 2
    assert says in capsys.readouterr().err
    lock = 'schema: "2.0"\nstages:\n  own@birds:\n    cmd: python\n'  # another machine has the images
    (project.root / "dvc.lock").write_text(lock)
    assert project.run("check") == 0


def test_own_images_have_a_table_of_their_own(
    project: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where dvc.yaml has a stage for it: under datasets:, DVC would not see a change."""
    project.edit("dvc.yaml", lambda content: content.update(stages={"own": {"cmd": "python"}}))
    assert project.run("check") == 2
    assert (
        "datasets.tiny: images of your own stand under own:, where DVC sees when they change" in capsys.readouterr().err
    )
    project.edit("params.yaml", lambda params: params.update(own=params.pop("datasets"), datasets={}))
    assert project.run("check") == 0
    project.edit("params.yaml", lambda params: params.update(datasets={"tiny": {"source": "digits"}}))
    capsys.readouterr()
    assert project.run("check") == 2
    assert "own.tiny: datasets has this name too; rename one of them" in capsys.readouterr().err


def test_the_smallest_class_is_called_by_its_name(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    project.npz(classes=np.array(["gull", "owl", "wren"]))
    assert project.run("prepare", "tiny") == 0
    project.edit("params.yaml", lambda params: params["evaluations"].clear())

    def grow(recipe: dict) -> None:
        row = recipe["grid"].pop("random-tiny-1")
        recipe["grid"]["random-tiny-6"] = row | {"ipc": 6}

    project.edit("ddpipe/methods/random.yaml", grow)
    says = "grid.random-tiny-6.ipc: 6, but the smallest class of tiny, 'wren', has 5 training images; use at most 5"
    for words in (("check",), ("distill", "random-tiny-6")):
        capsys.readouterr()
        assert project.run(*words) == 2
        assert says in capsys.readouterr().err
