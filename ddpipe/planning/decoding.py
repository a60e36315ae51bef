"""The calls that time parametrisations: examples out of what is learned, and the gradient back to it."""

import torch

from ddpipe import networks, settings
from ddpipe.datasets.resident import Resident
from ddpipe.generators.decoding import in_chunks
from ddpipe.generators.training import Adversaries, plain
from ddpipe.planning.calls import Bench, Call
from ddpipe.randomness import Streams
from ddpipe.settings.synthetic import decoder
from ddpipe.settings.work import Operation
from ddpipe.synthetic import multiformation
from ddpipe.synthetic.decoder import Decoder
from ddpipe.synthetic.decoder import initial as initial_layers
from ddpipe.synthetic.generator import Generator, Network
from ddpipe.synthetic.hallucinator import Hallucinator, initial
from ddpipe.synthetic.memory import recall


def hallucinated(bench: Bench, operation: Operation, n: int) -> Call:
    """Bases with as many channels as the images through one hallucinator, and the gradient back to both."""
    assert operation.shape is not None
    shape = operation.shape
    weights = initial(1, shape.channels, shape.channels, [shape.resolution] * 2, bench.rng)
    bases, classes = bench.images(operation, n), torch.arange(n) % shape.classes
    synthetic = Hallucinator(bases, classes, weights, shape.classes).to(bench.device)
    index, learned = torch.arange(n, device=bench.device), list(synthetic.parameters())

    def call() -> None:
        decoded = synthetic.decode(index).images
        torch.autograd.grad(decoded, learned, torch.ones_like(decoded))

    return call


def recalled(bench: Bench, operation: Operation, n: int) -> Call:
    """Images at n addresses of a memory, and the gradient back to both."""
    assert operation.shape is not None
    count, downsampling = map(int, operation.option.split(" / "))
    bases = bench.images(operation, count)[..., ::downsampling, ::downsampling].contiguous().requires_grad_()
    addresses = torch.randn(n, count, generator=bench.rng).to(bench.device).requires_grad_()

    def call() -> None:
        images = recall(bases, addresses, downsampling)
        torch.autograd.grad(images, [bases, addresses], torch.ones_like(images))

    return call


def formed(bench: Bench, operation: Operation, n: int) -> Call:
    """n examples out of images that hold several, and the gradient back to these."""
    factor, index = int(operation.option), torch.arange(n, device=bench.device)
    images = bench.images(operation, -(-n // factor**2)).requires_grad_()

    def call() -> None:
        examples = multiformation.formed(images, factor, index // factor**2, index % factor**2)
        torch.autograd.grad(examples, images, torch.ones_like(examples))

    return call


def decoded(bench: Bench, operation: Operation, n: int) -> Call:
    """Codes through one decoder, and the gradient back to both."""
    assert operation.shape is not None
    shape = operation.shape
    channels, side, width = map(int, operation.option.split())
    config = decoder.Decoder(name="decoder", channels=channels, side=side, decoders=1, width=width)
    codes = torch.randn(n, channels, side, side, generator=bench.rng)
    layers, classes = initial_layers(config, shape, bench.rng), torch.arange(n) % shape.classes
    synthetic = Decoder(codes, classes, layers, [shape.resolution] * 2, shape.classes).to(bench.device)
    learned = list(synthetic.parameters())

    def call() -> None:
        images = synthetic.decode().images
        torch.autograd.grad(images, learned, torch.ones_like(images))

    return call


def imagined(bench: Bench, operation: Operation, n: int) -> Call:
    """Latents through a generator that stays as it is, and the gradient back to them; the option has its sizes."""
    assert operation.shape is not None
    gan, classes = adversaries(bench, operation, 2), torch.arange(n, device=bench.device) % operation.shape.classes
    weights, side = gan.generator.weights(), operation.shape.resolution
    latents = torch.randn(n, gan.config.noise, generator=bench.rng).to(bench.device).requires_grad_()

    def call() -> None:
        images = in_chunks(latents, classes, weights, side)
        torch.autograd.grad(images, latents, torch.ones_like(images))

    return call


def judged(bench: Bench, operation: Operation, n: int) -> Call:
    """A step of a critic on n real images and as many that are made."""
    return adversaries(bench, operation, n).judge


def made(bench: Bench, operation: Operation, n: int) -> Call:
    """A step of a generator on n images."""
    return adversaries(bench, operation, n).make


def adversaries(bench: Bench, operation: Operation, n: int) -> Adversaries:
    """A GAN on batches of n; the option has its sizes, and what the critic sees is augmented by."""
    assert operation.shape is not None
    sizes, _, augment = operation.option.partition(" / ")
    noise, width = sizes.split()
    step = {"optimizer": "adam", "lr": 1e-9}
    numbers = {"data": "any", "buffer": "any", "noise": int(noise), "width": int(width), "batch": max(2, n), "steps": 1}
    numbers |= {"generator": step, "critic": step, "inversion": step | {"steps": 1}, "augment": augment or "none"}
    images = bench.images(operation, max(2, n)).clamp_(-1, 1)
    real = Resident(
        127.5 * (images + 1), torch.zeros(len(images), dtype=torch.int64), plain(len(images[0])), bench.device
    )
    return Adversaries(settings.Generators.model_validate(numbers), operation.shape, real, True, Streams("calibration"))


def generated(bench: Bench, operation: Operation, n: int) -> Call:
    """A batch of GTN's generator, and the gradient back to it and its noise; the option has its sizes.

    As `decode` does it, twice: but its first call would take the time of what torch then imports for recomputing.
    """
    assert operation.shape is not None
    shape = operation.shape
    noise, hidden, *maps = map(int, operation.option.split(":"))
    network = Network(noise + shape.classes, hidden, (maps[0], maps[1]), shape.channels, shape.resolution)
    start = torch.randn(1, max(n, 2), noise, generator=bench.rng)  # one example has no statistics
    synthetic = Generator(networks.initialise_(network, bench.rng), start, shape.classes).to(bench.device)
    learned = list(synthetic.parameters())

    def call() -> None:
        with torch.no_grad():
            synthetic.generate(0)
        decoded = synthetic.generate(0)
        torch.autograd.grad(decoded, learned, torch.ones_like(decoded))

    return call
