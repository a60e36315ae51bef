"""Files of PyTorch and numpy that hold numbers, read so that they can build numbers and nothing else."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ddpipe.errors import UserError
from ddpipe.files.regular import regular

# Accuracies in official files are numpy's numbers; what pickles them has one name in numpy 1 and another in numpy 2.
BUILDERS: tuple[Any, ...] = (np.float64(0).__reduce__()[0], np.zeros(0).__reduce__()[0])
NUMBERS: list[Any] = [
    np.dtype,
    np.ndarray,
    *(type(np.dtype(kind)) for kind in ("float16", "float32", "float64", "int32", "int64", "uint8")),
    *((make, f"numpy.{core}.multiarray.{make.__name__}") for make in BUILDERS for core in ("core", "_core")),
]


def read(path: Path) -> Any:
    """What lies in `path`: a dict of arrays of an npz, an array of an npy, else what torch.save wrote, on the CPU.

    torch's own restricted unpickler builds tensors, numbers, strings, lists and dicts; every other name is refused.

    Raises:
        UserError: there is no such file, or it is damaged or holds something else.
    """
    if not path.exists():
        raise UserError(f"{path} does not exist; name the file that the authors published")
    try:
        if path.suffix in (".npz", ".npy"):
            found = np.load(regular(path), allow_pickle=False)
            return dict(found) if path.suffix == ".npz" else found
        with torch.serialization.safe_globals(NUMBERS), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the storages that old files use
            return torch.load(regular(path), map_location="cpu", weights_only=True)  # noqa: TID251
    except UserError:
        raise
    except Exception as error:  # whatever a damaged or hostile file makes the two readers run into
        raise UserError(  # without their reasons: torch's and numpy's advise to read the file so that it may run code
            f"{path} holds something else than plain tensors, or is damaged; fetch it again, or save its images and "
            "labels as an npz"
        ) from error
