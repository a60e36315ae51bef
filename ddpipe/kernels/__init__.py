"""Kernels of networks of infinite width: NNGP (covariance of the outputs at random weights) and NTK.

Sources: Lee et al. (ICLR 2018), Jacot et al. (NeurIPS 2018), Arora et al. (NeurIPS 2019), and Novak et al. (ICLR 2020),
whose neural-tangents is the oracle of the golden cases. All are functions of tensors; no network is ever built.
"""

from ddpipe.kernels.blocks import cross, own
from ddpipe.kernels.recursion import Recursion

__all__ = ["Recursion", "cross", "own"]
