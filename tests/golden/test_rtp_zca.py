"""Preprocessing of RTP: no channel standardisation, otherwise KIP's recipe; compared in float32, as the runs use it."""

import pytest
import torch

from ddpipe.datasets.preprocessing import fit
from ddpipe.settings import Dataset


@pytest.fixture
def rtp(case):
    return case("rtp_zca")


@pytest.fixture
def settings(rtp) -> Dataset:
    config = rtp.config
    assert config["per_image_norm"] == "l2" and config["regulariser"] == "regularization * mean eigenvalue"
    return Dataset(
        source="npz",
        path="golden",
        standardise="none",
        per_image=config["per_image_mean"],
        whitening={
            "regularisation": float(rtp["in/regularization"]),
            "relative": True,
            "centred": config["feature_mean_subtracted"],
            "ddof": {"num_train": 0, "num_train - 1": 1}[config["covariance_divisor"]],
        },
    )


@pytest.mark.parametrize("part", ["train", "test"])
def test_images(rtp, settings, part):
    train, images = (rtp[f"in/{each}_uint8_nhwc"].permute(0, 3, 1, 2).contiguous() for each in ("train", part))
    rtp.check(fit(train, settings).apply(images), rtp[f"f32/{part}_nchw"], part)


def test_matrix(rtp, settings):
    images = rtp["in/train_uint8_nhwc"]
    matrix = fit(images.permute(0, 3, 1, 2).contiguous(), settings, torch.float64).matrix
    assert rtp.config["flatten_order"] == "HWC"
    height, width, channels = images.shape[1:]
    order = torch.arange(len(matrix)).view(channels, height, width).permute(1, 2, 0).flatten()
    rtp.check(matrix[order][:, order], rtp["f64/zca_matrix"], "zca_matrix")
