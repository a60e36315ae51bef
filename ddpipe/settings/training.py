"""How one network is trained on real or synthetic images: protocols and experts say it in the same words."""

from typing import Literal

from ddpipe.settings import strategy
from ddpipe.settings.base import Augmentation, Settings, needed
from ddpipe.settings.bounds import Few, Fraction, NonNegative, Positive, PositiveInt, Probability, Switch
from ddpipe.settings.names import Name


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
