"""What an evaluation is made with, with the records in place of their names: as it ran, and as it was published."""

from typing import Any

from ddpipe.config import Config, ResultKey, resolve
from ddpipe.errors import UserError
from ddpipe.files.artifacts import digest
from ddpipe.pipeline.descriptions import PLACES, Result
from ddpipe.settings import AnyProtocol, Cell, Dataset, Experts, Generators, Network, Protocol, Settings
from ddpipe.settings.reading import validate

NOWHERE = "."  # a path of images of one's own, which a result does not say


class Block(Settings):
    """Results say it under `ran`."""

    settings: Cell
    network: Network
    student: Network
    protocol: AnyProtocol  # its exceptions applied
    data: Dataset
    experts: Experts | None = None
    generators: Generators | None = None

    def told(self) -> dict[str, Any]:
        """As a result says it, without the place of one's own images."""
        said = self.model_dump(mode="json")
        return said | {"data": {key: value for key, value in said["data"].items() if key not in PLACES}}


def read(said: dict[str, Any]) -> Block | None:
    """What a result says that it ran with; None where another version meant something else by it."""
    data = said.get("data")
    if isinstance(data, dict) and data.get("source") in ("folder", "npz"):
        said = said | {"data": data | {"path": NOWHERE}}
    try:
        found: Block = validate(Block, said, "")
    except UserError:
        return None
    return found


def desk(config: Config, key: ResultKey, overrides: dict | None = None) -> Block:
    """What params.yaml and the recipes state of an evaluation today.

    Args:
        overrides: what params.yaml said about the method, where that is known better.

    Raises:
        UserError: a name is not known, or the settings do not go together.
    """
    row = config.row(key.cell)
    layers = config.layers_of(row)
    if overrides is not None:
        layers = [*layers[:-1], (layers[-1][0], overrides)]
    params = config.params
    generators = params.generators.get(row.generator or "")
    buffer = generators.buffer if generators else row.buffer
    return Block(
        settings=resolve(layers),
        network=config.network(key.network),
        student=config.network(row.student),
        protocol=config.protocol(key.protocol, row.dataset),
        data=params.datasets[row.data],
        experts=params.experts.get(buffer or ""),
        generators=generators,
    )


def ran(config: Config, key: ResultKey, result: Result) -> tuple[Block, bool]:
    """What a result ran with, and whether that is sure.

    Results of earlier versions say no more of it than what params.yaml changed and a digest of the protocol: they are
    of the numbers that are stated now, if these have that digest. The first ones, which have no fingerprints, had a
    digest of other keys and are taken at their word.
    """
    if result.ran is not None and (found := read(result.ran)) is not None:
        return found, True
    found = desk(config, key, result.overrides)
    said = (result.model_extra or {}).get("protocol_digest")
    return found, not result.fingerprints or said == digest_of(found.protocol)


def digest_of(protocol: Protocol) -> str:
    """What results are told apart by, beside their names: the numbers of a protocol, but for how often it is taken."""
    return digest(protocol.model_dump(exclude={"networks", "sets"}))
