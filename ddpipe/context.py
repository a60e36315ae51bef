"""What a part of a method may use when it is made."""

from dataclasses import dataclass

from ddpipe.datasets.resident import Resident
from ddpipe.experts.buffer import Buffer
from ddpipe.generators.stored import Stored
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.settings import Network


@dataclass(frozen=True)
class Context:
    """The one argument of every part's `make` beside its record."""

    real: Resident
    ipc: int  # images per class; where the set has as many examples as the data, those of the smallest class
    real_batch: int  # real images of a class that an objective draws at once
    architecture: Network
    network: Classifier  # a module of the student's architecture on the device; whoever needs it overwrites its weights
    flip: bool  # False where a mirrored image is another class: augmentations never flip then
    rng: Streams
    common: Streams | None = None  # the same for all cells of one seed: real images that are compared on equal terms
    buffer: Buffer | None = None  # finished experts, where the row needs any
    generator: Stored | None = None  # where the row needs one
    compiled: bool = False  # through torch.compile, where the part can
