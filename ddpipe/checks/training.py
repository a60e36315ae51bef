"""That every training can do what its numbers say: with the step size of its set, under the flip rule of its data."""

from collections.abc import Iterator, Mapping

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.settings import strategy


def trainings(config: Config) -> Iterator[str]:
    """One sentence a mistake; unknown names and rows that do not resolve are left to `check`."""
    params = config.params
    for name, buffer in params.experts.items():
        yield from flips(config, f"experts.{name}.augment", buffer.augment, buffer.data)
    for name, chosen in params.generators.items():
        yield from flips(config, f"generators.{name}.augment", chosen.augment, chosen.data)
    judged = [(f"grid.{cell}.protocol", cell, row.protocol) for cell, row in config.rows.items()]
    judged += [(f"evaluations.{key}.protocol", entry.cell, entry.protocol) for key, entry in config.evaluations.items()]
    for where, cell, protocol in judged:
        row = config.rows.get(cell)
        if row is None or protocol not in params.protocols:
            continue
        try:
            resolved, rules = config.resolved(cell), config.protocol(protocol, row.dataset)
        except UserError:
            continue
        yield from flips(config, f"protocols.{protocol}.augment", getattr(rules, "augment", "none"), row.data)
        if where.startswith("grid."):
            for key, augment in resolved.augments().items():
                yield from flips(config, f"methods.{row.method}.{key}", augment, row.data)
        if why := unfit(config, protocol, row.dataset, repr(row.method), resolved.hints, resolved.scale):
            yield f"{where}: {why}"


def unfit(
    config: Config, protocol: str, dataset: str, who: str, hints: Mapping[str, str], scale: settings.Scale
) -> str | None:
    """Why sets of `dataset` with these hints and targets cannot be measured under a protocol, and what to do.

    Args:
        who: leaves the sets, in words.
    """
    why = config.protocol(protocol, dataset).refusal(who, hints, scale)
    if why is None:
        return None
    able = [name for name in config.params.protocols if not config.protocol(name, dataset).refusal(who, hints, scale)]
    mend = f"name another protocol, for example {able[0]!r}" if able else "add one that can under protocols:"
    return f"{protocol!r} {why}; {mend}"


def flips(config: Config, where: str, augment: str, data: str) -> Iterator[str]:
    """That something of `augment` is left on `data`."""
    if data in config.params.datasets:
        try:
            strategy.allowed(augment, config.params.datasets[data].flip)
        except UserError as error:
            yield f"{where}: {error} (datasets.{data}.flip is false)"
