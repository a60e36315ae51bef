"""The user's own images: what lies at their paths, as far as it is known before they are prepared."""

import os
from collections.abc import Iterator
from pathlib import Path

from ddpipe.config import Config
from ddpipe.datasets import survey
from ddpipe.errors import UserError
from ddpipe.files.yaml import read_yaml
from ddpipe.pipeline import record
from ddpipe.pipeline.links import mapping

MOST = 2000  # files whose heads are read: a second


def own(config: Config) -> Iterator[str]:
    """One sentence a mistake."""
    stages = mapping(mapping(read_yaml(config.root / "dvc.yaml")).get("stages"))
    for name, chosen in config.params.datasets.items():
        if chosen.path is not None and chosen.table != "own" and "own" in stages:
            yield misplaced(name)
    for found in surveys(config):
        yield from [found] if isinstance(found, str) else survey.refusals(found)


def misplaced(name: str) -> str:
    return f"datasets.{name}: images of your own stand under own:, where DVC sees when they change; move it there"


def notes(config: Config) -> Iterator[str]:
    """What is read in a way that somebody might not expect: no mistakes."""
    for found in surveys(config, prepared=False):  # it was said when they were prepared
        yield from () if isinstance(found, str) else (f"{found.where}: {said}" for said in survey.notes(found))


def surveys(config: Config, prepared: bool = True) -> Iterator[survey.Survey | str]:
    """A look at each of the user's own datasets, or why there is none. What is prepared may lack its images here."""
    path = config.root / record.FILE
    known = record.entries(path.read_text(encoding="utf-8")) if path.exists() else {}
    for name, chosen in config.params.datasets.items():
        if chosen.path is None:
            continue
        place = config.root / chosen.path
        here = (config.root / f"data/prepared/{name}/data.json").exists()
        if here and not prepared or (here or f"{chosen.stage}@{name}" in known) and not os.path.lexists(place):
            continue
        if (tracked := Path(f"{place}.dvc")).exists() and not place.exists():
            relative = f"{os.path.relpath(tracked, config.root)}"
            yield f"{chosen.table}.{name}.path: {chosen.path} is not here; `dvc pull {relative}` fetches it"
            continue
        try:
            yield survey.survey(name, chosen.model_copy(update={"path": str(place)}), MOST)
        except UserError as error:
            yield str(error)
