"""IDC's multi-formation and its start from mixed real images."""

import pytest
import torch
from torch import Tensor

from ddpipe.synthetic.multiformation import formed, mixed


def decoded(images: Tensor, factor: int) -> tuple[Tensor, Tensor]:
    """All images patch by patch, as the case lists them, and the number of the image behind each."""
    rows = torch.arange(len(images)).repeat(factor**2)
    places = torch.arange(factor**2).repeat_interleave(len(images))
    return formed(images, factor, rows, places), rows


@pytest.mark.parametrize("factor", [1, 2, 3, 4])
def test_decoding_and_its_gradient(case, factor):
    golden = case("idc")
    images = golden["dec_in"].requires_grad_()
    found, rows = decoded(images, factor)
    if factor == 1:  # the first part of what several factors give together
        golden.check(found[:, :1], golden["dec_multi2"][: len(images)], "decode")
        return
    assert factor in golden.config["decode_factors"]
    stored = golden.config["variants"][f"dec_f{factor}"]["stored_channels"]
    golden.check(found[:, :stored], golden[f"dec_f{factor}"], "decode")
    labels = torch.tensor(golden.config["dec_input_labels"])
    golden.check(labels[rows], golden[f"dec_f{factor}_target"], "target")
    weights = torch.arange(found.numel(), dtype=torch.float32).sin().view_as(found)
    (gradient,) = torch.autograd.grad((found * weights).sum(), images)
    golden.check(gradient, golden[f"dec_f{factor}_gx"], "gx")


@pytest.mark.parametrize("factor", [2, 3])
def test_mixed_start(case, factor):
    golden = case("idc")
    golden.check(mixed(golden[f"mix_f{factor}_pool"], factor), golden[f"mix_f{factor}_out"], "mix_init")
