"""That no network with batch norm is trained on one image at a time where its maps shrink to one pixel.

A single number has no variance, so torch refuses such a batch: often the last one of a pass, after many others. Stages
ask here before they begin, and `ddpipe check` before anything does: without torch.
"""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.checks.data import last_map, size
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.settings.work import batch_norm


def batches(config: Config) -> Iterator[str]:
    """One sentence a mistake, for datasets whose size is known; the others are left to the stages."""
    params, sizes = config.params, {name: size(config, name) for name in config.params.datasets}
    for name, buffer in params.experts.items():
        known = sizes.get(buffer.data)
        if known and buffer.network in params.networks and known.train:
            why = lone(params.networks[buffer.network], known.shape.resolution, known.train, buffer.batch)
            yield from [f"experts.{name}.{why}"] if why else []
    for cell, row, resolved in config.cells():
        known = sizes.get(row.data)
        if known is None or row.student not in params.networks or row.ipc == "all":
            continue
        for key, n, batch in resolved.trainings(known.shape, row.ipc):
            if why := lone(params.networks[row.student], known.shape.resolution, n, batch):
                yield f"methods.{row.method}.{key}.{why} (for {cell})"
    judged = [(cell, row.network, row.protocol) for cell, row in config.rows.items()]
    judged += [(entry.cell, entry.network, entry.protocol) for entry in config.evaluations.values()]
    for cell, network, protocol in judged:
        judge = config.rows.get(cell)
        known = sizes.get(judge.data) if judge else None
        if judge is None or known is None or network not in params.networks:
            continue
        try:
            resolved, rules = config.resolved(cell), config.protocol(protocol, judge.dataset)
        except UserError:
            continue
        shown = known.train if judge.ipc == "all" else resolved.shown(known.shape, judge.ipc)
        if shown and (why := untrainable(rules, params.networks[network], known.shape.resolution, shown)):
            yield f"protocols.{protocol}.{why} (for {cell})"


def untrainable(rules: settings.Protocol, network: settings.Network, resolution: int, n: int) -> str | None:
    """Why `network` cannot be trained by `rules` on n >= 2 images, beginning with their key; None: it can."""
    return lone(network, resolution, n, rules.batched, rules.batching) if rules.batched else None


def lone(network: settings.Network, resolution: int, n: int, batch: int, key: str = "batch") -> str | None:
    """Why `network` cannot be trained on n >= 2 images in batches of `batch`, beginning with `key`; None: it can."""
    if not batch_norm(network) or last_map(network, resolution) > 1 or (n % batch or batch) > 1:
        return None
    better = next(size for size in range(batch + 1, n + 1) if n % size != 1)
    return (
        f"{key}: {batch} at a time, one of {n} images is alone, and batch norm cannot train on a single map of 1x1; "
        f"set it to {better}"
    )
