"""The kinds of numbers that settings have, and how far they may go: a slip of the finger is refused, not waited for."""

from typing import Annotated

from pydantic import AfterValidator, Field

MOST = 10**9  # epochs, iterations, images: nobody lives to see more
MANY = 10_000  # networks, sets, layers, pixels of a side: each is built, kept or multiplied with others
LARGEST, SMALLEST = 1e38, 1e-37  # beyond them float32 has infinities, and numbers of fewer digits


def _in_float32(value: float) -> float:
    if 0 < abs(value) < SMALLEST:
        raise ValueError(f"must be at least {SMALLEST}, or float32 loses it, not {value!r}")
    return value


def _ascending(numbers: tuple[int, ...]) -> tuple[int, ...]:
    if list(numbers) != sorted(set(numbers)):
        raise ValueError(f"must ascend, each number once: {sorted(set(numbers))}")
    return numbers


PositiveInt = Annotated[int, Field(gt=0, le=MOST, strict=True)]
Natural = Annotated[int, Field(ge=0, le=MOST, strict=True)]
Few = Annotated[int, Field(gt=0, le=MANY, strict=True)]
FewOrNone = Annotated[int, Field(ge=0, le=MANY, strict=True)]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
Positive = Annotated[float, Field(gt=0, le=LARGEST, strict=True), AfterValidator(_in_float32)]
NonNegative = Annotated[float, Field(ge=0, le=LARGEST, strict=True), AfterValidator(_in_float32)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Share = Annotated[float, Field(gt=0, lt=1, strict=True)]  # of a whole, neither none of it nor all
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]
Grey = Annotated[float, Field(ge=0, le=1, strict=True)]  # a mean on the scale 0..1, not 0..255
Spread = Annotated[float, Field(ge=0.001, le=1, strict=True)]  # a standard deviation on the same scale
Moments = Annotated[tuple[Natural, ...], AfterValidator(_ascending)]  # iterations of a run; 0 is before the first
Switch = Annotated[bool, Field(strict=True)]  # true or false; YAML 1.2 reads `no` as a word
