"""What a killed run leaves behind, so that the next one continues bit-identically.

A checkpoint folder (ignored by git and DVC) belongs to one stage of one cell. It holds the unfinished piece as
`<number>.partial.safetensors` and every finished piece (a distilled set, an expert, a network's accuracy) under a name
of its own. All carry a fingerprint of what they depend on; a piece with another fingerprint is ignored and replaced.
All carry a seal over whatever they say: a damaged piece is made again, with a sentence, and never believed.
"""

import contextlib
import os
from pathlib import Path
from typing import Any

from torch import Tensor

from ddpipe.datasets.preprocessing import tensors_digest
from ddpipe.errors import UserError
from ddpipe.files.artifacts import digest, read_tensors, write_tensors
from ddpipe.progress import say


class Checkpoints:
    """Pieces of one stage's work under `folder`, valid for `fingerprint` alone."""

    def __init__(self, folder: Path, fingerprint: str):
        self.folder, self.fingerprint = folder, fingerprint

    def read(self, name: str) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The piece `name` if it is there, as it was written, and made from the same settings and inputs."""
        path = self.path(name)
        if not path.exists():
            return None
        try:
            tensors, meta = read_tensors(path)
            sealed = isinstance(meta, dict) and meta.pop("seal", None) == seal(tensors, meta)
        except (UserError, RuntimeError, ValueError, TypeError):  # what no writer of ours can have written
            sealed = False
        if not sealed:
            say(f"{path} is damaged or of an older version; its work is done afresh")
            return None
        return (tensors, meta) if meta.get("fingerprint") == self.fingerprint else None

    def write(self, name: str, tensors: dict[str, Tensor], **meta: Any) -> None:
        tensors = {key: tensor.detach().cpu() for key, tensor in tensors.items()}
        meta |= {"fingerprint": self.fingerprint}
        write_tensors(self.path(name), tensors, meta | {"seal": seal(tensors, meta)})

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(name))


def seal(tensors: dict[str, Tensor], meta: dict[str, Any]) -> str:
    """A digest of every name, shape, dtype and byte of a piece and of all that its `meta` says."""
    return digest(meta | {"tensors": tensors_digest(tensors)})
