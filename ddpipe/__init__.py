"""ddpipe: dataset distillation as a reproducible pipeline, from raw images to the tables of the field's survey."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ddpipe.distilled.loaded import load
    from ddpipe.distilled.measure import evaluate
    from ddpipe.randomness import generator

__all__ = ["evaluate", "generator", "load"]

_WHERE = {"load": "distilled.loaded", "evaluate": "distilled.measure", "generator": "randomness"}


def __getattr__(name: str) -> object:
    # without making every command that never touches a tensor pay for importing torch
    if name in _WHERE:
        return getattr(import_module(f"ddpipe.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'ddpipe' has no attribute {name!r}")
