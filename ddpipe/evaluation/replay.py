"""The steps by which a set was learned, taken again: DD's evaluation (Wang et al. 2018, section 3).

Step t of T is one of SGD with the learned step size lr_t on block t mod S of the set, not augmented. The hint
`blocks` numbers the block of each example, from 0; a set without it is one block. The hint `momentum` has the share of
the velocity that step t keeps (GTN); without it there is none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.errors import UserError
from ddpipe.evaluation.data import TrainingSet
from ddpipe.evaluation.rule import Rule
from ddpipe.networks import Classifier
from ddpipe.randomness import Streams
from ddpipe.training.batch import Batch
from ddpipe.training.loop import Diverged
from ddpipe.training.together import Group, together


def make(protocol: settings.Replay, flip: bool) -> "Replay":
    return Replay(protocol)


def blocks(hints: Mapping[str, Tensor], examples: int) -> list[Tensor]:
    """The numbers of the examples of each block, by the hint `blocks`.

    Raises:
        ValueError: it does not number the blocks of so many examples; in words.
    """
    numbers = hints.get("blocks", torch.zeros(examples)).cpu()
    if len(numbers) != examples:
        raise ValueError(f"the hint blocks numbers the blocks of {len(numbers)} examples, but there are {examples}")
    count = int(numbers.max()) + 1
    found = [(numbers == number).nonzero().flatten() for number in range(min(count, len(numbers)))]
    if sum(map(len, found)) < len(numbers) or not all(map(len, found)):
        raise ValueError("the hint blocks does not number blocks from 0 on")
    return found


class Replay(Rule):
    def __init__(self, config: settings.Replay):
        self.config = config

    def gather(self, network: Classifier, size: int) -> Group:
        return together(network, size, "float32", self.config.criterion)

    def images(self, data: TrainingSet) -> int:
        return max(map(len, blocks(data.hints, data.size)))

    def fit(
        self, group: Group, data: TrainingSet, streams: Sequence[Streams], passed: Callable[[], None] = lambda: None
    ) -> Iterator[Classifier]:
        seen = data.scores() if self.config.criterion == "squared-error" else data
        steps = [group.join([iter([seen.fetch(rows)]) for _ in streams]) for rows in blocks(data.hints, data.size)]
        order: list[Batch] = [batch for step in steps for batch in step]
        group.network.train()
        group.initialise_([rng("init") for rng in streams])
        parameters = group.parameters()
        kept = data.hints["momentum"].tolist() if "momentum" in data.hints else []
        velocities = [torch.zeros_like(p) for p in parameters] if kept else []
        for number, lr in enumerate(data.hints["lr"].tolist()):
            loss = group.loss(*order[number % len(order)])
            moves = torch.autograd.grad(loss, parameters)
            with torch.no_grad():
                if kept:
                    torch._foreach_mul_(velocities, kept[number])
                    torch._foreach_add_(velocities, moves)
                torch._foreach_add_(parameters, velocities or moves, alpha=-lr)
        if not all(bool(p.isfinite().all()) for p in parameters):
            raise Diverged("the weights are no numbers after the last step")
        for _ in streams:
            passed()
        return group.members()

    def check(self, hints: Mapping[str, Tensor], examples: int, where: str) -> None:
        rates, kept = hints["lr"], hints.get("momentum", torch.zeros(0))
        for numbers, possible, name, names in (
            (rates, rates > 0, "size", "step sizes"),
            (kept, kept >= 0, "momentum", "momenta"),
        ):
            if wrong := (~(numbers.isfinite() & possible)).nonzero().flatten().tolist():
                raise UserError(
                    f"kind: replay takes {float(numbers[wrong[0]]):g} from {where} as the {name} of step {wrong[0]}; "
                    f"distil the set again with a smaller learning rate of its {names}"
                )
        try:
            blocks(hints, examples)
        except ValueError as error:
            raise UserError(f"kind: replay cannot go through {where}: {error}; distil it again") from error

    def diverged(self, error: UserError, data: TrainingSet, where: str) -> str:
        return f"kind: replay of {where} diverged; distil it again with a smaller learning rate of its step sizes"


# --- for programs that know nothing of ddpipe -------------------------------------------------------------------------


def exported(protocol: settings.Replay, flip: bool, hints: Mapping[str, Tensor]) -> dict[str, Any]:
    return {"networks": protocol.networks, "criterion": protocol.criterion}


def words(rules: dict[str, Any], factorised: bool) -> list[str]:
    return [
        "SGD, one step for each number of `hint_lr`, which is its step size, on one block of the set after the other, "
        "over and over. `hint_momentum` has the momentum of each step, as torch counts it; without such an array there "
        "is none. Nothing is augmented.",
        "`hint_blocks` numbers the block of each example, from 0; without such an array there is one block.",
        f"The loss is {rules['criterion']}.",
    ]
