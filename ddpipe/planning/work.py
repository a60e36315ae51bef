"""How often a stage calls what: network passes, augmentations, writes, each as (number of calls, images a call).

Counted from settings alone, without torch. What an iteration takes the records of the parts say.
"""

from collections import Counter
from collections.abc import Mapping

from ddpipe import settings
from ddpipe.memory import images_at_once
from ddpipe.settings.shapes import Data, Shape
from ddpipe.settings.work import Cell, Operation, Work, one_pass, one_step, parts, regression, times


def training(rules: settings.Training, n: int, shape: Shape, network: settings.Network, together: int = 1) -> Work:
    """`together` networks from their first weights to their last."""
    work = times(rules.passes, one_pass(n, rules, shape, network, together))
    work[Operation("initialise", shape, network), 1] += together
    return work


def testing(n: int, shape: Shape, network: settings.Network) -> Work:
    """One look at n images."""
    work: Work = Counter()
    for size, calls in parts(n, images_at_once(shape.values)).items():
        work[Operation("gather", shape), size] += calls
        work[Operation("forward", shape, network), size] += calls
    return work


# --- stages -----------------------------------------------------------------------------------------------------------


def process(data: Data) -> Work:
    """What every stage does once: Python starts, the prepared data is read, checked and preprocessed."""
    loaded = data.train + data.test
    work = Counter({(Operation("process"), 1): 1, (Operation("load", data.shape), loaded): 1})
    if data.whitened:
        work[Operation("whiten", data.shape), loaded] += 1
    return work


def distillation(cell: Cell, checkpoint_every: int) -> Work:
    """All sets of a cell that learns them."""
    chosen, shape = cell.chosen, cell.data.shape
    learned = cell.shown * cell.styles
    one = chosen.work(cell)
    one[Operation("outer step", shape), learned] += chosen.steps
    written = -(-chosen.steps // max(1, checkpoint_every))
    one[Operation("write"), 8 * learned * shape.values] += written  # and momentum
    one[Operation("write"), 4 * learned * shape.values] += 2  # the finished piece, and the set
    return times(chosen.sets, one)


def selection(chosen: settings.Selection, data: Data, count: int, network: settings.Network) -> Work:
    """All sets of a cell that picks `count` real images."""
    one: Work = Counter({(Operation("write"), 8 * count): 2})
    if chosen.record.embedded:
        one.update(testing(data.train, data.shape, network))
        first, later = (Operation(f"select {which}", data.shape, network, chosen.rule) for which in ("first", "next"))
        one[first, data.per_class] += data.shape.classes
        one[later, data.per_class] += count - data.shape.classes
    return times(chosen.sets, one)


def experts(buffer: settings.Experts, data: Data, network: settings.Network, together: int) -> Work:
    """Networks trained `together` at a time; GSAM takes two gradients where SGD takes one."""
    done: Work = Counter()
    for size, groups in parts(buffer.networks, together).items():
        done.update(times(groups, training(buffer, data.train, data.shape, network, size)))
    if buffer.flat is not None:
        done.update({call: calls for call, calls in done.items() if call[0].name == "step"})
    return done


def generators(chosen: settings.Generators, data: Data, network: settings.Network) -> Work:
    """A GAN, and a latent for each of its images by the features of `network`."""
    done: Work = Counter()
    option = chosen.option if chosen.augment == "none" else f"{chosen.option} / {chosen.augment}"
    judge, make = (Operation(name, data.shape, option=option) for name in ("judge", "make"))
    done[judge, min(chosen.batch, data.train)] += chosen.steps * chosen.critic_steps
    done[make, chosen.batch] += chosen.steps
    for size, chunks in parts(data.train, chosen.inversion.batch).items():
        steps = chunks * chosen.inversion.steps
        done[Operation("imagine", data.shape, option=chosen.option), size] += steps
        done[Operation("image gradient", data.shape, network), size] += steps
    done[Operation("write"), 4 * (chosen.weights(data.shape) + data.train * chosen.noise)] += 3
    return done


def evaluation(
    rules: settings.Protocol,
    sets: int,
    n: int,
    data: Data,
    network: settings.Network,
    together: int,
    known: Mapping[str, int] | None = None,
) -> Work | None:
    """Networks that come to know the n images of each of `sets` sets, `together` at a time, and their tests.

    None where the record of the protocol cannot count its steps from what is `known` of the sets' hints.
    """
    one: Work = Counter()
    counted = rules.counted(n, known or {})
    if counted is None:
        return None
    for size, groups in parts(rules.networks, together).items():
        for images, calls in counted.items():
            one.update(times(groups * calls, one_step(images, rules, data.shape, network, size)))
        one[Operation("initialise", data.shape, network), 1] += groups * size
    if rules.embeds:
        one.update(times(rules.networks, testing(n, data.shape, network)))
    if rules.infinite:
        one.update(regression(Operation("kernel", data.shape, network, rules.infinite), n, data.test))
    else:
        one.update(times(rules.networks, testing(data.test, data.shape, network)))
    one[Operation("write"), 0] += rules.networks
    return times(min(sets, rules.sets or sets), one)
