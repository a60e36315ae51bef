"""Numbers that nothing reads, and buffers that nothing of a row uses: whoever states one expects it to matter."""

from collections.abc import Iterator

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError


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
    for cell, row, resolved in config.cells():
        objective = resolved.parts().get("objective")
        if "real_batch" in resolved.model_fields_set and not getattr(objective, "draws_real", True):
            told = f"objective {resolved.composition()[0]!r} draws no real images of each class; remove it"
            yield f"methods.{row.method}.real_batch ({cell}): {told} (null takes an inherited one out)"
        if row.buffer is not None and resolved.epochs is None and not resolved.embedded:
            key = "students" if objective else "rule"
            told = f"{row.needs}, but {key} {resolved.parts()[key].word} (of {config.sources(row)}) uses no experts"
            yield f"grid.{cell}.needs: {told}; set it to data/prepared/{row.data}"
        if row.generator is not None and not resolved.generated:
            told = f"{row.needs}, but {row.method} (of {config.sources(row)}) decodes by no generator"
            yield f"grid.{cell}.needs: {told}; set it to data/prepared/{row.data}"


def unread(where: str, rules: settings.Training | settings.Protocol) -> Iterator[str]:
    """What stands in `rules` for nothing."""
    if isinstance(nested := getattr(rules, "training", None), settings.Training):
        yield from unread(f"{where}.training", nested)
    if not isinstance(rules, settings.Training):
        return
    for key in {"drop", "drop_resets_momentum"} & rules.model_fields_set if rules.schedule else ():
        yield f"{where}.{key}: schedule takes its place; remove one of them (in an exception, null takes one out)"
    if "drop_resets_momentum" in rules.model_fields_set and rules.drop == "never":
        yield f"{where}.drop_resets_momentum: drop is never, so this is never asked; remove it (in an exception: null)"
    if isinstance(rules, settings.SetTraining) and rules.learned_lr and "lr" in rules.model_fields_set:
        yield f"{where}.lr: learned_lr takes its place; remove one of them (in an exception, null takes one out)"
