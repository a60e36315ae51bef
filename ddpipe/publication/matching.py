"""The networks of the survey's Tables 3 and 4, which are told by their settings, whatever their names."""

from ddpipe.settings import DenseNet, Network, ResNet

# by their printed names; both sources' codes build ResNets with a 3x3 stem, and these norms and widths
ARCHITECTURES: dict[int, dict[str, Network]] = {
    3: {
        "resnet18": ResNet(kind="resnet", blocks=(2, 2, 2, 2)),
        "resnet152": ResNet(kind="resnet", block="bottleneck", blocks=(3, 8, 36, 3)),
    },
    4: {
        "resnet10": ResNet(
            kind="resnet", blocks=(1, 1, 1, 1), widths=(32, 64, 128, 256), norm="batch", initialisation="he"
        ),
        "densenet121": DenseNet(kind="densenet", growth=12),
    },
}


def table_of(network: Network) -> tuple[int, Network] | None:
    """The table that prints a network like this, and the network; None where none does."""
    for table, architectures in ARCHITECTURES.items():
        for architecture in architectures.values():
            if network == architecture:
                return table, architecture
    return None


def printed(network: Network) -> str:
    """What that table calls it; "convnet" for any other: the network of the first columns."""
    names = (name for table in ARCHITECTURES.values() for name, found in table.items() if found == network)
    return next(names, "convnet")
