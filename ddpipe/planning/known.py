"""What is known of a cell's hints before it is evaluated: from its settings, or from sets that lie there already."""

import contextlib

from ddpipe.config import Config


def known(config: Config, cell: str) -> dict[str, int]:
    """Sizes of the letters in the shapes of its hints, and `steps`: how long its sets say to train, or about that."""
    from safetensors import SafetensorError, safe_open

    from ddpipe.files.regular import regular

    chosen = config.resolved(cell)
    found = chosen.guessed | chosen.known
    with contextlib.suppress(SafetensorError, OSError):
        path = config.root / "data" / "distilled" / cell / "0.safetensors"
        with safe_open(regular(path), framework="numpy") as file:
            if "hint.steps" in file.keys():  # noqa: SIM118 (it is no mapping)
                found["steps"] = int(file.get_tensor("hint.steps"))
    return found
