"""GTN: a course of generated batches, a learner of its own, and the gradient through both, learned steps and norms."""

import pytest
import torch
import torch.nn.functional as F
from parts import copy_

from ddpipe import networks
from ddpipe.settings import Learner
from ddpipe.synthetic import Batch
from ddpipe.synthetic.generator import Generator, Network
from ddpipe.training.carried import Carrying, backwards, walk


def set_of(golden, dtype: torch.dtype) -> Generator:
    spec = golden.config
    channels, classes, maps = spec["channels"], spec["num_classes"], spec["generator_channels"]
    network = Network(
        spec["noise_dim"] + classes, spec["generator_hidden"], (maps, maps // 2), channels, spec["image_size"][0]
    )
    weights = [golden[f"in/gen{number}"].to(dtype) for number in range(len(spec["generator_params"]))]
    assert spec["output_scale"] == 2 and spec["bn_eps"] == network.layers[1].eps
    return Generator(copy_(network.to(dtype), weights), golden["in/curriculum"].to(dtype), classes)


def learner_of(golden, dtype: torch.dtype) -> networks.Classifier:
    spec = golden.config
    *widths, hidden = spec["classifier_widths"]
    settings = Learner(kind="learner", widths=widths, halved=[1, 2], halving="pool", hidden=hidden)
    network = networks.build(settings, spec["channels"], spec["image_size"][0], spec["num_classes"]).to(dtype)
    return copy_(network, [golden[f"in/cls{number}"].to(dtype) for number in range(len(spec["classifier_params"]))])


@pytest.mark.variants_of("gtn")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_meta_gradient(case, variant, dtype):
    golden = case("gtn")
    spec, expected = golden.config["variants"][variant], f"{variant}/{str(dtype).replace('torch.float', 'f')}/"
    synthetic, network = set_of(golden, dtype), learner_of(golden, dtype)
    raw = {name: golden[f"in/log_{name}"].to(dtype).requires_grad_() for name in ("lr", "momentum")}
    lr, momentum = (numbers.exp() for numbers in raw.values())
    blocks = synthetic.blocks(1)
    batches = [Batch(*synthetic.decode(next(blocks))) for _ in range(golden.config["num_steps"])]
    gradient = Carrying(network)
    start = torch.cat([p.detach().flatten() for p in network.parameters()])
    taken = walk(gradient, start, batches, lr, momentum)

    looks = {len(batches): (golden["in/meta_x"], golden["in/meta_y"])}
    if spec["intermediate_losses"]:
        first = spec["first_intermediate_step"]
        looks |= {t: (golden["in/inter_x"][t], golden["in/inter_y"][t]) for t in range(first, len(batches))}
    pulls = {}
    for t, (images, labels) in looks.items():
        state = taken.thetas[t].clone().requires_grad_()
        loss = F.cross_entropy(gradient.evaluated(state, images.to(dtype)), labels)
        pulls[t] = torch.autograd.grad(loss, state)[0]
        if t == len(batches) and spec["outputs_stored"]:
            golden.check(loss.detach(), golden[f"{expected}meta_loss"], "meta_loss")
            golden.check(state.detach()[: len(start)], golden[f"{expected}final_params"], "final_params")
            golden.check(state.detach()[len(start) :], golden[f"{expected}final_buffers"], "final_buffers")
    slopes = list(backwards(taken, pulls))[::-1]
    outputs = [batch.images for batch in batches] + [lr, momentum]
    along = [found["images"] for found in slopes]
    along += [torch.stack([found[name] for found in slopes]) for name in ("lr", "momentum")]
    learned = [synthetic.noise, *raw.values(), *synthetic.network.parameters()]
    names = ["curriculum", "log_lr", "log_momentum", *(f"gen{number}" for number in range(len(learned) - 3))]
    for name, by in zip(names, torch.autograd.grad(outputs, learned, along), strict=True):
        golden.check(by, golden[f"{expected}grad_{name}"], f"grad_{name}")


def test_images_and_labels_of_the_first_batch(case):
    golden = case("gtn")
    synthetic = set_of(golden, torch.float32)
    batch = golden.config["batch_size"]
    golden.check(synthetic.generate(0).detach(), golden["final_only/f32/images0"], "images0")
    places = synthetic.order[next(synthetic.blocks(1))]
    images, targets = synthetic.decode(next(synthetic.blocks(1)))
    assert sorted(places.tolist()) == list(range(batch))
    golden.check(targets, golden["final_only/f32/labels0"][places], "labels0")
    golden.check(images.detach(), golden["final_only/f32/images0"][places], "images0")
