"""ZCA of the trajectory-matching family: fitted by the pipeline, applied and inverted by its Preprocessing."""

import pytest
import torch

from ddpipe.datasets.preprocessing import Preprocessing, whitening


@pytest.fixture
def zca(case):
    return case("zca")


@pytest.fixture
def fitted(zca):
    """The whitening alone; the case has no channel standardisation."""
    train = zca["train"]
    assert zca.config["flatten_order"] == "CHW"
    centre, matrix = whitening(
        train.flatten(1).split(7),
        zca.config["eps"],
        relative=False,
        centred="mean" in zca.config["center"],
        ddof=zca.config["covariance_ddof"],
    )
    plain = torch.ones(train.shape[1], 1, 1, dtype=torch.float64)
    return Preprocessing(plain, 0 * plain, centre=centre, matrix=matrix)


def test_mean_matrix_and_inverse(zca, fitted):
    zca.check(fitted.centre, zca["mean"].flatten(), "mean")
    zca.check(fitted.matrix, zca["transform"], "transform")
    zca.check(fitted.unwhitening, zca["inverse"], "inverse")


@pytest.mark.parametrize("part", ["train", "test"])
def test_images_there_and_back(zca, fitted, part):
    whitened = fitted.transform(zca[part])
    zca.check(whitened, zca[f"{part}_whitened"], f"{part}_whitened")
    zca.check(fitted.invert(whitened) * 255, zca[part], part)  # invert: from the scale of uint8 to 0..1


def test_float32(zca, fitted):
    key = zca.config["float32_compared_with"]
    single = fitted.to(torch.float32).transform(zca[key.removesuffix("_whitened")].float())
    zca.check(single, zca[key], key, dtype="float32")
    zca.check(zca[f"{key}_f32"], zca[key], key, dtype="float32")
