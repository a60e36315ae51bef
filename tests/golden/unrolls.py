"""DD's golden cases as a set and an objective of the pipeline, which they state in blocks of one step each."""

import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.outer import Outer
from ddpipe.networks import Classifier
from ddpipe.objectives.loss import Loss
from ddpipe.objectives.unroll import Unroll
from ddpipe.randomness import Streams
from ddpipe.settings.labels import Labels
from ddpipe.students import Student
from ddpipe.synthetic.pixels import Pixels


class Given:
    """A pass over the real data that consists of one batch."""

    def __init__(self, images: Tensor, labels: Tensor):
        self.batch = images, labels

    def next(self, rng: torch.Generator) -> tuple[Tensor, Tensor]:
        return self.batch


class Unrolled:
    """One iteration of a case's variant.

    Images of a step lie class by class, `each` of a class; in the set all of a class follow one another, in `places`
    (S, n).
    """

    def __init__(self, golden, spec: dict, network: Classifier, dtype: torch.dtype, gradient: str = "exact"):
        self.prefix = f"{spec['prefix']}/in/"
        data, raw = (golden[f"{self.prefix}{name}"].to(dtype) for name in ("distill_data", "raw_lrs"))
        steps, n = data.shape[:2]
        each = spec["ipc_per_step"] or 1
        classes = torch.arange(n).div(each, rounding_mode="floor")
        order = (classes.repeat(steps) * steps * each + torch.arange(steps).repeat_interleave(n) * each).add_(
            (torch.arange(n) % each).repeat(steps)
        )
        self.places = order.view(steps, n)
        images, kinds = torch.empty_like(data.flatten(0, 1)), torch.empty(steps * n, dtype=torch.int64)
        images[order], kinds[order] = data.flatten(0, 1), classes.repeat(steps)
        self.synthetic = Pixels(images, kinds, spec["num_classes"])
        if f"{self.prefix}distill_labels" in golden:
            softmax = spec["label_transform"] == "softmax"
            self.synthetic.label_(Labels(scale="one-hot" if softmax else "free", learned=True, softmax=softmax))
            (targets,) = self.synthetic.learned_targets()["targets"]
            targets.data[order] = golden[f"{self.prefix}distill_labels"].to(dtype).flatten(0, 1)
        config = settings.objectives.unroll.Unroll(
            name="unroll", steps=spec["num_steps"], blocks=steps, rates="softplus", gradient=gradient
        )
        real = golden[f"{self.prefix}real_x"].to(dtype), golden[f"{self.prefix}real_y"]
        self.objective = Unroll(config, real=None, real_batch=0, varied=Augment("none"))
        self.objective.passes, self.objective.raw = Given(*real), raw.requires_grad_()
        self.network, self.real = network, real

    def loss(self) -> Loss:
        (loss,) = self.objective.losses(
            self.synthetic, Student(self.network), self.real, Augment("none"), Streams("case")
        )
        return loss

    def in_blocks(self, tensor: Tensor) -> Tensor:
        """What is known of each image, (V, ...) -> (S, n, ...)."""
        return tensor[self.places]

    def step(self, golden, loss: Loss) -> None:
        """The case's one step of Adam on everything."""
        groups = self.synthetic.groups() | self.synthetic.learned_targets() | self.objective.groups()
        rules = settings.Optimizer(optimizer="adam", lr=golden.config["adam_lr"], betas=golden.config["adam_betas"])
        Outer(groups, dict.fromkeys(groups, rules)).step(loss)


def check(golden, spec: dict, unrolled: Unrolled, bits: str) -> None:
    """Loss, end of the walk, all gradients, and the first step of Adam against the case."""
    expected = f"{spec['prefix']}/{bits}/"
    loss = unrolled.loss()
    raw, images = unrolled.objective.raw, unrolled.synthetic.images
    targets = unrolled.synthetic.learned_targets().get("targets", [])
    lrs = unrolled.objective.rate(raw)
    golden.check(lrs.detach(), golden[f"{expected}lrs"], "lrs")
    golden.check(loss.value, golden[f"{expected}final_loss"], "final_loss")
    learned = [images, raw, *targets]
    by_images, by_raw, *by_targets = loss.gradients(learned)
    golden.check(unrolled.in_blocks(by_images), golden[f"{expected}grad_data"], "grad_data")
    golden.check(by_raw, golden[f"{expected}grad_raw_lrs"], "grad_raw_lrs")
    golden.check(by_raw / raw.detach().sigmoid(), golden[f"{expected}grad_lr_per_step"], "grad_lr_per_step")
    for slope in by_targets:
        golden.check(unrolled.in_blocks(slope), golden[f"{expected}grad_labels"], "grad_labels")
    unrolled.step(golden, unrolled.loss())
    golden.check(raw.detach(), golden[f"{expected}adam1_raw_lrs"], "adam1_raw_lrs")
    for target in targets:
        golden.check(unrolled.in_blocks(target.detach()), golden[f"{expected}adam1_labels"], "adam1_labels")
    if f"{expected}adam1_data_first_image" in golden:
        first, slope = (unrolled.in_blocks(x.detach())[0, 0] for x in (images, by_images))
        wanted = golden[f"{expected}adam1_data_first_image"]
        rules = golden.config["adam_check"]  # where the gradient is next to nothing, its sign is noise
        told = slope.abs() >= rules["float32_gradient_mask_rel"] * by_images.abs().max()
        assert bool(((first - wanted).abs() <= rules["float32_masked_atol"])[~told].all()) and told.float().mean() > 0.9
        golden.check(first[told], wanted[told], "adam1_data_first_image")
