"""KFS composed of parts is the plain program, warm start included."""

import pytest
import torch
from torch import Tensor

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.distillation.loop import compose
from ddpipe.randomness import Streams, generator
from ddpipe.synthetic.decoder import Decoder
from tests.contexts import context
from tests.reference.kfs import decoder, kfs
from tests.reference.program import Scene

SCENE = Scene("dm", 2, width=4, num_classes=3, per_class=11, real_batch=6)
WARM, ITERATIONS, STRATEGY, RATES = 4, 5, "color_crop_cutout_scale_rotate", (0.02, 0.005)


class Pool:
    """Two experts with the weights of three epochs each."""

    def __init__(self, scene: Scene):
        count = sum(p.numel() for p in scene.network().parameters())
        self.weights = torch.randn(2, 3, count, generator=generator("pool")) / 3

    def __len__(self) -> int:
        return len(self.weights)

    def snapshot(self, expert: int, epoch: int) -> Tensor:
        return self.weights[expert, epoch]


@pytest.mark.parametrize("side", [2, 3])  # of a code: 2 reaches 8 as it is, 3 goes beyond
@pytest.mark.parametrize("batch", [None, 4])
def test_a_whole_run_is_that_of_the_plain_program(side: int, batch: int | None) -> None:
    pool, real = Pool(SCENE), SCENE.real()
    config = settings.Distillation.model_validate(
        {
            "synthetic": {"name": "decoder", "codes": 3, "channels": 2, "side": side, "decoders": 2, "width": 3},
            "objective": {"name": "distribution", "batch": batch},
            "students": {"name": "trained", "start": {"epochs": [1, 2], "perturbed": None}},
            "augment": STRATEGY,
            "outer": {
                key: {"optimizer": "adam", "lr": lr} for key, lr in zip(("codes", "decoders"), RATES, strict=True)
            },
            "warm": {"objective": {"name": "reconstruction"}, "iterations": WARM},
            "iterations": ITERATIONS,
            "real_batch": SCENE.real_batch,
            "excess": True,
        }
    )
    network = SCENE.network()
    made = context(real, SCENE.ipc, network, Streams("kfs"), False, SCENE.real_batch, pool)  # type: ignore[arg-type]
    run = compose(config, made)
    assert isinstance(run.synthetic, Decoder)
    draw = Streams("kfs")
    codes = 0.5 * torch.randn(9, 2, side, side, generator=draw("synthetic.init"))
    shapes = [((2, 2, 3, 4, 4), (2, 3), 3), ((2, 3, 1, 4, 4), (2, 1), 1)]  # of both decoders; outputs of the layer
    layers = [
        tuple(torch.empty(s).uniform_(-1, 1, generator=draw("synthetic.init")) / (16 * outputs) ** 0.5 for s in both)
        for *both, outputs in shapes
    ]
    decoders = [decoder([(weight[k], bias[k]) for weight, bias in layers]) for k in range(2)]
    picked = [real.sample_index(label, 6, draw("objective.init")) for label in range(3)]  # fewer than the 11 of a class

    def sampled() -> tuple[list[Tensor], Tensor]:
        rows = torch.arange(18).view(3, 6)
        if batch is not None:
            rows = torch.stack([own[torch.randperm(6, generator=draw("synthetic.batches"))[:batch]] for own in rows])
        return [real.sample(label, SCENE.real_batch, draw("real")) for label in range(3)], rows.flatten()

    def weights() -> Tensor:
        expert = int(torch.randint(2, (), generator=draw("students.start")))
        return pool.snapshot(expert, int(torch.randint(1, 3, (), generator=draw("students.start"))))

    def augment() -> tuple[Augment, list]:
        policy = Augment(STRATEGY)
        return policy, [policy.draw(draw("augment"), 1, SCENE.side, SCENE.side) for _ in range(3)]

    assigned = real.batch(torch.cat(picked))
    plain = kfs(
        codes, decoders, SCENE.side, 3, RATES, assigned, WARM, sampled, SCENE.network().train(), weights, augment
    )
    for number in range(WARM + ITERATIONS):
        before = run.synthetic.decode().images.detach()
        run.advance()
        moved, expected = run.synthetic.decode().images.detach(), next(plain)
        assert moved.shape == expected.shape == (18, 1, 8, 8)
        assert float((moved - expected).norm() / (expected - before).norm()) < 2e-3, number
    assert run.iteration == run.iterations == len(run.history)
