"""What the JSON files between the stages say, a class each, and the one reader of them all; no torch here.

Prepared data and distilled sets are sealed: not a word of their descriptions changes unnoticed, and the digests in them
cover the tensors beside. Results outlive the version that wrote them (they lie in git): early ones carry no seal, and
are held to what they say about themselves.
"""

import math
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, model_validator

from ddpipe.errors import UserError
from ddpipe.files import artifacts
from ddpipe.settings import Dataset, Scale, Settings, Whitening
from ddpipe.settings.bounds import Moments, Natural, Positive, PositiveInt, Seed
from ddpipe.settings.reading import validate

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Key = Annotated[str, Field(pattern=r"^[a-z0-9_-]+$", max_length=200)]  # of params.yaml or of the grid: part of a path
Flag = Annotated[bool, Field(strict=True)]
Finite = Annotated[float, Field(strict=True)]
Amount = Annotated[float, Field(ge=0, le=1e12, strict=True)]  # seconds, megabytes, numbers stored
Percent = Annotated[float, Field(ge=0, le=100, strict=True)]
Classes = Annotated[tuple[Annotated[str, Field(strict=True)], ...], Field(min_length=2)]
IPC = PositiveInt | Literal["all"]
Kind = TypeVar("Kind", bound=Settings)


class Fitted(Settings):
    """The choices behind a fitted preprocessing, and the statistics of the channels on the scale 0..1."""

    standardise: Literal["given", "biased", "unbiased", "none"]
    per_image: Flag
    whitening: Whitening | None
    mean: tuple[Finite, ...]
    std: tuple[Positive, ...]


class Parts(Settings):
    train: PositiveInt
    test: PositiveInt


class Prepared(Settings):
    """data.json. `checksum` covers the tensors of data.safetensors, and is the data's identity in all stages."""

    name: Key
    settings: dict[str, Any]  # the entry of params.yaml, but for where the files lay
    classes: Classes
    flip: Flag
    source: dict[str, Any]  # where the images come from and how they were split
    preprocessing: Fitted
    checksum: Sha256
    shape: tuple[Literal[1, 3], PositiveInt, PositiveInt]  # c h w
    images: Parts
    seal: Sha256

    @model_validator(mode="after")
    def consistent(self) -> "Prepared":
        if self.shape[1] != self.shape[2]:
            raise ValueError("shape must be that of square images")
        return self

    def made_with(self, settings: Dataset) -> bool:
        """Whether the entry of params.yaml still says what the data were prepared with, wherever the files lie."""
        where = settings.model_dump(include=PLACES)
        try:
            return validate(type(settings), self.settings | where, "") == settings and self.flip == settings.flip
        except UserError:
            return False


PLACES = {"path"}  # of a dataset's entry: it says nothing about the images


class Generators(Settings):
    """generators.json. `files` has the SHA-256 of those beside it."""

    generator: Key
    seed: Seed
    recipe: dict[str, Any]  # the entry of params.yaml
    data_checksum: Sha256
    experts: Sha256  # the seal of those by whose features the latents were found
    files: dict[str, Sha256]
    seal: Sha256

    @model_validator(mode="after")
    def consistent(self) -> "Generators":
        if self.files.keys() != {"generator.safetensors", "latents.safetensors"}:
            raise ValueError("files must be generator.safetensors and latents.safetensors")
        return self


class Budget(Settings):
    floats: Annotated[int, Field(gt=0, le=10**15, strict=True)]
    images_per_class: Amount
    apart: Annotated[int, Field(gt=0, le=10**15, strict=True)] | None = None  # learned beside the set, no part of it
    excess: Annotated[float, Field(ge=-1e12, le=1e12, strict=True)] | None = None


class Distilled(Settings):
    """distilled.json. `files` has the SHA-256 of every file beside it."""

    cell: Key
    method: Key
    recipe: Key
    dataset: Key
    data: Key
    ipc: IPC
    network: Key
    seed: Seed
    settings: dict[str, Any]  # of the method, resolved
    budget: Budget
    classes: Classes
    data_checksum: Sha256
    preprocessing: Fitted
    targets: Scale = "one-hot"  # said where it is another
    hints: dict[str, str] = {}  # shapes of those that are no single numbers, as in layout.py
    sets: PositiveInt
    snapshots: Moments = ()  # iterations after which set 0 was kept; said where there are some
    files: dict[str, Sha256]
    seal: Sha256

    @model_validator(mode="after")
    def consistent(self) -> "Distilled":
        if self.sets >= len(self.files):  # and no list is made of a number beyond all bounds
            raise ValueError(f"files must be those of sets 0 to {self.sets - 1} and preprocessing.safetensors")
        named = [*map(set_file, range(self.sets)), *(set_file(0, at) for at in self.snapshots)]
        if self.files.keys() != {"preprocessing.safetensors", *named}:
            raise ValueError(f"files must be preprocessing.safetensors, {', '.join(named)}"[:300])
        return self

    def numbers(self) -> dict[str, Any]:
        """What it was made from, but for the data themselves: the row and its settings, resolved."""
        row = {"cell", "method", "recipe", "dataset", "data", "ipc", "network", "seed"}
        return self.model_dump(mode="json", include=row | {"settings"})


def set_file(number: int, at: int | None = None) -> str:
    """Where set `number` lies in the folder of its cell, or its snapshot after iteration `at`."""
    return f"{number}.safetensors" if at is None else f"{number}.at-{at}.safetensors"


class Kept(Settings):
    """What older versions wrote too: keys that nobody reads are kept as they are."""

    model_config = ConfigDict(extra="allow")


class Rows(Settings):
    """How the files of a buffer look, and the digest of every row of each."""

    shape: tuple[PositiveInt, PositiveInt]  # (S, P)
    dtype: Literal["float32", "float16"]
    digests: Annotated[list[list[str]], Field(min_length=1)]  # of each expert, S of them


class Experts(Kept):
    """experts.json, as far as it must speak for its experts to be used."""

    buffer: str
    data_checksum: str
    recipe: dict[str, Any]
    snapshots: Rows
    seal: Sha256


class Spent(Kept):
    """Wall seconds, and as far as they are known those of processors, children included, and of a GPU (meter.py).

    They are sums over networks, sets and sittings. Early entries know wall seconds alone.
    """

    seconds: Amount
    processor_seconds: Amount | None = None
    device_seconds: Amount | None = None  # where there was a GPU
    hardware: str = ""  # the model of the GPU, or else of the CPU
    experts: "ExpertsCost | None" = None  # whose networks the work used
    generators: "GeneratorsCost | None" = None  # by which its sets were decoded


class ExpertsCost(Spent):
    """Of all its networks; `share` of them were used."""

    buffer: Key
    share: Annotated[float, Field(gt=0, le=1, strict=True)] = 1.0


class GeneratorsCost(Spent):
    generator: Key


class Cost(Spent):
    """What a cell's sets, a buffer, a generator or an evaluation cost.

    load: the machine's, the mean over the work: processes that ran or waited for a processor.
    commit: at which the project stood, "+" behind it where code or numbers had changed; None where git knows none.
    """

    peak_memory_mb: Amount = 0.0
    load: Amount | None = None
    iterations: Natural | None = None
    seconds_per_iteration: Amount | None = None
    device: str = ""
    threads: PositiveInt | None = None
    commit: Annotated[str, Field(pattern=r"^[0-9a-f]{40,64}\+?$")] | None = None
    versions: dict[str, str] = {}
    when: str = ""  # the day of the last of it, UTC
    distillation: "Cost | None" = None  # of the sets that an evaluation measured


class Costs(Settings):
    """A ledger of ddpipe/pipeline/costs.py, by the seals of the outputs."""

    costs: dict[Sha256, Cost]
    seal: Sha256


class Result(Kept):
    """Accuracies in percent of n = sets x networks networks.

    `files` has the SHA-256 of those beside it, if any; `fingerprints`, of each set, all on which its row of accuracies
    depends: who would measure the same takes them from here.
    per_class: of the test images of each class, in their order, the mean over networks; None where there are none.
    balanced: the mean of these. Early results have neither.
    ran: all settings behind it, resolved (ddpipe/publication/block.py); early results do not say.
    digest: of the numbers that the sets and the networks were made with; early results have none.
    capped: name -> how many of how many in the making of all sets were ended by the number of their loop, not by the
        rule that may end it before.
    """

    cell: str
    network: str
    protocol: str
    method: str
    dataset: str
    ipc: IPC
    accuracies: tuple[tuple[Percent, ...], ...]
    mean: Percent
    std: Percent
    balanced: Percent | None = None
    per_class: Annotated[tuple[Percent | None, ...], Field(min_length=2)] | None = None
    n: PositiveInt
    sets: PositiveInt
    networks: PositiveInt
    budget: Budget
    overrides: dict[str, Any]
    ran: dict[str, Any] | None = None
    capped: dict[str, tuple[Natural, Natural]] = {}
    files: dict[str, Sha256] = {}
    fingerprints: tuple[Sha256, ...] = ()
    digest: Sha256 | None = None
    seal: Sha256 | None = None

    @model_validator(mode="after")
    def consistent(self) -> "Result":
        flat = [value for row in self.accuracies for value in row]
        if len(self.accuracies) != self.sets or any(len(row) != self.networks for row in self.accuracies):
            raise ValueError("accuracies must be one row a set with one number a network")
        if self.n != len(flat):
            raise ValueError(f"n is {self.n}, but there are {len(flat)} accuracies")
        mean = math.fsum(flat) / self.n
        std = math.sqrt(math.fsum((value - mean) ** 2 for value in flat) / self.n)
        for key, said, found in (("mean", self.mean, mean), ("std", self.std, std)):
            if abs(said - found) > 1e-6:
                raise ValueError(f"{key} is {said:g}, but that of the accuracies is {found:g}")
        shown = [value for value in self.per_class or () if value is not None]
        if (self.balanced is None) != (not shown):
            raise ValueError("balanced and per_class must be there together")
        if self.balanced is not None and abs(self.balanced - math.fsum(shown) / len(shown)) > 1e-6:
            raise ValueError(f"balanced is {self.balanced:g}, but that is not the mean of per_class")
        return self


def read(path: Path, kind: type[Kind], mend: str | None = None) -> Kind:
    """What the file at `path` says; a seal is demanded where `kind` does, and held against the rest where it is.

    Args:
        mend: what to do about a damaged file; left out, what `artifacts.mend` says.

    Raises:
        UserError: the file is missing, damaged, or says something else than its kind.
    """
    value = artifacts.read_json(path, mend)
    sealed = kind.model_fields.get("seal")
    if sealed and sealed.is_required() or isinstance(value, dict) and "seal" in value:
        artifacts.check_seal(path, value, mend)
    try:
        return validate(kind, value, "")
    except UserError as error:
        raise UserError(
            f"{path} is damaged ({str(error).removeprefix(': ')[:300]}); {mend or artifacts.mend(path)}"
        ) from None
