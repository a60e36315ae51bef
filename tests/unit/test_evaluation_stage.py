"""The stage `evaluate`: groups of networks, what it keeps when one fails, and its errors."""

import json
from pathlib import Path

import pytest
import torch

from ddpipe.evaluation import Examination
from ddpipe.files.artifacts import read_tensors, write_json
from tests.unit.small_project import Project, reseal

CELL, RESULT = "dm-tiny-1", "data/results/tiny/dm-tiny-1.small.quick.json"
RULES = "protocols.quick"


@pytest.fixture
def judged(project: Project) -> Project:
    """One set, three networks."""
    project.set("params.yaml", f"{RULES}.networks", 3)
    return project


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[list[object]]:
    """The groups that are trained: the numbers of their networks, in order."""
    groups: list[list[object]] = []
    scores = Examination.scores

    def noting(self, data, streams, passed):
        groups.append([rng.path[-1] for rng in streams])
        return scores(self, data, streams, passed)

    monkeypatch.setattr(Examination, "scores", noting)
    return groups


def result(project: Project) -> dict:
    return json.loads((project.root / RESULT).read_text())


def learn_step(project: Project, lr: float) -> None:
    """As if the step size had been learned with the set."""
    folder = project.root / f"data/distilled/{CELL}"
    tensors, _ = read_tensors(folder / "0.safetensors")
    reseal(folder, set_0=tensors | {"hint.lr": torch.tensor(lr)})


def refusal(project: Project, capsys: pytest.CaptureFixture[str]) -> str:
    before = project.outputs()
    capsys.readouterr()
    assert project.run("evaluate", CELL) == 2
    assert project.outputs() == before
    (line,) = capsys.readouterr().err.splitlines()
    return line


def test_networks_trained_together_are_those_trained_one_by_one(judged, trained):
    assert judged.run("evaluate", CELL) == 0
    alone = result(judged)
    for path in (judged.root / "data/checkpoints/evaluate").rglob("*.safetensors"):
        path.unlink()
    judged.set("params.yaml", "run.together", 2)
    assert judged.run("evaluate", CELL) == 0
    assert trained == [[0], [1], [2], [0, 1], [2]]
    for a, b in zip(result(judged)["accuracies"][0], alone["accuracies"][0], strict=True):
        assert a == pytest.approx(b, abs=100 / 12 + 1e-9)  # one test image
    assert result(judged)["n"] == 3


def test_only_unfinished_networks_are_trained_again(judged, trained):
    judged.set("params.yaml", "run.together", 2)
    assert judged.run("evaluate", CELL) == 0
    whole = result(judged)
    for student in (0, 1):
        (judged.root / f"data/checkpoints/evaluate/{CELL}.small.quick/0/{student}.safetensors").unlink()
    assert judged.run("evaluate", CELL) == 0
    assert trained == [[0, 1], [2], [0, 1]]
    assert result(judged)["accuracies"] == whole["accuracies"]


@pytest.mark.parametrize("lost", ["removed", "cut short"])
def test_a_group_that_lost_a_network_is_trained_again_as_a_whole(judged, trained, lost):
    """The bits of each depend on its company, and those of a whole group stay as they are."""
    judged.set("params.yaml", f"{RULES}.networks", 5)
    judged.set("params.yaml", "run.together", 3)
    assert judged.run("evaluate", CELL) == 0
    whole = result(judged)
    path = judged.root / f"data/checkpoints/evaluate/{CELL}.small.quick/0/1.safetensors"
    path.unlink() if lost == "removed" else path.write_bytes(path.read_bytes()[:-20])
    judged.set("params.yaml", f"{RULES}.networks", 7)
    assert judged.run("evaluate", CELL) == 0
    assert trained == [[0, 1, 2], [3, 4], [0, 1, 2], [5, 6]]
    assert result(judged)["accuracies"][0][:5] == whole["accuracies"][0]


def test_a_smaller_group_than_before_is_what_was_asked_for(judged, trained):
    judged.set("params.yaml", "run.together", 3)
    assert judged.run("evaluate", CELL) == 0
    (judged.root / f"data/checkpoints/evaluate/{CELL}.small.quick/0/1.safetensors").unlink()
    judged.set("params.yaml", "run.together", 2)
    assert judged.run("evaluate", CELL) == 0
    assert trained == [[0, 1, 2], [1]]


@pytest.mark.parametrize(
    ("together", "told"),
    [
        (2, "run.together: out of memory with 2 networks at once; set it to 1,"),
        (1, "protocols.quick.batch: out of memory"),
    ],
)
@pytest.mark.parametrize("error", [RuntimeError("CUDA out of memory. Tried to"), MemoryError()])
def test_lack_of_memory_names_the_key_and_keeps_finished_networks(
    judged, trained, monkeypatch, capsys, together, told, error
):
    judged.set("params.yaml", f"{RULES}.networks", 4)
    judged.set("params.yaml", "run.together", together)
    with monkeypatch.context() as patch:
        scores = Examination.scores

        def failing(self, data, streams, passed):
            if len(trained) == 1:
                raise error
            return scores(self, data, streams, passed)

        patch.setattr(Examination, "scores", failing)
        line = refusal(judged, capsys)
    assert line.startswith(f"error: {told}") and line.endswith("finished networks are kept")
    kept = {path.stem for path in Path(judged.root / "data/checkpoints/evaluate").rglob("*.safetensors")}
    assert kept == {str(number) for number in range(together)}
    del trained[:]
    assert judged.run("evaluate", CELL) == 0
    assert [number for group in trained for number in group] == list(range(together, 4))


def test_other_errors_are_not_taken_for_a_lack_of_memory(judged, monkeypatch, capsys):
    def failing(self, data, streams, passed):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(Examination, "scores", failing)
    assert judged.run("evaluate", CELL) == 1
    assert "unexpected RuntimeError: shapes cannot be multiplied" in capsys.readouterr().err


def test_the_learned_step_size_is_used(judged):
    judged.set("params.yaml", f"{RULES}.lr", 0.3)
    assert judged.run("evaluate", CELL) == 0
    fixed = result(judged)["accuracies"]
    judged.set("params.yaml", f"{RULES}.lr", 1e-6)
    learn_step(judged, 0.3)
    assert judged.run("evaluate", CELL) == 0
    assert result(judged)["accuracies"] != fixed, "only a protocol with learned_lr uses it"
    judged.set("params.yaml", f"{RULES}.learned_lr", True)
    assert judged.run("evaluate", CELL) == 0
    assert result(judged)["accuracies"] == fixed


def test_a_set_without_a_step_size_is_refused(judged, capsys):
    judged.set("params.yaml", f"{RULES}.learned_lr", True)
    line = refusal(judged, capsys)
    assert line.startswith(
        f"error: grid.{CELL}.protocol: 'quick' needs the hint lr (one number) of the set, but set 0 of "
    )
    assert line.endswith(f"{CELL} leaves none; name another protocol, for example 'again'")


@pytest.mark.parametrize(("lr", "told"), [(-0.1, "is -0.1;"), (0.0, "is 0;"), (1e30, "1e+30 learned with set 0")])
def test_a_step_size_that_cannot_be_used_is_refused(judged, capsys, lr, told):
    judged.set("params.yaml", f"{RULES}.learned_lr", True)
    learn_step(judged, lr)
    line = refusal(judged, capsys)
    assert line.startswith("error: protocols.quick.learned_lr: ") and told in line and "smaller learning rate" in line


def test_an_augmentation_that_is_left_empty_names_its_evaluation(judged, capsys):
    judged.set("params.yaml", f"{RULES}.augment", "flip")  # the data forbids it
    assert f'{CELL}.small.quick: augment "flip" is empty' in refusal(judged, capsys)


def test_the_experts_of_a_cell_stand_beside_its_cost(judged):
    """Not added: a buffer may serve several cells."""
    assert judged.run("evaluate", CELL) == 0
    alone = result(judged)["cost"]
    assert "experts" not in alone
    judged.set("ddpipe/methods/dm.yaml", f"grid.{CELL}.needs", "data/experts/tiny")
    path = judged.root / "data/costs/experts.tiny.json"
    write_json(path, {"seconds": 12.5})
    assert judged.run("evaluate", CELL) == 0
    assert result(judged)["cost"] == alone | {"experts": {"buffer": "tiny", "seconds": 12.5}}
    path.unlink()
    assert judged.run("evaluate", CELL) == 0
    assert result(judged)["cost"] == alone, "what they cost is not at hand"
