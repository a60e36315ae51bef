"""Pictures of sets: size, order, scale, limits."""

import io
import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ddpipe.config import load
from ddpipe.errors import UserError
from ddpipe.report import figures, pictures
from ddpipe.report.drawings import draw
from ddpipe.report.frame import labels


def opened(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def ramp(count: int, side: int = 8) -> np.ndarray:
    """Grey images whose brightness tells their number."""
    return np.broadcast_to((np.arange(count) / count)[:, None, None, None], (count, 1, side, side))


def tile(picture: np.ndarray, row: int, column: int, side: int = 40) -> np.ndarray:
    top, left = pictures.GAP + row * (side + pictures.GAP), pictures.GAP + column * (side + pictures.GAP)
    return picture[top : top + side, left : left + side]


def test_one_row_a_class():
    picture = opened(pictures.image_grid(ramp(3 * 6), 6))
    assert picture.shape == (3 * 42 + 2, 6 * 42 + 2, 3)
    for label, i in itertools.product(range(3), range(6)):
        assert (tile(picture, label, i) == round((label * 6 + i) / 18 * 255)).all()


def test_at_most_ten_images_a_class():
    picture = opened(pictures.image_grid(ramp(2 * 12), 12))
    assert picture.shape == (2 * 42 + 2, 10 * 42 + 2, 3)
    assert (tile(picture, 1, 0) == round(12 / 24 * 255)).all()


def test_one_image_a_class_shares_rows():
    assert opened(pictures.image_grid(ramp(20), 1)).shape == (2 * 42 + 2, 10 * 42 + 2, 3)


def test_small_images_are_enlarged_without_smoothing():
    image = np.zeros((1, 1, 8, 8))
    image[0, 0, 3, 5] = 1
    inside = tile(opened(pictures.image_grid(image, 1)), 0, 0)
    assert (inside[15:20, 25:30] == 255).all() and inside.sum() == 25 * 3 * 255


def test_values_are_clamped_and_nan_is_black():
    images = np.array([-3.0, 5.0, np.nan]).reshape(3, 1, 1, 1) * np.ones((3, 3, 8, 8))
    picture = opened(pictures.image_grid(images, 1))
    assert [int(tile(picture, 0, i).max()) for i in range(3)] == [0, 255, 0]


@pytest.mark.parametrize(
    "classes, count, channels, side",
    [
        (10, 10, 3, 32),
        (10, 50, 1, 28),
        (100, 10, 3, 32),
        (200, 1, 3, 64),
        (2, 1, 3, 500),
        (1000, 1, 3, 64),
        (1, 1, 2, 7),
    ],
)
def test_noise_of_any_shape_stays_below_the_limit(classes, count, channels, side):
    images = np.random.default_rng(0).random((classes * count, channels, side, side), dtype=np.float32)
    png = pictures.image_grid(images, count)
    assert len(png) < 60_000
    if side not in (32, 64):  # which take seconds
        assert png == pictures.image_grid(images, count)


def test_extreme_shapes():
    assert opened(pictures.image_grid(np.ones((1, 1, 1, 300)), 1)).size


@pytest.mark.parametrize("shape, columns", [((0, 1, 8, 8), 1), ((3, 1, 8, 8), 2), ((3, 8, 8), 1), ((3, 1, 8, 8), 0)])
def test_wrong_shapes(shape, columns):
    with pytest.raises(UserError, match="cannot draw images of shape"):
        pictures.image_grid(np.zeros(shape), columns)


def test_every_method_has_one_look_wherever_it_appears():
    selections, published = ["random", "all", "some", "most", "more"], [f"method{i}" for i in range(40)]
    look = figures.styles(selections, published, ["mine", "yours"])
    assert len(set(look.values())) == len(look) == 47
    assert figures.styles(selections[:2], published[:3], ["mine"]).items() <= look.items(), "others change nothing"


def test_looks_and_labels_come_from_recipes_and_the_survey(project):
    """Nothing else has to be told that a method exists."""
    (project.root / "data/published").mkdir(parents=True, exist_ok=True)
    (project.root / "data/published/methods.csv").write_text("method,label\nrandom,Random\ndd,DD\ndm,DM\n")
    project.set("ddpipe/methods/herding.yaml", "herding.label", "Herding!")
    project.set("params.yaml", "methods.mine", {"base": "dm"})
    found = load(project.root)
    assert labels(found) == {"random": "Random", "dd": "DD", "dm": "DM", "herding": "Herding!"}
    look = figures.looks(found)
    assert [look[name].filled for name in ("random", "dd", "dm", "dc", "mine")] == [True, True, True, True, False]
    assert {name for name, style in look.items() if style.colour in figures.GREYS} == {"random", "herding"}
    assert look["dd"] == figures.styles([], ["dd"], [])["dd"], "the survey's order gives the colours"


def test_a_variant_of_a_method_has_its_colour_and_a_mark_of_its_own():
    shown = pd.DataFrame({"method": ["dm", "dm", "mine", "dm"], "label": ["DM", "DM (wide)", "mine", "DM (zca)"]})
    base = figures.styles([], ["dm"], ["mine"])
    look = figures.lines(shown, base)
    assert (look["DM"], look["mine"]) == (base["dm"], base["mine"])
    assert {look[label].colour for label in ("DM", "DM (wide)", "DM (zca)")} == {base["dm"].colour}
    assert len({(style.colour, style.marker, style.filled) for style in look.values()}) == 4


COLUMNS = ("cell", "method", "label", "ipc", "network", "protocol", "main", "distilled", "mean", "spent")
OWN = ("dm-tiny-1", "dm", "DM", "1", "small", "dsa", True, True)
ELSEWHERE = ("dm-tiny-1", "dm", "DM", "1", "other", "dsa", False, True)
UNTOUCHED = ("dc-tiny-1", "dc", "DC", "1", "small", "dsa", True, True)


def evaluations(*rows: tuple) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    return frame.assign(std=1.0, spent_on="Some CPU @ 2.6 GHz", device_seconds=np.nan)


def curves(*levels: float) -> pd.DataFrame:
    rows = [("dm-tiny-1", "dm", "DM", "1", i, level) for i, level in enumerate(levels)]
    return pd.DataFrame(rows, columns=["cell", "method", "label", "ipc", "iteration", "loss"])


def names(frame: pd.DataFrame, losses: pd.DataFrame) -> list[str]:
    drawings = draw("tiny", frame, losses, figures.styles([], ["dm", "dc"], []), 50)
    assert all(drawing.png.startswith(b"\x89PNG") for drawing in drawings)
    return [drawing.name for drawing in drawings]


def test_a_figure_only_where_there_is_something_to_show():
    nothing = evaluations((*OWN, np.nan, np.nan), (*ELSEWHERE, np.nan, np.nan))
    assert names(nothing, curves()) == []
    assert names(evaluations((*OWN, 50.0, np.nan), (*ELSEWHERE, np.nan, np.nan)), curves()) == ["accuracy_vs_ipc"]
    complete = evaluations((*OWN, 50.0, 3.0), (*ELSEWHERE, 40.0, 3.0))
    assert names(complete, curves(-2.0, 0.0)) == [
        "accuracy_vs_ipc",
        "cross_architecture",
        "accuracy_vs_seconds_some_cpu_2_6_ghz",
        "loss",
    ]


def test_a_figure_over_seconds_for_each_device_and_what_none_shows():
    frame = evaluations((*OWN, 50.0, 3.0), (*UNTOUCHED, 60.0, 4.0), (*UNTOUCHED, 70.0, np.nan))
    frame.loc[1, ["spent_on", "device_seconds"]] = ["A card", 4.0]
    drawings = draw("tiny", frame, curves(), figures.styles([], ["dm", "dc"], []), 50)[1:]
    assert [drawing.name for drawing in drawings] == [
        "accuracy_vs_seconds_some_cpu_2_6_ghz",
        "accuracy_vs_seconds_a_card",
    ]
    assert "the processor seconds of distillation" in drawings[0].caption and "on Some CPU @" in drawings[0].caption
    assert "the device seconds of distillation" in drawings[1].caption and "on A card" in drawings[1].caption
    assert all("1 of 3 distilled cells are in no figure over seconds" in drawing.caption for drawing in drawings)
    assert figures.costly(frame)["cell"].tolist() == ["dm-tiny-1", "dc-tiny-1"]


def test_cross_architecture_shows_the_cells_with_several_networks():
    frame = evaluations((*ELSEWHERE, 40.0, 3.0), (*UNTOUCHED, 60.0, 3.0), (*OWN, 50.0, 3.0))
    shown = figures.transferred(frame)
    assert shown[["cell", "network"]].values.tolist() == [["dm-tiny-1", "small"], ["dm-tiny-1", "other"]]


def test_classes_are_called_by_their_names():
    """Above the first image of each; numbers that they have anyway are not written."""
    plain, numbers = (pictures.image_grid(ramp(20), 10, names) for names in ((), ("0", "1")))
    assert plain == numbers
    picture = opened(pictures.image_grid(ramp(20), 10, ("gull", "a name that is much longer than its images " * 3)))
    assert picture.shape == (2 * (42 + pictures.LINE) + 2, 10 * 42 + 2, 3)
    for row in range(2):
        top = pictures.GAP + row * (pictures.LINE + 40 + pictures.GAP)
        strip = picture[top : top + pictures.LINE]
        assert (strip == 0).any() and (strip[:, -pictures.GAP :] == pictures.BACKGROUND).all()
        assert (picture[top + pictures.LINE, pictures.GAP] == round(row * 10 / 20 * 255)).all()
    assert opened(pictures.image_grid(ramp(3), 1, ("Übel", "鳥", "a\x00b"))).shape[0] == 42 + pictures.LINE + 2
