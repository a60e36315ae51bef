"""What the survey observes, as data/published/claims.yaml says it: which cells decide, and by which test.

A test counts comparisons; a claim holds where at least `share` of them come out as it says. Nothing here is computed:
ddpipe/report/decisions.py has a function for each kind of test.
"""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ddpipe.settings.base import Settings
from ddpipe.settings.bounds import Fraction, Natural

Scheme = Literal["BPTT", "KRR", "GM", "TM", "DM"]
Measure = Literal["spent", "spent_per_iteration", "peak_memory_mb"]
Names = Annotated[tuple[str, ...], Field(min_length=1)]
Portion = Annotated[float, Field(gt=0, le=1)]
Pair = tuple[str, str]  # two methods: the one that should be ahead, the other


class Cells(Settings):
    """Which accuracies: those that fit every key that is given. A method that is not named must be a distillation
    method as published or with smaller numbers: baselines, combinations and rivals decide only where they are named.
    """

    methods: Names | None = None  # as the survey's tables or `methods:` of params.yaml call them
    but: Names | None = None  # without these methods
    schemes: Annotated[tuple[Scheme, ...], Field(min_length=1)] | None = None
    factorised: bool | None = None
    tables: Annotated[tuple[Literal["1", "2", "3", "4"], ...], Field(min_length=1)] | None = None
    datasets: Names | None = None
    ipcs: Names | None = None
    networks: Names | None = None
    protocols: Names | None = None


EVERY = Cells()


class Decision(Settings):
    """What is counted, and how often it must come out so."""

    share: Portion  # of the comparisons; 1 allows no exception


class Beats(Decision):
    """Each of `these` is higher, by more than `by` points, than the best of `those` in its column."""

    kind: Literal["beats"]
    these: Cells = EVERY
    those: Cells
    by: float = 0.0


class Leads(Decision):
    """The best `places` accuracies of a column are all of `these`."""

    kind: Literal["leads"]
    these: Cells
    rivals: Cells = EVERY  # those of `these` among them or not
    places: Annotated[int, Field(ge=1)] = 1
    absent: Literal["against", "out"] = "out"  # a column in which none of `these` has an accuracy


class Ahead(Decision):
    """The first method of a pair is higher than the second, by more than `by` points, in every column of both."""

    kind: Literal["ahead"]
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]
    by: float = 0.0


class Drops(Decision):
    """A set is worth less, by more than `by` points, `there` than `here`: on other networks than its own if these are
    left out, under the same protocol."""

    kind: Literal["drops"]
    these: Cells = EVERY
    here: Cells | None = None
    there: Cells | None = None
    by: float = 0.0


class DropsLess(Decision):
    """Each of `these` loses less from `here` to `there` than each of `those`, from one network to the same other."""

    kind: Literal["drops less"]
    these: Cells
    those: Cells
    here: Cells | None = None
    there: Cells | None = None


class Ranking(Decision):
    """The best of several methods on their own network is not the best on another one."""

    kind: Literal["ranking"]
    these: Cells = EVERY


class Cheaper(Decision):
    """Each of `these` takes less than each of `those` for the same data set and budget on the same device."""

    kind: Literal["cheaper"]
    these: Cells
    those: Cells
    measure: Measure


class Constant(Decision):
    """The second method of a pair takes at most a share of `within` more than the first one."""

    kind: Literal["constant"]
    pairs: Annotated[tuple[Pair, ...], Field(min_length=1)]
    measure: Measure
    within: Fraction


class Grows(Decision):
    """A method is better with the next larger budget, or on the next of `networks`, all else equal."""

    kind: Literal["grows"]
    these: Cells = EVERY
    networks: Names | None = None  # in their order; left out: images per class


class Augmented(Decision):
    """Augmentation while a network is trained on a set adds at most `by` points, all else of the protocol equal."""

    kind: Literal["augmented"]
    these: Cells
    by: float = 0.0


class OneNetwork(Decision):
    """All accuracies of a data set are those of one network: in print, none has one of `objections` to that."""

    kind: Literal["one network"]
    objections: Names  # numbers in the column `doubtful` of data/published that say otherwise


AnyDecision = Annotated[
    Beats | Leads | Ahead | Drops | DropsLess | Ranking | Cheaper | Constant | Grows | Augmented | OneNetwork,
    Field(discriminator="kind"),
]


class Claim(Settings):
    """One observation. `published` and `ours` say among which cells it is decided."""

    section: str  # of the survey
    claim: str  # in our words
    rule: str  # what is counted, in words
    test: AnyDecision
    published: Cells = EVERY
    ours: Cells = EVERY
    least: Natural = 1  # fewer comparisons decide nothing

    @field_validator("section", mode="before")
    @classmethod
    def is_quoted(cls, section: object) -> object:
        if isinstance(section, float | int):
            raise ValueError(f"write '{section}' in quotes: 6.10 would become 6.1")
        return section
