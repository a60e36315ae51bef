"""That a network has a kernel at infinite width wherever one is asked for it."""

import contextlib
from collections.abc import Iterator

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.settings import Distillation
from ddpipe.settings.networks import UNLIMITED, limit


def kernels(config: Config) -> Iterator[str]:
    """One sentence a mistake; unknown names and rows that do not resolve are left to `check`."""
    places: list[tuple[str, str, bool, str]] = []
    for cell, row, resolved in config.cells():
        if isinstance(resolved, Distillation):
            places.append((f"grid.{cell}.student", row.student, resolved.students.infinite, ""))
    judged = [(f"grid.{cell}", row.dataset, row.network, row.protocol) for cell, row in config.rows.items()]
    judged += [(f"evaluations.{key}", e.dataset, e.network, e.protocol) for key, e in config.evaluations.items()]
    for where, dataset, name, protocol in judged:
        with contextlib.suppress(UserError):
            asks = bool(config.protocol(protocol, dataset).infinite)
            places.append((f"{where}.network", name, asks, f", or another protocol than {protocol!r}"))
    for where, name, infinite, other in places:
        network = config.params.networks.get(name)
        if infinite and network is not None and limit(network) is None:
            yield f"{where}: {name!r} {UNLIMITED}{other}"
