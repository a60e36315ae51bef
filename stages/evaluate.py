"""Stages `evaluate@<cell>` and `further@<cell>-<network>-<protocol>`: train networks on the sets, test them."""

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import torch
import typer

from ddpipe import config
from ddpipe.checks.batches import untrainable
from ddpipe.checks.training import unfit
from ddpipe.config import Config
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import choose, keep_freed_memory
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distilled.loaded import DistilledSet, load
from ddpipe.distilled.sets import Distilled
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, TrainingSet, balanced, class_means, mean_and_std
from ddpipe.evaluation.kept import Kept
from ddpipe.evaluation.trouble import check
from ddpipe.files import commits, hints
from ddpipe.files.artifacts import digest, write_bytes, write_sealed
from ddpipe.meter import total
from ddpipe.pipeline import costs, resolved, results
from ddpipe.pipeline.descriptions import Result
from ddpipe.progress import Progress, say
from ddpipe.publication.block import desk, digest_of
from ddpipe.report.pictures import image_grid
from ddpipe.settings import Cell
from ddpipe.settings.reading import validate
from stages import claim, key_of, run_command

POINTS = 200  # of a loss curve


def main(
    evaluation: Annotated[str, typer.Argument(help="a row of the grid (dm-digits-10), or a key of `evaluations:`")],
) -> None:
    """Train networks from scratch on every set of a cell and test them, as EVALUATION says.

    Writes data/results/<dataset>/<cell>.<network>.<protocol>.json with every single accuracy and, for the row's own
    network and protocol, a picture of set 0 and the loss curves; into data/costs what that cost. Finished networks are
    kept, and accuracies of the very same sets, network and protocol are not measured again.
    """
    project, key = config.load(), key_of("evaluate", "further", address=evaluation)
    params, further, asked = project.params, key in project.evaluations, project.evaluation(key)
    cell, network, protocol = asked.cell, asked.network, asked.protocol
    row = project.row(cell)
    rules, architecture = project.protocol(protocol, row.dataset), project.network(network)
    (name, numbers), place = resolved.of_evaluation(project, key), Path("data/results") / row.dataset
    pictures = [] if further else [place / f"{cell}.png", place / f"{cell}.loss.csv"]
    outputs, reads = [place / f"{name}.json", *pictures], ["resolve", f"prepare@{row.data}", f"distill@{cell}"]
    claim(f"evaluate@{name}", [*outputs, costs.place(name)], reads)
    resolved.check(project, f"evaluate/{name}", numbers)
    costs.ledger(costs.place(name))  # a damaged one is refused before the work
    commit, device = commits.at(project.root), choose(params.run)
    keep_freed_memory()
    prepared, found = Prepared.of(project, row.data), Distilled.open(Path("data/distilled") / cell)
    check_cell(found, project, cell)
    found.check_same_data(prepared)
    test = Resident(prepared.test_images, prepared.test_labels, prepared.preprocessing, device)
    counted = min(found.about.sets, rules.sets or found.about.sets)

    try:
        examination = Examination(
            architecture, rules, test, len(prepared.classes), prepared.flip, compiled=params.run.compile
        )
    except UserError as error:
        raise UserError(f"{name}: {error}") from error
    digests = results.fingerprints(project, asked, found.about)
    folder = Path("data/checkpoints/evaluate") / name  # numbers tried before keep their networks: they may come back
    stores = [Checkpoints(folder / f"{i}-{each[:12]}", each) for i, each in enumerate(digests)]
    known = measured(project, asked, digests, rules.networks)
    work = [] if known else [Kept.of(store, rules.networks, params.run.together) for store in stores]
    for number in (number for number, kept in enumerate(work) if kept.left):
        tensors, where = found.tensors(number, prepared), f"set {number} of {cell}"
        given = hints.of(tensors)
        for doubt in hints.floored(given, project.resolved(cell).floors):
            say(f"warning: {where}: {doubt}")
        if why := unfit(project, protocol, row.dataset, where, hints.shapes(given), found.about.targets):
            raise UserError(f"{'evaluations' if further else 'grid'}.{key}.protocol: {why}")
        check(
            examination, given, len(tensors["rows" if "rows" in tensors else "images"]), f"protocols.{protocol}", where
        )
    every, left = counted * rules.networks, sum(len(kept.left) for kept in work)
    ticks = examination.rule.ticks
    with Progress(f"evaluate {name}", every * ticks, start=(every - left) * ticks) as progress:
        for number, kept in enumerate(work):
            if not kept.left:
                continue
            data = TrainingSet.of(found.tensors(number, prepared), found.about.targets, prepared, device)
            if why := untrainable(rules, architecture, prepared.resolution, data.n):
                raise UserError(f"protocols.{protocol}.{why}")
            names, where = (params.seed, "evaluate", cell, network, protocol, number), f"set {number} of {cell}"
            kept.finish(examination, data, params.run, names, progress, f"protocols.{protocol}", where)

    pieces = [piece for kept in work for piece in kept.pieces]
    if known and known.per_class:
        accuracies, classes = [list(row) for row in known.accuracies], list(known.per_class)
    else:
        accuracies = [[piece["accuracy"] for piece in kept.pieces] for kept in work]
        classes = class_means([piece["per_class"] for piece in pieces])
    mean, std = mean_and_std(accuracies)
    beside: dict[str, bytes] = {}
    if not further:
        beside[f"{cell}.png"] = picture(load(found.folder, 0), params.report.images_per_class)
        beside[f"{cell}.loss.csv"] = loss_curves(found).encode()
    for file, content in beside.items():
        write_bytes(place / file, content)
    result = row.model_dump(include={"method", "recipe", "dataset", "data", "ipc"})
    result |= {"cell": cell, "network": network, "protocol": protocol}
    result |= {"accuracies": accuracies, "n": every, "mean": mean, "std": std}
    result |= {"balanced": balanced(classes), "per_class": classes}
    result |= {"sets": counted, "networks": rules.networks, "budget": found.about.budget.model_dump(exclude_unset=True)}
    result |= {"overrides": project.overrides(cell), "base": params.methods[row.method].get("base")}
    result |= {"ran": desk(project, asked).told()}
    result |= {"protocol_digest": digest_of(rules), "seed": params.seed, "fingerprints": digests}
    result |= {"digest": digest({"distilled": found.about.numbers(), "evaluated": numbers})}
    if loops := project.resolved(cell).capped:
        result["capped"] = capped(found, loops)
    result |= {"files": {file: hashlib.sha256(content).hexdigest() for file, content in beside.items()}}
    spent = known and known.seal and costs.of(project.root, name, known.seal)
    seal = write_sealed(outputs[0], result)
    if spent:  # the same accuracies, of which more is said now
        costs.note(name, seal, spent.model_dump(mode="json", exclude_unset=True))
    elif not known:
        bill = total([piece["cost"] for piece in pieces])
        distilling = costs.of(project.root, cell, found.about.seal)  # null where it is not at hand
        bill["distillation"] = distilling and distilling.model_dump(mode="json", exclude_unset=True)
        costs.note(name, seal, bill, commit)


def measured(project: Config, key: config.ResultKey, digests: list[str], networks: int) -> Result | None:
    """The result that lies there already, if it says all that is to be measured: DVC may have lost its own record."""
    try:
        found = results.read(project, key)
    except UserError:  # damaged, or of another evaluation
        return None
    asked = found and found.per_class and (list(found.fingerprints), found.networks) == (digests, networks)
    return found if asked else None


def check_cell(found: Distilled, project: Config, cell: str) -> None:
    """Whether the set is this cell's, learned with the numbers that params.yaml and the recipe state now."""
    row, about = project.row(cell), found.about
    expected = row.model_dump(include={"method", "recipe", "dataset", "data", "ipc"}) | {"network": row.student}
    for key, value in ({"cell": cell, "seed": project.params.seed} | expected).items():
        if (said := getattr(about, key)) != value:
            raise UserError(f"{found.folder} holds another set ({key}: {said}, not {value}); {remake(cell)}")
    try:
        same = validate(Cell, about.settings, "") == project.resolved(cell)
    except UserError:
        same = False
    if not same:
        resolved.check(project, f"distill/{cell}", resolved.of_cell(project, cell))  # or DVC does not see it either
        raise UserError(f"{found.folder} was made with other settings than cell {cell} has now; {remake(cell)}")


def remake(cell: str) -> str:
    return f"run `dvc repro distill@{cell}`"


def capped(found: Distilled, loops: Iterable[str]) -> dict[str, list[int]]:
    """Of each kind of loop how many a rule did not end, and how many there were, over all sets."""
    every = [hints.of(found.tensors(number)) for number in range(found.about.sets)]
    return {name: [sum(int(own[key]) for own in every) for key in (f"{name}_capped", name)] for name in loops}


def picture(chosen: DistilledSet, images_per_class: int) -> bytes:
    """One row a class, at most `images_per_class` images each, and no more than the smallest class has that has any."""
    rows = chosen.by_class()
    count = min(images_per_class, *map(len, rows.values()))
    pixels = chosen.preprocessing.invert(chosen.images[torch.cat([found[:count] for found in rows.values()])])
    return image_grid(pixels.clamp(0, 1).numpy(), count, list(rows))


def loss_curves(found: Distilled) -> str:
    """CSV of the losses of all sets, thinned out; only the header for chosen images."""
    lines = [",".join(results.HEADER)]
    for number in range(found.about.sets):
        history = found.tensors(number).get("loss")
        if history is not None:
            stride = math.ceil(len(history) / POINTS)
            lines += [f"{number},{i},{float(history[i]):.6g}" for i in range(0, len(history), stride)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_command(main)
