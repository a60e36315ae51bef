"""Numbers that nothing reads, and buffers that nothing of a row uses: whoever states one expects it to matter."""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.planning.work import EMBEDDED


def idle(config: Config) -> Iterator[str]:
    """One sentence a mistake; what does not resolve is left to `check`."""
    for name, buffer in config.params.experts.items():
        yield from unread(f"experts.{name}", buffer)
    for name, protocol in config.params.protocols.items():
        yield from unread(f"protocols.{name}", protocol)
        for dataset in protocol.exceptions:
            try:
                yield from unread(f"protocols.{name}.exceptions.{dataset}", config.protocol(name, dataset))
            except UserError:
                continue
    for cell, row in config.rows.items():
        try:
            resolved = config.resolved(cell)
        except UserError:
            continue
        if isinstance(resolved, settings.Distillation):
            imitated = resolved.objective
            if "real_batch" in resolved.model_fields_set and not imitated.draws_real:
                told = f"objective {imitated.name!r} draws no real images; remove it (null takes an inherited one out)"
                yield f"methods.{row.method}.real_batch ({cell}): {told}"
        if row.buffer is not None and (idler := without_experts(resolved)):
            told = f"{idler} (of {config.sources(row)}) uses no experts"
            yield f"grid.{cell}.needs: {row.needs}, but {told}; set it to data/prepared/{row.data}"


def without_experts(chosen: settings.Cell) -> str:
    """What of the settings could use a buffer of experts and does not; "" where it does."""
    if isinstance(chosen, settings.Selection):
        return "" if chosen.rule in EMBEDDED else f"rule {chosen.rule}"
    return "" if isinstance(chosen.students, settings.ExpertStudents) else f"students {chosen.students.name}"


def unread(where: str, rules: settings.Training | settings.Protocol) -> Iterator[str]:
    """What stands in `rules` for nothing."""
    if isinstance(nested := getattr(rules, "training", None), settings.Training):
        yield from unread(f"{where}.training", nested)
    if not isinstance(rules, settings.Training):
        return
    if "drop_resets_momentum" in rules.model_fields_set and rules.drop == "never":
        yield f"{where}.drop_resets_momentum: drop is never, so this is never asked; remove it (in an exception: null)"
    if isinstance(rules, settings.SetTraining) and rules.learned_lr and "lr" in rules.model_fields_set:
        yield f"{where}.lr: learned_lr takes its place; remove one of them (in an exception, null takes one out)"
