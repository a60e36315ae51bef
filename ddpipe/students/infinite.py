"""The kernel of an infinitely wide network, the same in every iteration: KIP (Nguyen et al., 2021)."""

from torch import Tensor

from ddpipe import kernels
from ddpipe.context import Context
from ddpipe.errors import UserError
from ddpipe.randomness import Streams
from ddpipe.settings.networks import UNLIMITED
from ddpipe.settings.students import infinite as record
from ddpipe.students.kernel import Kernel
from ddpipe.students.stateless import Stateless
from ddpipe.students.student import Student
from ddpipe.synthetic import Synthetic


class Analytical(Kernel):
    """Args:
    chunk: numbers of one covariance at once; only memory and rounding depend on it.
    """

    def __init__(self, recursion: kernels.Recursion, chunk: int | None = None):
        self.recursion, self.chunk = recursion, chunk

    def cross(self, real: Tensor, shown: Tensor) -> Tensor:
        return kernels.cross(self.recursion, real, shown, self.chunk)

    def own(self, shown: Tensor) -> Tensor:
        return kernels.own(self.recursion, shown, self.chunk)


class Infinite(Stateless):
    def __init__(self, kernel: Kernel):
        self.kernel = kernel

    def next(self, synthetic: Synthetic, rng: Streams, iteration: int) -> Student:
        return Student(number=iteration, kernel=self.kernel)


def make(config: record.InfiniteStudents, context: Context) -> Infinite:
    if (found := context.network.limit) is None:
        raise UserError(f"student: the network {UNLIMITED}")
    return Infinite(Analytical(kernels.Recursion(found, config.kernel), config.chunk))
