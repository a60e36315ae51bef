"""IT-GAN (Zhao and Bilen, 2022): a latent for every training image, through a generator that is not trained further.

The generator comes from the stage `generators`, and with it the latents to which its GAN inverted the images. A set
stores the generator beside its latents: without it they are nothing.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ddpipe.context import Context
from ddpipe.errors import UserError
from ddpipe.generators.decoding import Weights, in_chunks, levels
from ddpipe.settings.synthetic import latents as record
from ddpipe.synthetic.paired import Paired
from ddpipe.training.batch import Batch


class Latents(Paired):
    """V = N examples, of each training image one. An address is a row number; rows are ordered class by class.

    Args:
        latents: (V, z) start values.
        classes: (V,) class of each, ascending.
        partners: (V,) row of the real image behind each.
        num_classes: K.
        weights: of the generator.
        side: of the images.
        transform: takes images on the scale 0 to 255 to the run's pixel space.
    """

    def __init__(
        self,
        latents: Tensor,
        classes: Tensor,
        partners: Tensor,
        num_classes: int,
        weights: Weights,
        side: int,
        transform: Callable[[Tensor], Tensor],
    ):
        super().__init__(classes, num_classes, latents)
        self.latents = nn.Parameter(latents.detach().clone())
        self.partners, self.weights, self.side, self.transform = partners, weights, side, transform

    def decode(self, index: Tensor | None = None) -> Batch:
        chosen = slice(None) if index is None else self.at(index)
        made = in_chunks(self.latents[chosen], self.classes[chosen], self.weights, self.side)
        return Batch(self.transform(levels(made)), self.targets[chosen])

    def groups(self) -> dict[str, list[Tensor]]:
        return {"latents": [self.latents]}

    def codes(self) -> dict[str, Tensor]:
        """`latents`, and the generator's weights as `ddpipe.generators.decoding.decoded` takes them."""
        generator = {f"generator.{name}": weight for name, weight in self.weights.items()}
        return {"latents": self.latents.detach()} | generator


def make(config: record.Latents, context: Context) -> Latents:
    """One latent for every training image, as inversion left it or standard normal.

    Raises:
        UserError: there is no generator, or one of other sizes.
    """
    real, stored = context.real, context.generator
    if stored is None:
        raise UserError("synthetic: latents need a generator; name one as the row's needs: data/generators/<generator>")
    for key in ("noise", "width"):
        if (own := getattr(config, key)) != (there := getattr(stored.sizes, key)):
            raise UserError(f"synthetic.{key}: {own}, but the row's generator has {there}; set it to {there}")
    rows, latents = stored.rows, stored.latents
    if not torch.equal(rows, torch.cat(real.class_index)):
        raise UserError("synthetic: the row's generator is of other training images; name one of the row's data")
    if config.start == "drawn":
        latents = torch.randn(latents.shape, generator=context.rng("synthetic.init")).to(latents)
    side, device = real.batch(rows[:1]).shape[-1], real.labels.device
    weights = {name: weight.to(device) for name, weight in stored.weights.items()}
    classes = real.labels[rows.to(device)].cpu()
    num_classes = len(real.class_index)
    return Latents(latents.to(device), classes, rows, num_classes, weights, side, real.preprocessing.transform)
