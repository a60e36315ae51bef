"""Stage `experts@<buffer>`: train networks on the real data, write data/experts/<buffer>."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import typer

from ddpipe import config, networks
from ddpipe.checks.batches import lone
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import choose, describe, keep_freed_memory
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.running import run_to_end
from ddpipe.errors import UserError, out_of_memory
from ddpipe.experts.buffer import Snapshots, holds, write_about
from ddpipe.experts.recording import Recording, snapshots_after
from ddpipe.experts.training import Cohort, real_batches
from ddpipe.files import commits
from ddpipe.files.artifacts import digest, new_folder
from ddpipe.meter import Meter, shared, total
from ddpipe.pipeline import costs, resolved
from ddpipe.pipeline.descriptions import Rows
from ddpipe.progress import Progress, say
from ddpipe.randomness import Streams
from ddpipe.settings import Experts, Run
from ddpipe.settings.reading import did_you_mean
from ddpipe.training.loop import Diverged
from ddpipe.training.together import fastest, offered, regroup
from stages import claim, key_of, run_command

PARTIAL = "networks.partial"  # the piece of the group that is being trained
LOST = "is not as it was written"
TRIED = 8  # batches in a trial of how many networks at once are fastest
MOST = 32  # of them that are tried at once


def main(buffer: Annotated[str, typer.Argument(help="a key of `experts:` in params.yaml")]) -> None:
    """Train the networks of BUFFER on its real data: trajectories to imitate, and features for herding and K-Center.

    Writes data/experts/BUFFER (<number>.safetensors with `snapshots` (S, P), and experts.json; bit-reproducible), and
    into data/costs/experts.BUFFER.json what it cost (seconds of all networks, memory, device). Finished networks are
    kept in data/checkpoints (the same files by another name, where the file system has hard links), so that raising
    `networks` trains only the new ones. `run.together` of them are trained at once, on a GPU as many as a trial finds
    fastest, and checkpointed at the end of a pass, one every `run.checkpoint_seconds`.
    """
    project, buffer = config.load(), key_of("experts", address=buffer)
    params = project.params
    if buffer not in params.experts:
        raise UserError(f"experts.{buffer}: no such entry in params.yaml{did_you_mean(buffer, list(params.experts))}")
    settings = params.experts[buffer]
    output, ledger = Path("data/experts") / buffer, f"experts.{buffer}"
    claim(f"experts@{buffer}", [output, costs.place(ledger)], ["resolve", f"prepare@{settings.data}"])
    costs.ledger(costs.place(ledger))  # a damaged one is refused before the work
    name, commit, device = f"experts@{buffer}", commits.at(project.root), choose(params.run)
    keep_freed_memory()
    prepared = Prepared.of(project, settings.data)
    architecture = project.network(settings.network)
    network = networks.build(architecture, prepared.channels, prepared.resolution, len(prepared.classes), device)
    if params.run.compile:
        network.compile(dynamic=False)  # not under vmap: of several networks at once nothing is compiled
    real = Resident(prepared.train_images, prepared.train_labels, prepared.preprocessing, device)
    recipe = settings.model_dump(exclude={"networks"}) | {"architecture": architecture.model_dump()}
    inputs = {"seed": params.seed, "recipe": recipe, "data": prepared.checksum}
    stated = resolved.of_experts(project, buffer)
    resolved.check(project, f"experts/{buffer}", stated)
    store = Checkpoints(Path("data/checkpoints/experts") / buffer, digest(inputs | {"code": stated["code"]}))
    n, weights = len(real.labels), sum(p.numel() for p in network.parameters())
    if why := lone(architecture, prepared.resolution, n, settings.batch):
        raise UserError(f"experts.{buffer}.{why}")
    shape = snapshots_after(settings, settings.passes), weights

    def cohort(rngs: list[Streams], images: int) -> Cohort:
        return Cohort(settings, network, real_batches(real, len(real.class_index)), images, prepared.flip, rngs)

    def trial(size: int) -> float:
        """Seconds of `size` networks for a pass over the first batches, after one in which the device warms up."""
        tried = cohort([Streams("trial", number) for number in range(size)], min(n, TRIED * settings.batch))
        tried.advance()
        meter = Meter(device)
        tried.advance()
        return meter.seconds()

    companies = [company(store, number, shape, settings.dtype) for number in range(settings.networks)]
    left, again = regroup(companies, params.run.together)
    begun = unfinished(store, left, settings, shape, params.run)
    groups = [Begun(group) for group in again if not set(group) & set(begun.group)]
    new = [number for number in left if not any(number in each.group for each in (begun, *groups))]
    with explained(buffer, 1, min(n, settings.batch)):
        size = at_once(params.run, len(new), trial, device)
    groups += [Begun(new[first : first + size]) for first in range(0, len(new), size)]
    done = (settings.networks - len(left)) * settings.passes
    with Progress(name, settings.networks * settings.passes, done, params.run.log_every) as progress:
        for each in [begun, *groups] if begun.group else groups:
            rngs = [Streams(params.seed, "experts", buffer, number) for number in each.group]
            with explained(buffer, len(each.group), min(n, settings.batch)):
                train(
                    cohort(rngs, n), store, each, shape, params.run, device, progress, len(set(each.group) & set(left))
                )
    about = {
        "buffer": buffer,
        "networks": settings.networks,
        "parameters": [[name, list(p.shape)] for name, p in network.named_parameters()],
        "data_checksum": prepared.checksum,
    }
    pieces = [piece[1] for number in range(settings.networks) if (piece := store.read(str(number)))]
    stored = Rows(shape=shape, dtype=settings.dtype, digests=[piece["digests"] for piece in pieces])
    with new_folder(output) as folder:
        for number in range(settings.networks):
            link(array(store, number), folder / f"{number}.safetensors")
        seal = write_about(folder, about | inputs, stored)
    costs.note(ledger, seal, total([piece["cost"] for piece in pieces]) | {"networks": len(pieces)}, commit)


@contextlib.contextmanager
def explained(buffer: str, together: int, batch: int) -> Iterator[None]:
    """What the user can do about an error met while `together` networks were trained on batches of `batch` images."""
    try:
        yield
    except Diverged as error:
        raise UserError(f"experts.{buffer}.{error}") from error
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        told = f"experts.{buffer}.network: out of memory with one network and one image at once; name a smaller network"
        if batch > 1:
            told = f"experts.{buffer}.batch: out of memory with {batch} images at once; set it to {batch // 2}"
        if together > 1:
            told = f"run.together: out of memory with {together} networks at once; set it to {together // 2}"
        raise UserError(f"{told}, finished networks are kept") from error


@dataclass(frozen=True)
class Begun:
    """Networks to train at once, and the snapshots that an earlier process made of them: None if it made no pass."""

    group: list[int]
    digests: list[list[str]] | None = None  # of the snapshots of each network


def company(store: Checkpoints, number: int, shape: tuple[int, int], dtype: str) -> list[int]:
    """With whom a kept expert was trained; nobody where it is not as it was written, for which it is read whole."""
    if (piece := store.read(str(number))) is None:
        return []
    if holds(array(store, number), shape, dtype, piece[1]["digests"]):
        return piece[1]["group"]
    say(f"{array(store, number)} {LOST}; network {number} is trained afresh")
    return []


def unfinished(store: Checkpoints, left: list[int], config: Experts, shape: tuple[int, int], run: Run) -> Begun:
    """The group in which an earlier process was stopped; it goes on in the same company, on which its bits depend.

    None has been begun where a file of snapshots is not as it was written, or `run.together` is smaller now.
    """
    if (piece := store.read(PARTIAL)) is None:
        return Begun([])
    group, kept = piece[1]["group"], piece[1]["digests"]
    wanted = set(group) & set(left) and max(group) < config.networks
    if not wanted or len(group) > (run.together or len(group)):
        return Begun([])
    for number, digests in zip(group, kept, strict=True):
        if not holds(array(store, number), shape, config.dtype, digests):
            say(f"{array(store, number)} {LOST}; network {', '.join(map(str, group))} is trained afresh")
            return Begun([])
    return Begun(group, kept)


def at_once(run: Run, most: int, trial: Callable[[int], float], device: torch.device) -> int:
    """How many of `most` networks to train at once."""
    if run.together or most < 2 or device.type == "cpu":
        return run.together or 1
    size = fastest(trial, min(most, MOST))
    say(f"of {offered(min(most, MOST))} networks at once, {size} take the least time each on {describe(device)}")
    return size


def train(
    cohort: Cohort,
    store: Checkpoints,
    begun: Begun,
    shape: tuple[int, int],
    run: Run,
    device: torch.device,
    progress: Progress,
    counted: int,
) -> None:
    """Train a group to its end; `counted` of its networks are among those that `progress` counts."""
    group, kept = begun.group, begun.digests
    if kept is None:
        store.remove(PARTIAL)
        for number in group:
            store.remove(str(number))  # what lies there beside the new array would be taken for whole again
    with contextlib.ExitStack() as opened:
        files = [
            opened.enter_context(Snapshots(array(store, number), shape, cohort.config.dtype, digests))
            for number, digests in zip(group, kept or [[]] * len(group), strict=True)
        ]
        name = f"{progress.description} network {', '.join(map(str, group))}"
        cost = run_to_end(Recording(cohort, group, files), store, PARTIAL, name, run, device, progress, counted)
    del cost["resumed_at"]  # passes of a group, not of a network
    cost = shared(cost, len(group))
    for number, file in zip(group, files, strict=True):
        store.write(str(number), {}, cost=cost, group=group, digests=file.digests)
    store.remove(PARTIAL)


def array(store: Checkpoints, number: int) -> Path:
    """The snapshots of an expert. They count as far as the checkpoint or the finished piece beside them says."""
    return store.folder / f"{number}.snapshots"


def link(path: Path, to: Path) -> None:
    """The same file under a second name, as neither is ever changed in place; a copy where there are no hard links."""
    try:
        os.link(path, to)
    except OSError:
        shutil.copyfile(path, to)


if __name__ == "__main__":
    run_command(main)
