"""What the tensors of a file must be, in the letters of the shape comments: {"images": "float32 V c h h"}."""

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


def check(tensors: "Mapping[str, Tensor]", layout: Mapping[str, str], **sizes: int) -> dict[str, int]:
    """Hold `tensors` against `layout`; the size of every letter that occurs.

    Args:
        layout: name -> dtype and shape. A number in a shape is itself, a letter one size of at least 1 wherever it
            occurs, a last `...` any shape. A name that ends in ? may be missing; one with * stands for any number.
        sizes: of letters that are known.

    Raises:
        ValueError: for the first tensor that is missing, unknown, of another dtype or shape, or not finite; in words.
    """
    for name, wanted in _wanted(tensors, layout):
        tensor, (dtype, *shape) = tensors[name], wanted.split()
        found, any_shape = list(tensor.shape), shape[-1:] == ["..."]
        if f"torch.{dtype}" != str(tensor.dtype):
            raise ValueError(f"{name} is {str(tensor.dtype).removeprefix('torch.')}, not {dtype}")
        if not any_shape and len(shape) != len(found):
            raise ValueError(f"{name} has the shape {found}, not {_told(shape, sizes)}")
        for letter, size in () if any_shape else zip(shape, found, strict=True):
            if size != (int(letter) if letter.isdigit() else sizes.setdefault(letter, max(size, 1))):
                raise ValueError(f"{name} has the shape {found}, not {_told(shape, sizes)}")
        if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
            raise ValueError(f"{name} holds values that are no finite numbers")
    return sizes


def _wanted(tensors: "Mapping[str, Tensor]", layout: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """(name, dtype and shape) of each tensor, in the order of the layout."""
    left = set(tensors)
    for pattern, wanted in layout.items():
        names = sorted(name for name in left if fnmatchcase(name, pattern.removesuffix("?")))
        if not names and "*" not in pattern and not pattern.endswith("?"):
            raise ValueError(f"{pattern} is missing")
        yield from ((name, wanted) for name in names)
        left.difference_update(names)
    if left:
        raise ValueError(f"{min(left)[:80]!r} is unknown")


def _told(shape: list[str], sizes: Mapping[str, int]) -> str:
    return f"[{', '.join(str(sizes.get(letter, letter)) for letter in shape)}]"
