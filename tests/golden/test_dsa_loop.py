"""DSA's loop with the augmentations that the official program drew: one for a class and update, one an image else."""

import torch
from traces import follow

from ddpipe.augmentation.siamese import Draw


def recorded(golden, name):
    """The draw called `name`: one column for the whole batch where a single number is stored, else one an image."""
    stated = golden.config["draws"][name]
    numbers = [golden[f"{name}_u{k}"].reshape(-1) for k in range(stated["num_draws"])]
    return Draw(stated["op"], torch.stack(numbers))


def test_every_step_of_the_official_program(case, monkeypatch):
    golden = case("dsa_loop")
    config = golden.config
    assert config["siamese_matching"] and not config["siamese_net_training"]
    updates, classes = range(config["num_syn_updates"]), range(config["num_classes"])
    matching, training = follow(
        golden,
        monkeypatch,
        config["strategy"],
        [recorded(golden, f"s{update}c{label}") for update in updates for label in classes],
        config["strategy"],
        [recorded(golden, f"train{step}") for step in range(config["num_net_steps"])],
    )

    stored = config["stored_augmented_update"]
    for label in classes:
        changed = matching.outcomes[stored * len(classes) + label]
        (learned,) = (images.detach() for images in changed if images.requires_grad)
        (real,) = (images for images in changed if not images.requires_grad)
        golden.check(real, golden[f"s{stored}c{label}_real_aug"], "augmented")
        golden.check(learned, golden[f"s{stored}c{label}_syn_aug"], "augmented")
    for step, (changed,) in enumerate(training.outcomes):
        if f"train{step}_out" in golden:
            golden.check(changed, golden[f"train{step}_out"], "train_augmented")
