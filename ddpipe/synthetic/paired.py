"""Sets whose examples each began as a real image, and know it."""

from torch import Tensor

from ddpipe.synthetic.synthetic import Synthetic


class Paired(Synthetic):
    """Its settings say `paired`."""

    partners: Tensor  # (V,) row of the real image behind each example, on the CPU
