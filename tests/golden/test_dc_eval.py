"""The evaluation's training loop against the official one: every step's rate, stored weights, both accuracies."""

import torch
import torch.nn.functional as F
from parts import network_of

from ddpipe import settings
from ddpipe.augmentation.siamese import Augment
from ddpipe.randomness import generator
from ddpipe.synthetic import Batch
from ddpipe.training import loop


def test_every_step_of_the_official_loop(case, monkeypatch):
    golden = case("dc_eval")
    config = golden.config
    network = network_of(config["network"], golden.parameters())
    images, labels = golden["syn"], golden["labels"]
    targets = F.one_hot(labels, config["num_classes"]).to(images)
    protocol = settings.Trained(
        epochs=config["epoch_eval_train"],
        extra_epoch=config["num_epochs"] > config["epoch_eval_train"],
        lr=config["lr"],
        momentum=config["momentum"],
        weight_decay=config["weight_decay"],
        batch=config["batch_size"],
        drop="half",
        drop_resets_momentum=config["optimizer_rebuilt_at_decay"],
        augment=config["augmentation"],
    )
    assert loop.passes(protocol) == config["num_epochs"]
    rates, step = [], loop.Optimizer.step

    def noting(optimizer, gradients):
        rates.append(optimizer.lr)
        step(optimizer, gradients)

    def share_right(fetch, answers):
        """As the official code computes it; the percent of `accuracy` is rounded once more."""
        right = round(loop.accuracy(network, fetch, answers) * len(answers) / 100)
        network.train()
        return torch.tensor(right / len(answers), dtype=torch.float64)

    monkeypatch.setattr(loop.Optimizer, "step", noting)
    before_last = None
    passes = loop.train(
        network,
        protocol,
        lambda index: Batch(images[index], targets[index]),
        len(images),
        Augment(protocol.augment),
        generator("dc_eval"),
    )
    for number in passes:
        if number + 1 in config["stored_after_steps"]:  # a pass is a step: the set fits into one batch
            expected = golden.parameters(f"after{number + 1}_")
            for parameter, weight in zip(network.parameters(), expected, strict=True):
                golden.check(parameter.detach(), weight, "parameters")
        if number + 2 == config["num_epochs"]:
            before_last = share_right(images.__getitem__, labels)
    golden.check(torch.tensor(rates, dtype=torch.float64), golden["lr_per_step"], "lr_per_step")
    golden.check(before_last, golden["acc_train_last_epoch"], "acc_train_last_epoch")
    golden.check(share_right(golden["test"].__getitem__, golden["test_labels"]), golden["acc_test"], "acc_test")
