"""Finished experts on disk, their weights read one snapshot at a time."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ddpipe.artifacts import mend, read_json
from ddpipe.errors import UserError


class Buffer:
    """The folder data/experts/<buffer>: one file an expert, `snapshots` (S, P), memory-mapped.

    Raises:
        UserError: a file is missing or damaged.
    """

    def __init__(self, folder: Path, device: torch.device | str = "cpu"):
        self.folder, self.device = folder, device
        self.about: dict[str, Any] = read_json(folder / "experts.json")
        if not isinstance(self.about, dict) or not self.about.get("networks"):
            raise UserError(f"{folder / 'experts.json'} names no networks; {mend(folder / 'experts.json')}")
        self.files = [self.open(number) for number in range(len(self))]

    def open(self, number: int) -> Any:
        path = self.folder / f"{number}.safetensors"
        try:
            return safe_open(path, "pt").get_slice("snapshots")
        except (SafetensorError, OSError) as error:
            raise UserError(f"{path} is missing or damaged ({error}); {mend(path)}") from error

    def __len__(self) -> int:
        """Number of experts."""
        return int(self.about["networks"])

    @property
    def epochs(self) -> int:
        """The last snapshot's number; snapshot 0 is the start."""
        return min(file.get_shape()[0] for file in self.files) - 1

    def snapshot(self, expert: int, number: int) -> Tensor:
        """(P,) float32 on the device; `number` -1 is the last one."""
        rows = self.files[expert].get_shape()[0]
        return self.files[expert][number % rows].to(self.device, torch.float32)

    def check(self, data_checksum: str, network: dict[str, Any], epochs: int = 0) -> None:
        """Refuse experts of other images, another preprocessing or network, or of too few epochs.

        Args:
            network: the settings of the cell's network.
        """
        name = self.about.get("buffer")
        if self.about.get("data_checksum") != data_checksum:
            raise UserError(
                f"{self.folder} was trained on other images or another preprocessing than the cell's data; "
                f"run `dvc repro experts@{name}`"
            )
        if self.about.get("recipe", {}).get("architecture") != network:
            raise UserError(f"{self.folder} holds another network than the cell's; name a buffer of the cell's network")
        if self.epochs < epochs:
            raise UserError(
                f"experts.{name}: {self.epochs} epochs are kept, but the cell goes up to {epochs}; "
                f"set keep: all and epochs to {epochs} or more"
            )
