"""Stage `distill@<cell>`: learn or choose a cell's sets, write data/distilled/<cell> and data/costs/<cell>.json."""

import time
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor

from ddpipe import config, networks
from ddpipe.checks.batches import lone, trained
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import Meter, choose, describe, keep_freed_memory
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.loop import compose
from ddpipe.distilled import sets
from ddpipe.errors import UserError, out_of_memory
from ddpipe.experts.buffer import Buffer
from ddpipe.experts.training import features, restore_
from ddpipe.files.artifacts import digest, new_folder, write_sealed
from ddpipe.memory import images_at_once
from ddpipe.pipeline import programs
from ddpipe.planning.work import BASES
from ddpipe.progress import Progress, say
from ddpipe.randomness import Streams, generator
from ddpipe.selections import coresets
from ddpipe.settings import (
    Distillation,
    ExpertStudents,
    Row,
    Run,
    Selection,
)
from stages import claim, key_of, run_command

CHECKED = 60.0  # seconds between two looks for numbers that were lost
Piece = tuple[dict[str, Tensor], dict[str, Any]]  # one finished set and what it cost


def main(
    cell: Annotated[str, typer.Argument(help="a row of the grid, for example dm-digits-10")],
) -> None:
    """Run one distillation method (or choose a coreset) for CELL, all its sets.

    Writes data/distilled/CELL (bit-reproducible) and data/costs/CELL.json (seconds, memory, device). Checkpoints every
    `run.checkpoint_every` iterations in data/checkpoints; a killed stage continues from there.
    """
    project, cell = config.load(), key_of("distill", address=cell)
    params, row, settings = project.params, project.row(cell), project.resolved(cell)
    output, costs = Path("data/distilled") / cell, Path("data/costs") / f"{cell}.json"
    buffers = [f"experts@{row.buffer}"] if row.buffer else []
    claim(f"distill@{cell}", [output, costs], ["programs", f"prepare@{row.data}", *buffers])
    device = choose(params.run)
    keep_freed_memory()
    prepared = Prepared.of(project, row.data)
    architecture = project.network(row.student)
    inputs = {
        "seed": params.seed,
        "row": row.model_dump(exclude={"network", "protocol"}),
        "settings": settings.model_dump(exclude={"sets"}),
    }
    inputs |= {"network": architecture.model_dump(), "data": prepared.checksum}
    # DVC reruns the cell when its mathematics changed: sets finished by the old code must not be taken for new ones
    inputs |= {"code": programs.current(project, row)}
    buffer = Buffer(Path(row.needs), device) if row.buffer else None
    if buffer is not None:
        followed = getattr(settings, "students", None)
        epochs = followed.epochs if isinstance(followed, ExpertStudents) else 0
        buffer.check(prepared.checksum, architecture.model_dump(mode="json"), epochs)
        inputs["experts"] = buffer.about
    store = Checkpoints(Path("data/checkpoints/distill") / cell, digest(inputs))
    real = Resident(prepared.train_images, prepared.train_labels, prepared.preprocessing, device)
    network = networks.build(architecture, prepared.channels, prepared.resolution, len(prepared.classes), device)
    for key, n, batch in trained(settings, row.ipc, len(prepared.classes)):
        if why := lone(architecture, prepared.resolution, n, batch):
            raise UserError(f"{cell}: {key}.{why}")

    pieces = []
    for number in range(settings.sets):
        piece = store.read(f"set-{number}")
        if piece is None:
            try:
                if isinstance(settings, Selection):
                    piece = choose_set(settings, row, number, params.seed, real, network, buffer)
                else:
                    rng = Streams(params.seed, cell, number)
                    run = compose(settings, int(row.ipc), real, network, prepared.flip, rng, buffer, params.run.compile)
                    budget(run.synthetic.stored_floats(), prepared, row, settings)  # refused before the work
                    piece = learn(run, settings, f"{cell} set {number}", store, number, params.run, device)
            except UserError as error:
                raise UserError(f"{cell}, set {number}: {error}") from error
            except (RuntimeError, MemoryError) as error:
                if not out_of_memory(error):
                    raise
                told = smaller(row, settings, len(prepared.classes))
                raise UserError(f"{cell}, set {number}: out of memory; {told}") from error
            store.write(f"set-{number}", piece[0], **piece[1])
            store.remove(f"set-{number}.partial")
        pieces.append(piece)
    info = {"cell": cell, "seed": params.seed}
    info |= {"classes": list(prepared.classes), "data_checksum": prepared.checksum}
    info |= row.model_dump(include={"method", "recipe", "dataset", "data", "ipc"}) | {"network": row.student}
    info |= {"settings": settings.model_dump(), "budget": budget(pieces[0][1]["floats"], prepared, row, settings)}
    with new_folder(output) as folder:
        sets.write(folder, info, prepared.preprocessing, [tensors for tensors, _ in pieces])
    write_sealed(costs, total([meta["cost"] for _, meta in pieces]))


def smaller(row: Row, settings: Distillation | Selection, classes: int) -> str:
    """What takes less memory, by keys that the cell has."""
    learned = isinstance(settings, Distillation)
    lighter = (
        settings.lighter(classes * BASES[type(settings.synthetic)](settings.synthetic, row.ipc)) if learned else {}
    )
    keys = [f"methods.{row.method}.{key} to {value}" for key, value in lighter.items()]
    return f"set {' or '.join(keys)}" if keys else "use a smaller network"


def learn(
    run: Any, settings: Distillation, name: str, store: Checkpoints, number: int, how: Run, device: torch.device
) -> Piece:
    """Run one distillation to its end, from its checkpoint if there is one."""
    earlier: dict[str, Any] = {"seconds": 0.0, "resumed_at": [], "device": describe(device)}
    if (found := store.read(f"set-{number}.partial")) is not None:
        state, meta = found
        run.load_state_dict(state)
        earlier = meta["cost"]
        say(f"{name}: resuming at iteration {run.iteration} of {settings.iterations}")
        if earlier["device"] != describe(device):
            say(f"{name}: begun on {earlier['device']}; going on here, the bits differ from those of an unbroken run")
    resumed = [*earlier["resumed_at"], *([run.iteration] if run.iteration else [])]
    meter = Meter(device, earlier["seconds"])
    checked = time.monotonic()

    def cost() -> dict[str, Any]:
        return meter.record() | {"resumed_at": resumed, "iterations": settings.iterations}

    with Progress(name, settings.iterations, run.iteration, how.log_every) as progress:
        while run.iteration < settings.iterations:
            run.advance()
            if time.monotonic() - checked > CHECKED:
                run.check_finite()
                checked = time.monotonic()
            if run.iteration % how.checkpoint_every == 0 and run.iteration < settings.iterations:
                run.check_finite()
                store.write(f"set-{number}.partial", run.state_dict(), cost=cost())
            progress.advance()
    run.check_finite()
    run.finish()
    with torch.no_grad():
        images, targets = run.synthetic.decode()
    tensors = {"images": images.cpu(), "targets": targets.cpu(), "loss": run.history.cpu()}
    hints = run.objective.hints()
    if hints:
        say(f"{name}: " + ", ".join(f"{hint} {float(value):.3g}" for hint, value in hints.items()))
    tensors |= {f"hint.{hint}": value.cpu() for hint, value in hints.items()}
    if settings.synthetic.factorised:
        tensors |= {f"code.{name}": value.cpu() for name, value in run.synthetic.codes().items()}
        tensors["contents"] = run.synthetic.contents.cpu()
    return tensors, {"cost": cost(), "floats": run.synthetic.stored_floats()}


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
    if row.ipc == "all":
        rows = torch.arange(len(real.labels))
    elif settings.rule == "random":
        rows = coresets.random(real.class_index, row.ipc, generator(seed, "random", row.data, number)).flatten()
    else:
        assert buffer is not None, "`ddpipe check` demands a buffer"
        expert = restore_(network, buffer.snapshot(number % len(buffer), -1))
        embedded = features(expert, real, images_at_once(real.images[0].numel()))
        select = coresets.herding if settings.rule == "herding" else coresets.kcenter
        rows = select(embedded, real.class_index, row.ipc).flatten()
    cost = meter.record() | {"resumed_at": [], "iterations": 0}
    return {"rows": rows}, {"cost": cost, "floats": len(rows) * real.images[0].numel()}


def budget(floats: int, prepared: Prepared, row: Row, settings: Distillation | Selection) -> dict[str, float]:
    """Stored floats of one set, and how many images a class they are worth: more than the row's IPC only if it says so.

    `excess` is there where the settings allow one: by how many images a class the set is above (or below) the IPC.
    """
    worth = floats / prepared.train_images[0].numel() / len(prepared.classes)
    stored = {"floats": floats, "images_per_class": worth}
    if row.ipc == "all":
        return stored
    if isinstance(settings, Distillation) and settings.excess:
        return stored | {"excess": worth - row.ipc}
    if worth > row.ipc:
        raise UserError(
            f"synthetic: stores {floats} floats, worth {worth:.2f} images per class; the cell allows {row.ipc}: store "
            "less, or say excess: true and the report shows it"
        )
    return stored


def total(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """The cost of all sets together."""
    seconds, iterations = sum(c["seconds"] for c in costs), sum(c["iterations"] for c in costs)
    return costs[-1] | {
        "seconds": round(seconds, 3),
        "iterations": iterations,
        "seconds_per_iteration": seconds / iterations if iterations else None,
        "peak_memory_mb": max(c["peak_memory_mb"] for c in costs),
        "resumed_at": [at for c in costs for at in c["resumed_at"]],
        "sets": len(costs),
        "device": ", ".join(sorted({c["device"] for c in costs})),
    }


if __name__ == "__main__":
    run_command(main)
