"""What CutMix draws, and what it does to images and targets."""

import pytest
import torch
import torch.nn.functional as F

from ddpipe.augmentation import cutmix
from ddpipe.augmentation.cutmix import Draw
from ddpipe.randomness import generator


def batch(n=4, classes=3, height=8, width=12):
    rng = generator("cutmix", n, height, width)
    images = torch.randn(n, 2, height, width, generator=rng, dtype=torch.float64)
    targets = torch.rand(n, classes, generator=rng, dtype=torch.float64)
    return images, targets / targets.sum(1, keepdim=True)


def test_draws_cover_their_ranges():
    rng, before = generator("draws"), torch.get_rng_state()
    draws = [cutmix.draw(rng, 5, 4, 6) for _ in range(1000)]
    share = torch.tensor([d.share for d in draws])
    assert share.min() >= 0 and share.max() < 1 and abs(float(share.mean()) - 0.5) < 0.05
    assert {d.row for d in draws} == set(range(4)) and {d.column for d in draws} == set(range(6))
    assert all(d.partners.sort().values.tolist() == [0, 1, 2, 3, 4] for d in draws)
    assert torch.equal(before, torch.get_rng_state())


def test_rows_and_columns_of_an_oblong_image_have_their_own_sides():
    assert cutmix.rectangle(8, 12, Draw(0.75, 4, 6, torch.arange(1))) == (slice(2, 6), slice(3, 9))


@pytest.mark.parametrize(("row", "rows"), [(0, slice(0, 2)), (7, slice(5, 8))])
def test_the_rectangle_is_cut_off_at_the_border(row, rows):
    assert cutmix.rectangle(8, 8, Draw(0.75, row, 4, torch.arange(1))) == (rows, slice(2, 6))


def test_images_and_targets_are_mixed_by_the_same_area():
    images, targets = batch()
    kept = images.clone(), targets.clone()
    draw = Draw(0.75, 1, 6, torch.tensor([1, 2, 3, 0]))  # rows 0 to 2, columns 3 to 8: 18 of 96 pixels
    mixed, soft = cutmix.mix(images, targets, draw)
    other = images[draw.partners]
    assert torch.equal(mixed[:, :, :3, 3:9], other[:, :, :3, 3:9])
    assert int((mixed == other)[:, 0].sum()) == 4 * 18
    assert int((mixed == images)[:, 0].sum()) == 4 * (96 - 18)
    torch.testing.assert_close(soft, targets * 78 / 96 + targets[draw.partners] * 18 / 96)
    assert torch.equal(images, kept[0]) and torch.equal(targets, kept[1])


def test_cross_entropy_of_mixed_targets_is_the_mix_of_cross_entropies():
    images, _ = batch(n=3)
    labels, logits = torch.tensor([2, 0, 1]), torch.randn(3, 3, generator=generator("logits"), dtype=torch.float64)
    draw = Draw(0.5, 3, 3, torch.tensor([1, 2, 0]))
    _, soft = cutmix.mix(images, F.one_hot(labels, 3).double(), draw)
    rows, columns = cutmix.rectangle(8, 12, draw)
    ratio = 1 - len(range(8)[rows]) * len(range(12)[columns]) / 96
    parts = ratio * F.cross_entropy(logits, labels) + (1 - ratio) * F.cross_entropy(logits, labels[draw.partners])
    torch.testing.assert_close(F.cross_entropy(logits, soft), parts)


def test_gradients_flow_to_images_and_targets():
    images, targets = (tensor.requires_grad_() for tensor in batch(n=3, height=4, width=4))
    draw = cutmix.draw(generator("gradients"), 3, 4, 4)
    assert torch.autograd.gradcheck(lambda x, y: cutmix.mix(x, y, draw), (images, targets))
