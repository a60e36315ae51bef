"""One outer iteration of the official gradient matching program, step by step, against a real `Distillation`."""

from collections.abc import Sequence

import pytest
import torch
from cases import Case
from parts import Recorded, WholeClass, copy_, gradients_of, network_of
from torch import Tensor

from ddpipe import settings
from ddpipe.augmentation.siamese import Draw
from ddpipe.distillation.loop import Distillation
from ddpipe.distillation.outer import Outer
from ddpipe.objectives import distances, gradient
from ddpipe.randomness import Streams
from ddpipe.students import trained
from ddpipe.synthetic.pixels import Pixels


def follow(
    golden: Case,
    monkeypatch: pytest.MonkeyPatch,
    strategy: str,
    draws: Sequence[Draw],
    student_strategy: str,
    student_draws: Sequence[Draw],
    objective: dict | None = None,
) -> tuple[Recorded, Recorded]:
    """Run the case's updates and check each one: distances, gradient, images, and every stored step of the network.

    Returns the augmentations of the matching and of the network's training, with what came out of them.

    Args:
        objective: its settings; left out: the case's metric alone.
    """
    config = golden.config
    assert config["weight_decay_net"] == 0 and not config["net_train_after_last_update"], "Trained does neither"
    weights = golden.parameters()
    monkeypatch.setattr(trained, "initialise_", lambda network, rng: copy_(network, weights))
    found = recording(monkeypatch, distances, "class_distances", lambda result, *arguments: result.detach())
    monkeypatch.setattr(gradient, "class_distances", distances.class_distances)
    steps = recording(  # a pass is a step, because the set fits into one batch
        monkeypatch,
        trained,
        "pass_over",
        lambda _, descent, *rest: [p.detach().clone() for p in descent.optimizer.parameters],
    )
    objective = objective or {"metric": config["metric"]}
    run, matching, training = compose(golden, strategy, draws, student_strategy, student_draws, objective)
    gradients = gradients_of(monkeypatch, run)
    check, before = golden.check, golden["syn_init"]
    for number in range(config["num_syn_updates"]):
        del found[:]
        run.advance()
        when, after = "later_step" if number else "first_step", run.synthetic.images.detach().clone()
        expected, total = distances_of(golden, number)
        check(torch.cat(found), expected, f"{when}_dist", "float32")
        check(run.history[number], total, f"{when}_dist", "float32")
        check(gradients[number], golden[f"step{number}_grad_syn"], f"{when}_grad_syn")
        check(after, golden[f"step{number}_syn_after"], f"{when}_syn_after")
        earlier = golden[f"step{number - 1}_syn_after"] if number else before
        check(after - before, golden[f"step{number}_syn_after"] - earlier, "syn_change")
        before = after
    assert len(steps) == config["num_net_steps"]
    for number in config["stored_netsteps"]:
        for own, expected in zip(steps[number], golden.parameters(f"netstep{number}_"), strict=True):
            check(own, expected, "netstep")
    return matching, training


def distances_of(golden: Case, number: int) -> tuple[Tensor, Tensor]:
    """The distances of an update, as the case has them, and the loss that they make."""
    alone = golden[f"step{number}_dist"]
    if "inter_weight" not in golden.config:
        return alone, alone.sum()
    joint = golden[f"step{number}_inter"]
    return torch.cat([alone, joint[None]]), alone.sum() + golden.config["inter_weight"] * joint


def compose(
    golden: Case,
    strategy: str,
    draws: Sequence[Draw],
    student_strategy: str,
    student_draws: Sequence[Draw],
    objective: dict,
) -> tuple[Distillation, Recorded, Recorded]:
    config = golden.config
    classes = torch.arange(config["num_classes"]).repeat_interleave(config["ipc"])
    synthetic = Pixels(golden["syn_init"], classes, config["num_classes"])
    matching, training = Recorded(strategy, draws), Recorded(student_strategy, student_draws)
    student_settings = settings.students.trained.TrainedStudents(
        name="trained",
        outer_loop=config["num_syn_updates"],
        inner_loop=config["net_epochs_between_updates"],
        lr=config["lr_net"],
        momentum=config["momentum_net"],
        batch=config["net_batch_size"],
    )
    matched = settings.objectives.gradient.GradientMatching(name="gradient", **objective)
    run = Distillation(
        synthetic,
        gradient.GradientMatching(matched, config["real_per_class"]),
        trained.Trained(student_settings, network_of(config["network"], golden.parameters()), training),
        WholeClass(golden["real"]),
        matching,
        Outer(synthetic.groups(), {"images": settings.Optimizer(lr=config["lr_img"], momentum=config["momentum_img"])}),
        Streams("trace"),
        torch.zeros(config["num_syn_updates"]),
    )
    return run, matching, training


def recording(monkeypatch: pytest.MonkeyPatch, module, name: str, what) -> list:
    """Let `module.name` note `what(result, *arguments)` of each of its calls in the list returned."""
    notes: list = []
    function = getattr(module, name)

    def noting(*arguments):
        result = function(*arguments)
        notes.append(what(result, *arguments))
        return result

    monkeypatch.setattr(module, name, noting)
    return notes


def no_draws(number: int, n: int) -> list[Draw]:
    return [Draw("none", torch.empty(0, n)) for _ in range(number)]
