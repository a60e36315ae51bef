"""Preprocessings of the kernel methods (KIP, FRePo, RFAD): each is one setting of the pipeline's Preprocessing."""

import pytest
import torch

from ddpipe.datasets.preprocessing import Preprocessing, fit
from ddpipe.settings import Dataset

pytestmark = pytest.mark.variants_of("krr_zca")


@pytest.fixture
def krr(case):
    return case("krr_zca")


@pytest.fixture
def how(krr, variant):
    return krr.config["variants"][variant]


@pytest.fixture
def fitted(krr, how) -> Preprocessing:
    assert krr.config["regulariser"] == "reg * trace/dimension"
    given = {}
    if how["std"] == "given":  # divided by the largest value like the images
        given = {key: tuple((krr[how["prefix"] + key] / (255 / how["scale"])).tolist()) for key in ("mean", "std")}
    settings = Dataset(
        source="npz",
        path="golden",
        standardise=how["std"],
        per_image=how["per_image_norm"],
        whitening={"regularisation": how["reg"], "relative": True, "centred": how["centred"], "ddof": 0},
        **given,
    )
    return fit(chw(krr["train_uint8"]), settings, torch.float64)


def chw(images):
    """The case stores its raw images as (n, h, w, c)."""
    return images.permute(0, 3, 1, 2).contiguous()


@pytest.mark.parametrize("part", ["train", "test"])
def test_images(krr, how, variant, fitted, part):
    if how[f"{part}_key"] is None:
        return
    expected = krr[how[f"{part}_key"]]
    expected = chw(expected) if how["layout"] == "NHWC" else expected
    images = chw(krr[f"{part}_uint8"])[: krr.config["num_stored"]]
    krr.check(fitted.apply(images), expected, variant)


def test_matrix(krr, how, variant, fitted):
    if how["matrix_key"] is None:
        return
    matrix = fitted.matrix
    if how["layout"] == "NHWC":
        height, width, channels = krr.config["image_shape_hwc"]
        order = torch.arange(len(matrix)).view(channels, height, width).permute(1, 2, 0).flatten()
        matrix = matrix[order][:, order]
    krr.check(matrix, krr[how["matrix_key"]], variant)


def test_centre(krr, how, variant, fitted):
    key = f"{how['prefix']}zca_mean"
    if key not in krr:
        return
    height, width, channels = krr.config["image_shape_hwc"]
    krr.check(fitted.centre.view(channels, height, width).permute(1, 2, 0).flatten(), krr[key], variant)
