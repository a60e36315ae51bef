"""What a part of a method inherits when nothing of it outlives an iteration."""

from torch import Tensor


class Stateless:
    """A part with an empty state: checkpoints hold nothing of it."""

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def hints(self) -> dict[str, Tensor]:
        return {}

    def carried(self) -> dict[str, list[Tensor]]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass
