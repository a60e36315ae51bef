"""The trajectory methods' evaluation, with a learned step size and hard or soft labels, through the pipeline's code."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ddpipe import evaluation, settings
from ddpipe.datasets.preprocessing import Preprocessing
from ddpipe.datasets.resident import Resident
from ddpipe.experts.training import restore_
from ddpipe.randomness import Streams
from ddpipe.synthetic import Batch


@pytest.mark.variants_of("mtt_eval")
@pytest.mark.parametrize("together", [1, 2])
def test_weights_and_accuracy_of_the_official_loop(case, variant, together, monkeypatch):
    golden = case("mtt_eval")
    config, keys = golden.config, golden.config["variants"][variant]
    monkeypatch.setattr("ddpipe.networks.initialise_", lambda network, rng: restore_(network, golden["theta0"]))
    images, given = golden["images"], golden[keys["labels_key"]]
    targets = given if given.is_floating_point() else F.one_hot(given, config["num_classes"]).to(images)
    hints = {"lr": torch.tensor(config["lr"], dtype=torch.float64)}
    data = evaluation.TrainingSet(lambda index: Batch(images[index], targets[index]), len(images), hints)
    examination = evaluation.Examination(
        architecture(config["network"]), protocol(config), unseen(golden), config["num_classes"], flip=True
    )

    found = examination.accuracies(data, [Streams("mtt_eval", number) for number in range(together)])
    for network, percent in zip(examination.group.members(), found, strict=True):
        weights = nn.utils.parameters_to_vector(network.parameters()).detach()
        golden.check(weights, golden[keys["theta_key"]], "parameters")
        share = torch.tensor(percent / 100, dtype=torch.float64)
        golden.check(share, golden[keys["acc_key"]], "accuracy", "accuracy")


def architecture(spec: dict) -> settings.ConvNet:
    return settings.ConvNet(
        kind=spec["kind"],
        depth=spec["depth"],
        width=spec["width"],
        norm=spec["norm"],
        first_padding=spec["first_conv_padding"],
    )


def protocol(config: dict) -> settings.Trained:
    assert config["lr_decay_after_epoch_index"] == config["epochs"] // 2 + 1
    assert (config["lr_decay_factor"], config["dampening"], config["nesterov"]) == (0.1, 0.0, False)
    return settings.Trained(
        epochs=config["epochs"],
        extra_epoch=config["num_epochs"] > config["epochs"],
        learned_lr=True,
        momentum=config["momentum"],
        weight_decay=config["weight_decay"],
        batch=config["batch_size"],
        drop="half",
        drop_resets_momentum=config["optimizer_rebuilt_at_decay"],
        augment=config["augmentation"],
    )


def unseen(golden) -> Resident:
    images, channels = golden["test_images"], golden.config["network"]["channels"]
    unchanged = Preprocessing(torch.ones(channels, 1, 1), torch.zeros(channels, 1, 1))
    return Resident(images, golden["test_labels"], unchanged)
