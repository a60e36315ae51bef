"""Every DSA operation and strategy equals the official code's result for the same raw draws."""

import pytest
import torch

from ddpipe.augmentation import siamese


def outcome(images, operations, draws, draws_per_operation):
    """The operations in order, each fed with its share of the raw draws; a whole strategy is DSA's mode "M"."""
    draws = list(draws)
    for name in operations:
        own = [draws.pop(0) for _ in range(draws_per_operation[name])]
        images = getattr(siamese, name)(images, *own)
    assert not draws
    return images


@pytest.mark.variants_of("dsa_aug")
def test_operations_and_their_gradients_equal_the_official_ones(case, variant):
    dsa = case("dsa_aug")
    chosen, config = dsa.config["variants"][variant], dsa.config
    images = dsa[chosen["input"]].requires_grad_()
    if chosen["align_corners"] and images.shape[2] != images.shape[3]:
        pytest.skip("align_corners changes nothing for square images only")
    draws = [dsa[key].reshape(-1) for key in chosen["draw_keys"]]
    changed = outcome(images, chosen["ops"], draws, config["draws_per_op"])
    dsa.check(changed, dsa[chosen["out_key"]], chosen["op"] or "mult")
    if chosen["gradient_key"]:
        (gradient,) = torch.autograd.grad((changed * dsa[config["gradient_weight_key"]]).sum(), images)
        dsa.check(gradient, dsa[chosen["gradient_key"]], "gradient")


def test_strategies_number_and_apply_their_operations_as_the_official_code(case):
    dsa = case("dsa_aug")
    for chosen in dsa.config["variants"].values():
        if chosen["op_index"] is not None:
            policy = siamese.Augment(chosen["strategy"])
            assert policy.operations[chosen["op_index"]] == chosen["op"]
            draws = torch.stack([dsa[key].reshape(-1) for key in chosen["draw_keys"]])
            changed = policy(dsa[chosen["input"]], siamese.Draw(chosen["op"], draws))
            dsa.check(changed, dsa[chosen["out_key"]], chosen["op"])
