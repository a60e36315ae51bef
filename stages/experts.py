"""Stage `experts@<buffer>`: train networks on the real data, write data/experts/<buffer>."""

import math
import os
import shutil
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from ddpipe import config, networks
from ddpipe.artifacts import digest, file_digest, new_folder, write_json
from ddpipe.buffer import Snapshots, is_whole, whole_rows
from ddpipe.checkpoints import Checkpoints
from ddpipe.config import did_you_mean
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import Meter, choose, describe, keep_freed_memory
from ddpipe.errors import UserError
from ddpipe.experts import Expert, real_batches
from ddpipe.progress import Progress, say
from ddpipe.randomness import Streams
from ddpipe.settings import Experts, Run
from ddpipe.training import Diverged, passes
from stages import run_command


def main(buffer: Annotated[str, typer.Argument(help="a key of `experts:` in params.yaml")]) -> None:
    """Train the networks of BUFFER on its real data: trajectories to imitate, and features for herding and K-Center.

    Writes data/experts/BUFFER (<number>.safetensors with `snapshots` (S, P), and experts.json; bit-reproducible) and
    data/costs/experts.BUFFER.json (seconds of all networks, memory, device). Finished networks are kept in
    data/checkpoints (the same files by another name, where the file system has hard links), so that raising `networks`
    trains only the new ones. An unfinished one is checkpointed at the end of the pass in which the steps since its last
    checkpoint reach `run.checkpoint_every`: after every pass, unless passes are short.
    """
    project = config.load()
    params = project.params
    if buffer not in params.experts:
        raise UserError(f"experts.{buffer}: no such entry in params.yaml{did_you_mean(buffer, list(params.experts))}")
    settings = params.experts[buffer]
    device = choose(params.run)
    keep_freed_memory()
    prepared = Prepared.load(Path("data/prepared") / settings.data)
    architecture = project.network(settings.network)
    network = networks.build(architecture, prepared.channels, prepared.resolution, len(prepared.classes), device)
    real = Resident(prepared.train_images, prepared.train_labels, prepared.preprocessing, device)
    recipe = settings.model_dump(exclude={"networks"}) | {"architecture": architecture.model_dump()}
    inputs = {"seed": params.seed, "recipe": recipe, "data": prepared.checksum}
    code = file_digest(Path("ddpipe/experts.py"))  # DVC reruns the stage when it changed: no network is reused then
    store = Checkpoints(Path("data/checkpoints/experts") / buffer, digest(inputs | {"code": code}))

    with store.locked():
        for number in range(settings.networks):
            if finished(store, number):
                continue
            fetch, rng = real_batches(real, len(real.class_index)), Streams(params.seed, "experts", buffer, number)
            expert = Expert(settings, network, fetch, len(real.labels), prepared.flip, rng)
            try:
                train(expert, f"experts@{buffer}", store, number, params.run, device)
            except Diverged as error:
                raise UserError(f"experts.{buffer}.{error}") from error
        about = {
            "buffer": buffer,
            "networks": settings.networks,
            "parameters": [[name, list(p.shape)] for name, p in network.named_parameters()],
            "data_checksum": prepared.checksum,
        }
        with new_folder(Path("data/experts") / buffer) as folder:
            for number in range(settings.networks):
                link(array(store, number), folder / f"{number}.safetensors")
            write_json(folder / "experts.json", about | inputs)
        costs = [piece[1]["cost"] for number in range(settings.networks) if (piece := store.read(str(number)))]
        write_json(Path("data/costs") / f"experts.{buffer}.json", total_cost(costs))


def train(expert: Expert, name: str, store: Checkpoints, number: int, how: Run, device: torch.device) -> None:
    """Train one expert to its end, from its checkpoint if there is one."""
    config, total, path = expert.config, passes(expert.config), array(store, number)
    shape = snapshots_after(config, total), len(expert.snapshot())
    interval = math.ceil(how.checkpoint_every / math.ceil(expert.n / config.batch))  # passes
    state, meta = store.read(f"{number}.partial") or ({}, {})
    kept = snapshots_after(config, int(state["iteration"])) if state else 0
    if not state or whole_rows(path, shape, config.dtype) < kept:
        state, kept = {}, 0
        store.remove(str(number))  # what lies there beside the new array would be taken for whole again
        store.remove(f"{number}.partial")

    earlier: dict[str, Any] = {"seconds": 0.0, "device": describe(device)}
    if state:
        expert.load_state_dict(state)
        earlier = meta["cost"]
        say(f"{name}: network {number} resuming at pass {expert.passes} of {total}")
        if earlier["device"] != describe(device):
            say(f"{name}: begun on {earlier['device']}; going on here, the bits differ from those of an unbroken run")
    meter = Meter(device, earlier["seconds"])

    with (
        Snapshots(path, shape, config.dtype, kept) as file,
        Progress(name, config.networks * total, number * total + expert.passes, how.log_every) as progress,
    ):
        if not state and snapshots_after(config, 0):
            file.append(expert.snapshot())
        while expert.passes < total:
            expert.advance()
            if snapshots_after(config, expert.passes) > snapshots_after(config, expert.passes - 1):
                file.append(expert.snapshot())
            if expert.passes % interval == 0 and expert.passes < total:
                file.sync()
                store.write(f"{number}.partial", expert.state_dict(), cost=meter.record())
            progress.advance()
        file.sync()
    store.write(str(number), {}, cost=meter.record())
    store.remove(f"{number}.partial")


def total_cost(costs: list[dict[str, Any]]) -> dict[str, Any]:
    """The cost of all networks together, whenever they were trained."""
    return costs[-1] | {
        "networks": len(costs),
        "seconds": round(sum(cost["seconds"] for cost in costs), 3),
        "peak_memory_mb": max(cost["peak_memory_mb"] for cost in costs),
        "device": ", ".join(sorted({cost["device"] for cost in costs})),
    }


def snapshots_after(config: Experts, done: int) -> int:
    """How many snapshots are kept of a network that has finished `done` passes."""
    return done + 1 if config.keep == "all" else int(done == passes(config))


def array(store: Checkpoints, number: int) -> Path:
    """The snapshots of an expert. They count as far as the checkpoint or the finished piece beside them says."""
    return store.folder / f"{number}.snapshots"


def finished(store: Checkpoints, number: int) -> bool:
    return store.read(str(number)) is not None and is_whole(array(store, number))


def link(path: Path, to: Path) -> None:
    """The same file under a second name, as neither is ever changed in place; a copy where there are no hard links."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copyfile(path, to)


if __name__ == "__main__":
    run_command(main)
