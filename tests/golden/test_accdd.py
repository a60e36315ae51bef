"""Acc-DD's filter-normalised perturbation of a network's weights."""

from ddpipe.students.early import filter_normalised, perturbed


def test_directions_and_perturbed_weights(case):
    golden = case("accdd")
    weights, steps = golden.parameters(), golden.config["steps"]
    raw = [[golden[f"{axis}_raw{n:02d}"] for n in range(len(weights))] for axis in golden.config["directions"]]
    for axis, directions in zip(golden.config["directions"], raw, strict=True):
        for number, (direction, weight) in enumerate(zip(directions, weights, strict=True)):
            golden.check(filter_normalised(direction, weight), golden[f"{axis}_dir{number:02d}"], "direction")
    for number, found in enumerate(perturbed(weights, raw, steps)):
        golden.check(found, golden[f"pert{number:02d}"], "pert")
