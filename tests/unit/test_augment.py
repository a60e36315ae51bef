"""What strategies draw and refuse, and the meaning of each operation's draws at its limits."""

import math

import pytest
import torch

from ddpipe import augmentation
from ddpipe.augmentation import milder, siamese
from ddpipe.augmentation.composed import ComposedAugment
from ddpipe.augmentation.milder import MilderAugment
from ddpipe.augmentation.older import OlderAugment
from ddpipe.augmentation.siamese import Augment, Draw
from ddpipe.errors import UserError
from ddpipe.randomness import generator

ALL = "color_crop_cutout_flip_scale_rotate"


def ramp(n=2, channels=3, height=8, width=6):
    return torch.arange(n * channels * height * width, dtype=torch.float32).view(n, channels, height, width) + 1


def one(value):
    return torch.tensor([value])


def test_unknown_operation_suggests_the_nearest():
    with pytest.raises(UserError, match='augment "color_cutut" .* "cutut": did you mean "cutout"'):
        Augment("color_cutut")
    with pytest.raises(UserError, match='"xyz": use color, crop, '):
        Augment("xyz")
    with pytest.raises(UserError, match='augment "idc:color_roate" .* "roate": did you mean "rotate"'):
        augmentation.make("idc:color_roate", flip=True)
    with pytest.raises(UserError, match='"idc:crop"'):
        augmentation.make("older:idc:crop", flip=True)
    with pytest.raises(UserError, match='"noise": use crop, scale, rotate'):
        augmentation.make("older:crop_noise", flip=True)


def test_without_flip_the_operation_is_dropped_and_an_empty_strategy_refused():
    assert Augment(ALL, flip=False).operations == ("color", "crop", "cutout", "scale", "rotate")
    with pytest.raises(UserError, match='"flip" is empty without flip'):
        Augment("flip", flip=False)
    assert ComposedAugment("idc:flip_crop", flip=False).applied("crop") == ("crop",)
    with pytest.raises(UserError, match='"idc:flip" is empty without flip'):
        ComposedAugment("idc:flip", flip=False)


def test_none_is_the_identity_and_draws_nothing():
    rng = generator("none")
    before = rng.get_state()
    policy, images = Augment("none", flip=False), ramp()
    assert policy(images, policy.draw(rng, 1, 8, 6)) is images
    assert torch.equal(rng.get_state(), before)


def test_make_chooses_the_policy():
    assert isinstance(augmentation.make("older:crop_scale_rotate", flip=False), OlderAugment)
    assert augmentation.make(ALL, flip=False).operations == Augment(ALL, flip=False).operations
    composed = augmentation.make(f"idc:{ALL}", flip=False)
    assert isinstance(composed, ComposedAugment) and "flip" not in composed.operations


def test_operations_are_drawn_uniformly():
    policy, rng = Augment(ALL), generator("uniform")
    names = [policy.draw(rng, 1, 8, 8).operation for _ in range(1200)]
    assert all(150 < names.count(name) < 250 for name in policy.operations)


@pytest.mark.parametrize(("side", "reach", "last"), [(8, 1, 8), (28, 4, 28), (32, 4, 32), (5, 1, 4)])
def test_integers_cover_their_range_and_no_more(side, reach, last):
    rng = generator("integers", side)
    shifts = Augment("crop").draw(rng, 2000, side, side).parameters
    assert shifts.unique().tolist() == list(range(-reach, reach + 1))
    corners = Augment("cutout").draw(rng, 2000, side, side).parameters
    assert corners.unique().tolist() == list(range(last + 1))


def test_rows_and_columns_have_their_own_ranges():
    rows, columns = Augment("cutout").draw(generator("oblong"), 2000, 4, 16).parameters
    assert (int(rows.max()), int(columns.max())) == (4, 16)


def test_crop_moves_rows_and_columns():
    images = ramp()
    moved = siamese.crop(images, one(1), one(-1))
    assert torch.equal(moved[:, :, :-1, 1:], images[:, :, 1:, :-1])
    assert not moved[:, :, -1].any()
    assert not moved[:, :, :, 0].any()


@pytest.mark.parametrize(("row", "rows"), [(0, slice(0, 2)), (4, slice(2, 6)), (8, slice(6, 8))])
def test_cutout_is_cut_off_at_the_border(row, rows):
    images = ramp(width=8)
    holed = siamese.cutout(images, one(row), one(4))
    assert not holed[:, :, rows, 2:6].any()
    assert int((holed == 0).sum()) == images.shape[0] * images.shape[1] * (rows.stop - rows.start) * 4


def test_flip_mirrors_below_one_half():
    images = ramp()
    assert torch.equal(siamese.flip(images, torch.tensor([0.49, 0.5])), torch.stack([images[0].flip(2), images[1]]))


def test_middle_draws_change_nothing():
    images, half = ramp(), one(0.5)
    for name in ("brightness", "saturation", "contrast", "rotate"):
        assert torch.allclose(getattr(siamese, name)(images, half), images, rtol=1e-5), name


def test_a_small_scale_enlarges():
    images = torch.zeros(1, 1, 9, 9)
    images[:, :, 3:6, 3:6] = 1
    assert (
        siamese.scale(images, one(0.0), one(0.0)).sum() > images.sum() > siamese.scale(images, one(1.0), one(1.0)).sum()
    )


def test_compositions_draw_one_of_the_choices_uniformly_and_the_rest_always():
    policy, rng = ComposedAugment("idc:scale_cutout_color_rotate_flip_crop"), generator("composed")
    draws = [policy.draw(rng, 1, 8, 8) for _ in range(600)]
    names = [draw.operation for draw in draws]
    assert all(150 < names.count(name) < 250 for name in ("crop", "scale", "rotate"))
    assert policy.applied("scale") == ("flip", "color", "scale", "cutout")
    assert {draw.operation: len(draw.parameters) for draw in draws} == {"scale": 8, "rotate": 7, "crop": 8}


def test_compositions_without_a_choice_apply_what_is_left():
    policy, images = ComposedAugment("idc:cutout_flip"), ramp(width=8)
    draw = policy.draw(generator("no choice"), 1, 8, 8)
    assert draw.operation == "none" and len(draw.parameters) == 3
    changed = policy(images, Draw("none", torch.tensor([[0.0], [4.0], [8.0]])))
    assert torch.equal(changed, siamese.cutout(images.flip(3), one(4), one(8)))


def test_parameters_of_a_composition_are_of_each_image():
    policy = ComposedAugment("idc:color_crop_cutout")
    draw = policy.draw(generator("each"), 500, 32, 16)
    assert draw.parameters.shape == (7, 500)
    colours, rows, columns, top, left = draw.parameters.split([3, 1, 1, 1, 1])
    assert colours.unique().numel() > 1400
    assert rows.unique().tolist() == list(range(-4, 5)) and columns.unique().tolist() == list(range(-2, 3))
    assert top.unique().tolist() == list(range(33)) and left.unique().tolist() == list(range(17))


def test_older_means_are_those_of_the_unchanged_batch():
    images = ramp(n=3, channels=1, height=10, width=10)
    policy = OlderAugment("older:crop")
    changed = policy(images, Draw("older", torch.tensor([[0.0], [0.0], [0.0]], dtype=torch.float64)))
    assert torch.equal(changed[:, 0, 0, 0], images.mean().repeat(3))
    assert torch.equal(changed[:, :, 4:, 4:], images[:, :, :6, :6])


def test_older_draws_stay_in_range():
    policy = OlderAugment("older:crop_scale_rotate")
    which, a, b = policy.draw(generator("older"), 6000, 28, 28).parameters
    assert which.unique().tolist() == [0, 1, 2]
    assert a[which == 0].unique().tolist() == b[which == 0].unique().tolist() == list(range(8))
    assert bool(((a[which == 1] >= 0.8) & (a[which == 1] < 1.2)).all())
    assert a[which == 2].unique().tolist() == list(range(-45, 45))
    assert not b[which == 2].any()


def test_reflected_crops_and_flips_are_torchvisions():
    """Every place of the crop, mirrored and not, against an image framed by hand."""
    policy, image = augmentation.make("reflect:crop_flip"), ramp(1, 2, 7, 6)
    rows, columns = ([*range(4, 0, -1), *range(n), *range(n - 2, n - 6, -1)] for n in (7, 6))
    for r in range(9):
        for c in range(9):
            wanted = image[:, :, rows[r : r + 7]][..., columns[c : c + 6]]
            for u, expected in ((0.7, wanted), (0.3, wanted.flip(3))):
                assert torch.equal(policy(image, Draw("reflect", torch.tensor([[r], [c], [u]]))), expected)


def test_each_image_has_a_reflected_crop_of_its_own():
    policy, images = augmentation.make("reflect:crop", flip=False), ramp(1, 1, 9, 9).repeat(200, 1, 1, 1)
    draw = policy.draw(generator("reflect"), 200, 9, 9)
    assert sorted(set(draw.parameters[:2].flatten().tolist())) == list(range(9))
    changed = policy(images, draw)
    assert len(changed.flatten(1).unique(dim=0)) == len(draw.parameters[:2].T.unique(dim=0)) > 60
    assert augmentation.make("reflect:crop_flip", flip=False).operations == ("crop",)
    with pytest.raises(UserError, match='"reflect:flip" is empty without flip'):
        augmentation.make("reflect:flip", flip=False)


def test_frepos_operations_at_their_limits():
    """u: 0 is the least, 0.5 nothing, 1 the most."""
    images = torch.rand(1, 3, 16, 16, generator=generator("milder"))
    half, low, high = one(0.5), one(0.0), one(1.0)
    for operation, count in ((milder.color, 3), (milder.crop, 3), (milder.rotate, 1), (milder.translate, 2)):
        torch.testing.assert_close(operation(images, *[half] * count), images)
    torch.testing.assert_close(milder.color(images, high, half, half), images + 0.25)
    flat = images.mean((1, 2, 3), keepdim=True)
    torch.testing.assert_close(milder.color(images, half, low, half), flat + (images - flat) * math.exp(-0.25))
    grey = images.mean(1, keepdim=True)
    torch.testing.assert_close(milder.color(images, half, half, high), grey + (images - grey) * math.exp(0.25))
    moved = milder.translate(images, high, half)
    torch.testing.assert_close(moved[..., :14], images[..., 2:])
    torch.testing.assert_close(moved[..., 14:], images[..., -1:].expand(-1, -1, -1, 2))
    zoomed = milder.crop(images, high, half, half)
    at = 0.8 * (torch.arange(16) - 7.5) + 7.5
    expected = torch.lerp(images[0, 0, 7:8, :], images[0, 0, 8:9, :], 0.5 - 0.4)  # between rows, then columns
    columns = torch.lerp(expected[0, at.floor().long()], expected[0, at.floor().long() + 1], at - at.floor())
    torch.testing.assert_close(zoomed[0, 0, 7], columns, atol=1e-4, rtol=0)
    gone = milder.cutout(torch.ones(1, 1, 16, 16), half, low)[0, 0]
    assert gone.sum() == 256 - 4 * 2 and bool((gone[6:10, :2] == 0).all())
    assert isinstance(augmentation.make("frepo:flip_color", flip=False), MilderAugment)
    assert augmentation.make("frepo:flip_color", flip=False).operations == ("color",)
    with pytest.raises(UserError, match='augment "frepo:scale" .* "scale": use flip, color, crop, rotate'):
        augmentation.make("frepo:scale")
