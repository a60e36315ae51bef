"""That every training can do what its numbers say: with the step size of its set, under the flip rule of its data."""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.settings import strategy


def trainings(config: Config) -> Iterator[str]:
    """One sentence a mistake; unknown names and rows that do not resolve are left to `check`."""
    params = config.params
    for name, buffer in params.experts.items():
        yield from flips(config, f"experts.{name}.augment", buffer.augment, buffer.data)
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
        yield from flips(config, f"protocols.{protocol}.augment", rules.augment, row.data)
        if where.startswith("grid."):
            yield from of_the_cell(config, row, resolved)
        if rules.learned_lr and not learns_rate(resolved):
            yield (
                f"{where}: {protocol!r} trains with the step size that was learned with the set, but {row.method!r} "
                "learns none; name a protocol without learned_lr"
            )


def of_the_cell(config: Config, row: settings.Row, resolved: settings.Cell) -> Iterator[str]:
    if isinstance(resolved, settings.Distillation):
        where = f"methods.{row.method}"
        yield from flips(config, f"{where}.augment", resolved.augment, row.data)
        yield from flips(config, f"{where}.students.augment", getattr(resolved.students, "augment", "none"), row.data)


def learns_rate(resolved: settings.Cell) -> bool:
    return isinstance(resolved, settings.Distillation) and "lr" in resolved.objective.learned


def flips(config: Config, where: str, augment: str, data: str) -> Iterator[str]:
    """That something of `augment` is left on `data`."""
    if data in config.params.datasets:
        try:
            strategy.allowed(augment, config.params.datasets[data].flip)
        except UserError as error:
            yield f"{where}: {error} (datasets.{data}.flip is false)"
