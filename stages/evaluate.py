"""Stages `evaluate@<cell>` and `further@<cell>-<network>-<protocol>`: train networks on the sets, test them."""

import math
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ddpipe import config, distilled
from ddpipe.artifacts import digest, file_digest, read_json, write_bytes, write_json, write_text
from ddpipe.checkpoints import Checkpoints
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import Meter, choose
from ddpipe.errors import UserError
from ddpipe.evaluation import evaluate_network, mean_and_std
from ddpipe.experts import real_batches
from ddpipe.progress import Progress
from ddpipe.randomness import Streams
from ddpipe.report.pictures import image_grid
from ddpipe.synthetic import Batch
from ddpipe.training import Fetch, passes
from stages import run_command

POINTS = 200  # of a loss curve


def main(
    cell: Annotated[str, typer.Argument(help="a row of the grid, for example dm-digits-10")],
    network: Annotated[str, typer.Option(help="another network than the row's")] = "",
    protocol: Annotated[str, typer.Option(help="another protocol than the row's")] = "",
) -> None:
    """Train networks from scratch on every set of CELL and test them, under the row's protocol or another one.

    Writes data/results/<dataset>/<cell>.<network>.<protocol>.json with every single accuracy and, for the row's own
    network and protocol, a picture of set 0 and the loss curves. Finished networks are kept if the stage is killed.
    """
    project = config.load()
    params, row = project.params, project.row(cell)
    further = bool(network or protocol)
    network, protocol = network or row.network, protocol or row.protocol
    rules, architecture = project.protocol(protocol, row.dataset), project.network(network)
    device = choose(params.run)
    prepared = Prepared.load(Path("data/prepared") / row.data)
    folder, results = Path("data/distilled") / cell, Path("data/results") / row.dataset
    info = distilled.read(folder, 0)[0]
    distilled.check_same_data(info, prepared, folder)
    test = Resident(prepared.test_images, prepared.test_labels, prepared.preprocessing, device)
    counted = min(info["sets"], rules.sets or info["sets"])
    name = f"{cell}.{network}.{protocol}"

    inputs = {"seed": params.seed, "protocol": rules.model_dump(exclude={"networks", "sets"})}
    inputs |= {"network": architecture.model_dump(), "data": prepared.checksum}
    pieces: list[list[dict[str, Any]]] = []  # accuracy and cost, per network per set
    with Progress(f"evaluate {name}", counted * rules.networks * passes(rules)) as progress:
        for number in range(counted):
            fetch, n = read_set(folder, number, prepared, device)
            here = inputs | {"set": file_digest(folder / f"{number}.safetensors")}
            store = Checkpoints(Path("data/checkpoints/evaluate") / name / str(number), digest(here))

            def measure(student: int, number: int = number, fetch: Fetch = fetch, n: int = n) -> dict[str, Any]:
                rng, meter = Streams(params.seed, "evaluate", cell, network, protocol, number, student), Meter(device)
                classes, flip = len(prepared.classes), prepared.flip
                try:
                    value = evaluate_network(architecture, rules, fetch, n, test, classes, flip, rng, progress.advance)
                except UserError as error:
                    raise UserError(f"protocols.{protocol}.{error}") from error
                return {"accuracy": value, "cost": meter.record()}

            with store.locked():
                pieces.append([])
                for student in range(rules.networks):
                    if (found := store.read(str(student))) is None:
                        found = {}, measure(student)
                        store.write(str(student), *found[:1], **found[1])
                    pieces[-1].append(found[1])

    accuracies = [[piece["accuracy"] for piece in row] for row in pieces]
    costs = [piece["cost"] for row in pieces for piece in row]
    mean, std = mean_and_std(accuracies)
    seconds = sum(cost["seconds"] for cost in costs)
    if not further:
        first = distilled.load(folder, 0)
        write_bytes(results / f"{cell}.png", picture(first, params.report.images_per_class))
        write_text(results / f"{cell}.loss.csv", loss_curves(folder, info["sets"]))
    identity = row.model_dump(include={"method", "recipe", "dataset", "data", "ipc"})
    measured = {"accuracies": accuracies, "n": len(costs), "mean": mean, "std": std}
    counts = {"sets": counted, "networks": rules.networks, "budget": info["budget"]}
    spent = {"seconds": round(seconds, 3), "seconds_per_network": round(seconds / len(costs), 4)}
    spent |= {"peak_memory_mb": max(cost["peak_memory_mb"] for cost in costs), "cost": distillation_cost(cell)}
    origin = {"overrides": project.overrides(cell), "base": params.methods[row.method].get("base")}
    origin |= {"protocol_digest": digest(inputs["protocol"]), "seed": params.seed}
    keys = {"cell": cell, "network": network, "protocol": protocol}
    write_json(results / f"{name}.json", costs[-1] | identity | keys | measured | counts | spent | origin)


def read_set(folder: Path, number: int, prepared: Prepared, device: torch.device) -> tuple[Fetch, int]:
    """A set as a function from row numbers to images and targets on the device, and its length."""
    _, _, tensors = distilled.read(folder, number)
    if "rows" in tensors:
        rows = tensors["rows"]
        chosen = Resident(prepared.train_images[rows], prepared.train_labels[rows], prepared.preprocessing, device)
        return real_batches(chosen, len(prepared.classes)), len(rows)
    images, targets = tensors["images"].to(device), tensors["targets"].to(device)
    return (lambda index: Batch(images[index], targets[index])), len(images)


def distillation_cost(cell: str) -> dict[str, Any] | None:
    """What the distillation cost; null where the file is not at hand (it is no dependency: other machines differ)."""
    path = Path("data/costs") / f"{cell}.json"
    return read_json(path) if path.exists() else None


def picture(chosen: distilled.DistilledSet, images_per_class: int) -> bytes:
    """One row a class, at most `images_per_class` images each."""
    labels = chosen.targets.argmax(1)
    rows = [(labels == label).nonzero().flatten()[:images_per_class] for label in range(len(chosen.classes))]
    pixels = chosen.preprocessing.invert(chosen.images[torch.cat(rows)]).clamp(0, 1)
    return image_grid(pixels.numpy(), max(len(row) for row in rows))


def loss_curves(folder: Path, sets: int) -> str:
    """CSV of the losses of all sets, thinned out; only the header for chosen images."""
    lines = ["set,iteration,loss"]
    for number in range(sets):
        history = distilled.read(folder, number)[2].get("loss")
        if history is not None:
            stride = math.ceil(len(history) / POINTS)
            lines += [f"{number},{i},{float(history[i]):.6g}" for i in range(0, len(history), stride)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_command(main)
