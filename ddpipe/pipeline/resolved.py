"""What a stage depends on besides data: its numbers, resolved, and digests of its mathematics, in one JSON a stage.

The stage `resolve` writes data/resolved/<stage>/<key>.json, and DVC compares one MD5. As parameters of the stages the
same numbers cost DVC a parse of params.yaml for each stage, 17 ms, whenever it looks: 25 s of processor time instead
of 4 for `dvc status` of 570 stages.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddpipe import settings
from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import new_folder, read_json, write_json
from ddpipe.mappings import leaves
from ddpipe.pipeline import programs
from ddpipe.settings.reading import did_you_mean

FOLDER = Path("data/resolved")
GONE = object()  # not there

Resolved = dict[str, Any]


def write(files: dict[str, Resolved]) -> None:
    """Write FOLDER anew."""
    with new_folder(FOLDER) as folder:
        for name, said in files.items():
            path = folder / f"{name}.json"
            path.parent.mkdir(exist_ok=True)
            write_json(path, said)


def everything(config: Config) -> Iterator[tuple[str, Resolved]]:
    """What each file of FOLDER says, by its path in it without the suffix.

    Of a row that does not resolve it is the sentence that its stage will end with.
    """
    entries = [("experts", key) for key in config.params.experts]
    entries += [("generators", key) for key in config.params.generators]
    entries += [("distill", cell) for cell in config.rows]
    entries += [("evaluate", key) for key in (*config.rows, *config.evaluations)]
    entries += [("course", cell) for cell in config.courses]
    for stage, key in entries:
        name = f"{stage}/{key}"
        try:
            if stage == "experts":
                said = of_experts(config, key)
            elif stage == "generators":
                said = of_generators(config, key)
            elif stage == "distill":
                said = of_cell(config, key)
            elif stage == "course":
                said = of_course(config, key)
            else:
                measured, said = of_evaluation(config, key)
                name = f"{stage}/{measured}"
        except UserError as error:
            said = {"error": str(error)}
        yield name, said


def of_experts(config: Config, buffer: str) -> Resolved:
    experts = config.params.experts[buffer]
    said = dumped(config, experts=experts, network=config.network(experts.network))
    return said | {"code": programs.of_experts(experts.augment)}


def of_generators(config: Config, key: str) -> Resolved:
    """The entry; what its inversion looks through is told by the experts."""
    generators = config.params.generators[key]
    return dumped(config, generators=generators) | {"code": programs.of_generators()}


def of_cell(config: Config, cell: str) -> Resolved:
    """The row, as far as the set depends on it, and its settings, composed."""
    row, chosen = config.row(cell), config.resolved(cell)
    said = dumped(config, row=row, settings=chosen, network=config.network(row.student))
    identity = {key: value for key, value in said["row"].items() if key not in ("network", "protocol")}
    return said | {"row": identity, "code": programs.of_cell(chosen)}


def of_evaluation(config: Config, key: str) -> tuple[str, Resolved]:
    """Name of the result and what is said, of a row or of an entry of `evaluations:`."""
    asked = config.evaluation(key)
    protocol = config.protocol(asked.protocol, config.row(asked.cell).dataset)
    return asked.name, dumped(config, network=config.network(asked.network), protocol=protocol)


def of_course(config: Config, cell: str) -> Resolved:
    """The entry, how its snapshots are measured, and the network whose features are looked at."""
    row, entry = config.row(cell), config.courses[cell]
    if entry.experts not in config.params.experts:
        known = did_you_mean(entry.experts, list(config.params.experts))
        raise UserError(f"courses.{cell}.experts: {entry.experts!r} is not under experts:{known}")
    experts, protocol = config.params.experts[entry.experts], config.protocol(row.protocol, row.dataset)
    said = dumped(config, course=entry, network=config.network(row.network), protocol=protocol)
    return said | {"features": config.network(experts.network).model_dump(mode="json"), "code": programs.of_course()}


def dumped(config: Config, **records: settings.Settings) -> Resolved:
    return {"seed": config.params.seed} | {key: record.model_dump(mode="json") for key, record in records.items()}


def check(config: Config, name: str, now: Resolved) -> None:
    """Whether file `name` of FOLDER, where there is one, says what is so `now`.

    Raises:
        UserError: DVC would record other numbers or other code for what is made now than it is made by.
    """
    path = config.root / FOLDER / f"{name}.json"
    if path.exists() and (changed := difference(read_json(path), now)):
        raise UserError(f"{path}: is of other settings or code ({changed}); run `python -m stages.resolve`")


def difference(then: Any, now: Resolved) -> str:
    """The first number that differs, from which to which value; "" where none does."""
    before, after = dict(leaves(then if isinstance(then, dict) else {})), dict(leaves(now))
    for path in sorted(before.keys() | after.keys(), key=str):
        old, new = before.get(path, GONE), after.get(path, GONE)
        if old != new:
            if path[0] == "code":  # a path holds dots itself
                return "/".join(path[1:])
            return f"{'.'.join(path)}: {told(old)} -> {told(new)}"
    return ""


def told(value: Any) -> str:
    return "none" if value is GONE else f"{value}"
