"""RTP composed of parts is the plain program: recall, unroll, one joint clip, SGD with momentum on both matrices."""

from itertools import islice

import torch
import torch.nn.functional as F

from ddpipe import networks, settings
from ddpipe.datasets.preprocessing import fit
from ddpipe.datasets.resident import Resident
from ddpipe.distillation.loop import compose
from ddpipe.randomness import Streams, generator
from ddpipe.training.batch import balanced
from tests.contexts import context
from tests.reference.unroll import meta_loss

SIDE, CLASSES, STEPS, EXAMPLES, REAL, UPDATES = 8, 3, 4, 2, 3, 3
NORM, LR, MOMENTUM = 0.005, 0.1, 0.5  # the clip bites
ARCHITECTURE = settings.ConvNet(kind="convnet", depth=2, width=4)
CHOSEN = {
    "synthetic": {"name": "memory", "bases": 4, "downsampling": 2},
    "objective": {"name": "unroll", "steps": STEPS, "examples": EXAMPLES, "lr": 0.05, "momentum": 0.9},
    "students": {"name": "fresh"},
    "outer": {group: {"lr": LR, "momentum": MOMENTUM} for group in ("bases", "addresses")},
    "clip": {"norm": NORM},
    "iterations": UPDATES,
    "real_batch": REAL,
}


def test_three_iterations():
    labels = torch.arange(CLASSES).repeat_interleave(5)
    pixels = torch.randint(256, (len(labels), 1, SIDE, SIDE), generator=generator("real")).byte()
    real = Resident(pixels, labels, fit(pixels, settings.Dataset(source="digits")))
    network = networks.build(ARCHITECTURE, 1, SIDE, CLASSES)
    config = settings.Distillation.model_validate(CHOSEN)
    run = compose(config, context(real, 1, network, Streams("rtp"), real_batch=REAL))
    start = {name: learned.detach().clone() for name, learned in run.synthetic.named_parameters()}
    bases, addresses = (start[name].requires_grad_() for name in ("bases", "addresses"))
    r, rng = len(addresses) // CLASSES, Streams("rtp")
    rng("synthetic.init")
    velocity, norms = [torch.zeros_like(bases), torch.zeros_like(addresses)], []
    for _ in range(UPDATES):
        run.advance()
        plain = networks.create(ARCHITECTURE, 1, SIDE, CLASSES, rng("students.init"))
        rows = list(islice(balanced([r] * CLASSES, EXAMPLES, rng("synthetic.balanced")), STEPS))
        drawn = torch.cat([real.sample_index(label, REAL, rng("real")) for label in range(CLASSES)])
        small = torch.einsum("vk,kchw->vchw", addresses, bases)
        images = F.interpolate(small, scale_factor=2, mode="bilinear")
        targets, lrs = torch.eye(CLASSES).repeat_interleave(r, 0), torch.full((STEPS,), 0.05)
        given = real.batch(drawn), real.labels[drawn]
        value = meta_loss(plain, images, targets, lrs, 0.9, [row.tolist() for row in rows], torch.clone, given)
        slopes = torch.autograd.grad(value, [bases, addresses])
        norms.append(torch.cat([slope.flatten() for slope in slopes]).norm())
        scale = min(1.0, NORM / float(norms[-1]))
        with torch.no_grad():
            for number, (learned, slope) in enumerate(zip((bases, addresses), slopes, strict=True)):
                velocity[number] = MOMENTUM * velocity[number] + scale * slope
                learned -= LR * velocity[number]
        torch.testing.assert_close(run.history[run.iteration - 1], value.detach(), rtol=1e-4, atol=1e-5)
    assert all(norm > NORM for norm in norms), norms
    torch.testing.assert_close(run.synthetic.bases.detach(), bases.detach(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(run.synthetic.addresses.detach(), addresses.detach(), rtol=1e-3, atol=1e-5)
