"""IDC's composition of augmentations and its CutMix equal the official code's results for the same raw draws."""

import pytest
import torch

from ddpipe import augmentation
from ddpipe.augmentation import cutmix
from ddpipe.augmentation.siamese import Draw
from ddpipe.randomness import generator


def raw_draws(golden, variant, spec):
    """The variant's draws by name, (1,) or (n,); the number of the single operation is not one of a policy's rows."""
    if spec["mode"] == "batch":
        draws = dict(zip(spec["draw_names"], golden[f"{variant}_draws"].view(-1, 1), strict=True))
        assert spec["single_ops"][int(draws.pop("single_index"))] == spec["single_op"]
        return draws
    assert spec["single_ops"][int(golden[f"{variant}_np0"])] == spec["single_op"]
    return {name: golden[spec["draw_keys"][name]] for name in spec["draw_names"]}


@pytest.mark.variants_of("idc_aug")
def test_compositions(case, variant):
    golden = case("idc_aug")
    spec, images = golden.config["variants"][variant], golden["x"]
    policy = augmentation.make(f"idc:{spec['strategy']}", flip=spec["flip"])
    assert list(policy.choices) == spec["single_ops"]
    named = {name for name in ("flip", "color", "cutout") if spec[name]} | {spec["single_op"]}
    order = [spec["single_op"] if part == "one_of_single_ops" else part for part in golden.config["composition"]]
    assert list(policy.applied(spec["single_op"])) == [name for name in order if name in named]
    rows = [draw.double() for draw in raw_draws(golden, variant, spec).values()]
    changed = policy(images, Draw(spec["single_op"], torch.stack(rows)))
    golden.check(changed, golden[f"{variant}_out"], f"{variant}_out")


@pytest.mark.variants_of("idc_aug")
def test_policies_draw_what_the_official_code_draws(case, variant):
    golden = case("idc_aug")
    spec, images = golden.config["variants"][variant], golden["x"]
    policy, rng = augmentation.make(f"idc:{spec['strategy']}", flip=spec["flip"]), generator(variant)
    n = 1 if spec["mode"] == "batch" else len(images)
    draws = [policy.draw(rng, n, *images.shape[2:]) for _ in range(20 * len(spec["single_ops"]))]
    assert {draw.operation for draw in draws} == set(spec["single_ops"])
    shapes = {tuple(draw.parameters.shape) for draw in draws if draw.operation == spec["single_op"]}
    assert shapes == {(len(raw_draws(golden, variant, spec)), n)}


def test_cutmix(case):
    golden = case("idc_aug")
    images, partners = golden["x"], golden["cm_perm"]
    n, _, height, width = images.shape
    draw = cutmix.Draw(float(golden["cm_lam"]), int(golden["cm_cx"]), int(golden["cm_cy"]), partners)
    rows, columns = cutmix.rectangle(height, width, draw)
    assert [rows.start, columns.start, rows.stop, columns.stop] == golden["cm_bbox"].tolist()
    mixed, targets = cutmix.mix(images, torch.eye(n, dtype=torch.float64), draw)
    golden.check(mixed, golden["cm_out"], "cm_out")
    assert torch.equal(targets.sum(1), torch.ones(n, dtype=torch.float64))
    moved = [i for i in range(n) if partners[i] != i]
    assert moved
    for i in moved:
        golden.check(targets[i, i], golden["cm_ratio"], "cm_ratio")
        golden.check(targets[i, partners[i]], 1 - golden["cm_ratio"], "cm_ratio")
