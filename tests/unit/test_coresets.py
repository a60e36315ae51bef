"""Selections are nested, complete, deterministic under ties, and refuse what a class cannot give."""

import pytest
import torch

from ddpipe.errors import UserError
from ddpipe.randomness import generator
from ddpipe.selections.herding import herding
from ddpipe.selections.kcenter import kcenter
from ddpipe.selections.random import random


@pytest.fixture
def features():
    return torch.randn(30, 5, generator=generator("coresets"))


@pytest.fixture
def class_index():
    labels = torch.arange(30) % 3
    return [(labels == k).nonzero()[:, 0] for k in range(3)]


def test_random_selections_are_nested_and_stay_in_their_class(class_index):
    ten = random(class_index, 10, generator("draw"))
    assert torch.equal(random(class_index, 4, generator("draw")), ten[:, :4])
    for rows, members in zip(ten, class_index, strict=True):
        assert torch.equal(rows.sort().values, members)
    assert not torch.equal(random(class_index, 10, generator("another")), ten)


def test_herding_takes_the_best_row_at_every_step(features, class_index):
    selected = herding(features, class_index, 6)
    for rows, members in zip(selected, class_index, strict=True):
        x = features[members].double()
        chosen = []
        for k in range(6):
            wanted = (k + 1) * x.mean(0) - x[chosen].sum(0)
            distances = (wanted - x).norm(dim=1)
            distances[chosen] = torch.inf
            chosen.append(int(distances.argmin()))
        assert torch.equal(rows, members[chosen])


def test_kcenter_takes_the_row_farthest_from_the_chosen(features, class_index):
    selected = kcenter(features, class_index, 6)
    for rows, members in zip(selected, class_index, strict=True):
        x = features[members].double()
        chosen = [int((x - x.mean(0)).norm(dim=1).argmin())]
        while len(chosen) < 6:
            chosen.append(int(torch.cdist(x, x[chosen]).min(dim=1).values.argmax()))
        assert torch.equal(rows, members[chosen])


@pytest.mark.parametrize("rule", [herding, kcenter])
def test_selections_in_order_of_choice_are_nested(rule, features, class_index):
    assert torch.equal(rule(features, class_index, 3), rule(features, class_index, 10)[:, :3])


@pytest.mark.parametrize("rule", [herding, kcenter])
def test_of_equal_rows_the_first_is_taken_and_none_twice(rule):
    features = torch.full((7, 67), 0.1)
    assert rule(features, [torch.arange(7)], 7).tolist() == [list(range(7))]


@pytest.mark.parametrize("rule", [herding, kcenter])
def test_selection_does_not_see_a_shift_of_all_features(rule, features, class_index):
    assert torch.equal(rule(features.double() + 1000, class_index, 5), rule(features, class_index, 5))


def test_too_many_images_per_class_name_the_smallest_class(features, class_index):
    class_index[1] = class_index[1][:4]
    for select in (
        lambda: random(class_index, 5, generator("draw")),
        lambda: herding(features, class_index, 5),
        lambda: kcenter(features, class_index, 5),
    ):
        with pytest.raises(UserError, match="ipc: 5 is more than the 4 training images of class 1; lower it"):
            select()
