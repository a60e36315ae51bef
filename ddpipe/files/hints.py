"""What users of a set have to know beside its images, by name: float32, one number or several; no torch here.

The record of an objective declares them with their shapes (`hints`, in the letters of layout.py); the description
of a set does for those that are no single numbers.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ddpipe.errors import UserError
from ddpipe.files import layout

if TYPE_CHECKING:
    from torch import Tensor

ONE = {"hint.*": "float32"}  # hints that no description gives a shape


def layouts(shapes: Mapping[str, str]) -> dict[str, str]:
    """The layout of the tensors `hint.<name>` of these shapes."""
    return {f"hint.{name}": f"float32 {shape}".rstrip() for name, shape in shapes.items()}


def several(shapes: Mapping[str, str]) -> dict[str, str]:
    """Those that are no single numbers."""
    return {name: shape for name, shape in shapes.items() if shape}


def as_tensors(hints: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """As they lie in the file of a set."""
    return {f"hint.{name}": value.detach().cpu() for name, value in hints.items()}


def of(tensors: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Those in the file of a set."""
    return {name.removeprefix("hint."): value for name, value in tensors.items() if name.startswith("hint.")}


def shapes(hints: "Mapping[str, Tensor]") -> dict[str, str]:
    """As a record would declare hints that are there."""
    return {name: " ".join("N" * value.dim()) for name, value in hints.items()}


def check(hints: "Mapping[str, Tensor]", chosen: Any, examples: int) -> None:
    """Whether the hints of a set that is still to be learned are those that its settings `chosen` declare.

    Asked before the work, as what comes out of it must be of use.

    Raises:
        UserError: they are others.
    """
    try:
        layout.check(as_tensors(hints), layouts(chosen.hints), **{"V": examples} | chosen.known)
    except ValueError as error:
        raise UserError(
            f"objective: {error}; its hints must be as its record declares them: mend one of the two"
        ) from error


def floored(hints: "Mapping[str, Tensor]", floors: Mapping[str, tuple[str, float]]) -> list[str]:
    """A sentence for each that ended where its method keeps it from falling further.

    Args:
        floors: name -> the key that says so, and its value.
    """
    return [
        f"{name} ended at the smallest that {key} allows, {least:g}, and would have fallen further: the set goes with "
        f"a step that was not learned; lower outer.{name}.lr"
        for name, (key, least) in floors.items()
        if name in hints and float(hints[name].min()) <= least * (1 + 1e-6)  # it is rounded to float32
    ]


def told(hints: "Mapping[str, Tensor]") -> str:
    """Their values, on one line."""
    return ", ".join(f"{name} {brief(value)}" for name, value in hints.items())


def brief(value: "Tensor") -> str:
    """A number as it is, several by their extremes."""
    if value.dim() == 0:
        return f"{float(value):.3g}"
    low, high = float(value.min()), float(value.max())
    shape = " x ".join(map(str, value.shape))
    return f"of {shape} numbers from {low:.3g} to {high:.3g}"
