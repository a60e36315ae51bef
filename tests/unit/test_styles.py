"""Training on a factorised set: one style of each base at a time."""

import torch

from ddpipe.evaluation.styles import Styles
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch

CONTENTS = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3])


def fetch(index):
    rows = torch.arange(len(CONTENTS))[index]
    return Batch(rows, CONTENTS[rows])


def test_a_pass_sees_every_base_once_and_in_time_in_every_style():
    styles = Styles(CONTENTS)
    drawn = styles.over(fetch, generator("styles"))
    assert len(styles) == 4
    passes = torch.stack([drawn(slice(0, 4)).images for _ in range(60)])
    assert torch.equal(CONTENTS[passes], torch.arange(4).expand(60, 4))
    assert passes.unique().tolist() == list(range(12))
    assert len((passes % 3).unique(dim=0)) > 20  # each base for itself


def test_bases_are_addressed_by_number():
    drawn = Styles(CONTENTS).over(fetch, generator("styles"))
    assert drawn(torch.tensor([2, 0, 2])).targets.tolist() == [2, 0, 2]


def test_rows_of_a_base_may_lie_anywhere():
    contents = torch.tensor([1, 0, 1, 0])
    drawn = Styles(contents).over(lambda index: Batch(index, contents[index]), generator("styles"))
    seen = torch.stack([drawn(slice(0, 2)).images for _ in range(20)])
    assert [sorted(set(column.tolist())) for column in seen.T] == [[1, 3], [0, 2]]


def test_equal_names_draw_equal_styles():
    one, same, other = (Styles(CONTENTS).over(fetch, generator(name)) for name in ("a", "a", "b"))
    draws = [torch.cat([drawn(slice(0, 4)).images for _ in range(10)]) for drawn in (one, same, other)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
