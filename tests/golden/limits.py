"""Infinitely wide networks as golden cases state them."""

from torch import Tensor

from ddpipe.kernels import Recursion
from ddpipe.settings.limit import Limit

CHUNK = 4096  # numbers at once: several blocks of pairs


def limit_of(spec: dict) -> Limit:
    """The network of a variant, from its list of layers."""
    pooled, depth = [], 0
    for layer in spec["layers"]:
        depth += layer == "relu"
        if layer == "pool":
            pooled.append(depth)
    kind = "dense" if spec["layers"][0] == "dense" else "convolution"
    return Limit(kind, depth, tuple(pooled), "mean" if spec["readout"] == "gap" else "flatten")


def recursion_of(spec: dict, law: dict) -> Recursion:
    """Its kernel; `law` has the variances of weights and the standard deviation of biases."""
    return Recursion(limit_of(spec), law["kernel"], law["W_var"] ** 0.5, law["b_std"], spec.get("hidden_width"))


def chw(images: Tensor) -> Tensor:
    """The cases store images as (n, h, w, c)."""
    return images.permute(0, 3, 1, 2).contiguous()
