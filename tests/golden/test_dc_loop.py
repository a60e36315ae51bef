"""DC's loop: images updated, the network trained on them, images updated again, as the official program does."""

from traces import follow, no_draws


def test_every_step_of_the_official_program(case, monkeypatch):
    golden = case("dc_loop")
    config = golden.config
    draws = no_draws(config["num_syn_updates"] * config["num_classes"], 1)
    training = no_draws(config["num_net_steps"], config["num_classes"] * config["ipc"])
    follow(golden, monkeypatch, config["augmentation"], draws, config["augmentation"], training)
