"""The one reader of data/results, for the report, the page and `ddpipe explain`; no torch, no pandas."""

import csv
import hashlib
import io
import math

from ddpipe.config import Config, ResultKey
from ddpipe.errors import UserError
from ddpipe.files import artifacts
from ddpipe.files.regular import inside
from ddpipe.pipeline import descriptions
from ddpipe.pipeline.descriptions import Result

HEADER = ["set", "iteration", "loss"]  # of a loss curve


def read(config: Config, key: ResultKey) -> Result | None:
    """The result of one evaluation; None where it was not measured yet.

    Raises:
        UserError: the file is damaged, says a mean that is not that of its accuracies, or belongs to another cell.
    """
    row, path = config.row(key.cell), config.path(key)
    if not path.exists():
        return None
    inside(config.results, path)
    result = descriptions.read(path, Result, mend(config, key))
    expected = row.model_dump(include={"method", "dataset", "ipc"})
    expected |= {"cell": key.cell, "network": key.network, "protocol": key.protocol}
    for name, value in expected.items():
        if (said := getattr(result, name)) != value:
            raise UserError(
                f"{path} is the result of another evaluation ({name}: {said}, not {value}); {mend(config, key)}"
            )
    return result


def fingerprints(config: Config, key: ResultKey, measured: descriptions.Distilled) -> list[str]:
    """Of each set that an evaluation of `measured` counts, all on which its accuracies depend today."""
    rules, network = config.protocol(key.protocol, config.row(key.cell).dataset), config.network(key.network)
    inputs = {"seed": config.params.seed, "protocol": rules.model_dump(exclude={"networks", "sets"})}
    inputs |= {"network": network.model_dump(), "data": measured.data_checksum}
    counted = range(min(measured.sets, rules.sets or measured.sets))
    return [artifacts.digest(inputs | {"set": measured.files[descriptions.set_file(number)]}) for number in counted]


def mend(config: Config, key: ResultKey) -> str:
    """What to do about a damaged result, or a file beside it."""
    return f"delete it and run `dvc repro {config.stage(key)}`"


def beside(config: Config, cell: str, kind: str) -> bytes | None:
    """The picture (`png`) or the losses (`loss.csv`) of a cell, from beside its main result; None where there is none.

    Raises:
        UserError: the file is not the one that was written with the result (early results do not say which).
    """
    key = config.evaluation(cell)
    path = config.path(key).with_name(f"{cell}.{kind}")
    if not path.exists():
        return None
    content, result = inside(config.results, path).read_bytes(), read(config, key)
    if result and result.files.get(path.name, digest(content)) != digest(content):
        raise UserError(f"{path} is damaged (its SHA-256 is not what was written); {mend(config, key)}")
    return content


def losses(config: Config, cell: str) -> list[tuple[int, int, float]]:
    """(set, iteration, loss) of a cell, in the order of the file; empty where it has no curve."""
    content = beside(config, cell, "loss.csv")
    if content is None:
        return []
    try:
        header, *lines = csv.reader(io.StringIO(content.decode()), strict=True)
        if header != HEADER:
            raise ValueError(f"its first line is not {','.join(HEADER)}")
        found = [(int(number), int(iteration), float(loss)) for number, iteration, loss in lines]
        if not all(0 <= min(n, i) <= max(n, i) < 10**9 and math.isfinite(loss) for n, i, loss in found):
            raise ValueError("a number in it is impossible")
    except (ValueError, csv.Error) as error:
        path = config.results / config.row(cell).dataset / f"{cell}.loss.csv"
        raise UserError(f"{path} is damaged ({error}); delete it and run `dvc repro evaluate@{cell}`") from error
    return found


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
