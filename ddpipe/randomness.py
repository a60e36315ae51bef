"""Every random number of ddpipe comes from a named generator; this is the only file that may seed one.

A name is a path such as `(seed, cell, set, purpose)`. Equal names give equal numbers on every machine, different names
independent ones, and neither reads nor changes torch's, numpy's or Python's global state.
"""

import hashlib

import torch
from torch import Tensor


def generator(*path: object) -> torch.Generator:
    """A CPU generator seeded from the SHA-256 of `path`, whose parts are compared by their text."""
    digest = hashlib.sha256("\x1f".join(map(str, path)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


class Streams:
    """The named generators of one run: `rng("real")` is always the same generator, made when first asked for.

    Their states are part of a checkpoint, so a resumed run draws the numbers the killed one would have drawn.
    """

    def __init__(self, *path: object):
        self.path = path
        self.generators: dict[str, torch.Generator] = {}

    def __call__(self, purpose: str) -> torch.Generator:
        if purpose not in self.generators:
            self.generators[purpose] = generator(*self.path, purpose)
        return self.generators[purpose]

    def state_dict(self) -> dict[str, Tensor]:
        """purpose -> (5056,) uint8 state of its generator."""
        return {purpose: g.get_state() for purpose, g in self.generators.items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.generators = {}
        for purpose, value in state.items():
            self(purpose).set_state(value)
