"""The entry of the user's own images under `own:`, from the options of `ddpipe add`, and a look at the images.

What only the user can know is asked for in a sentence that names the option.
"""

import contextlib
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.settings.names import Name
from ddpipe.settings.reading import validate
from ddpipe.settings.shapes import Data, Seen, Shape

OPTIONS = {  # field of settings.Own -> what says it to `ddpipe add`
    "path": "--images",
    "test_fraction": "--test-fraction",
    "resolution": "--resolution",
    "grey": "--grey",
    "flip": "--flip or --no-flip",
}
OWN = ("folder", "npz")  # sources


def entry(project: Config, name: str, said: dict[str, Any]) -> dict[str, Any]:
    """The new entry of own that the options `said` (field -> value) make; {} where there is one that says so.

    Raises:
        UserError: something is missing, or the entry that there is says otherwise.
    """
    there = (project.files["params.yaml"].get("own") or {}).get(name)
    if there is None and "path" in said:
        source = "npz" if Path(said["path"]).suffix == ".npz" else "folder"
        return {"source": source} | said
    for key, value in said.items():
        option = OPTIONS[key].partition(" ")[0]
        if there is None:
            raise UserError(f"{option}: is for new images; say where they lie: --images data/raw/{name}")
        if there.get(key) != value:
            raise UserError(
                f"own.{name}.{key}: {there.get(key, 'is not there')}, but {option} says "
                f"{value}; leave the option out, or change the entry in params.yaml"
            )
    return {}


def look(project: Config, name: str) -> Config:
    """The project with the size of the dataset `name`, if these are images of the user's own that are not prepared.

    Raises:
        UserError: the images cannot be read as their entry says.
    """
    chosen = project.params.datasets.get(name)
    prepared = (project.root / "data" / "prepared" / name / "data.json").exists()
    if chosen is None or prepared or chosen.source not in OWN or not Path(str(chosen.path)).exists():
        return project
    return replace(project, seen={**project.seen, name: seen(name, chosen)})


def sighted(project: Config, names: Iterable[str]) -> Config:
    """The project that has looked at these datasets, as far as their images can be read."""
    for name in names:
        with contextlib.suppress(UserError):  # their stage says it
            project = look(project, name)
    return project


def seen(name: str, chosen: settings.Dataset) -> Seen:
    from ddpipe.datasets.readers import READERS
    from ddpipe.datasets.source import check, subset

    source = READERS[chosen.source](name, chosen, Path("data/raw") / chosen.source)
    if chosen.classes is not None:
        source = subset(name, source, chosen.classes)
    check(name, source)
    channels, side, _ = source.train.shape
    counts = source.train.labels.bincount(minlength=len(source.classes)).tolist()
    data = Data(Shape(channels, side, len(counts)), sum(counts), len(source.test.labels), chosen.whitening is not None)
    return Seen(data, min(counts), source.classes[counts.index(min(counts))])


def new(project: Config, name: str, said: dict[str, Any]) -> tuple[dict[str, Any], Config]:
    """The new entry as `entry`, checked, and the project that has seen the images."""
    made = entry(project, name, said)
    if not made:
        return {}, look(project, name)
    try:
        validate(Name, name, f"own.{name}")
        if not Path(made["path"]).exists():
            raise UserError(f"own.{name}.path: {made['path']} does not exist; name a folder or an .npz file")
        chosen = validate(settings.Own, made, f"own.{name}")
        return made, replace(project, seen={**project.seen, name: seen(name, chosen)})
    except UserError as error:
        raise UserError(f"{error}{answers(str(error), made)} (nothing was written)") from None


def answers(sentence: str, said: dict[str, Any]) -> str:
    """With which options to say, or to say otherwise, what the sentence about an entry names."""
    named = {key: option for key, option in OPTIONS.items() if re.search(rf"\b{key}\b", sentence)}
    asked = " or ".join(option for key, option in named.items() if key not in said)
    told = " and ".join(option for key, option in named.items() if key in said and key != "path")
    return (f"; say it with {asked}" if asked else "") + (f"; it was said with {told}" if told else "")
