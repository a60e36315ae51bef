import pytest
import torch

from ddpipe.datasets.preprocessing import Preprocessing, fit, shapes, whitening
from ddpipe.datasets.storage import TensorFile
from ddpipe.randomness import generator
from ddpipe.settings import Dataset


def images(n: int = 50, channels: int = 3, side: int = 4) -> torch.Tensor:
    return torch.randint(256, (n, channels, side, side), generator=generator("images"), dtype=torch.uint8)


def settings(**options) -> Dataset:
    return Dataset(source="npz", path="x", **options)


@pytest.mark.parametrize("standardise, correction", [("biased", 0), ("unbiased", 1)])
def test_channels_get_mean_0_and_std_1(standardise, correction):
    x = fit(images(), settings(standardise=standardise), torch.float64).apply(images())
    pixels = x.transpose(0, 1).flatten(1)  # (c, n * h * w)
    torch.testing.assert_close(pixels.mean(1), torch.zeros(3, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(pixels.std(1, correction=correction), torch.ones(3, dtype=torch.float64))


def test_given_numbers_are_used_and_none_only_divides():
    given = fit(images(), settings(standardise="given", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)))
    expected = (images() / 255 - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / torch.tensor([0.2, 0.3, 0.4]).view(
        3, 1, 1
    )
    torch.testing.assert_close(given.apply(images()), expected)
    torch.testing.assert_close(fit(images(), settings(standardise="none")).apply(images()), images() / 255)


def test_per_image_norm_and_mean():
    x = fit(images(), settings(per_image=True)).apply(images()).flatten(1)
    torch.testing.assert_close(x.norm(dim=1), torch.ones(50))
    torch.testing.assert_close(x.mean(1), torch.zeros(50), rtol=0, atol=1e-6)


def test_whitened_covariance_is_the_identity_up_to_the_regularisation():
    x = fit(images(400), settings(whitening={"regularisation": 1e-6}), torch.float64).apply(images(400)).flatten(1)
    covariance = x.T @ x / (len(x) - 1)
    torch.testing.assert_close(covariance, torch.eye(48, dtype=torch.float64), rtol=0, atol=1e-4)


def test_whitening_does_not_depend_on_the_chunks():
    x = images().double().flatten(1)
    for options in ({"relative": True, "centred": False, "ddof": 0}, {"relative": False, "centred": True, "ddof": 1}):
        whole, parts = (whitening(chunks, 0.1, **options) for chunks in ([x], x.split(7)))
        for a, b in zip(whole, parts, strict=True):
            torch.testing.assert_close(a, b)


def test_fewer_images_than_features_stay_finite():
    x = fit(images(10), settings(whitening={"relative": True}))
    assert bool(x.apply(images(10)).isfinite().all())


def test_parts_give_the_same_pipeline_and_its_digest():
    fitted = fit(images(), settings(per_image=True, whitening={}))
    again = Preprocessing.from_parts(fitted.to_json(), fitted.tensors())
    assert torch.equal(fitted.apply(images()), again.apply(images()))
    assert fitted.digest() == again.digest() != fit(images(), settings()).digest()


@pytest.mark.parametrize(
    "options", [{}, {"standardise": "unbiased"}, {"per_image": True}, {"standardise": "none", "whitening": {}}]
)
def test_a_fit_from_a_file_is_that_of_the_tensor(tmp_path, options):
    whole = images(2500)  # more than two chunks
    fitted = fit(whole, settings(**options))
    with TensorFile(tmp_path / "x", {"x": (torch.uint8, tuple(whole.shape))}) as file:
        file.write("x", whole)
        assert fit(file.stored("x"), settings(**options)).digest() == fitted.digest()
    assert shapes((3, 4, 4), settings(**options)) == {name: tuple(t.shape) for name, t in fitted.tensors().items()}


def test_apply_and_invert_leave_their_arguments_alone():
    fitted = fit(images(), settings(whitening={}))
    raw = images()
    x = fitted.apply(raw)
    before = x.clone()
    fitted.invert(x)
    assert torch.equal(raw, images()) and torch.equal(x, before)
