"""Stages `evaluate@<cell>` and `further@<cell>-<network>-<protocol>`: train networks on the sets, test them."""

import math
from pathlib import Path
from typing import Annotated, Any

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
from ddpipe.report.figures import image_grid
from ddpipe.synthetic import Batch
from ddpipe.training import Fetch, passes
from stages import run_command


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
    main_one = not network and not protocol
    network, protocol = network or row.network, protocol or row.protocol
    rules, architecture = project.protocol(protocol, row.dataset), project.network(network)
    device = choose(params.run)
    prepared = Prepared.load(Path("data/prepared") / row.data)
    folder = Path("data/distilled") / cell
    info = distilled.read(folder, 0)[0]
    distilled.check_same_data(info, prepared, folder)
    test = Resident(prepared.test_images, prepared.test_labels, prepared.preprocessing, device)
    sets = [read_set(folder, number, prepared, device) for number in range(info["sets"])]

    files = [folder / "distilled.json", *(folder / f"{n}.safetensors" for n in range(info["sets"]))]
    inputs = {"protocol": rules.model_dump(exclude={"networks", "exceptions"}), "network": architecture.model_dump()}
    inputs |= {"seed": params.seed, "sets": [file_digest(path) for path in files]}
    name = f"{cell}.{network}.{protocol}"
    store = Checkpoints(Path("data/checkpoints/evaluate") / name, digest(inputs))
    accuracies: list[list[float]] = []
    seconds, memory = 0.0, 0.0  # of all networks, those of an earlier, killed process included
    with store.locked():
        steps = info["sets"] * rules.networks * passes(rules)
        with Progress(f"evaluate {name}", steps) as progress:
            for number, (fetch, n) in enumerate(sets):
                accuracies.append([])
                for student in range(rules.networks):
                    rng = Streams(params.seed, "evaluate", cell, network, protocol, number, student)
                    key = f"{number}-{student}"
                    if (found := store.read(key)) is None:
                        meter = Meter(device)
                        try:
                            value = evaluate_network(
                                architecture,
                                rules,
                                fetch,
                                n,
                                test,
                                len(prepared.classes),
                                prepared.flip,
                                rng,
                                progress.advance,
                            )
                        except UserError as error:
                            raise UserError(f"protocols.{protocol}.{error}") from error
                        found = {}, {"accuracy": value, "cost": meter.record()}
                        store.write(key, *found[:1], **found[1])
                    accuracies[-1].append(found[1]["accuracy"])
                    cost = found[1]["cost"]
                    seconds, memory = seconds + cost["seconds"], max(memory, cost["peak_memory_mb"])
    mean, std = mean_and_std(accuracies)
    count = sum(map(len, accuracies))
    results = Path("data/results") / row.dataset
    if main_one:
        first = distilled.load(folder, 0)
        write_bytes(results / f"{cell}.png", picture(first, params.report.images_per_class))
        write_text(results / f"{cell}.loss.csv", loss_curves(folder, info["sets"]))
    write_json(
        results / f"{name}.json",
        {
            **{"cell": cell, "method": row.method, "recipe": row.recipe, "dataset": row.dataset, "data": row.data},
            **{
                "ipc": row.ipc,
                "network": network,
                "protocol": protocol,
                "sets": info["sets"],
                "networks": rules.networks,
            },
            **{"accuracies": accuracies, "n": count, "mean": mean, "std": std, "budget": info["budget"]},
            **(cost | {"seconds": round(seconds, 3), "peak_memory_mb": memory, "seconds_per_network": seconds / count}),
            "overrides": project.overrides(cell),
            "base": params.methods[row.method].get("base"),
            "protocol_digest": digest(inputs["protocol"]),
            "cost": cost_of(cell),
        },
    )


def read_set(folder: Path, number: int, prepared: Prepared, device: Any) -> tuple[Fetch, int]:
    """A set as a function from row numbers to images and targets on the device, and its length."""
    _, _, tensors = distilled.read(folder, number)
    if "rows" in tensors:
        rows = tensors["rows"]
        chosen = Resident(prepared.train_images[rows], prepared.train_labels[rows], prepared.preprocessing, device)
        return real_batches(chosen, len(prepared.classes)), len(rows)
    images, targets = tensors["images"].to(device), tensors["targets"].to(device)
    return (lambda index: Batch(images[index], targets[index])), len(images)


def cost_of(cell: str) -> dict[str, Any] | None:
    """What the distillation cost; null where the file is not at hand (it is no dependency: other machines differ)."""
    path = Path("data/costs") / f"{cell}.json"
    return read_json(path) if path.exists() else None


def picture(chosen: distilled.DistilledSet, images_per_class: int) -> bytes:
    """One row a class, at most `images_per_class` images each."""
    labels = chosen.targets.argmax(1)
    rows = [(labels == label).nonzero().flatten()[:images_per_class] for label in range(len(chosen.classes))]
    columns = max(len(r) for r in rows)
    pixels = chosen.pixels()
    return image_grid(pixels[[int(i) for r in rows for i in r]].numpy(), columns)


def loss_curves(folder: Path, sets: int) -> str:
    """CSV of the losses, at most 200 points a set; only the header for chosen images."""
    lines = ["set,iteration,loss"]
    for number in range(sets):
        history = distilled.read(folder, number)[2].get("loss")
        if history is not None:
            stride = math.ceil(len(history) / 200)
            lines += [f"{number},{i},{float(history[i]):.6g}" for i in range(0, len(history), stride)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    run_command(main)
