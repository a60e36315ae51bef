"""What can be set: one frozen, validated class a block of params.yaml or of a recipe.

No torch here: `ddpipe check` and the error messages must be quick. Numbers are finite; unknown keys are refused
(config.py turns every refusal into a sentence that names the key).
"""

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from ddpipe import strategy
from ddpipe.bounds import (
    Few,
    FewOrNone,
    Fraction,
    Grey,
    NonNegative,
    Positive,
    PositiveInt,
    Probability,
    Seed,
    Share,
    Spread,
    Switch,
)
from ddpipe.errors import UserError
from ddpipe.names import Name, Needs, Program, name


def _known_operations(augment: str) -> str:
    try:
        strategy.operations(augment)
    except UserError as error:
        raise ValueError(str(error)) from None  # the only kind of error that pydantic gives a key
    return augment


def _differentiable(augment: str) -> str:
    if augment.startswith(strategy.OLDER):
        raise ValueError(f"{strategy.OLDER} is for protocols and experts only: no gradient passes through it")
    return augment


Layers = Annotated[tuple[Few, ...], Field(min_length=1)]  # one number a stage of a network
Augmentation = Annotated[str, AfterValidator(_known_operations)]  # "none", or operations as in ddpipe/strategy.py
Siamese = Annotated[Augmentation, AfterValidator(_differentiable)]


FILE = object()  # the context in which config.py validates what files say
UNSTATED = "unstated"  # the type of pydantic's error for a key that a file must name
HANDWRITTEN = ("digits", "mnist", "svhn")  # sources of digits, where a mirrored image is another class
OWN_KEYS = {
    "test_path": ("npz",),
    "test_fraction": ("folder", "npz"),
    "resolution": ("folder",),
    "grey": ("folder", "npz"),
}
CHANNELS = {"digits": 1, "mnist": 1, "fashionmnist": 1}  # of published sources; all others have 3


class Settings(BaseModel):
    """A block of settings. Read from a file (context FILE) it must name the keys of `stated`: what only looks like a
    choice nobody made, because its line got lost, would change results in silence. Their defaults are for programs.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def stated(self) -> dict[str, str]:
        """The keys that a file must name, each with what there is to say about it."""
        return {}

    @model_validator(mode="after")
    def names_its_choices(self, info: ValidationInfo) -> Self:
        if info.context is FILE:
            for key, about in self.stated().items():
                if key not in self.model_fields_set:
                    raise PydanticCustomError(UNSTATED, "{about}", {"key": key, "about": about})
        return self


def needed(*keys: str) -> dict[str, str]:
    """`stated` for numbers without which nobody knows what was run."""
    return dict.fromkeys(keys, "this key is missing; add it")


# --- datasets ---------------------------------------------------------------------------------------------------------


class Whitening(Settings):
    """Regularised ZCA. {} is MTT's (kornia's) convention; any other is stated whole."""

    regularisation: Positive = 0.1
    relative: Switch = False  # True: times the mean eigenvalue (kernel methods); False: added as it is
    centred: Switch = True  # subtract the per-feature mean of the training images
    ddof: Literal[0, 1] = 1  # the covariance divides by n - ddof

    def stated(self) -> dict[str, str]:
        return needed(*type(self).model_fields) if self.model_fields_set else {}


class Dataset(Settings):
    """One prepared form of one dataset (`datasets:` of params.yaml; output data/prepared/<key>)."""

    source: Literal[
        "digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100", "tinyimagenet", "imagenet64", "folder", "npz"
    ]
    path: str | None = None  # folder and npz: where the images lie; relative paths start at the repository
    test_path: str | None = None  # npz: the file of the test part, where it is one of its own
    classes: tuple[str, ...] | None = None  # only these, labelled in this order; left out: all
    standardise: Literal["given", "biased", "unbiased", "none"] = "biased"  # given: mean and std below
    mean: tuple[Grey, ...] | None = None
    std: tuple[Spread, ...] | None = None
    per_image: Switch = False  # subtract each image's own mean, divide by its L2 norm (KIP, RTP, RFAD on SVHN)
    whitening: Whitening | None = None
    # False: a mirrored image is another class; augmentations then never flip. Sources of digits: False unless stated
    flip: Switch = True
    resolution: Few | None = None  # folder: resize once to this side; left out: all images must agree
    grey: Switch = False  # folder and JPEG containers: read as one channel
    test_fraction: Share | None = None  # folder, npz without a test part: a stated split

    @model_validator(mode="before")
    @classmethod
    def never_flips_digits(cls, given: Any) -> Any:
        return {"flip": False} | given if isinstance(given, dict) and given.get("source") in HANDWRITTEN else given

    def stated(self) -> dict[str, str]:
        asked = {}
        if self.source in ("folder", "npz"):
            asked["flip"] = (
                "say whether a mirrored image belongs to the same class: true, or false where it is another one, as "
                "with the letters b and d"
            )
        if self.standardise == "none" and not self.per_image:
            asked["whitening"] = (
                "say how pixels are preprocessed, as standardise is none: whitening: {}, or null for not"
            )
        if self.per_image or "whitening" in self.model_fields_set:
            asked["standardise"] = "say what comes before: none as in MTT's code and for per_image, biased or unbiased"
        return asked

    @model_validator(mode="after")
    def consistent(self) -> "Dataset":
        if {self.mean is not None, self.std is not None} != {self.standardise == "given"}:
            raise ValueError("mean and std must be set exactly when standardise is 'given'")
        if (self.source in ("folder", "npz")) != (self.path is not None):
            raise ValueError("path must be set for source folder and npz, and for no other")
        for key, sources in OWN_KEYS.items():
            if getattr(self, key) and self.source not in sources:
                raise ValueError(f"{key} is for source {' and '.join(sources)} only; leave it out")
        if self.test_path is not None and self.test_fraction is not None:
            raise ValueError("test_path is the test part, so test_fraction has nothing to split; leave one of them out")
        channels = {len(self.mean or ()), len(self.std or ())}
        if self.mean is not None and (len(channels) > 1 or 0 in channels):
            raise ValueError("mean and std must have one number a channel each")
        if self.mean is not None and self.path is None and channels != {CHANNELS.get(self.source, 3)}:
            raise ValueError(f"mean and std must have one number a channel: {CHANNELS.get(self.source, 3)}")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("classes must be at least two, and different from each other")
        return self


# --- networks ---------------------------------------------------------------------------------------------------------


class ConvNet(Settings):
    kind: Literal["convnet"]
    depth: Few = 3
    width: Few | tuple[Few, ...] = 128  # a list: of each block (FRePo doubles it)
    norm: Literal["instance", "batch", "none"] = "instance"
    first_padding: Few | None = None  # of the first convolution; left out: 3 for 28x28 images, else 1
    prepended: Switch = False  # one more convolution and ReLU in front of the blocks, without pooling (KIP)
    # kernel: the Gaussian law of KIP's and RFAD's kernels; lecun: flax's default, FRePo
    initialisation: Literal["default", "lecun", "kernel"] = "default"

    def stated(self) -> dict[str, str]:
        own = ("first_padding", "prepended") if self.initialisation == "kernel" else ()  # KIP's and RFAD's differ there
        return needed("depth", "width", "norm", "initialisation", *own)

    @model_validator(mode="after")
    def consistent(self) -> "ConvNet":
        if isinstance(self.width, tuple) and len(self.width) != self.depth:
            raise ValueError(f"width must be one number, or one a block: {self.depth}, not {len(self.width)}")
        return self


class LeNet(Settings):
    """The network of DD's and LD's MNIST rows."""

    kind: Literal["lenet"]
    initialisation: Literal["default", "xavier"] = "default"  # xavier: DD; default: LD

    def stated(self) -> dict[str, str]:
        return needed("initialisation")


class AlexNet(Settings):
    """The network of DD's and LD's CIFAR-10 rows (their AlexCifarNet)."""

    kind: Literal["alexnet"]
    initialisation: Literal["default", "xavier"] = "default"

    def stated(self) -> dict[str, str]:
        return needed("initialisation")


class ResNet(Settings):
    kind: Literal["resnet"]
    block: Literal["basic", "bottleneck"] = "basic"
    blocks: Layers
    widths: Layers = (64, 128, 256, 512)
    norm: Literal["instance", "batch"] = "instance"
    downsampling: Literal["stride", "avgpool"] = "stride"
    initialisation: Literal["default", "he"] = "default"

    def stated(self) -> dict[str, str]:
        return needed("block", "widths", "norm", "downsampling", "initialisation")

    @model_validator(mode="after")
    def consistent(self) -> "ResNet":
        if len(self.blocks) != len(self.widths):
            raise ValueError(
                f"blocks and widths must have one number a stage each, not {len(self.blocks)} and {len(self.widths)}"
            )
        return self


class DenseNet(Settings):
    kind: Literal["densenet"]
    blocks: Layers = (6, 12, 24, 16)
    growth: Few = 12
    norm: Literal["batch", "instance"] = "batch"

    def stated(self) -> dict[str, str]:
        return needed("blocks", "growth", "norm")


Network = Annotated[ConvNet | ResNet | DenseNet | LeNet | AlexNet, Field(discriminator="kind")]


# --- training on real or synthetic images: protocols, experts, students -----------------------------------------------


class Training(Settings):
    """How one network is trained; protocols and experts say it in the same words."""

    epochs: PositiveInt
    extra_epoch: Switch = False  # the DC family's loop runs epochs + 1 passes
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: Probability = 5e-4
    batch: PositiveInt = 256
    # half: lr x 0.1 once pass number epochs // 2 + 2 has finished; staged: x 0.2 after 2/3 and again after 5/6 (IDC)
    drop: Literal["half", "staged", "never"] = "half"
    drop_resets_momentum: Switch = True  # the DC family builds a new optimiser there: the momentum buffer is forgotten
    augment: Augmentation = "none"
    cutmix: Probability = 0.0  # of mixing a batch (IDC); the share of each image is uniform
    precision: Literal["float32", "bfloat16"] = "float32"  # of forward and backward passes; weights stay float32

    def stated(self) -> dict[str, str]:
        resets = () if self.drop == "never" else ("drop_resets_momentum",)
        mixes = ("cutmix",) if self.augment.startswith(strategy.IDC) else ()
        return needed("lr", "momentum", "weight_decay", "batch", "drop", *resets, "augment", *mixes)


class Protocol(Training):
    """An evaluation protocol: frozen numbers under a name."""

    revision: PositiveInt = 1  # raise when shared code changes what these numbers mean
    networks: Few = 5  # trained on each distilled set
    learned_lr: Switch = False  # the step size that was learned with the set takes the place of lr (MTT)
    sets: Few | None = None  # only the first so many sets of a cell; left out: all
    exceptions: dict[str, dict] = {}  # dataset -> the numbers that differ there

    def stated(self) -> dict[str, str]:
        asked = super().stated() | needed("extra_epoch", "networks")
        if self.learned_lr:
            return {key: about for key, about in asked.items() if key != "lr"}
        return asked | {"lr": "this key is missing; add it, or learned_lr: true for the one learned with the set"}


class Flat(Settings):
    """FTD's steps towards flat minima: GSAM with the adaptive perturbation."""

    rho: Positive = 0.01  # radius of the perturbation
    alpha: NonNegative = 1.0  # weight of the surrogate gap
    adaptive: Switch = True  # the perturbation is scaled by the weights

    def stated(self) -> dict[str, str]:
        return needed("rho", "alpha", "adaptive")


class Experts(Training):
    """One buffer of networks trained on the real data (`experts:` of params.yaml; output data/experts/<key>)."""

    data: Name
    network: Name
    networks: Few
    keep: Literal["last", "all"] = "last"  # all: the start and every epoch, which trajectory matching needs
    dtype: Literal["float32", "float16"] = "float32"  # of the weights on disk
    flat: Flat | None = None
    revision: PositiveInt = 1

    def stated(self) -> dict[str, str]:
        return super().stated() | needed("keep", *(("flat",) if self.keep == "all" else ()))  # null: plain SGD


# --- the parts of a method --------------------------------------------------------------------------------------------


def halved(**numbers: int) -> dict[str, Any]:
    """Half of each number that has one."""
    return {key: number // 2 for key, number in numbers.items() if number > 1}


class Part(Settings):
    learned: ClassVar[frozenset[str]] = frozenset()  # groups of what it learns: the keys of `outer`
    draws_real: ClassVar[bool] = True  # batches of `real_batch` real images a class

    def lighter(self, shown: int) -> dict[str, Any]:
        """Values of its keys with which an iteration takes less memory; the key that changes no number first.

        Args:
            shown: images of the set that one pass over it sees.
        """
        return {}


class Pixels(Part):
    learned = frozenset({"images"})
    factorised: ClassVar[bool] = False
    styles: ClassVar[int] = 1
    name: Literal["pixels"]
    init: Literal["real", "noise"] = "real"

    def stated(self) -> dict[str, str]:
        return needed("init")


class Hallucinator(Part):
    learned = frozenset({"bases", "hallucinators"})
    factorised: ClassVar[bool] = True  # bases, each shown in so many `styles`: `ddpipe.synthetic.Factorised`
    name: Literal["hallucinator"]  # HaBa's bases, each through every hallucinator
    init: Literal["real"] = "real"  # random real images as bases
    bases: PositiveInt | None = None  # per class; left out: IPC
    channels: Literal[1] | None = None  # of a base; left out: those of the data; 1: at first the mean over them
    hallucinators: Few = 5

    def stated(self) -> dict[str, str]:
        return needed("hallucinators")

    @property
    def styles(self) -> int:
        return self.hallucinators


class GradientMatching(Part):
    name: Literal["gradient"]
    metric: Literal["ours", "mse", "cos"] = "ours"

    def stated(self) -> dict[str, str]:
        return needed("metric")


class DistributionMatching(Part):
    name: Literal["distribution"]
    chunk: PositiveInt = 2560  # images embedded at once; only memory depends on it (batch-norm networks take all)

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(chunk=self.chunk)


class TrajectoryMatching(Part):
    learned = frozenset({"lr"})
    draws_real = False
    name: Literal["trajectory"]
    steps: Few  # N: SGD steps of the student on the set
    batch: PositiveInt | None = None  # images a step; left out: all
    lr: Positive = 0.01  # where the learned step size starts
    smallest_lr: Positive = 1e-4  # it never falls below
    gradient: Literal["exact", "full", "truncated"] = "exact"  # by reverse sweep, through one graph, TESLA's
    factor: Positive = 1.0  # of the images' gradient: TESLA's published code halves it
    soft_labels: Switch = False  # targets assigned by the expert in every iteration (TESLA)

    def stated(self) -> dict[str, str]:
        teslas = ("factor", "soft_labels") if self.gradient == "truncated" else ()
        return needed("lr", "smallest_lr", "gradient", *teslas)

    def lighter(self, shown: int) -> dict[str, Any]:
        if self.gradient == "full":
            return {"gradient": "exact"}  # holds one step instead of all
        return halved(batch=min(self.batch or shown, shown), steps=self.steps)


class Contrast(Part):
    """HaBa's second player: an extractor of the student's architecture that is trained beside the set."""

    name: Literal["contrast"]
    weight: Positive = 0.1  # in the set's loss: likeness of a base through two hallucinators
    pull: NonNegative = 0.1  # in the extractor's: unlikeness of the same
    supervised: NonNegative = 0.1  # in the extractor's: supervised contrastive loss; its cross-entropy has weight 1
    temperature: Positive = 0.07
    batch: PositiveInt | None = None  # bases a step; left out: all
    lr: Positive = 0.001  # of the extractor
    momentum: Fraction = 0.9

    def stated(self) -> dict[str, str]:
        return needed("weight", "pull", "supervised", "temperature", "lr", "momentum")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch or shown, shown))


class FreshStudents(Part):
    name: Literal["fresh"]  # a new random network every iteration


class TrainedStudents(Part):
    name: Literal["trained"]  # one network for outer_loop iterations, trained on the set between two of them
    outer_loop: PositiveInt = 1
    inner_loop: PositiveInt = 1  # epochs
    lr: Positive = 0.01
    momentum: Fraction = 0.0
    batch: PositiveInt = 256
    augment: Augmentation = "none"

    def stated(self) -> dict[str, str]:
        return needed("outer_loop", "inner_loop", "lr", "momentum", "batch", "augment")

    def lighter(self, shown: int) -> dict[str, Any]:
        return halved(batch=min(self.batch, shown))


class ExpertStudents(Part):
    name: Literal["experts"]  # a stretch of an expert's trajectory, out of the buffer that the row needs
    starts: PositiveInt  # T+: it begins at snapshot 0, ..., starts - 1
    span: PositiveInt  # M: epochs that it spans

    @property
    def epochs(self) -> int:
        """The least that a buffer must hold."""
        return self.starts - 1 + self.span


Students = Annotated[FreshStudents | TrainedStudents | ExpertStudents, Field(discriminator="name")]


class Sgd(Settings):
    """Outer optimiser of one parameter group."""

    lr: Positive
    momentum: Fraction = 0.0

    def stated(self) -> dict[str, str]:
        return needed("momentum")


class Distillation(Settings):
    """Resolved settings of a cell that learns its set."""

    kind: Literal["distillation"] = "distillation"
    revision: PositiveInt = 1
    synthetic: Annotated[Pixels | Hallucinator, Field(discriminator="name")]
    objective: Annotated[GradientMatching | DistributionMatching | TrajectoryMatching, Field(discriminator="name")]
    regulariser: Contrast | None = None
    students: Students
    augment: Siamese = "none"  # one draw for the real and synthetic batch of a class
    outer: dict[str, Sgd]
    average: Fraction | None = None  # decay of the set's moving average, which then is the result (FTD)
    iterations: PositiveInt
    real_batch: PositiveInt = 256  # per class
    excess: Switch = (
        False  # the set may store more than its IPC in images (HaBa's published cells); the report shows it
    )
    sets: Few = 5

    def stated(self) -> dict[str, str]:
        return needed("augment", "sets", *(("real_batch",) if self.objective.draws_real else ()))

    def lighter(self, shown: int) -> dict[str, Any]:
        """As `Part.lighter`, of all parts."""
        parts = {"objective": self.objective, "students": self.students, "regulariser": self.regulariser}
        found = {
            f"{name}.{key}": value for name, part in parts.items() if part for key, value in part.lighter(shown).items()
        }
        return found | (halved(real_batch=self.real_batch) if self.objective.draws_real else {})


class Selection(Settings):
    """Resolved settings of a cell that picks real images."""

    kind: Literal["selection"] = "selection"
    revision: PositiveInt = 1
    rule: Literal["random", "herding", "kcenter", "whole"]
    sets: Few = 5

    def stated(self) -> dict[str, str]:
        return needed("sets")


Cell = Annotated[Distillation | Selection, Field(discriminator="kind")]


# --- params.yaml ------------------------------------------------------------------------------------------------------


class Row(Settings):
    """One cell of the grid: identity only. Its key is its `name`."""

    form: ClassVar[str] = "<method>-<dataset>-<ipc>"

    method: Name
    recipe: Name
    cell: Name
    dataset: Name  # where the report shows it
    data: Name  # the prepared form it uses
    ipc: PositiveInt | Literal["all"]
    network: Name
    protocol: Name
    needs: Needs  # an expert buffer, or the data again
    objective: Program  # the files with its mathematics: a change there redistils
    synthetic: Program

    @model_validator(mode="after")
    def short(self) -> "Row":
        name(self.name)  # it is a part of longer names of files
        return self

    @property
    def name(self) -> str:
        """As `form` says."""
        return f"{self.method}-{self.dataset}-{self.ipc}"

    @property
    def buffer(self) -> str | None:
        """The expert buffer that it needs; None where it needs none."""
        folder, _, name = self.needs.rpartition("/")
        return name if folder == "data/experts" else None


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


class Run(Settings):
    """What changes no number beyond rounding; tracked by no stage."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Few = 1
    together: FewOrNone = (
        0  # networks trained at once; 0: one on a CPU; on a GPU as many as fit, experts as are fastest
    )
    compile: Switch = False  # torch.compile for evaluation and for trajectory matching; costs minutes at the start
    checkpoint_every: PositiveInt = 50  # iterations
    log_every: PositiveInt = 50  # iterations between log lines when not on a terminal


class ReportSettings(Settings):
    dpi: Few = 120
    images_per_class: Few = 10  # in the picture of a set


class Report(Settings):
    """A dataset with a report. There is nothing to set."""


def _named_base(change: dict) -> dict:
    if not isinstance(change.get("base", ""), str):
        raise ValueError("base must be the name of a recipe")
    return change


class Params(Settings):
    seed: Seed
    run: Run = Run()
    datasets: dict[Name, Dataset]
    networks: dict[Name, Network]
    experts: dict[Name, Experts] = {}
    protocols: dict[Name, Protocol]
    methods: dict[Name, Annotated[dict, AfterValidator(_named_base)]]
    grid: dict[str, Row] = {}  # config.py compares the keys of rows and evaluations with their names
    evaluations: dict[str, Evaluation] = {}
    reports: dict[Name, Report] = {}
    report: ReportSettings = ReportSettings()


# --- recipes ----------------------------------------------------------------------------------------------------------


class Recipe(Settings):
    """A published method as data: `ddpipe/methods/<name>.yaml`, under the method's name."""

    paper: str
    code: str | None = None  # the official repository
    protocol: str  # the authors' evaluation protocol: published values are compared with results under it
    tables: dict[int, str] = {}  # protocol of the survey's tables that others than the authors measured (3, 4)
    notes: tuple[str, ...] = ()  # choices where paper, survey and code disagree
    unverified: dict[str, str] = {}  # cells whose numbers nobody published: what they were taken from
    parts: dict  # composition and default numbers; tracked by DVC
    cells: dict[Name, dict]  # published deviations per <dataset>-<ipc>, and `default`; tracked by DVC
