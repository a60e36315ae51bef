"""The calls that a calibration times: the pipeline's own code on random numbers of the right shape."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from ddpipe import augmentation, networks, settings
from ddpipe.datasets.preprocessing import Preprocessing, tensors_digest
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.outer import Outer
from ddpipe.files.artifacts import write_tensors
from ddpipe.objectives.distances import compared, gradient_distance
from ddpipe.objectives.distribution import embedded_means, mean_distance
from ddpipe.objectives.gradient import network_gradient
from ddpipe.objectives.loss import Loss
from ddpipe.randomness import generator
from ddpipe.selections.choice import Choice, pick
from ddpipe.settings import Selection
from ddpipe.settings.shapes import Shape
from ddpipe.settings.work import Operation
from ddpipe.synthetic import Batch
from ddpipe.training.loop import descend
from ddpipe.training.ridge import coefficients
from ddpipe.training.sweep import Gradient
from ddpipe.training.together import together

DRAWS = 12  # of an augmentation in one timed call: its operations cost very different times
PICKS = 33  # images chosen in one timed call


class Bench:
    """The device, and what the last network was."""

    def __init__(self, device: torch.device, threads: int, root: Path):
        self.device, self.root = device, root
        self.rng = generator("calibration")
        # With one thread processor time is the time of a quiet machine, whatever else is running.
        self.alone = device.type == "cpu" and threads == 1
        self.built: tuple[tuple[settings.Network, Shape], networks.Classifier] | None = None

    def network(self, operation: Operation) -> networks.Classifier:
        """The operation's network with fresh weights, in evaluation mode: batch norm trains on no single image."""
        assert operation.network is not None and operation.shape is not None
        shape, wanted = operation.shape, (operation.network, operation.shape)
        if self.built is None or self.built[0] != wanted:
            numbers = (shape.channels, shape.resolution, shape.classes)
            self.built = wanted, networks.create(operation.network, *numbers, self.rng, self.device)
        return self.built[1].eval()

    def images(self, operation: Operation, n: int) -> Tensor:
        """(n, c, h, w) standard normal."""
        assert operation.shape is not None
        side = operation.shape.resolution
        return torch.randn(n, operation.shape.channels, side, side, generator=self.rng).to(self.device)

    def targets(self, operation: Operation, n: int) -> Tensor:
        """(n, K) one-hot."""
        assert operation.shape is not None
        labels = torch.arange(n, device=self.device) % operation.shape.classes
        return F.one_hot(labels, operation.shape.classes).float()

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


Call = Callable[[], object]


def initialise(bench: Bench, operation: Operation, n: int) -> Call:
    network = bench.network(operation)
    return lambda: networks.initialise_(network, bench.rng)


def forward(bench: Bench, operation: Operation, n: int) -> Call:
    network, images = bench.network(operation), bench.images(operation, n)

    def call() -> None:
        with torch.no_grad():
            network.embed(images)

    return call


def image_gradient(bench: Bench, operation: Operation, n: int) -> Call:
    network, images = bench.network(operation), bench.images(operation, n).requires_grad_()

    def call() -> None:
        means = embedded_means(network, images, [len(images)])
        torch.autograd.grad(mean_distance(means, torch.zeros_like(means)).sum(), images)

    return call


def weight_gradient(bench: Bench, operation: Operation, n: int) -> Call:
    network, images, targets = bench.network(operation), bench.images(operation, n), bench.targets(operation, n)
    metric, *which = operation.option.split() or ["mse"]  # without a metric: of all weights
    parameters = compared(network, metric, *which)
    return lambda: network_gradient(network, parameters, images, targets)


def matching(bench: Bench, operation: Operation, n: int) -> Call:
    network, targets = bench.network(operation), bench.targets(operation, n)
    images = bench.images(operation, n).requires_grad_()
    metric, *which = operation.option.split()
    parameters = compared(network, metric, *which)
    real = [torch.ones_like(p) for p in parameters]

    def call() -> None:
        given = network_gradient(network, parameters, images, targets, create_graph=True)
        torch.autograd.grad(gradient_distance(given, real, metric), images)

    return call


def flat_gradient(bench: Bench, operation: Operation, n: int) -> Call:
    gradient, theta, batch = unrolled(bench, operation, n)
    return lambda: gradient(theta, batch)


def pull_back(bench: Bench, operation: Operation, n: int) -> Call:
    gradient, theta, batch = unrolled(bench, operation, n)
    pull = torch.ones_like(theta)
    return lambda: gradient.pull_back(theta, batch, pull, ["images", "theta"])


def regress(bench: Bench, operation: Operation, n: int) -> Call:
    """Kernel ridge regression on n examples, and its derivative by the kernel."""
    images = bench.images(operation, n).flatten(1)
    kernel, targets = (images @ images.T).requires_grad_(), bench.targets(operation, n)

    def call() -> None:
        found = coefficients(kernel, targets, 0.01)
        torch.autograd.grad(found, kernel, torch.ones_like(found))

    return call


def unrolled(bench: Bench, operation: Operation, n: int) -> tuple[Gradient, Tensor, Batch]:
    network = bench.network(operation)
    theta = torch.cat([p.detach().flatten() for p in network.parameters()])
    gradient = Gradient(network)
    network.eval()  # a single image may have no statistics
    return gradient, theta, Batch(bench.images(operation, n), bench.targets(operation, n))


def step(bench: Bench, operation: Operation, n: int) -> Call:
    """Steps of one batch each, until the generator is dropped."""
    network, size = bench.network(operation).train(), operation.together
    group = together(network, size, operation.option)
    one = Batch(bench.images(operation, n), bench.targets(operation, n))
    [batch] = group.join([iter([one]) for _ in range(size)])
    numbers = {"epochs": 10**6, "lr": 1e-9, "drop": "never", "precision": operation.option or "float32"}
    rules = settings.Training.model_validate(numbers)
    steps = descend(group.parameters(), group.loss, rules, lambda: [batch])
    return lambda: next(steps)


def augmented(bench: Bench, operation: Operation, n: int) -> Call:
    """Parameters of their own for all images of a training batch."""
    images, policy = bench.images(operation, n), augmentation.make(operation.option)
    return lambda: [policy(images, policy.draw(bench.rng, n, *images.shape[-2:])) for _ in range(DRAWS)]


def augmented_gradient(bench: Bench, operation: Operation, n: int) -> Call:
    images, policy = bench.images(operation, n).requires_grad_(), augmentation.make(operation.option)

    def call() -> None:
        for _ in range(DRAWS):
            changed = policy(images, policy.draw(bench.rng, n, *images.shape[-2:]))
            torch.autograd.grad(changed, images, torch.ones_like(changed))

    return call


def siamese(bench: Bench, operation: Operation, n: int) -> Call:
    images, policy = bench.images(operation, n), augmentation.make(operation.option)
    return lambda: [policy(images, policy.draw(bench.rng, 1, *images.shape[-2:])) for _ in range(DRAWS)]


def siamese_gradient(bench: Bench, operation: Operation, n: int) -> Call:
    images, policy = bench.images(operation, n).requires_grad_(), augmentation.make(operation.option)

    def call() -> None:
        for _ in range(DRAWS):
            changed = policy(images, policy.draw(bench.rng, 1, *images.shape[-2:]))
            torch.autograd.grad(changed, images, torch.ones_like(changed))

    return call


def random_pixels(bench: Bench, operation: Operation, n: int) -> Tensor:
    """uint8 (n, c, h, w)."""
    return (bench.images(operation, n) * 64 + 128).clamp_(0, 255).byte()


def gather(bench: Bench, operation: Operation, n: int) -> Call:
    """A random batch of a class that is four times as large."""
    assert operation.shape is not None
    pixels = random_pixels(bench, operation, 4 * n)
    real = Resident(pixels, torch.zeros(4 * n, dtype=torch.int64), plain(operation.shape), bench.device)
    return lambda: real.sample(0, n, bench.rng)


def load(bench: Bench, operation: Operation, n: int) -> Call:
    assert operation.shape is not None
    pixels, preprocessing = random_pixels(bench, operation, n).cpu(), plain(operation.shape)
    labels = torch.zeros(n, dtype=torch.int64)

    def call() -> None:
        tensors_digest({"images": pixels})
        Resident(pixels, labels, preprocessing, bench.device)

    return call


def whiten(bench: Bench, operation: Operation, n: int) -> Call:
    assert operation.shape is not None
    pixels, values = random_pixels(bench, operation, n), operation.shape.values
    scale = plain(operation.shape)
    whitening = Preprocessing(scale.scale, scale.shift, centre=torch.zeros(values), matrix=torch.eye(values))
    whitening = whitening.to(bench.device)
    return lambda: whitening.transform(pixels)


def plain(shape: Shape) -> Preprocessing:
    return Preprocessing(torch.full((shape.channels, 1, 1), 1 / 64), torch.full((shape.channels, 1, 1), -2.0))


def outer_step(bench: Bench, operation: Operation, n: int) -> Call:
    images = bench.images(operation, n).requires_grad_()
    outer = Outer({"images": [images]}, {"images": settings.Optimizer(lr=1e-9, momentum=0.5)})
    value, gradient = torch.zeros((), device=bench.device), torch.ones_like(images)
    return lambda: outer.step(Loss(value, images, gradient))


def select_first(bench: Bench, operation: Operation, n: int) -> Call:
    return selecting(bench, operation, n, 1)


def select_next(bench: Bench, operation: Operation, n: int) -> Call:
    return selecting(bench, operation, n, PICKS)


def selecting(bench: Bench, operation: Operation, n: int, ipc: int) -> Call:
    """Choosing `ipc` of the n images of one class by their features."""
    features = torch.randn(n, bench.network(operation).classifier.in_features, generator=bench.rng)
    choice = Choice([torch.arange(n)], ipc, bench.rng, lambda: features)
    rule = Selection(rule=operation.option).record
    return lambda: pick(rule, choice)


def write(bench: Bench, operation: Operation, n: int) -> Call:
    """A checkpoint of n bytes."""
    path, content = bench.root / "data" / ".calibration.tmp", {"state": torch.zeros(n, dtype=torch.uint8)}

    def call() -> None:
        try:
            write_tensors(path, content)
        finally:
            path.unlink(missing_ok=True)

    return call


def process(bench: Bench, operation: Operation, n: int) -> Call:
    script = "import ddpipe.distillation.loop, ddpipe.evaluation, ddpipe.config; ddpipe.config.load()"
    package = Path(__file__).parents[2]
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(package)!r}); {script}"]
    return lambda: subprocess.run(command, cwd=bench.root, check=True)
