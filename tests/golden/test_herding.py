"""Herding, iCaRL's herding and K-Center select the reference's rows, in its order."""

import pytest

from ddpipe.selections import coresets


@pytest.mark.variants_of("herding")
def test_selections_equal_the_reference(case, variant):
    herding = case("herding")
    chosen, config = herding.config["variants"][variant], herding.config
    class_index = [(herding["targets"] == label).nonzero()[:, 0] for label in range(config["num_classes"])]
    assert [len(rows) for rows in class_index] == config["class_sizes"]
    ipc = int(herding["ipc"])
    if variant == "kcenter":
        selected = coresets.kcenter(herding["features"], class_index, ipc)
    else:
        selected = coresets.herding(herding["features"], class_index, ipc, normalise=chosen["normalise"])
    for key in chosen["keys"]:
        herding.check(selected, herding[key], key)
