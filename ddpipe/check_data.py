"""What only the images can tell about the rows, for data that is prepared already: class sizes and resolution.

Part of `ddpipe check`, so without torch: what the networks refuse is said here a second time (a test compares).
"""

from collections.abc import Iterator
from pathlib import Path

from ddpipe import settings
from ddpipe.artifacts import mend, read_json
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.regular import regular


def data(config: Config) -> Iterator[str]:
    for name in config.params.datasets:
        folder = config.root / "data" / "prepared" / name
        users = {cell: row for cell, row in config.rows.items() if row.data == name}
        if not users or not (folder / "data.json").exists():
            continue
        try:
            resolution = read_json(folder / "data.json")["shape"][1]
            counts = class_sizes(folder / "data.safetensors")
        except (UserError, KeyError, TypeError) as error:
            yield str(error) if isinstance(error, UserError) else f"{folder} is damaged; {mend(folder / 'data.json')}"
            continue
        smallest = min(counts)
        for cell, row in users.items():
            if row.ipc != "all" and row.ipc > smallest:
                yield (
                    f"grid.{cell}.ipc: {row.ipc}, but the smallest class of {name} (number {counts.index(smallest)}) "
                    f"has {smallest} training images; use at most {smallest}"
                )
        further = [entry for entry in config.evaluations.values() if entry.data == name]
        for network in dict.fromkeys([*(row.network for row in users.values()), *(entry.network for entry in further)]):
            if network in config.params.networks and (why := misfit(config.params.networks[network], resolution)):
                yield f"networks.{network}.{why.format(f'{resolution}x{resolution} images of {name}')}"


def misfit(network: settings.Network, resolution: int) -> str | None:
    """Why `network` does not take square images of this resolution, `{}` in place of their name; None where it does."""
    match network:
        case settings.ConvNet():
            padding = network.first_padding or (3 if resolution == 28 else 1)
            if (resolution + 2 * padding - 2) >> network.depth == 0:
                return f"depth: {network.depth} halvings of the {{}} leave nothing; lower it"
        case settings.DenseNet():
            if resolution >> (len(network.blocks) - 1) == 0:
                return f"blocks: {len(network.blocks)} blocks halve the {{}} to nothing; use fewer"
        case settings.ResNet(downsampling="avgpool"):
            if resolution >> (len(network.widths) - 1) == 0:
                return (
                    f"downsampling: {len(network.widths)} stages of avgpool halve the {{}} to nothing; set it to stride"
                )
        case settings.LeNet():
            if resolution not in (28, 32):
                return "kind: lenet takes images of 28x28 or 32x32, not the {}; use another network"
    return None


def class_sizes(path: Path) -> list[int]:
    """Training images of each class, from the labels alone: an .safetensors file is read in parts."""
    import numpy as np
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(regular(path), framework="numpy") as file:
            return np.bincount(file.get_tensor("train_labels")).tolist()
    except (SafetensorError, OSError, ValueError) as error:
        raise UserError(f"{path} is damaged or missing ({error}); {mend(path)}") from error
