"""Alignment of all layers' features against the official program: distances, logits, losses and gradients."""

import pytest
import torch
from parts import WholeClass, network_of

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.objectives.distribution import mean_distance
from ddpipe.objectives.features import FeatureAlignment, discrimination, layer_means
from ddpipe.objectives.loss import Loss
from ddpipe.randomness import Streams
from ddpipe.students import Student
from ddpipe.synthetic.pixels import Pixels

SUFFIX = {"float32": "f32", "float64": "f64"}

every_dtype = pytest.mark.parametrize("dtype", SUFFIX)


@pytest.fixture
def golden(case):
    return case("cafe")


def scene(golden, dtype):
    """The case's network, its real images of each class, and its synthetic set."""
    config, kind = golden.config, getattr(torch, dtype)
    names = [key for pair in zip(config["conv_keys"], config["norm_keys"], strict=True) for key in pair]
    names.append(config["classifier_key"])
    weights = [golden[f"net.{name}.{part}"] for name in names for part in ("weight", "bias")]
    classes = torch.arange(config["num_classes"])
    assert torch.equal(golden["label_real"], classes.repeat_interleave(config["real_per_class"]))
    synthetic = Pixels(golden["img_syn"].to(kind), classes.repeat_interleave(config["ipc"]), config["num_classes"])
    real = golden["img_real"].to(kind).split(config["real_per_class"])
    return network_of(config["network"], weights, kind), real, synthetic


def loss_of(golden, dtype, chunk=512, **weights) -> tuple[Loss, Pixels]:
    """The loss with the case's weights, or with others."""
    network, real, synthetic = scene(golden, dtype)
    *layers, embedded = golden.config["layer_weights"]
    *earlier, last = layers
    assert len(set(earlier)) == 1
    own = {"earlier": earlier[0], "last": last, "embedding": embedded + golden.config["f5_weight"]}
    own |= {"discrimination": golden.config["discrimination_weight"], "chunk": chunk}
    config = settings.objectives.features.FeatureAlignment.model_validate({"name": "features"} | own | weights)
    objective = FeatureAlignment(config, golden.config["real_per_class"])
    augment = Augment(golden.config["augmentation"])
    (loss,) = objective.losses(synthetic, Student(network), WholeClass(real), augment, Streams("cafe"))
    return loss, synthetic


@every_dtype
def test_distances_in_every_map_and_logits(golden, dtype):
    network, real, synthetic = scene(golden, dtype)
    with torch.no_grad():
        theirs, embedded = layer_means(network, torch.cat(list(real)), [len(own) for own in real])
        mine, _ = layer_means(network, synthetic.images, synthetic.sizes)
    shapes = [int(shape.clamp(min=1).prod()) for shape in golden["feature_shapes"].flip(0)]  # f1 ... f4, f5 flattened
    assert [layer.shape[1] for layer in mine] == shapes[:-1] and shapes[-1] == shapes[-2]
    apart = torch.stack([mean_distance(a, b).sum() for a, b in zip(mine, theirs, strict=True)])
    golden.check(apart, golden[f"mid_losses.{SUFFIX[dtype]}"], "mid_losses", dtype)
    golden.check(embedded @ mine[-1].T, golden[f"logits.{SUFFIX[dtype]}"], "logits", dtype)
    value = discrimination(mine[-1], embedded, golden["label_real"])
    golden.check(value, golden[f"ce_sum.{SUFFIX[dtype]}"], "ce_sum", dtype)


@every_dtype
@pytest.mark.parametrize("chunk", [1, 3, 512])
def test_loss_and_gradient_of_the_images(golden, dtype, chunk):
    """The official total has one more term, in which the set is not: the network's own loss on the real images."""
    loss, synthetic = loss_of(golden, dtype, chunk)
    end = SUFFIX[dtype]
    idle = golden.config["real_loss_weight"] * golden[f"loss_real.{end}"]
    golden.check(loss.value, golden[f"loss_total.{end}"] - idle, "loss_total", dtype)
    (found,) = loss.gradients([synthetic.images])
    golden.check(found, golden[f"grad_syn.total.{end}"], "grad_syn", dtype)


@pytest.mark.parametrize("chunk", [3, 512])
def test_gradient_of_each_term(golden, chunk):
    alone, synthetic = loss_of(golden, "float32", chunk, earlier=0.0, last=0.0, embedding=0.0)
    golden.check(alone.gradients([synthetic.images])[0], golden["grad_syn.discrimination.f32"], "grad_syn")
    middle, synthetic = loss_of(golden, "float32", chunk, embedding=1.0, discrimination=0.0)
    golden.check(middle.value.double(), golden["loss_middle.f32"], "loss_middle", "float32")
    golden.check(middle.gradients([synthetic.images])[0], golden["grad_syn.middle.f32"], "grad_syn")
