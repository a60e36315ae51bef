"""The stage `evaluate`: groups of networks, what it keeps when one fails, and its errors."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from ddpipe import config
from ddpipe.evaluation import Examination
from ddpipe.files.artifacts import read_tensors, write_sealed
from ddpipe.publication import block
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


def kept(project: Project, student: int) -> Path:
    """The piece of a network that was measured on set 0."""
    [path] = (project.root / f"data/checkpoints/evaluate/{CELL}.small.quick").glob(f"0-*/{student}.safetensors")
    return path


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
    (judged.root / RESULT).unlink()
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
        kept(judged, student).unlink()
    (judged.root / RESULT).unlink()
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
    path = kept(judged, 1)
    path.unlink() if lost == "removed" else path.write_bytes(path.read_bytes()[:-20])
    judged.set("params.yaml", f"{RULES}.networks", 7)
    assert judged.run("evaluate", CELL) == 0
    assert trained == [[0, 1, 2], [3, 4], [0, 1, 2], [5, 6]]
    assert result(judged)["accuracies"][0][:5] == whole["accuracies"][0]


def test_a_smaller_group_than_before_is_what_was_asked_for(judged, trained):
    judged.set("params.yaml", "run.together", 3)
    assert judged.run("evaluate", CELL) == 0
    kept(judged, 1).unlink()
    (judged.root / RESULT).unlink()
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


def spent(project: Project, cell: str = CELL) -> dict:
    """What the result that lies there cost."""
    name = f"{cell}.small.quick.json"
    ledger, seen = (json.loads((project.root / f / name).read_text()) for f in ("data/costs", "data/results/tiny"))
    return ledger["costs"][seen["seal"]]


def test_the_experts_of_a_cell_stand_beside_its_cost(judged):
    """Not added: a buffer may serve several cells. Herding looks through as many of its networks as it chooses sets."""
    judged.set("params.yaml", "experts.tiny.networks", 2)
    (judged.root / "data/costs/herding-tiny-1.json").unlink()  # or the same set costs what it cost
    assert judged.run("resolve") == judged.run("experts", "tiny") == judged.run("distill", "herding-tiny-1") == 0
    assert judged.run("evaluate", CELL) == 0
    assert "experts" not in spent(judged)["distillation"]
    assert judged.run("evaluate", "herding-tiny-1") == 0
    trained = json.loads((judged.root / "data/experts/tiny/experts.json").read_text())["seal"]
    experts = json.loads((judged.root / "data/costs/experts.tiny.json").read_text())["costs"][trained]
    assert spent(judged, "herding-tiny-1")["distillation"]["experts"] == {
        "buffer": "tiny",
        "share": 0.5,
        **{key: experts[key] for key in ("seconds", "processor_seconds", "hardware")},
    }


def test_seconds_lie_beside_the_results_and_are_noted_once(judged):
    """Whatever the machine does: a second run, with nothing kept, changes no byte."""
    assert judged.run("evaluate", CELL) == 0
    before, cost = judged.outputs(), spent(judged)
    assert cost["seconds"] > 0 and "CPU" in cost["device"] and cost["distillation"]["iterations"] == 3
    shutil.rmtree(judged.root / "data/checkpoints")
    (judged.root / RESULT).unlink()
    assert judged.run("distill", CELL) == judged.run("evaluate", CELL) == 0
    assert judged.outputs() == before


def test_a_result_says_what_it_ran_with(judged):
    """All settings, resolved, with the records in place of their names, but not where one's own images lie."""
    assert judged.run("evaluate", CELL) == 0
    said = result(judged)["ran"]
    distilled = json.loads((judged.root / f"data/distilled/{CELL}/distilled.json").read_text())
    assert said["settings"] == distilled["settings"]
    assert said["protocol"]["epochs"] == 2  # its exception for these data
    assert said["network"] == said["student"] == {"kind": "convnet", "depth": 1, "width": 4} | said["network"]
    assert said["data"]["source"] == "npz" and "path" not in said["data"]
    assert said["experts"] is said["generators"] is None
    project = config.load(judged.root)
    key = config.ResultKey(CELL, "small", "quick")
    assert block.read(said) == block.desk(project, key).model_copy(update={"data": block.read(said).data})


def test_an_early_result_keeps_its_cost_when_more_is_said_of_it(judged, trained):
    assert judged.run("evaluate", CELL) == 0
    ledger = judged.root / f"data/costs/{CELL}.small.quick.json"
    early = {key: value for key, value in result(judged).items() if key not in ("ran", "seal")}
    before = spent(judged)
    write_sealed(ledger, {"costs": {write_sealed(judged.root / RESULT, early): before}})
    assert judged.run("evaluate", CELL) == 0
    assert len(trained) == 3 and result(judged)["ran"]  # nothing was trained again
    assert spent(judged) == before


def test_a_result_carries_the_digest_of_its_numbers_and_its_cost_the_commit(judged, monkeypatch):
    """The digest is that of numbers alone; what varies from run to run is no part of a result."""
    monkeypatch.setattr("ddpipe.files.commits.at", lambda root: "c" * 40 + "+")
    assert judged.run("evaluate", CELL) == 0
    first = result(judged)
    assert spent(judged)["commit"] == "c" * 40 + "+" and "commit" not in first and "hardware" not in first
    monkeypatch.setattr("ddpipe.files.commits.at", lambda root: None)
    shutil.rmtree(judged.root / "data/checkpoints")
    assert judged.run("distill", CELL) == judged.run("evaluate", CELL) == 0
    assert result(judged) == first
    judged.set("params.yaml", f"{RULES}.lr", 0.02)
    assert judged.run("evaluate", CELL) == 0
    second = result(judged)
    assert second["digest"] != first["digest"] and "commit" not in spent(judged)
    judged.set("params.yaml", f"{RULES}.lr", 0.01)
    judged.set("params.yaml", "methods.dm", {"iterations": 2})
    assert judged.run("distill", CELL) == judged.run("evaluate", CELL) == 0
    assert len({first["digest"], second["digest"], result(judged)["digest"]}) == 3


def test_what_was_measured_is_not_measured_again(judged, trained):
    """DVC may have lost its record, and the checkpoints may be gone; another set or another number is another thing."""
    assert judged.run("evaluate", CELL) == 0
    before = judged.outputs()
    shutil.rmtree(judged.root / "data/checkpoints")
    assert judged.run("evaluate", CELL) == 0
    assert trained == [[0], [1], [2]] and judged.outputs() == before
    (judged.root / f"data/results/tiny/{CELL}.png").unlink()
    assert judged.run("evaluate", CELL) == 0 and judged.outputs() == before
    judged.set("params.yaml", f"{RULES}.lr", 0.02)
    assert judged.run("evaluate", CELL) == 0
    assert trained == [[0], [1], [2]] * 2 and judged.outputs() != before


def test_a_number_that_comes_back_finds_its_networks(judged, trained):
    """Sets and pictures come from DVC's cache then; DVC keeps no runs of stages whose outputs git has."""
    assert judged.run("evaluate", CELL) == 0
    before = result(judged)
    for lr in (0.02, 0.01):
        judged.set("params.yaml", f"{RULES}.lr", lr)
        assert judged.run("evaluate", CELL) == 0
    assert len(trained) == 6 and result(judged) == before


def test_a_result_without_accuracies_of_classes_is_measured_again(judged, trained):
    """As earlier versions wrote them."""
    assert judged.run("evaluate", CELL) == 0
    before, path = judged.outputs(), judged.root / RESULT
    early = {key: value for key, value in result(judged).items() if key not in ("per_class", "balanced", "seal")}
    write_sealed(path, early)
    shutil.rmtree(judged.root / "data/checkpoints")
    assert judged.run("evaluate", CELL) == 0
    assert len(trained) == 6 and judged.outputs() == before


def test_a_damaged_result_is_measured_again(judged, trained):
    assert judged.run("evaluate", CELL) == 0
    before, path = judged.outputs(), judged.root / RESULT
    path.write_text(path.read_text().replace('"mean": ', '"mean": 1'))
    assert judged.run("evaluate", CELL) == 0
    assert judged.outputs() == before


def test_a_result_says_how_many_loops_of_the_sets_a_rule_did_not_end(project: Project) -> None:
    """`settled` cannot be reached and `moved` always is: every network ends by its number, no training does."""
    students = {"outer_loop": 2, "inner_loop": 2, "until": {"window": 2, "probe": 2, "settled": 1e-9, "moved": 1e-9}}
    project.set("params.yaml", "methods.dc", {"students": students, "iterations": 5, "sets": 2})
    assert project.run("distill", "dc-tiny-1") == 0 and project.run("evaluate", "dc-tiny-1") == 0
    path = project.root / "data/results/tiny/dc-tiny-1.small.quick.json"
    capped = json.loads(path.read_text())["capped"]
    sets = [read_tensors(project.root / f"data/distilled/dc-tiny-1/{number}.safetensors")[0] for number in range(2)]
    for name, (part, whole) in capped.items():
        assert part == sum(int(own[f"hint.{name}_capped"]) for own in sets)
        assert whole == sum(int(own[f"hint.{name}"]) for own in sets) > 0
    assert capped.keys() == {"networks", "trainings"}


def test_learned_targets_need_not_tell_the_classes(project: Project) -> None:
    """Of one class none, of another two: the picture shows the set as it lies."""
    folder = project.root / f"data/distilled/{CELL}"
    tensors, _ = read_tensors(folder / "0.safetensors")
    targets = tensors["targets"].clone()
    targets[0] = targets[-1]
    reseal(folder, set_0=tensors | {"targets": targets})
    assert project.run("evaluate", CELL) == 0
    assert (project.root / f"data/results/tiny/{CELL}.png").stat().st_size > 0
