"""Reading golden cases and comparing with them by the tolerance that each case states for itself."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor


class Case:
    """One golden case: `case[key]` is a tensor of the .npz file, `case.config` the .json file."""

    def __init__(self, folder: Path, name: str, config: str | None = None):
        self.config: dict[str, Any] = json.loads((folder / f"{config or name}.json").read_text())
        self.folder, self.name = folder, name
        path = folder / f"{name}.npz"
        self.arrays = dict(np.load(path)) if path.exists() else {}

    def __getitem__(self, key: str) -> Tensor:
        array = self.arrays[key]
        return torch.from_numpy(array.copy(order="C"))

    def __contains__(self, key: str) -> bool:
        return key in self.arrays

    def parameters(self, prefix: str = "") -> list[Tensor]:
        """The tensors `<prefix>p00`, `<prefix>p01`, ... in order."""
        return [self[key] for key in sorted(self.arrays) if re.fullmatch(re.escape(prefix) + r"p\d\d", key)]

    def check(self, actual: Tensor, expected: Tensor, quantity: str, dtype: str | None = None) -> None:
        """Assert that `actual` equals `expected` within the case's tolerance for `quantity`.

        `dtype` names the block of the case's tolerances; left out, that of `expected`.
        """
        dtype = dtype or str(expected.dtype).removeprefix("torch.")
        rules = self.config["tolerance"][dtype]
        rule = rules.get(quantity, rules["default"])
        assert actual.shape == expected.shape, f"{quantity}: {tuple(actual.shape)} is not {tuple(expected.shape)}"
        if rule.get("exact"):
            assert torch.equal(actual, expected.to(actual.dtype)), f"{quantity}: not equal"
            return
        a, b = actual.double(), expected.double()
        gap, top = (a - b).abs(), float(b.abs().max())
        if "l2_rel" in rule:
            error = float((a - b).norm())
            assert error <= rule["l2_rel"] * float(b.norm()), f"{quantity}: L2 error {error:.2e}, rule {rule}"
        elif "max_rel" in rule:
            error = float(gap.max())
            assert error <= rule["max_rel"] * top + rule.get("atol", 0.0), f"{quantity}: {error:.2e}, rule {rule}"
        else:
            bound = rule.get("atol", 0.0) + rule.get("max_ref_atol", 0.0) * top + rule.get("rtol", 0.0) * b.abs()
            assert bool((gap <= bound).all()), f"{quantity}: largest difference {float(gap.max()):.2e}, rule {rule}"


@cache
def load_case(folder: Path, name: str, config: str | None = None) -> Case:
    if not (folder / f"{name}.npz").exists() and not (folder / f"{name}.json").exists():
        pytest.skip(f"{folder} has no case {name}")
    return Case(folder, name, config)
