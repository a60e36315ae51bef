"""Which evaluations the survey's tables print: the one place that joins results with data/published."""

from ddpipe.config import Config, ResultKey
from ddpipe.settings import DenseNet, Network, ResNet

# Tables 3 and 4 by their printed names; both sources' codes build ResNets with a 3x3 stem, and these norms and widths
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


def survey_network(config: Config, key: ResultKey) -> str:
    """The survey's name of the network of this evaluation; "" where no table prints such an evaluation.

    `convnet` is the network that the grid names for the cell, under the authors' protocol (Tables 1 and 2, and the
    first columns of 3 and 4). The networks of Tables 3 and 4 are told by their settings, under the protocol that the
    recipe names for the table, or the authors' own. A combination or variant of one's own is in no table.
    """
    row = config.row(key.cell)
    if row.variant or "base" in config.params.methods.get(row.method, {}):
        return ""
    recipe = config.recipe(row.recipe)
    authors = row.protocol if row.protocol in recipe.also else recipe.protocol
    if (key.network, key.protocol) == (row.network, authors):
        return "convnet"
    network = config.network(key.network)
    for table, architectures in ARCHITECTURES.items():
        if key.protocol == recipe.tables.get(table, recipe.protocol):
            for name, architecture in architectures.items():
                if network == architecture:
                    return name
    return ""
