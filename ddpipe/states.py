"""What a measured accuracy is worth beside a published one: a word and a shape, the same wherever results are shown."""

from enum import StrEnum


class State(StrEnum):
    """Told by comparing what ran with what was published (ddpipe/publication/), the best one first."""

    PUBLISHED = "as published"  # the recipe's published numbers, its network and its protocol
    UNVERIFIED = "unverified settings"  # some of those nobody published, or others may stand behind the value
    REDUCED = "reduced"  # fewer iterations, a smaller network, batch or protocol
    OWN = "own combination"  # other parts than the method's

    @property
    def shape(self) -> str:
        return SHAPES[self]


SHAPES = {State.PUBLISHED: "●", State.UNVERIFIED: "⊙", State.REDUCED: "○", State.OWN: "⊕"}
