"""What can be set: one frozen, validated class a block of params.yaml or of a recipe.

No torch here: `ddpipe check` and the error messages must be quick. Numbers are finite; unknown keys are refused
(config.py turns every refusal into a sentence that names the key).
"""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ddpipe import strategy
from ddpipe.errors import UserError
from ddpipe.names import Name, Needs, Program, name

PositiveInt = Annotated[int, Field(gt=0, strict=True)]
Natural = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0, strict=True)]
NonNegative = Annotated[float, Field(ge=0, strict=True)]
Fraction = Annotated[float, Field(ge=0, lt=1, strict=True)]
Probability = Annotated[float, Field(ge=0, le=1, strict=True)]


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


Augmentation = Annotated[str, AfterValidator(_known_operations)]  # "none", or operations as in ddpipe/strategy.py
Siamese = Annotated[Augmentation, AfterValidator(_differentiable)]


class Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


# --- datasets ---------------------------------------------------------------------------------------------------------


class Whitening(Settings):
    """Regularised ZCA. Defaults are MTT's (kornia's) convention; `zca: kip | frepo | rfad | rtp` name the others."""

    regularisation: Positive = 0.1
    relative: bool = False  # True: times the mean eigenvalue (kernel methods); False: added as it is
    centred: bool = True  # subtract the per-feature mean of the training images
    ddof: Literal[0, 1] = 1  # the covariance divides by n - ddof


class Dataset(Settings):
    """One prepared form of one dataset (`datasets:` of params.yaml; output data/prepared/<key>)."""

    source: Literal[
        "digits", "mnist", "fashionmnist", "svhn", "cifar10", "cifar100", "tinyimagenet", "imagenet64", "folder", "npz"
    ]
    path: str | None = None  # folder and npz: where the images lie; relative paths start at the repository
    test_path: str | None = None  # npz: the file of the test part, where it is one of its own
    classes: tuple[str, ...] | None = None  # only these, labelled in this order; left out: all
    standardise: Literal["given", "biased", "unbiased", "none"] = "biased"  # given: mean and std below
    mean: tuple[float, ...] | None = None
    std: tuple[Positive, ...] | None = None
    per_image: bool = False  # subtract each image's own mean, divide by its L2 norm (KIP, RTP, RFAD on SVHN)
    whitening: Whitening | None = None
    flip: bool = True  # False: a mirrored image is another class (digits); augmentations then never flip
    resolution: PositiveInt | None = None  # folder: resize once to this side; left out: all images must agree
    grey: bool = False  # folder and JPEG containers: read as one channel
    test_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None  # folder, npz without a test part: a stated split

    @model_validator(mode="after")
    def consistent(self) -> "Dataset":
        if {self.mean is not None, self.std is not None} != {self.standardise == "given"}:
            raise ValueError("mean and std must be set exactly when standardise is 'given'")
        if (self.source in ("folder", "npz")) != (self.path is not None):
            raise ValueError("path must be set for source folder and npz, and for no other")
        if self.test_path is not None and self.source != "npz":
            raise ValueError("test_path is for source npz only")
        if self.classes is not None and len(set(self.classes)) < max(2, len(self.classes)):
            raise ValueError("classes must be at least two, and different from each other")
        return self


# --- networks ---------------------------------------------------------------------------------------------------------


class ConvNet(Settings):
    kind: Literal["convnet"]
    depth: PositiveInt = 3
    width: PositiveInt | tuple[PositiveInt, ...] = 128  # a list: of each block (FRePo doubles it)
    norm: Literal["instance", "batch", "none"] = "instance"
    first_padding: PositiveInt | None = None  # of the first convolution; left out: 3 for 28x28 images, else 1
    prepended: bool = False  # one more convolution and ReLU in front of the blocks, without pooling (KIP)
    # kernel: the Gaussian law of KIP's and RFAD's kernels; lecun: flax's default, FRePo
    initialisation: Literal["default", "lecun", "kernel"] = "default"

    @model_validator(mode="after")
    def consistent(self) -> "ConvNet":
        if isinstance(self.width, tuple) and len(self.width) != self.depth:
            raise ValueError(f"width must be one number, or one a block: {self.depth}, not {len(self.width)}")
        return self


class LeNet(Settings):
    """The network of DD's and LD's MNIST rows."""

    kind: Literal["lenet"]
    initialisation: Literal["default", "xavier"] = "default"  # xavier: DD; default: LD


class AlexNet(Settings):
    """The network of DD's and LD's CIFAR-10 rows (their AlexCifarNet)."""

    kind: Literal["alexnet"]
    initialisation: Literal["default", "xavier"] = "default"


class ResNet(Settings):
    kind: Literal["resnet"]
    block: Literal["basic", "bottleneck"] = "basic"
    blocks: tuple[PositiveInt, ...]
    widths: tuple[PositiveInt, ...] = (64, 128, 256, 512)
    norm: Literal["instance", "batch"] = "instance"
    downsampling: Literal["stride", "avgpool"] = "stride"
    initialisation: Literal["default", "he"] = "default"

    @model_validator(mode="after")
    def consistent(self) -> "ResNet":
        if len(self.blocks) != len(self.widths):
            raise ValueError(
                f"blocks and widths must have one number a stage each, not {len(self.blocks)} and {len(self.widths)}"
            )
        return self


class DenseNet(Settings):
    kind: Literal["densenet"]
    blocks: tuple[PositiveInt, ...] = (6, 12, 24, 16)
    growth: PositiveInt = 12
    norm: Literal["batch", "instance"] = "batch"


Network = Annotated[ConvNet | ResNet | DenseNet | LeNet | AlexNet, Field(discriminator="kind")]


# --- training on real or synthetic images: protocols, experts, students -----------------------------------------------


class Training(Settings):
    """How one network is trained; protocols and experts say it in the same words."""

    epochs: PositiveInt
    extra_epoch: bool = False  # the DC family's loop runs epochs + 1 passes
    lr: Positive = 0.01
    momentum: Fraction = 0.9
    weight_decay: NonNegative = 5e-4
    batch: PositiveInt = 256
    # half: lr x 0.1 once pass number epochs // 2 + 2 has finished; staged: x 0.2 after 2/3 and again after 5/6 (IDC)
    drop: Literal["half", "staged", "never"] = "half"
    drop_resets_momentum: bool = True  # the DC family builds a new optimiser there: the momentum buffer is forgotten
    augment: Augmentation = "none"
    cutmix: Probability = 0.0  # of mixing a batch (IDC); the share of each image is uniform
    precision: Literal["float32", "bfloat16"] = "float32"  # of forward and backward passes; weights stay float32


class Protocol(Training):
    """An evaluation protocol: frozen numbers under a name."""

    revision: PositiveInt = 1  # raise when shared code changes what these numbers mean
    networks: PositiveInt = 5  # trained on each distilled set
    learned_lr: bool = False  # the step size that was learned with the set takes the place of lr (MTT)
    sets: PositiveInt | None = None  # only the first so many sets of a cell; left out: all
    exceptions: dict[str, dict] = {}  # dataset -> the numbers that differ there


class Flat(Settings):
    """FTD's steps towards flat minima: GSAM with the adaptive perturbation."""

    rho: Positive = 0.01  # radius of the perturbation
    alpha: NonNegative = 1.0  # weight of the surrogate gap
    adaptive: bool = True  # the perturbation is scaled by the weights


class Experts(Training):
    """One buffer of networks trained on the real data (`experts:` of params.yaml; output data/experts/<key>)."""

    data: Name
    network: Name
    networks: PositiveInt
    keep: Literal["last", "all"] = "last"  # all: the start and every epoch, which trajectory matching needs
    dtype: Literal["float32", "float16"] = "float32"  # of the weights on disk
    flat: Flat | None = None
    revision: PositiveInt = 1


# --- the parts of a method --------------------------------------------------------------------------------------------


class Part(Settings):
    learned: ClassVar[frozenset[str]] = frozenset()  # groups of what it learns: the keys of `outer`


class Pixels(Part):
    learned = frozenset({"images"})
    factorised: ClassVar[bool] = False
    styles: ClassVar[int] = 1
    name: Literal["pixels"]
    init: Literal["real", "noise"] = "real"


class Hallucinator(Part):
    learned = frozenset({"bases", "hallucinators"})
    factorised: ClassVar[bool] = True  # bases, each shown in so many `styles`: `ddpipe.synthetic.Factorised`
    name: Literal["hallucinator"]  # HaBa's bases, each through every hallucinator
    init: Literal["real"] = "real"  # random real images as bases
    bases: PositiveInt | None = None  # per class; left out: IPC
    channels: Literal[1] | None = None  # of a base; left out: those of the data; 1: at first the mean over them
    hallucinators: PositiveInt = 5

    @property
    def styles(self) -> int:
        return self.hallucinators


class GradientMatching(Part):
    name: Literal["gradient"]
    metric: Literal["ours", "mse", "cos"] = "ours"


class DistributionMatching(Part):
    name: Literal["distribution"]
    chunk: PositiveInt = 2560  # images embedded at once; only memory depends on it (batch-norm networks take all)


class TrajectoryMatching(Part):
    learned = frozenset({"lr"})
    name: Literal["trajectory"]
    steps: PositiveInt  # N: SGD steps of the student on the set
    batch: PositiveInt | None = None  # images a step; left out: all
    lr: Positive = 0.01  # where the learned step size starts
    smallest_lr: Positive = 1e-4  # it never falls below
    gradient: Literal["exact", "full", "truncated"] = "exact"  # by reverse sweep, through one graph, TESLA's
    factor: Positive = 1.0  # of the images' gradient: TESLA's published code halves it
    soft_labels: bool = False  # targets assigned by the expert in every iteration (TESLA)


class Contrast(Settings):
    """HaBa's second player: an extractor of the student's architecture that is trained beside the set."""

    name: Literal["contrast"]
    weight: Positive = 0.1  # in the set's loss: likeness of a base through two hallucinators
    pull: NonNegative = 0.1  # in the extractor's: unlikeness of the same
    supervised: NonNegative = 0.1  # in the extractor's: supervised contrastive loss; its cross-entropy has weight 1
    temperature: Positive = 0.07
    batch: PositiveInt | None = None  # bases a step; left out: all
    lr: Positive = 0.001  # of the extractor
    momentum: Fraction = 0.9


class FreshStudents(Settings):
    name: Literal["fresh"]  # a new random network every iteration


class TrainedStudents(Settings):
    name: Literal["trained"]  # one network for outer_loop iterations, trained on the set between two of them
    outer_loop: PositiveInt = 1
    inner_loop: PositiveInt = 1  # epochs
    lr: Positive = 0.01
    momentum: Fraction = 0.0
    batch: PositiveInt = 256
    augment: Augmentation = "none"


class ExpertStudents(Settings):
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
    excess: bool = False  # the set may store more than its IPC in images (HaBa's published cells); the report shows it
    sets: PositiveInt = 5


class Selection(Settings):
    """Resolved settings of a cell that picks real images."""

    kind: Literal["selection"] = "selection"
    revision: PositiveInt = 1
    rule: Literal["random", "herding", "kcenter", "whole"]
    sets: PositiveInt = 5


Cell = Annotated[Distillation | Selection, Field(discriminator="kind")]


# --- params.yaml ------------------------------------------------------------------------------------------------------


class Row(Settings):
    """One cell of the grid: identity only. Its key is its `name`."""

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
        """<method>-<dataset>-<ipc>"""
        return f"{self.method}-{self.dataset}-{self.ipc}"

    @property
    def buffer(self) -> str | None:
        """The expert buffer that it needs; None where it needs none."""
        folder, _, name = self.needs.rpartition("/")
        return name if folder == "data/experts" else None


class Evaluation(Settings):
    """A further evaluation of a cell: another network or another protocol. Its key is its `name`."""

    cell: Name
    dataset: Name
    data: Name
    network: Name
    protocol: Name

    @property
    def name(self) -> str:
        """<cell>-<network>-<protocol>"""
        return f"{self.cell}-{self.network}-{self.protocol}"


class Run(Settings):
    """What changes no number beyond rounding; tracked by no stage."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: PositiveInt = 1
    together: Natural = 0  # networks trained at once; 0: one on a CPU; on a GPU as many as fit, experts as are fastest
    compile: bool = False  # torch.compile for evaluation and for trajectory matching; costs minutes at the start
    checkpoint_every: PositiveInt = 50  # iterations
    log_every: PositiveInt = 50  # iterations between log lines when not on a terminal


class ReportSettings(Settings):
    dpi: PositiveInt = 120
    images_per_class: PositiveInt = 10  # in the picture of a set


class Params(Settings):
    seed: Natural
    run: Run = Run()
    datasets: dict[Name, Dataset]
    networks: dict[Name, Network]
    experts: dict[Name, Experts] = {}
    protocols: dict[Name, Protocol]
    methods: dict[Name, dict]
    grid: dict[str, Row] = {}  # config.py compares the keys of rows and evaluations with their names
    evaluations: dict[str, Evaluation] = {}
    reports: dict[Name, dict] = {}
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
