"""DC's older augmentation equals the official code's result for the same raw draws."""

import pytest
import torch

from ddpipe.augmentation.older import OlderAugment
from ddpipe.augmentation.siamese import Draw


@pytest.mark.parametrize("operation", ["crop", "scale", "rotate"])
def test_operations_equal_the_official_ones(case, operation):
    dc_eval = case("dc_eval")
    if operation not in dc_eval.config["aug_ops"]:
        pytest.skip("the case has no such operation")
    images, draws = dc_eval["aug_x"], dc_eval[f"aug_{operation}_draws"]  # draws: n, 1 or 2
    policy = OlderAugment("older:" + "_".join(dc_eval.config["aug_ops"]))
    parameters = torch.zeros(3, len(images), dtype=torch.float64)
    parameters[0] = policy.operations.index(operation)
    parameters[1 : 1 + draws.shape[1]] = draws.T
    changed = policy(images, Draw("older", parameters))
    dc_eval.check(changed, dc_eval[f"aug_{operation}_out"], f"aug_{operation}")
