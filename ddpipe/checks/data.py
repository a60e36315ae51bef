"""What only the images can tell about the networks: their resolution, as far as it is known.

Part of `ddpipe check`, so without torch: what the networks refuse is said here a second time (a test compares).
"""

from collections.abc import Iterator
from typing import NamedTuple

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.memory import oversized_whitening
from ddpipe.planning.shapes import PUBLISHED, data_of
from ddpipe.settings.shapes import Shape, indivisible


class Size(NamedTuple):
    """What is known of a dataset: None is not."""

    shape: Shape
    train: int | None


def size(config: Config, name: str) -> Size | None:
    """Of images that are prepared, or as published; None where both are not at hand, or damaged."""
    try:
        found = data_of(config, name)
    except UserError:
        return None
    prepared = (config.root / "data" / "prepared" / name / "data.json").exists()
    whole = prepared or name in config.seen or (found is not None and config.params.datasets[name].classes is None)
    return None if found is None else Size(found.shape, found.train if whole else None)


def unprepared(config: Config, name: str) -> tuple[int, int, int] | None:
    """Shape (c, h, w) of images that are still to be prepared, as published or stated; None where nothing says it."""
    chosen = config.params.datasets[name]
    if (config.root / "data" / "prepared" / name / "data.json").exists():
        return None
    if (found := data_of(config, name)) is not None:
        return found.shape.channels, found.shape.resolution, found.shape.resolution
    side = chosen.resolution
    return None if side is None else (1 if chosen.grey else 3, side, side)


def data(config: Config) -> Iterator[str]:
    params = config.params
    for name, chosen in params.datasets.items():
        users = [row for row in config.rows.values() if row.data == name]
        published = PUBLISHED.get(chosen.source)
        if published and chosen.resolution and (why := indivisible(published.shape.resolution, chosen.resolution)):
            yield f"{chosen.table}.{name}.{why}"
            continue
        shape = unprepared(config, name) if chosen.whitening else None
        if shape and (why := oversized_whitening(shape)):
            yield f"{chosen.table}.{name}.{why}"
        known = size(config, name)
        resolution = known.shape.resolution if known else chosen.resolution
        places = {row.student: f"grid.{row.name}.student" for row in users}
        places |= {row.network: f"grid.{row.name}.network" for row in users}
        for table, entries in (("evaluations", config.evaluations), ("experts", params.experts)):
            places = {e.network: f"{table}.{key}.network" for key, e in entries.items() if e.data == name} | places
        for network, place in places.items():
            if resolution and network in params.networks and (why := misfit(params.networks[network], resolution)):
                why = why.format(f"{resolution}x{resolution} images of {name}")
                yield f"networks.{network}.{why}, or change {place}"


def last_map(network: settings.Network, resolution: int) -> int:
    """Side of the last map of `network` that is normalised, for square images of this resolution."""
    match network:
        case settings.ConvNet():
            padding = network.first_padding or (3 if resolution == 28 else 1)
            return (resolution + 2 * padding - 2) >> (network.depth - 1)  # before the last pooling
        case settings.DenseNet():
            return resolution >> (len(network.blocks) - 1)
        case settings.ResNet():
            halvings = len(network.widths) - 1
            return resolution >> halvings if network.downsampling == "avgpool" else -(-resolution >> halvings)
        case settings.Plain():
            return resolution >> len(network.pooled)
        case settings.Learner():
            return 1 if network.hidden else -(-resolution >> len(network.halved))
    return resolution


def misfit(network: settings.Network, resolution: int) -> str | None:
    """Why `network` does not take square images of this resolution, `{}` in place of their name; None where it does."""
    side = last_map(network, resolution)
    match network:
        case settings.ConvNet():
            if side < 2:
                return f"depth: {network.depth} halvings of the {{}} leave nothing; lower it"
        case settings.DenseNet():
            if side == 0:
                return f"blocks: {len(network.blocks)} blocks halve the {{}} to nothing; use fewer"
            if side == 1 and network.norm == "instance":
                return wiped_out(f"{len(network.blocks)} blocks")
        case settings.ResNet():
            stages = len(network.widths)
            if side == 0:
                return f"downsampling: {stages} stages of avgpool halve the {{}} to nothing; use fewer stages"
            if side == 1 and network.norm == "instance":
                return wiped_out(f"{stages} stages")
        case settings.Plain():
            if side == 0:
                return f"pooled: {len(network.pooled)} poolings halve the {{}} to nothing; use fewer"
        case settings.LeNet():
            if resolution not in (28, 32):
                return "kind: lenet takes images of 28x28 or 32x32, not the {}; use another network"
    return None


def wiped_out(halvings: str) -> str:
    return (
        f"norm: {halvings} halve the {{}} to 1x1, of which instance norm leaves nothing, so no logit depends on the "
        f"image; set it to batch, or use fewer {halvings.split()[1]}"
    )
