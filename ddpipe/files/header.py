"""How a safetensors file begins whose contents are written later: as the library begins one of the same tensors."""

import json
import math
from collections.abc import Mapping

import torch

# safetensors' names, in the order in which the library puts tensors of several types
DTYPES = {torch.int64: "I64", torch.float32: "F32", torch.float16: "F16", torch.uint8: "U8"}
Shapes = Mapping[str, tuple[torch.dtype, tuple[int, ...]]]


def header(shapes: Shapes) -> tuple[bytes, dict[str, tuple[int, int]]]:
    """The bytes before the tensors, and of each tensor the bytes of the file where it starts and ends."""
    entries: dict[str, object] = {"__metadata__": {}}
    places, end = {}, 0
    for name in sorted(shapes, key=lambda name: (list(DTYPES).index(shapes[name][0]), name)):
        dtype, shape = shapes[name]
        start, end = end, end + math.prod(shape) * dtype.itemsize
        entries[name] = {"dtype": DTYPES[dtype], "shape": shape, "data_offsets": [start, end]}
        places[name] = start, end
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    begin = len(text).to_bytes(8, "little") + text
    return begin, {name: (len(begin) + start, len(begin) + end) for name, (start, end) in places.items()}
