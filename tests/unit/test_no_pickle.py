"""No pickle is written, and none is read but by the restricted unpicklers, ours and torch's: no other code can."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESTRICTED = ROOT / "ddpipe/datasets/readers/pickled.py"  # tests/unit/test_datasets_pickled.py
SOURCES = sorted({p for folder in ("ddpipe", "stages") for p in (ROOT / folder).rglob("*.py")} - {RESTRICTED})
MODULES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
CALLS = {"torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_source(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            assert not MODULES & {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in MODULES
        elif isinstance(node, ast.Call):
            said = {keyword.arg: keyword.value for keyword in node.keywords}
            restricted = "weights_only" in said and ast.literal_eval(said["weights_only"]) is True
            assert ast.unparse(node.func) not in CALLS or ast.unparse(node.func) == "torch.load" and restricted
            for keyword in node.keywords:
                assert keyword.arg != "allow_pickle" or ast.literal_eval(keyword.value) is False


def test_the_unpickler_only_unpickles_restricted() -> None:
    tree = ast.parse(RESTRICTED.read_text())
    used = {
        node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "pickle"
    }
    assert used == {"Unpickler", "UnpicklingError"}
    (base,) = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == "Restricted"]
    assert [ast.unparse(each) for each in base.bases] == ["pickle.Unpickler"]
    assert "find_class" in {node.name for node in base.body if isinstance(node, ast.FunctionDef)}
