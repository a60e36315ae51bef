"""Where a loaded set comes from: its folder, the project around it and the prepared data that it was made from."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ddpipe import config, settings
from ddpipe.config import Config
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.distilled.sets import Distilled
from ddpipe.errors import UserError
from ddpipe.settings.reading import validate

GIVEN = "given"  # what stands for the name of numbers that have none, in the names of random numbers


@dataclass(frozen=True)
class Home:
    """Set `number` of a distilled folder, the folder `root` of its project and that of its prepared data, if there.

    What is looked for is looked for when it is asked for: a learned set alone is its folder and nothing else.
    """

    found: Distilled
    number: int
    root: Path
    data: Path

    @cached_property
    def project(self) -> Config:
        """UserError where the set lies in no project."""
        if not (self.root / "params.yaml").is_file():
            raise UserError(
                f"{self.found.folder} lies in no project ({self.root} has no params.yaml), so nothing tells its "
                "protocol and network: load it with project=FOLDER, where params.yaml lies, or give the numbers of both"
            )
        return config.load(self.root)

    @property
    def run(self) -> settings.Run:
        """Device and threads of the project, or the usual ones where there is none."""
        return self.project.params.run if (self.root / "params.yaml").is_file() else settings.Run()

    @property
    def row(self) -> settings.Row:
        return self.project.row(self.found.about.cell)

    @property
    def stage(self) -> str:
        """That prepares the data."""
        try:
            return self.project.params.datasets[self.found.about.data].stage
        except (UserError, KeyError):
            return "prepare"

    @cached_property
    def prepared(self) -> Prepared:
        """The data that the set was made from; UserError where they are not there, or others."""
        about = self.found.about
        if not (self.data / "data.json").is_file():
            raise UserError(
                f"{self.found.folder} needs the prepared data {about.data!r}, and {self.data} has none: run `dvc repro "
                f"{self.stage}@{about.data}` in the project, or name the folder with prepared=FOLDER"
            )
        data = Prepared.load(self.data)
        self.found.check_same_data(data)
        return data

    def test(self, device: torch.device | str = "cpu") -> Resident:
        """The test part, preprocessed as the set."""
        data = self.prepared
        return Resident(data.test_images, data.test_labels, data.preprocessing, device)

    def protocol(self, given: str | dict[str, Any] | settings.Protocol | None = None) -> tuple[str, settings.Protocol]:
        """(name, numbers) of a protocol: the row's, one of params.yaml by its name, or what stands under one there."""
        if given is None or isinstance(given, str):
            name = self.row.protocol if given is None else given
            return name, self.project.protocol(name, self.found.about.dataset)
        chosen = validate(settings.AnyProtocol, given, "protocol")
        return GIVEN, chosen

    def network(self, given: str | dict[str, Any] | settings.Network | None = None) -> tuple[str, settings.Network]:
        """(name, settings) of a network, as `protocol`."""
        if given is None or isinstance(given, str):
            name = self.row.network if given is None else given
            return name, self.project.network(name)
        chosen = validate(settings.Network, given, "network")
        return GIVEN, chosen
