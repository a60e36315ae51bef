"""Old releases that are pickles: a dictionary of numbers, strings, lists and numpy arrays, and nothing else.

A pickle is a program. Here it can build those values and call nothing: the few names that pickled arrays refer to are
answered with stand-ins that keep the data, every other name is refused, and not a byte is interpreted before the file's
MD5 is the expected one. This is the only module that reads pickles.
"""

import pickle
import re
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ddpipe.datasets.readers.download import verify
from ddpipe.errors import UserError


class StandIn:
    """Takes the place of a class that a pickle names."""

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("state for something that has none")


class Bytes(StandIn):
    """_codecs.encode: how Python 3 writes bytes for Python 2."""

    def __new__(cls, text: str, encoding: str) -> Any:
        if plain(encoding) != "latin1":
            raise pickle.UnpicklingError(f"text encoded as {encoding!r}")
        return text.encode("latin1")


class Dtype(StandIn):
    """numpy.dtype of plain numbers."""

    def __init__(self, code: Any, align: Any = None, copy: Any = None):
        self.code, self.order = plain(code), "|"
        if not re.fullmatch(r"[iuf][1248]|b1", self.code):
            raise pickle.UnpicklingError(f"an array of dtype {self.code!r}")

    def __setstate__(self, state: Any) -> None:
        _, order, *structure = state
        self.order = plain(order)
        if self.order not in ("|", "<", ">") or structure[:3] != [None, None, None]:
            raise pickle.UnpicklingError("an array of something else than numbers")


class Array(StandIn):
    """numpy.ndarray, and the function that makes an empty one for its state to fill."""

    value: np.ndarray

    def __init__(self, kind: Any = None, shape: Any = None, code: Any = None):
        pass

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, fortran, data = state
        if not isinstance(dtype, Dtype) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("an array of something else than numbers")
        flat = np.frombuffer(data, np.dtype(dtype.order + dtype.code))  # no copy: batches are large
        self.value = flat.reshape(shape, order="F" if fortran else "C")


NAMES = {
    ("_codecs", "encode"): Bytes,
    ("numpy", "dtype"): Dtype,
    ("numpy", "ndarray"): Array,
    ("numpy.core.multiarray", "_reconstruct"): Array,
    ("numpy._core.multiarray", "_reconstruct"): Array,
}


class Restricted(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}")
        return NAMES[module, name]


def load(path: Path | str, stream: BinaryIO, md5: str) -> dict[str, Any]:
    """The dictionary in the pickle `stream`, whose MD5 must be `md5`; arrays are read-only.

    path: names the file in errors. UserError for another checksum, and for anything in it that is not plain data.
    """
    verify(path, stream, md5)
    try:
        content = Restricted(stream, encoding="bytes").load()
        return {plain(key): unwrapped(value) for key, value in content.items()}
    except Exception as error:  # whatever a damaged or hostile pickle makes the unpickler run into
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path} is not a pickled dictionary of plain numbers, strings and arrays ({reason}); replace it by the "
            "official file"
        ) from error


def unwrapped(value: Any) -> Any:
    if isinstance(value, Array):
        return value.value
    return [plain(item) for item in value] if isinstance(value, list) else plain(value)


def plain(value: Any) -> Any:
    """Python 2 wrote its strings as bytes."""
    return value.decode("latin1") if isinstance(value, bytes) else value
