"""A GAN of a dataset, and a latent for every one of its training images (`generators:` of params.yaml)."""

from typing import Annotated

from pydantic import Field

from ddpipe.settings.base import Settings, Siamese, needed
from ddpipe.settings.bounds import Few, Fraction, NonNegative, PositiveInt
from ddpipe.settings.names import Name
from ddpipe.settings.optimizers import Optimizer
from ddpipe.settings.shapes import Shape

BOTTOM, MAPS = 4, 4  # side of the first maps; channels over `width`


class Sizes(Settings):
    """Those of a generator, BigGAN's for small images (Brock et al., ICLR 2019): who decodes by one says them again."""

    noise: Few = 128  # numbers of a latent
    width: Few = 64  # a quarter of the channels of its maps

    @property
    def option(self) -> str:
        """As the calibration reads it."""
        return f"{self.noise} {self.width}"

    @property
    def maps(self) -> int:
        """Channels between its layers."""
        return MAPS * self.width

    def blocks(self, shape: Shape) -> int:
        """Residual blocks, each of which doubles the side: the fewest that reach the image's, one at least."""
        return max(1, (-(-shape.resolution // BOTTOM) - 1).bit_length())

    def weights(self, shape: Shape) -> int:
        """Numbers of a generator that is not trained any more."""
        maps = self.maps
        block = 2 * (9 * maps**2 + maps) + maps**2 + maps + 4 * shape.classes * maps
        last = 2 * maps + 9 * maps * shape.channels + shape.channels
        return (self.noise + 1) * BOTTOM**2 * maps + self.blocks(shape) * block + last


class Inversion(Optimizer):
    """How the latent of a training image is found: by features and pixels of what it decodes to."""

    steps: PositiveInt
    batch: PositiveInt = 500  # latents at once, of which each goes its own way
    features: NonNegative = 1.0  # weight of the mean squared error of the features; that of the pixels has 1

    def stated(self) -> dict[str, str]:
        return super().stated() | needed("batch", "features")


class Generators(Sizes):
    """One GAN (output data/generators/<key>)."""

    aside = Sizes.aside | {"data", "buffer"}  # names, which rows that use it must name too
    data: Name
    buffer: Name  # of experts; the last weights of the first are the features by which inversion looks
    steps: PositiveInt  # of the generator
    critic_steps: Few = 1  # of the critic before each of them
    batch: Annotated[int, Field(ge=2, le=10**6, strict=True)] = 64  # batch norm needs two
    augment: Siamese = "none"  # of whatever the critic sees, real and generated
    generator: Optimizer
    critic: Optimizer
    average: Fraction | None = None  # decay of the moving average of the generator, which then is the result
    inversion: Inversion
    revision: PositiveInt = 1

    def stated(self) -> dict[str, str]:
        return needed("noise", "width", "critic_steps", "batch", "augment", "average")
