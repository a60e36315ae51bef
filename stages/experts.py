"""Stage `experts@<buffer>`: train networks on the real data, write data/experts/<buffer>."""

from pathlib import Path
from typing import Annotated

import typer

from ddpipe import config, networks
from ddpipe.artifacts import digest, file_digest, new_folder, write_json, write_tensors
from ddpipe.checkpoints import Checkpoints
from ddpipe.config import did_you_mean
from ddpipe.datasets.prepared import Prepared
from ddpipe.datasets.resident import Resident
from ddpipe.device import choose
from ddpipe.errors import UserError
from ddpipe.experts import train_expert
from ddpipe.progress import Progress
from ddpipe.randomness import Streams
from ddpipe.training import passes
from stages import run_command


def main(buffer: Annotated[str, typer.Argument(help="a key of `experts:` in params.yaml")]) -> None:
    """Train the networks of BUFFER on its real data. Herding and K-Center select in their feature space.

    Writes data/experts/BUFFER: <number>.safetensors with `snapshots` (S, P), and experts.json. Finished networks are
    kept in data/checkpoints, so a killed stage continues and raising `networks` trains only the new ones.
    """
    project = config.load()
    params = project.params
    if buffer not in params.experts:
        raise UserError(f"experts.{buffer}: no such entry in params.yaml{did_you_mean(buffer, list(params.experts))}")
    settings = params.experts[buffer]
    device = choose(params.run)
    prepared = Prepared.load(Path("data/prepared") / settings.data)
    architecture = project.network(settings.network)
    network = networks.build(architecture, prepared.channels, prepared.resolution, len(prepared.classes), device)
    real = Resident(prepared.train_images, prepared.train_labels, prepared.preprocessing, device)
    recipe = settings.model_dump(exclude={"networks"}) | {"architecture": architecture.model_dump()}
    inputs = {"seed": params.seed, "recipe": recipe, "data": prepared.checksum}
    code = file_digest(Path("ddpipe/experts.py"))  # DVC reruns the stage when it changed: no network is reused then
    store = Checkpoints(Path("data/checkpoints/experts") / buffer, digest(inputs | {"code": code}))

    with store.locked():
        finished = [store.read(str(number)) for number in range(settings.networks)]
        missing = [number for number, piece in enumerate(finished) if piece is None]
        with Progress(f"experts@{buffer}", len(missing) * passes(settings)) as progress:
            for number in missing:
                rng = Streams(params.seed, "experts", buffer, number)
                try:
                    snapshots = train_expert(settings, network, real, prepared.flip, rng, progress.advance)
                except UserError as error:
                    raise UserError(f"experts.{buffer}.{error}") from error
                store.write(str(number), {"snapshots": snapshots})
        names = [[name, list(p.shape)] for name, p in network.named_parameters()]
        about = {
            "buffer": buffer,
            "networks": settings.networks,
            "parameters": names,
            "data_checksum": prepared.checksum,
        }
        with new_folder(Path("data/experts") / buffer) as folder:
            for number in range(settings.networks):
                piece = store.read(str(number))
                assert piece is not None
                write_tensors(folder / f"{number}.safetensors", piece[0])
            write_json(folder / "experts.json", about | inputs)


if __name__ == "__main__":
    run_command(main)
