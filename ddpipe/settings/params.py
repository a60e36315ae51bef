"""params.yaml and the grid."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator

from ddpipe.settings.base import Settings
from ddpipe.settings.bounds import Few, FewOrNone, Moments, NonNegative, PositiveInt, Seed, Switch
from ddpipe.settings.datasets import Dataset, Own
from ddpipe.settings.generators import Generators
from ddpipe.settings.names import Name, Needs, name
from ddpipe.settings.networks import Network
from ddpipe.settings.protocols import AnyProtocol
from ddpipe.settings.training import Experts


class Row(Settings):
    """One cell of the grid: identity only. Its key is its `name`."""

    form: ClassVar[str] = "<method>-<dataset>-<ipc>[-<variant>]"
    quiet = frozenset({"variant"})

    method: Name
    recipe: Name
    cell: Name
    dataset: Name  # where the report shows it
    data: Name  # the prepared form it uses
    ipc: PositiveInt | Literal["all"]
    student: Name  # the network that it is learned or chosen with
    network: Name  # the network that is trained on it and tested
    protocol: Name
    needs: Needs  # an expert buffer, a generator, or the data again
    variant: Name | None = None  # a word that sets it apart from a row of its method, dataset and IPC

    @model_validator(mode="after")
    def short(self) -> "Row":
        name(self.name)  # it is a part of longer names of files
        return self

    @property
    def name(self) -> str:
        """As `form` says."""
        return f"{self.method}-{self.dataset}-{self.ipc}" + (f"-{self.variant}" if self.variant else "")

    @classmethod
    def required(cls) -> set[str]:
        """The fields that each row has."""
        return {name for name, field in cls.model_fields.items() if field.is_required()}

    # what dvc.yaml's templates read, so that a file must say it: the rest is told by the key, where it is usual
    templated: ClassVar[tuple[str, ...]] = ("dataset", "data", "network", "protocol", "needs")

    @property
    def upstream(self) -> tuple[str, str]:
        """The folder of data/ that holds what it needs, and the key there: ("experts", "digits")."""
        _, kind, key = self.needs.split("/")
        return kind, key

    @property
    def buffer(self) -> str | None:
        """The expert buffer that it needs; None where it needs none."""
        kind, key = self.upstream
        return key if kind == "experts" else None

    @property
    def generator(self) -> str | None:
        """The generator that it needs; None where it needs none."""
        kind, key = self.upstream
        return key if kind == "generators" else None


class Evaluation(Settings):
    """A further evaluation of a cell: another network or another protocol. Its key is its `name`."""

    form: ClassVar[str] = "<cell>-<network>-<protocol>"

    cell: Name
    dataset: Name
    data: Name
    network: Name
    protocol: Name

    @property
    def name(self) -> str:
        """As `form` says."""
        return f"{self.cell}-{self.network}-{self.protocol}"


class Course(Settings):
    """What is seen of a cell while it is distilled: its accuracy over iterations, its images, and where they lie among
    real ones in the features of an expert. Its key is the cell's; `snapshots` are the cell's settings of that name.
    """

    form: ClassVar[str] = "<cell>"
    quiet = frozenset({"networks"})

    cell: Name
    dataset: Name
    data: Name
    experts: Name  # the buffer whose first network gives the features
    snapshots: Annotated[Moments, Field(min_length=1)]
    networks: Few | None = None  # that are trained on each snapshot; left out: as the row's protocol says

    @property
    def name(self) -> str:
        """As `form` says."""
        return self.cell


class Run(Settings):
    """What changes no number beyond rounding; tracked by no stage."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Few = 1
    together: FewOrNone = 0  # networks trained at once; 0: one on a CPU; on a GPU, of those that fit, as are fastest
    compile: Switch = False  # torch.compile for evaluation, experts and trajectory matching; costs minutes at the start
    graphs: Switch = True  # on a GPU steps of training are captured and replayed as one launch
    checkpoint_every: PositiveInt = 1  # iterations (of experts, steps) between two checkpoints, and no less than
    checkpoint_seconds: NonNegative = 60.0  # seconds; 0: by iterations alone
    log_every: PositiveInt = 50  # iterations between log lines when not on a terminal


class ReportSettings(Settings):
    dpi: Few = 120
    images_per_class: Few = 10  # in the picture of a set


class Report(Settings):
    """A dataset with a report. There is nothing to set."""


def _named_base(change: dict) -> dict:
    if not isinstance(change.get("base", ""), str):
        raise ValueError("base must be the name of a recipe")
    if not isinstance(change.get("cells", ""), str):
        raise ValueError("cells must be the word in which the names of its cells end, as ridge in mnist-1-ridge")
    return change


class Params(Settings):
    seed: Seed
    run: Run = Run()
    datasets: dict[Name, Dataset]  # with those of `own`
    own: dict[Name, Own] = {}
    networks: dict[Name, Network]
    experts: dict[Name, Experts] = {}
    generators: dict[Name, Generators] = {}
    protocols: dict[Name, AnyProtocol]
    methods: dict[Name, Annotated[dict, AfterValidator(_named_base)]]
    grid: dict[str, Row] = {}  # config.py compares the keys of rows and evaluations with their names
    evaluations: dict[str, Evaluation] = {}
    courses: dict[str, Course] = {}
    reports: dict[Name, Report] = {}
    report: ReportSettings = ReportSettings()

    @model_validator(mode="after")
    def together(self) -> "Params":
        if both := self.datasets.keys() & self.own.keys():
            raise ValueError(f"own.{min(both)}: datasets has this name too; rename one of them")
        self.datasets.update(self.own)
        return self
