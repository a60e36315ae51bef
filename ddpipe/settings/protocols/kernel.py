"""Kernel ridge regression on the set with the kernel of the network at infinite width (the evaluation of KIP)."""

from typing import Literal

from pydantic import model_validator

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Positive, PositiveInt
from ddpipe.settings.protocol import FITTING, Protocol, Scale


class Kernel(Protocol):
    kind: Literal["kernel"]
    kernel: Literal["ntk", "nngp"] = "ntk"
    regularisation: Positive = 1e-6  # times the mean of the kernel's diagonal
    chunk: PositiveInt | None = None  # numbers of one covariance at once, as of students `infinite`

    def stated(self) -> dict[str, str]:
        return super().stated() | needed("kernel", "regularisation")

    @model_validator(mode="after")
    def is_measured_once(self) -> "Kernel":
        if self.networks != 1:
            raise ValueError("networks must be 1: nothing of a kernel is drawn")
        return self

    @property
    def scales(self) -> tuple[Scale, ...]:
        return FITTING["squared-error"]

    @property
    def infinite(self) -> str:
        return f"{self.kernel} {self.chunk}"
