"""A generator and its latents on disk: data/generators/<key>, written by the stage `generators`.

generator.safetensors holds what `decoding.decoded` asks for, latents.safetensors `latents` (N, z) and the `rows` (N,)
of the training images that they were found for, class by class; generators.json says what both were made from.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ddpipe.errors import UserError
from ddpipe.files import layout
from ddpipe.files.artifacts import file_digest, mend, read_tensors, verify, write_sealed, write_tensors
from ddpipe.generators import decoding
from ddpipe.pipeline import descriptions
from ddpipe.settings.generators import Sizes

ABOUT, WEIGHTS, LATENTS = "generators.json", "generator.safetensors", "latents.safetensors"
LAYOUT = {"latents": "float32 N z", "rows": "int64 N"}


def write(folder: Path, about: dict[str, Any], weights: dict[str, Tensor], latents: dict[str, Tensor]) -> str:
    """Write the three files; the seal of what generators.json says.

    Args:
        about: as `descriptions.Generators`, less `files`.
    """
    write_tensors(folder / WEIGHTS, weights)
    write_tensors(folder / LATENTS, latents)
    files = {name: file_digest(folder / name) for name in (WEIGHTS, LATENTS)}
    return write_sealed(folder / ABOUT, about | {"files": files})


@dataclass(frozen=True)
class Stored:
    """What `write` left.

    weights: by the names of `decoding.LAYOUT`. latents: (N, z); rows: (N,) of their real partners, class by class.
    """

    weights: dict[str, Tensor]
    latents: Tensor
    rows: Tensor

    @property
    def sizes(self) -> Sizes:
        """What was trained."""
        first = self.weights["linear.weight"]
        return Sizes(noise=first.shape[1], width=first.shape[0] // Sizes(width=1).maps // decoding.BOTTOM**2)


def read(folder: Path, data_checksum: str, device: torch.device | str = "cpu") -> tuple[Stored, dict[str, Any]]:
    """What lies in `folder`, weights and latents on the device, and what generators.json says of it.

    Raises:
        UserError: a file is missing or not what was written, or is of another entry, other images or another
            preprocessing.
    """
    about, name = descriptions.read(folder / ABOUT, descriptions.Generators), folder.name
    if about.generator != name:
        raise UserError(f"{folder} holds the generator of {about.generator!r}; {mend(folder / ABOUT)}")
    if about.data_checksum != data_checksum:
        raise UserError(
            f"{folder} was trained on other images or another preprocessing than the cell's data; "
            f"run `dvc repro generators@{name}`"
        )
    found = {}
    for file, wanted in ((WEIGHTS, decoding.LAYOUT), (LATENTS, LAYOUT)):
        path = folder / file
        verify(path, about.files[file])
        found[file] = read_tensors(path)[0]
        try:
            layout.check(found[file], wanted)
        except ValueError as error:
            raise UserError(f"{path} is no generator's: {error}; {mend(path)}") from error
    weights = {name: tensor.to(device) for name, tensor in found[WEIGHTS].items()}
    latents = found[LATENTS]
    return Stored(weights, latents["latents"].to(device), latents["rows"]), about.model_dump(mode="json")
