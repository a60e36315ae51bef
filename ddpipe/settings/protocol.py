"""What all kinds of evaluation protocol say; each kind is a record of its own in `protocols/`.

A record is the only class of its module, `ddpipe/settings/protocols/<kind>.py`; how its networks come to know a set
lies in `ddpipe/evaluation/<kind>.py` and is found by that name. `ddpipe check`, `plan` and the stages ask the record.
"""

from collections import Counter
from collections.abc import Mapping
from typing import ClassVar, Literal

from ddpipe.settings.base import Settings, needed
from ddpipe.settings.bounds import Few, PositiveInt

# of targets: distributions over the classes; scores: a distribution less 1 / K, what is learned for squared errors; or
# numbers without bounds by which the cross-entropies of the classes are weighted (SLDD)
Scale = Literal["one-hot", "centred", "free"]
SCALES: tuple[Scale, ...] = ("one-hot", "centred", "free")
FITTING: dict[str, tuple[Scale, ...]] = {"cross-entropy": ("one-hot", "free"), "squared-error": ("one-hot", "centred")}
TOLD: dict[Scale, str] = {"one-hot": "distributions", "centred": "scores", "free": "weights of cross-entropies"}


class Protocol(Settings):
    """An evaluation protocol: frozen numbers under a name."""

    aside = Settings.aside | {"networks", "sets", "exceptions"}
    batching: ClassVar[str] = "batch"  # the key of `batched`
    kind: str
    revision: PositiveInt = 1  # raise when shared code changes what these numbers mean
    networks: Few = 5  # tested on each distilled set
    sets: Few | None = None  # only the first so many sets of a cell; left out: all
    exceptions: dict[str, dict] = {}  # dataset -> the numbers that differ there

    def stated(self) -> dict[str, str]:
        return super().stated() | needed("networks")

    @property
    def requires(self) -> dict[str, str]:
        """Hints that a set must have: name -> shape as in files/layout.py ("" one number, "T" one a step)."""
        return {}

    @property
    def scales(self) -> tuple[Scale, ...]:
        """The scales of targets that it can use."""
        return SCALES

    @property
    def batched(self) -> int | None:
        """Images in a batch of a pass in random order; None where there are no such passes."""
        return None

    @property
    def embeds(self) -> bool:
        """Whether it takes the features of the whole set."""
        return False

    @property
    def infinite(self) -> str:
        """How it asks for the kernel of the network at infinite width, as an option of work; "" where it does not."""
        return ""

    def counted(self, n: int, known: Mapping[str, int]) -> Counter[int] | None:
        """Images in a step -> how many such steps a network is trained on a set of n; None where nobody knows yet.

        Args:
            known: T steps and S blocks of the set, and `steps` that were learned with it, as far as they are known.
        """
        return Counter()

    def refusal(self, who: str, hints: Mapping[str, str], scale: Scale) -> str | None:
        """Why a set with these hints (name -> shape) and this scale of targets cannot be measured; None where it can.

        Args:
            who: leaves the set, in words.
        """
        for name, shape in self.requires.items():
            plain, optional = name.removesuffix("?"), name.endswith("?")
            there = hints.get(plain, hints.get(f"{plain}?") if optional else None)
            if there is None and optional:
                continue
            if there is None or len(there.split()) != len(shape.split()):
                left = "leaves none" if there is None else f"leaves {told(there)}"
                return f"needs the hint {plain} ({told(shape)}) of the set, but {who} {left}"
        if scale not in self.scales:
            means = "cross-entropy" if self.scales == FITTING["cross-entropy"] else "squared errors"
            return f"trains by {means}, but {who} leaves {TOLD[scale]} (targets: {scale}), no distributions"
        return None


def told(shape: str) -> str:
    """The shape of a hint in words."""
    return f"numbers ({shape})" if shape else "one number"
