import pytest
import torch

from ddpipe.datasets.preprocessing import Preprocessing, fit, shapes, whitening
from ddpipe.datasets.storage import TensorFile
from ddpipe.errors import UserError
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


# --- what it takes ----------------------------------------------------------------------------------------------------

DIGITS = (
    torch.arange(17, dtype=torch.float64).repeat(16, 4)[:, :64].view(16, 1, 8, 8)
)  # 0..16, as scikit-learn has them


def grey(**options) -> Preprocessing:
    return fit((DIGITS * (255 / 16)).round().to(torch.uint8), settings(**options))


@pytest.mark.parametrize(
    ("given", "told", "mended"),
    [
        (DIGITS, "float64 from 0 to 16; (images * (255 / white)).round()", lambda x: (x * (255 / 16)).round().byte()),
        (DIGITS / 16, "from 0 to 1; (images * 255).round().to(torch.uint8)", lambda x: (x * 255).round().byte()),
        ((DIGITS * 15).long(), "int64 from 0 to 240; images.round().to(torch.uint8)", lambda x: x.round().byte()),
        (DIGITS.byte(), "these 16 images is above 16, where bright pixels", lambda x: (x * 15)),
        (DIGITS.byte()[:, 0] * 15, "of shape (16, 8, 8), and c is 1 here; images[:, None]", lambda x: x[:, None]),
        (DIGITS.byte()[0] * 15, "of shape (1, 8, 8), and c is 1 here; images[:, None]", lambda x: x[:, None]),
        (DIGITS.byte().permute(0, 2, 3, 1) * 15, "c is 1 here; permute(0, 3", lambda x: x.permute(0, 3, 1, 2)),
        ((DIGITS * 15).byte().numpy(), "a ndarray; make a tensor of it with torch.as_tensor", torch.as_tensor),
        (DIGITS - 8, "from -8 to 8; start from the images", lambda x: ((x + 8) * 15).byte()),
        (DIGITS * float("nan"), "from nan to nan; start from the images", lambda x: (DIGITS * 15).byte()),
    ],
)  # fmt: skip
def test_what_it_cannot_take(given, told, mended):
    with pytest.raises(
        UserError, match="^preprocessing.apply takes uint8 images .n, c, h, w. with the values 0 to 255: "
    ) as error:
        grey().apply(given)
    assert told in str(error.value)
    found = grey().apply(mended(given))
    assert found.shape[1:] == (1, 8, 8) and found.isfinite().all()


def test_it_cannot_take_another_side_where_it_whitens_or_other_channels():
    with pytest.raises(UserError, match="these are of 9 x 9, and the whitening is of 8 x 8; resize them first"):
        grey(whitening={}).apply(torch.zeros(1, 1, 9, 9, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"of shape \(2, 3, 8, 8\), and c is 1 here$"):
        grey().apply(torch.zeros(2, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(UserError, match=r"images\[None\] makes a batch of one image"):
        fit(images(), settings()).apply(images()[0])


def test_a_few_dark_images_are_images():
    dark = torch.zeros(15, 1, 8, 8, dtype=torch.uint8)
    assert torch.equal(grey().apply(dark), grey().transform(dark))
    many = torch.zeros(100, 1, 8, 8, dtype=torch.uint8)
    many[99, 0, 0, 0] = 200
    assert len(grey().apply(many)) == 100 and len(grey().apply(many[:0])) == 0
