"""ddpipe: dataset distillation as a reproducible pipeline, from raw images to the tables of the field's survey."""

from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ddpipe.distilled.sets import load

__all__ = ["load"]


def __getattr__(name: str) -> object:
    # `ddpipe.load` without making every command that never touches a tensor pay for importing torch
    if name == "load":
        from ddpipe.distilled.sets import load

        return load
    raise AttributeError(f"module 'ddpipe' has no attribute {name!r}")
