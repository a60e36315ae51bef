"""How a factorised set is trained on: every pass sees each base once, in a style drawn anew (HaBa's evaluation)."""

import torch
from torch import Tensor

from ddpipe.training.batch import Batch
from ddpipe.training.loop import Fetch

WORDS = (  # what an exported set says of it
    "The examples show bases in several styles: `contents` numbers the base behind each. Batches are of bases, and one "
    "randomly drawn example shows a base each time, not all of them."
)


class Styles:
    """The rows of a set by the base that they show; every base has equally many.

    Args:
        contents: (V,) the base behind each row, numbered from 0.
    """

    def __init__(self, contents: Tensor):
        self.rows = contents.cpu().argsort(stable=True).view(int(contents.max()) + 1, -1)  # bases styles

    def __len__(self) -> int:
        """Number of bases: the examples of one pass."""
        return len(self.rows)

    def over(self, fetch: Fetch, rng: torch.Generator) -> Fetch:
        """Base numbers -> what `fetch` gives for one random row of each."""

        def one_of_each(index: Tensor | slice) -> Batch:
            rows = self.rows[index]  # n styles
            drawn = torch.randint(rows.shape[1], (len(rows), 1), generator=rng)
            return fetch(rows.gather(1, drawn).flatten())

        return one_of_each
