"""That every class has the images that cells take of it: prepared ones are counted, of published ones it is known."""

from collections.abc import Iterator
from pathlib import Path

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import mend
from ddpipe.files.regular import regular
from ddpipe.pipeline import descriptions

SMALLEST = {  # training images of the smallest class of a source
    **{"digits": 128, "mnist": 5421, "fashionmnist": 6000, "svhn": 4659, "cifar10": 5000},
    **{"cifar100": 500, "tinyimagenet": 500, "imagenet64": 732},
}


def classes(config: Config) -> Iterator[str]:
    """One sentence a mistake."""
    for name in config.params.datasets:
        users = {cell: row for cell, row in config.rows.items() if row.data == name}
        try:
            yield from beyond(config, name, users) if users else ()
        except UserError as error:
            yield str(error)


def beyond(config: Config, name: str, users: dict[str, settings.Row]) -> Iterator[str]:
    """One sentence for each of the cells `users` that takes more images of a class of dataset `name` than there are."""
    found = smallest(config, name)
    if found is None:
        return
    most, which = found
    for cell, row in users.items():
        count, key = taken(config, cell, row)
        if count > most:
            told = f"{key}: {count}, but the smallest class of {name}{which} has {most} training images"
            yield f"{told}; use at most {most}"


def taken(config: Config, cell: str, row: settings.Row) -> tuple[int, str]:
    """How many images of a class the cell takes, and the key that says so; rows with mistakes are left to `check`."""
    if row.ipc == "all":
        return 0, ""
    try:
        count, key = config.resolved(cell).takes(row.ipc)
    except UserError:
        count, key = row.ipc, ""
    return count, f"methods.{row.method}.{key} ({cell})" if key else f"grid.{cell}.ipc"


def smallest(config: Config, name: str) -> tuple[int, str] | None:
    """Training images of the smallest class, and which it is where that is known; None: images nobody counted yet."""
    chosen, folder = config.params.datasets[name], config.root / "data" / "prepared" / name
    if (folder / "data.json").exists():
        words = descriptions.read(folder / "data.json", descriptions.Prepared).classes
        counts = class_sizes(folder / "data.safetensors")
        return min(counts), f", {words[counts.index(min(counts))]!r},"
    if name in config.seen:
        return config.seen[name].smallest, f", {config.seen[name].which!r},"
    known = chosen.source in SMALLEST and chosen.classes is None
    return (SMALLEST[chosen.source], "") if known else None


def class_sizes(path: Path) -> list[int]:
    """Training images of each class, from the labels alone: an .safetensors file is read in parts."""
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(regular(path), framework="numpy") as file:
            return np.bincount(file.get_tensor("train_labels")).tolist()
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or missing ({error}); {mend(path)}") from error
