"""Networks trained from scratch on the set: the measure of every table of the survey."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import copy
from itertools import chain, count
from typing import Any, TypeVar

from torch import Tensor

from ddpipe import augmentation, settings
from ddpipe.errors import UserError
from ddpipe.evaluation import styles
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.rule import Rule
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.settings.bounds import MOST
from ddpipe.settings.strategy import FREPO, IDC, OLDER, operations
from ddpipe.training.batch import Batch
from ddpipe.training.loop import batches, descend, rate
from ddpipe.training.together import Group, together

Numbers = TypeVar("Numbers", bound=settings.SetTraining)
SLOWER = "distil the set again with a smaller learning rate of its step size"


def at(config: Numbers, hints: Mapping[str, Tensor]) -> Numbers:
    """`config` with the step size and the number of steps that were learned with a set, where it asks for them."""
    learned: dict[str, float] = {"lr": float(hints["lr"])} if config.learned_lr else {}
    learned |= {"steps": int(hints["steps"])} if config.learned_steps else {}
    return config.model_copy(update=learned)


def check_steps(hints: Mapping[str, Tensor], where: str) -> None:
    """UserError where the set called `where` says to train for a senseless number of steps."""
    if not 1 <= (steps := float(hints["steps"])) <= MOST:
        raise UserError(
            f"learned_steps: {where} says to train for {steps:g} steps; distil it again, or state steps instead"
        )


def make(protocol: settings.Trained, flip: bool) -> "Training":
    return Training(protocol, flip)


class Training(Rule):
    """SGD on batches of the set in an order drawn anew for every pass, as `training/loop.py` does it."""

    def __init__(self, config: settings.SetTraining, flip: bool):
        self.config, self.policy = config, augmentation.make(config.augment, flip)
        self.ticks = 1 if config.learned_steps else config.paced().passes

    def gather(self, network: Classifier, size: int) -> Group:
        return together(network, size, self.config.precision, self.config.criterion)

    def images(self, data: TrainingSet) -> int:
        return min(data.n, self.config.batch)

    def brief(self, steps: int) -> Rule:
        found = copy(self)
        numbers = {"epochs": 0, "extra_epoch": False, "steps": steps, "learned_steps": False}
        found.config, found.ticks = self.config.model_copy(update=numbers), steps
        return found

    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        config = at(self.config, data.hints).paced()
        told = data.hard() if config.hard else data
        seen = told.scores() if config.criterion == "squared-error" else told

        def feed() -> Iterator[Batch]:
            return group.join(
                [
                    batches(seen.seen_by(rng), seen.n, config.batch, self.policy, rng("train"), config.cutmix)
                    for rng in streams
                ]
            )

        # the first batch of every pass, or pass after pass
        unending = (next(feed()) for _ in count()) if config.subsets else chain.from_iterable(iter(feed, None))
        group.network.train()
        group.initialise_([rng("init") for rng in streams])
        one = (lambda: [next(unending)]) if self.config.stepwise else feed
        for number in descend(group.parameters(), group.loss, self.paced(config, group, data), one, group.each):
            if number == config.epochs - 1 or not config.learned_steps:
                for _ in streams:
                    passed()
        return group.members()

    def paced(self, config: Numbers, group: Group, data: TrainingSet) -> Numbers:
        """The numbers of networks with these first weights."""
        return config

    def check(self, hints: Mapping[str, Tensor], examples: int, where: str) -> None:
        if self.config.learned_lr:
            lr = float(hints["lr"])
            if not (math.isfinite(lr) and lr > 0):
                raise UserError(f"learned_lr: the step size learned with {where} is {lr:g}; {SLOWER}")
        if self.config.learned_steps:
            check_steps(hints, where)

    def diverged(self, error: UserError, data: TrainingSet, where: str) -> str:
        if not self.config.learned_lr:
            return str(error)
        lr = float(data.hints["lr"])
        return f"learned_lr: training with the step size {lr:g} learned with {where} diverged; {SLOWER}"


# --- for programs that know nothing of ddpipe -------------------------------------------------------------------------

POLICIES = {OLDER: "older", IDC: "composed", FREPO: "milder"}
NUMBERS = {"optimizer", "weight_decay", "batch", "cutmix", "precision", "networks", "learned_lr", "criterion"}
NUMBERS |= {"subsets", "learned_steps"}


def exported(protocol: settings.SetTraining, flip: bool, hints: Mapping[str, Tensor]) -> dict[str, Any]:
    """The protocol's rules for a set with these hints as numbers, nothing of them left to a convention.

    rates: the number of a pass, counted from 0 -> the learning rate from there on. With `steps` a pass is one batch.
    """
    paced = at(protocol, hints).paced()
    rates = [rate(paced, number) for number in range(paced.passes)]
    changes = {str(n): lr for n, lr in enumerate(rates) if n == 0 or lr != rates[n - 1]}
    policy = next((name for prefix, name in POLICIES.items() if protocol.augment.startswith(prefix)), "one")
    names = [name for name in operations(protocol.augment) if flip or name != "flip"]
    numbers = {key: getattr(protocol, key) for key in sorted(NUMBERS) if hasattr(protocol, key)}
    sgd = protocol.optimizer == "sgd"
    numbers |= {"momentum": protocol.momentum} if sgd else {"betas": protocol.betas, "eps": protocol.epsilon}
    numbers |= {"clip": None if protocol.clip is None else protocol.clip.model_dump()}
    numbers |= {"drop_resets_momentum": protocol.resets}
    counted = {"passes": len(rates), "single": protocol.stepwise} | ({"hard": True} if protocol.hard else {})
    return counted | {"rates": changes, "augment": {"policy": policy, "operations": names}} | numbers


FEW = 10  # changes of the learning rate that a sentence can tell
OPTIMIZERS = {
    "sgd": "SGD with momentum {momentum:g}",
    "adam": "Adam with betas {betas[0]:g} and {betas[1]:g}, eps {eps:g}",
    "adamw": "AdamW with betas {betas[0]:g} and {betas[1]:g}, eps {eps:g}",
}
BOUNDS = {"norm": "the norm of the gradient", "value": "each number of the gradient"}
ORDERS = {
    False: "in a new order each pass, or, where all fits into one batch, as it is.",
    True: "random examples drawn anew for each, or, where all fits into one batch, as it is.",
}
DRAWN = {
    "one": "of {names}, one drawn at random for each batch and applied to each image with numbers of its own (DSA)",
    "composed": "of {names}: flip and color always, one of crop, scale and rotate, cutout always (IDC)",
    "milder": "of {names}, one for each batch, applied to each image with numbers of its own, borders repeated (FRePo)",
    "older": "of {names}, one drawn at random for each image (DC's own forms; rotations need scipy)",
}
MEASURES = {
    "cross-entropy": "Cross-entropy with the distributions `targets`",
    "squared-error": "Half the squared distance from the scores (`targets`, less 1 / K where they are distributions), "
    "summed over the classes",
}


def words(rules: dict[str, Any], factorised: bool) -> list[str]:
    """What `exported` says, a line each."""
    first, *later = rules["rates"].items()
    counted = "step" if rules["single"] else "pass"
    rates = f"{first[1]:.6g}" + "".join(f", from {counted} {number} on {lr:.6g}" for number, lr in later)
    if len(later) > FEW:
        rates = f"{first[1]:.6g} at first, then as `rates` says for each {counted} from which on it is another"
    bounds = [f" Clipped: {BOUNDS[key]} is at most {most:g}." for key, most in (rules["clip"] or {}).items() if most]
    reset = " (the momentum starts at zero again there)" if later and rules["drop_resets_momentum"] else ""
    order = ORDERS[rules["subsets"]]
    names = ", ".join(rules["augment"]["operations"])
    augment = "Augmentation: " + (DRAWN[rules["augment"]["policy"]].format(names=names) if names else "none") + "."
    mixing = f" CutMix with probability {rules['cutmix']:g} a batch." if rules["cutmix"] else ""
    lines = [
        f"{rules['passes']} {'steps' if rules['single'] else 'passes'} in batches of {rules['batch']}: {order}"
        f"{' How many was learned with the set (`hint_steps`).' if rules['learned_steps'] else ''}",
        f"{MEASURES[rules['criterion']]}, {OPTIMIZERS[rules['optimizer']].format(**rules)} and weight decay "
        f"{rules['weight_decay']:g}.{''.join(bounds)}",
        f"Learning rate {rates}{reset}.{' It was learned with the set (`hint_lr`).' if rules['learned_lr'] else ''}",
        augment + mixing,
    ]
    if factorised:
        lines.append(styles.WORDS)
    if rules.get("hard"):
        lines.append("Targets are the classes of the largest numbers of `targets`, one-hot.")
    if rules["precision"] != "float32":
        where = " on a GPU, in float32 on a CPU" if rules["precision"] == "tf32" else ""
        lines.append(f"Convolutions and products are computed in {rules['precision']}{where}.")
    return lines
