"""Stage `generators@<key>`: train a GAN on real data, find a latent for every image, write data/generators/<key>."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import torch
import typer
from torch import Tensor

from ddpipe import config, networks, settings
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import choose, keep_freed_memory
from ddpipe.distillation.checkpoints import Checkpoints
from ddpipe.distillation.running import Running, run_to_end
from ddpipe.errors import UserError, out_of_memory
from ddpipe.experts.buffer import Buffer
from ddpipe.experts.training import restore_
from ddpipe.files import commits
from ddpipe.files.artifacts import digest, new_folder
from ddpipe.generators import stored
from ddpipe.generators.inversion import Inversion
from ddpipe.generators.training import Adversaries, plain
from ddpipe.meter import total
from ddpipe.pipeline import costs, resolved
from ddpipe.progress import Progress
from ddpipe.randomness import Streams
from ddpipe.settings.reading import did_you_mean
from ddpipe.settings.shapes import Shape
from ddpipe.training.loop import Diverged
from stages import claim, key_of, run_command

Run = TypeVar("Run", bound=Running)


def main(generator: Annotated[str, typer.Argument(help="a key of `generators:` in params.yaml")]) -> None:
    """Train the GAN of GENERATOR on its real data, then invert it: a latent for every training image (IT-GAN).

    Writes data/generators/GENERATOR (generator.safetensors, latents.safetensors, generators.json; bit-reproducible),
    and into data/costs/generators.GENERATOR.json what it cost. Checkpoints lie in data/checkpoints, one every
    `run.checkpoint_seconds`; a finished GAN is kept there, so that other numbers of `inversion` do not train it again.
    """
    project, key = config.load(), key_of("generators", address=generator)
    params = project.params
    if key not in params.generators:
        raise UserError(f"generators.{key}: no such entry in params.yaml{did_you_mean(key, list(params.generators))}")
    chosen = params.generators[key]
    name, output, ledger = f"generators@{key}", Path("data/generators") / key, f"generators.{key}"
    claim(name, [output, costs.place(ledger)], ["resolve", f"prepare@{chosen.data}", f"experts@{chosen.buffer}"])
    costs.ledger(costs.place(ledger))  # a damaged one is refused before the work
    commit, device = commits.at(project.root), choose(params.run)
    keep_freed_memory()
    prepared = Prepared.of(project, chosen.data)
    stated = resolved.of_generators(project, key)
    resolved.check(project, f"generators/{key}", stated)
    buffer = Buffer(Path("data/experts") / chosen.buffer, device)
    architecture = project.network(params.experts[chosen.buffer].network)
    buffer.check(prepared.checksum, architecture.model_dump(mode="json"))
    shape = Shape(prepared.channels, prepared.resolution, len(prepared.classes))
    inputs = {"seed": params.seed, "recipe": chosen.model_dump(exclude={"inversion"}), "data": prepared.checksum}
    inputs |= {"code": stated["code"]}
    whole = inputs | {"inversion": chosen.inversion.model_dump(), "experts": buffer.about}
    folder, streams = Path("data/checkpoints/generators") / key, Streams(params.seed, "generators", key)
    images, labels = prepared.train_images, prepared.train_labels

    def adversaries() -> Adversaries:
        real = Resident(images, labels, plain(shape.channels), device)
        return Adversaries(chosen, shape, real, prepared.flip, streams)

    def inversion() -> Inversion:
        real = Resident(images, labels, prepared.preprocessing, device)
        network = networks.build(architecture, shape.channels, shape.resolution, shape.classes, device)
        restore_(network, buffer.snapshot(0, -1)).eval().requires_grad_(False)
        return Inversion(chosen.inversion, real, torch.cat(real.class_index), on_device, network, streams)

    work = Work(name, params.run, device, costs=[])
    with explained(f"generators.{key}", "batch", chosen.batch):
        weights = work.done(
            Checkpoints(folder, digest(inputs)), "gan", adversaries, lambda run: run.averaged.eval().weights()
        )
    on_device = {name: tensor.to(device) for name, tensor in weights.items()}
    with explained(f"generators.{key}", "inversion.batch", min(chosen.inversion.batch, len(labels))):
        found = work.done(
            Checkpoints(folder, digest(whole)),
            "latents",
            inversion,
            lambda run: {"latents": run.latents, "rows": run.rows},
        )
    about = {"generator": key, "seed": params.seed, "recipe": chosen.model_dump(mode="json")}
    about |= {"data_checksum": prepared.checksum, "experts": buffer.about["seal"]}
    with new_folder(output) as new:
        seal = stored.write(new, about, weights, found)
    spent = total(work.costs)
    if seen := costs.of(project.root, f"experts.{chosen.buffer}", buffer.about["seal"]):
        spent["experts"] = {"buffer": chosen.buffer} | costs.part(seen, 1 / len(buffer))  # the first of them alone
    costs.note(ledger, seal, spent, commit)


@dataclass
class Work:
    """What the stage does one after another, each from wherever a killed process left it."""

    name: str
    how: settings.Run
    device: torch.device
    costs: list[dict[str, Any]]

    def done(
        self,
        store: Checkpoints,
        piece: str,
        begin: Callable[[], Run],
        result: Callable[[Run], dict[str, Tensor]],
    ) -> dict[str, Tensor]:
        """The finished piece: the one in `store`, or the `result` of the run that `begin` makes."""
        if (kept := store.read(piece)) is None:
            run, name = begin(), f"{self.name} {piece}"
            with Progress(name, run.iterations, log_every=self.how.log_every) as progress:
                cost = run_to_end(run, store, f"{piece}.partial", name, self.how, self.device, progress)
            kept = {key: tensor.detach().cpu() for key, tensor in result(run).items()}, {"cost": cost}
            store.write(piece, kept[0], **kept[1])
            store.remove(f"{piece}.partial")
        self.costs.append(kept[1]["cost"])
        return kept[0]


@contextlib.contextmanager
def explained(where: str, key: str, batch: int) -> Iterator[None]:
    """What the user can do about an error met while `batch` images were worked on at once, as `key` says."""
    try:
        yield
    except Diverged as error:
        raise UserError(f"{where}.{error}") from error
    except (RuntimeError, MemoryError) as error:
        if not out_of_memory(error):
            raise
        told = f"set it to {max(2, batch // 2)}" if batch > 2 else "set width to a smaller number"
        raise UserError(f"{where}.{key}: out of memory with {batch} images at once; {told}") from error


if __name__ == "__main__":
    run_command(main)
