"""The state of a whole as the states of its named parts: `<part><separator><key>` -> tensor."""

from collections.abc import Mapping
from typing import Any, Protocol

from torch import Tensor


class Stateful(Protocol):
    """What can be stopped and go on."""

    def state_dict(self) -> dict[str, Tensor]: ...

    def load_state_dict(self, state: dict[str, Tensor], /) -> Any: ...


def joined(parts: Mapping[str, Stateful], separator: str = ".") -> dict[str, Tensor]:
    """The tensors of all `parts`."""
    return {
        f"{part}{separator}{key}": value for part, kept in parts.items() for key, value in kept.state_dict().items()
    }


def load(parts: Mapping[str, Stateful], state: Mapping[str, Tensor], separator: str = ".") -> None:
    """Give each part its own of what `joined` said; whatever stands beside them in `state` is left alone."""
    for part, kept in parts.items():
        start = f"{part}{separator}"
        kept.load_state_dict({key.removeprefix(start): v for key, v in state.items() if key.startswith(start)})
