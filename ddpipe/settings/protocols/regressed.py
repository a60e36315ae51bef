"""Networks trained on the set below a mean of ridge regressions (the evaluation of LD's first-order variant)."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

from pydantic import model_validator

from ddpipe.settings.base import needed
from ddpipe.settings.bounds import Natural, Positive, PositiveInt, Share, Switch
from ddpipe.settings.protocol import Protocol, Scale


class Regressed(Protocol):
    kind: Literal["regressed"]
    steps: Natural = 0
    learned_steps: Switch = False  # the number of steps that was learned with the set takes their place
    batch: PositiveInt = 50  # random examples of a step, drawn anew; all of a smaller set
    lr: Positive = 0.001  # Adam's, of the network
    regularisation: Positive = 1.0  # lambda
    mixing: Share = 0.01  # of the newest regression in the last layer
    scale_lr: Positive = 0.01  # Adam's, of the factor of the logits

    def stated(self) -> dict[str, str]:
        numbers = super().stated() | needed("batch", "lr", "regularisation", "mixing", "scale_lr")
        either = {"steps": "this key is missing; add it, or learned_steps: true where they were learned with the set"}
        return numbers | ({} if self.learned_steps else either)

    @model_validator(mode="after")
    def counts_one_thing(self) -> "Regressed":
        if (self.steps == 0) != self.learned_steps:
            raise ValueError("steps must be a number above 0, or learned_steps true, and not both; mend one of them")
        return self

    @property
    def requires(self) -> dict[str, str]:
        return {"steps": ""} if self.learned_steps else {}

    @property
    def scales(self) -> tuple[Scale, ...]:
        return ("one-hot",)

    def counted(self, n: int, known: Mapping[str, int]) -> Counter[int] | None:
        steps = known.get("steps") if self.learned_steps else self.steps
        return None if steps is None else Counter({min(n, self.batch): steps})
