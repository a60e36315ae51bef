"""What a killed run leaves behind, so that the next one continues bit-identically.

A checkpoint folder (ignored by git and DVC) belongs to one stage of one cell. It holds the unfinished piece as
`<number>.partial.safetensors` and every finished piece (a distilled set, an expert, a network's accuracy) under a name
of its own. All carry a fingerprint of what they depend on; a piece with another fingerprint is ignored and replaced.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from ddpipe.artifacts import read_tensors, write_tensors
from ddpipe.errors import UserError
from ddpipe.progress import say


class Checkpoints:
    """Pieces of one stage's work under `folder`, valid for `fingerprint` alone."""

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = folder, fingerprint

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The piece `name` if it is there, whole, and made from the same settings and inputs."""
        path = self.folder / f"{name}.safetensors"
        if not path.exists():
            return None
        try:
            tensors, meta = read_tensors(path)
        except UserError as error:
            say(f"starting this piece afresh: {error}")
            return None
        return (tensors, meta) if meta.get("fingerprint") == self.fingerprint else None

    def write(self, name: str, tensors: dict[str, Tensor], **meta: Any) -> None:
        write_tensors(self.folder / f"{name}.safetensors", tensors, meta | {"fingerprint": self.fingerprint})

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.folder / f"{name}.safetensors")
