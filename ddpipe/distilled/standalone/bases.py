"""Bases: the examples of a factorised set show each of them in several styles, those of another set in one."""

import torch
from torch import Tensor


def by_base(arrays: dict[str, Tensor]) -> Tensor:
    """(bases, styles): the numbers of the examples that show each base."""
    contents = arrays.get("contents", torch.arange(len(arrays["images"]))).cpu()
    return contents.argsort(stable=True).view(int(contents.max()) + 1, -1)


def new_pass(bases: Tensor, batch: int) -> list[Tensor]:
    """Numbers of bases in batches, in random order; all of a smaller set as they are."""
    order = torch.arange(len(bases)) if len(bases) <= batch else torch.randperm(len(bases))
    return list(order.split(batch))


def one_of_each(bases: Tensor, part: Tensor) -> Tensor:
    """A random example of each base of `part`."""
    return bases[part].gather(1, torch.randint(bases.shape[1], (len(part), 1))).flatten()
