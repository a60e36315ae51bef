"""The `Context` of parts that a test makes."""

from ddpipe import settings
from ddpipe.context import Context
from ddpipe.datasets.resident import Resident
from ddpipe.experts.buffer import Buffer
from ddpipe.generators.stored import Stored
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams

ARCHITECTURE = settings.ConvNet(kind="convnet", depth=1, width=4)  # for parts that build nothing of it


def context(
    real: Resident,
    ipc: int,
    network: Classifier | None = None,
    rng: Streams | None = None,
    flip: bool = True,
    real_batch: int = 256,
    buffer: Buffer | None = None,
    architecture: settings.Network = ARCHITECTURE,
    generator: Stored | None = None,
) -> Context:
    """As the stage makes it; a part that does not use a network may be given none."""
    return Context(
        real,
        ipc,
        real_batch,
        architecture,
        network,  # type: ignore[arg-type]
        flip,
        rng or Streams("context"),
        buffer=buffer,
        generator=generator,
    )
