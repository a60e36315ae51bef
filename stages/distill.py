"""Stage `distill@<cell>`: learn or choose a cell's sets, write data/distilled/<cell>."""

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ddpipe import config, networks
from ddpipe.checks.batches import lone
from ddpipe.checks.budget import overspent
from ddpipe.checks.classes import beyond
from ddpipe.context import Context
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import choose, keep_freed_memory
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.loop import compose
from ddpipe.distillation.running import run_to_end
from ddpipe.distillation.snapshots import Watched, flat, handed_over, parted
from ddpipe.distilled import sets
from ddpipe.errors import UserError, out_of_memory
from ddpipe.experts.buffer import Buffer
from ddpipe.experts.training import features, restore_
from ddpipe.files import commits, hints
from ddpipe.files.artifacts import digest, new_folder
from ddpipe.generators import stored
from ddpipe.memory import images_at_once
from ddpipe.meter import Meter, total
from ddpipe.pipeline import costs, resolved
from ddpipe.progress import Progress, say
from ddpipe.randomness import Streams, generator
from ddpipe.selections.choice import Choice, pick
from ddpipe.settings import Cell, Distillation, Row, Run, Selection
from ddpipe.settings.names import TRAINED
from ddpipe.settings.shapes import Shape
from stages import claim, key_of, run_command

Piece = tuple[dict[str, Tensor], dict[str, Any]]  # one finished set and what it cost


def main(
    cell: Annotated[str, typer.Argument(help="a row of the grid, for example dm-digits-10")],
) -> None:
    """Run one distillation method (or choose a coreset) for CELL, all its sets.

    Writes data/distilled/CELL (bit-reproducible), and into data/costs/CELL.json what it cost (seconds, memory, device).
    Checkpoints lie in data/checkpoints, one every `run.checkpoint_seconds`; a killed stage continues from there.
    """
    project, cell = config.load(), key_of("distill", address=cell)
    params, row, settings = project.params, project.row(cell), project.resolved(cell)
    output = Path("data/distilled") / cell
    kind, upstream = row.upstream
    trained = [f"{kind}@{upstream}"] if kind in TRAINED else []
    claim(f"distill@{cell}", [output, costs.place(cell)], ["resolve", f"prepare@{row.data}", *trained])
    costs.ledger(costs.place(cell))  # a damaged one is refused before the work
    commit, device = commits.at(project.root), choose(params.run)
    keep_freed_memory()
    prepared = Prepared.of(project, row.data)
    for sentence in beyond(project, row.data, {cell: row}):
        raise UserError(sentence)
    architecture = project.network(row.student)
    # DVC reruns the cell when its mathematics changed: sets finished by the old code must not be taken for new ones
    inputs = resolved.of_cell(project, cell)
    resolved.check(project, f"distill/{cell}", inputs)
    inputs |= {"settings": settings.model_dump(exclude={"sets"}), "data": prepared.checksum}
    buffer = Buffer(Path(row.needs), device) if row.buffer else None
    generator = None
    if buffer is not None:
        buffer.check(prepared.checksum, architecture.model_dump(mode="json"), settings.epochs or 0)
        inputs["experts"] = buffer.about
    if row.generator:
        generator, inputs["generators"] = stored.read(Path(row.needs), prepared.checksum, device)
    earlier = costs.of(project.root, f"{kind}.{upstream}", inputs[kind]["seal"]) if kind in inputs else None
    store = Checkpoints(Path("data/checkpoints/distill") / cell, digest(inputs))
    real = Resident(prepared.train_images, prepared.train_labels, prepared.preprocessing, device)
    network = networks.build(architecture, prepared.channels, prepared.resolution, len(prepared.classes), device)
    shape = Shape(prepared.channels, prepared.resolution, len(prepared.classes))
    for key, n, batch in settings.trainings(shape, row.ipc) if row.ipc != "all" else ():
        if why := lone(architecture, prepared.resolution, n, batch):
            raise UserError(f"{cell}: {key}.{why}")

    pieces = []
    for number in range(settings.sets):
        piece = store.read(f"set-{number}")
        if piece is None:
            try:
                if settings.kind == "selection":
                    piece = choose_set(settings, row, number, params.seed, real, network, buffer)
                else:
                    rng, common = Streams(params.seed, cell, number), Streams(params.seed, number)
                    smallest = min(len(rows) for rows in real.class_index)
                    context = Context(
                        real,
                        smallest if row.ipc == "all" else row.ipc,
                        settings.real_batch,
                        architecture,
                        network,
                        prepared.flip,
                        rng,
                        common,
                        buffer,
                        generator,
                        params.run.compile,
                    )
                    run = compose(settings, context)
                    budget(run.synthetic.stored_floats(), prepared, row, settings)  # refused before the work
                    hints.check(run.hints(), settings, len(run.synthetic))
                    watched = Watched(run, settings.snapshots if number == 0 else ())
                    piece = learn(watched, f"{cell} set {number}", store, number, params.run, device)
            except UserError as error:
                raise UserError(f"{cell}, set {number}: {error}") from error
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                told = smaller(row, settings, shape)
                raise UserError(f"{cell}, set {number}: out of memory; {told}") from error
            store.write(f"set-{number}", piece[0], **piece[1])
            store.remove(f"set-{number}.partial")
        for doubt in hints.floored(hints.of(piece[0]), settings.floors):
            say(f"warning: {cell}, set {number}: {doubt}")
        pieces.append(piece)
    info = {"cell": cell, "seed": params.seed}
    info |= {"classes": list(prepared.classes), "data_checksum": prepared.checksum}
    info |= row.model_dump(include={"method", "recipe", "dataset", "data", "ipc"}) | {"network": row.student}
    info |= {"settings": settings.model_dump(), "budget": budget(pieces[0][1]["floats"], prepared, row, settings)}
    if unusual := hints.several(settings.hints):
        info["hints"] = unusual
    if settings.scale != "one-hot":
        info["targets"] = settings.scale
    with new_folder(output) as folder:
        found = [parted(tensors) for tensors, _ in pieces]
        seal = sets.write(folder, info, prepared.preprocessing, [own for own, _ in found], found[0][1])
    spent = of_all_sets([meta["cost"] for _, meta in pieces])
    if earlier:
        share = min(1.0, settings.sets / len(buffer)) if settings.kind == "selection" and buffer else 1.0
        spent[kind] = {TRAINED[kind]: upstream} | costs.part(earlier, share)
    costs.note(cell, seal, spent, commit)


def smaller(row: Row, settings: Cell, shape: Shape) -> str:
    """What takes less memory, by keys that the cell has."""
    lighter = {} if row.ipc == "all" else settings.lighter(settings.shown(shape, row.ipc))
    keys = [f"methods.{row.method}.{key} to {value}" for key, value in lighter.items()]
    return f"set {' or '.join(keys)}" if keys else "use a smaller network"


def learn(watched: Watched, name: str, store: Checkpoints, number: int, how: Run, device: torch.device) -> Piece:
    """Run one distillation to its end, from its checkpoint if there is one; the set, and its snapshots beside it."""
    run = watched.run
    with Progress(name, run.iterations, log_every=how.log_every) as progress:
        cost = run_to_end(watched, store, f"set-{number}.partial", name, how, device, progress)
    run.finish()
    tensors = handed_over(run) | ({"loss": run.history.detach().cpu()} if run.iterations else {})
    if given := hints.of(tensors):
        say(f"{name}: {hints.told(given)}")
    return tensors | flat(watched.kept), {
        "cost": cost | {"iterations": run.iterations},
        "floats": run.synthetic.stored_floats(),
    }


def choose_set(
    settings: Selection,
    row: Row,
    number: int,
    seed: int,
    real: Resident,
    network: networks.Classifier,
    buffer: Buffer | None,
) -> Piece:
    """Choose real images; for herding and K-Center in the feature space of expert `number`."""
    meter = Meter(real.labels.device)

    def embedded() -> Tensor:
        assert buffer is not None, "`ddpipe check` demands a buffer"
        expert = restore_(network, buffer.snapshot(number % len(buffer), -1))
        return features(expert, real, images_at_once(real.images[0].numel()))

    ipc = 0 if row.ipc == "all" else row.ipc
    rng = generator(seed, settings.rule, row.data, number)
    rows = pick(settings.record, Choice(real.class_index, ipc, rng, embedded))
    cost = meter.record() | {"resumed_at": [], "iterations": 0}
    return {"rows": rows}, {"cost": cost, "floats": len(rows) * real.images[0].numel()}


def budget(floats: int, prepared: Prepared, row: Row, settings: Distillation | Selection) -> dict[str, float]:
    """Stored floats of one set, and how many images a class they are worth: more than the row's IPC only if it says so.

    `excess` is there where the settings allow one: by how many images a class the set is above (or below) the IPC.
    `apart` is where numbers were learned beside the set that are no part of it: how many.
    """
    shape = Shape(prepared.channels, prepared.resolution, len(prepared.classes))
    worth = floats / shape.values / shape.classes
    stored = {"floats": floats, "images_per_class": worth}
    if settings.kind == "distillation" and (apart := settings.synthetic.apart(shape)):
        stored["apart"] = apart
    if row.ipc == "all":
        return stored
    if settings.kind == "distillation" and settings.excess:
        return stored | {"excess": worth - row.ipc}
    if why := overspent(settings, floats, shape, row.ipc):
        raise UserError(f"synthetic: {why}")
    return stored


def of_all_sets(each: list[dict[str, Any]]) -> dict[str, Any]:
    """The cost of all sets together."""
    spent, iterations = total(each), sum(cost["iterations"] for cost in each)
    each_one = spent["seconds"] / iterations if iterations else None
    return spent | {"iterations": iterations, "seconds_per_iteration": each_one, "sets": len(each)}


if __name__ == "__main__":
    run_command(main)
