"""The state of a whole: every part gets back its own, under the names that checkpoints have."""

import torch
from torch import Tensor

from ddpipe.training.states import joined, load


class Part:
    def __init__(self, **state: Tensor):
        self.state = state

    def state_dict(self) -> dict[str, Tensor]:
        return self.state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.state = state


def test_every_part_gets_its_own_back():
    one, two, three = (torch.tensor(number) for number in (1, 2, 3))
    state = joined({"1": Part(rows=one), "10": Part(**{"inner.rows": two, "1.rows": three}), "none": Part()}, "/")
    assert state == {"1/rows": one, "10/inner.rows": two, "10/1.rows": three}
    parts = {"1": Part(), "10": Part(), "none": Part(old=one)}
    load(parts, state | {"counts": one}, "/")
    assert [part.state for part in parts.values()] == [{"rows": one}, {"inner.rows": two, "1.rows": three}, {}]
