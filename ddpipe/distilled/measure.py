"""`ddpipe.evaluate`: the accuracy of a loaded set, as the stage `evaluate` measures it."""

from dataclasses import dataclass
from typing import Any

from ddpipe import settings
from ddpipe.device import free_memory, lent
from ddpipe.distilled.loaded import DistilledSet
from ddpipe.errors import UserError
from ddpipe.evaluation import Examination, Score, TrainingSet, balanced, class_means, mean_and_std
from ddpipe.evaluation.trouble import KEPT, check, explanation
from ddpipe.files import hints
from ddpipe.randomness import Streams


@dataclass(frozen=True)
class Accuracies:
    """How networks trained on one set do on the test part, in percent."""

    accuracies: tuple[float, ...]  # of each network
    mean: float
    std: float  # of the population, as in the report
    balanced: float  # the mean over the classes, each counting the same
    per_class: dict[str, float | None]  # of the images of each class, mean over the networks; None where there are none

    def __str__(self) -> str:
        n = len(self.accuracies)
        several = f"{n} networks" if n > 1 else "1 network"
        return f"{self.mean:.2f} +- {self.std:.2f} % of {several}, balanced {self.balanced:.2f} %"


def evaluate(
    chosen: DistilledSet,
    network: str | dict[str, Any] | settings.Network | None = None,
    protocol: str | dict[str, Any] | settings.Protocol | None = None,
    networks: int | None = None,
) -> Accuracies:
    """Train new networks on a loaded set and test them on the test part of the data that it was made from.

    With the names of the set's row and as many networks as the protocol says, the accuracies are those of the report:
    bit for bit at the same `run.threads` on the same kind of machine. Where the set lies in no project, `network` and
    `protocol` are numbers.

    Args:
        network: the name of an entry of `networks:`, or what could stand under one; left out: that of the row.
        protocol: the same of `protocols:`.
        networks: how many; left out: as the protocol says. The first ones do not depend on it.

    Raises:
        UserError: the set cannot be measured so, training diverges, or what it takes is not there.
    """
    if not isinstance(chosen, DistilledSet):
        raise UserError(f"evaluate({chosen!r}): takes a loaded set; ddpipe.load(FOLDER) gives one")
    if networks is not None and type(networks) is not int:
        raise UserError(f"networks: {networks!r} is no number of networks; ask for at least 1")
    home, about = chosen.home, chosen.home.found.about
    (architecture_name, architecture), (rules_name, rules) = home.network(network), home.protocol(protocol)
    count = rules.networks if networks is None else networks
    if count < 1:
        raise UserError(f"networks: {count} networks have no accuracy; ask for at least 1")
    if why := rules.refusal("the set", hints.shapes(chosen.hints), chosen.scale):
        raise UserError(f"protocol: it {why}; name another protocol")
    refuse_lone(architecture, rules, chosen)
    prepared, run = home.prepared, home.run
    where = f"set {home.number} of {about.cell}"
    tensors = {"images": chosen.images, "targets": chosen.targets} | hints.as_tensors(chosen.hints)
    if chosen.contents is not None:
        tensors["contents"] = chosen.contents
    with lent(run) as device:
        data = TrainingSet.of(tensors, chosen.scale, prepared, device)
        examination = Examination(
            architecture, rules, home.test(device), len(chosen.classes), prepared.flip, run.compile
        )
        check(examination, data.hints, data.size, "protocol", where)
        names = (about.seed, "evaluate", about.cell, architecture_name, rules_name, home.number)
        scores = scored(examination, data, run, names, count, where)
    return summary(scores, chosen.classes)


def scored(
    examination: Examination,
    data: TrainingSet,
    run: settings.Run,
    names: tuple[str | int, ...],
    count: int,
    where: str,
) -> list[Score]:
    """Scores of `count` networks on the set `where`, as many at once as `run` says; `names` are those of their random
    numbers, before that of each network."""
    scores: list[Score] = []
    size = examination.at_once(run, data, free_memory(examination.device))
    while len(scores) < count:
        group = [Streams(*names, student) for student in range(len(scores), min(len(scores) + size, count))]
        try:
            scores += examination.scores(data, group)
        except (UserError, RuntimeError, MemoryError) as error:
            if told := explanation(error, examination, "protocol", where, data, len(group)):
                raise UserError(told.removesuffix(f", {KEPT}")) from error
            raise
    return scores


def summary(scores: list[Score], classes: tuple[str, ...]) -> Accuracies:
    mean, std = mean_and_std([[score.accuracy for score in scores]])
    means = class_means([score.per_class for score in scores])
    every = dict(zip(classes, means, strict=True))
    return Accuracies(tuple(score.accuracy for score in scores), mean, std, balanced(means), every)


def refuse_lone(architecture: settings.Network, rules: settings.Protocol, chosen: DistilledSet) -> None:
    """UserError where batch norm would meet a single image of one pixel."""
    from ddpipe.checks.batches import untrainable  # a check of rows, which stands above this module

    bases = len(chosen) if chosen.contents is None else int(chosen.contents.max()) + 1
    if why := untrainable(rules, architecture, chosen.images.shape[2], bases):
        raise UserError(f"protocol.{why}")
