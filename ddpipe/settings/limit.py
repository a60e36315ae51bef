"""A network as its kernel at infinite width sees it. No torch."""

from typing import Literal, NamedTuple


class Limit(NamedTuple):
    """`depth` layers with a ReLU each, a readout and one more dense layer; convolutions are 3x3 with zeros around."""

    layer: Literal["dense", "convolution"]
    depth: int
    pooled: tuple[int, ...] = ()  # the convolutions, counted from 1, behind whose ReLU 2x2 means are taken
    readout: Literal["flatten", "mean"] = "flatten"
