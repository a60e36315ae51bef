"""What `dvc repro` would do for a target, told from DVC's own records: nothing is computed, nothing is written.

`dvc repro --dry` cannot tell: it fails in a workspace without data, and it does not look into caches.
"""

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddpipe.config import Config, did_you_mean
from ddpipe.errors import UserError
from ddpipe.files.artifacts import as_json
from ddpipe.files.regular import regular
from ddpipe.pipeline import programs, record
from ddpipe.settings import Row

UP_TO_DATE, CACHED, RUNS, AFTER = "up to date", "cached", "runs", "after upstream"
MEANING = {
    UP_TO_DATE: "nothing to do",
    CACHED: "outputs are fetched from the cache, nothing is computed",
    RUNS: "is computed",
    AFTER: "is computed unless what comes before it gives the same bytes as last time, or other bytes seen before",
}
LOST = dict.fromkeys(
    ("deleted", "not in cache"),
    "is neither here nor in the cache: `dvc pull --allow-missing` fetches it if a remote has it",
)


@dataclass(frozen=True)
class Step:
    """One stage of the plan: its name in DVC (`distill@dm-digits-1`), what happens to it, and why."""

    name: str
    state: str
    reasons: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        return self.name.partition("@")[0]


def targets_of(config: Config, target: str) -> list[str]:
    """DVC's targets for `target`: a stage, a dataset (its report) or a cell (all its evaluations); [] for all."""
    if not target:
        return []
    if target in config.params.reports:
        return [f"report@{target}"]
    if target in config.rows:
        further = [f"further@{key}" for key, entry in config.evaluations.items() if entry.cell == target]
        return [f"evaluate@{target}", *further]
    return [target]


def plan(config: Config, target: str = "") -> list[Step]:
    """Every stage that `target` needs, those that others depend on first.

    DVC takes paths as relative to the folder of the process: it must be `config.root`.
    """
    import networkx
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    if sentence := record.trouble(config.root):
        raise UserError(sentence)
    logging.getLogger("dvc").setLevel(logging.ERROR)  # the plan says what DVC would log
    try:
        repo = Repo()
        graph = repo.index.graph
    except DvcException as error:
        said = " ".join(str(error).split())
        if "dvc.lock" in said:
            raise UserError(f"dvc.lock is damaged ({said}); {record.mend(config.root)}") from error
        raise UserError(f"dvc.yaml: {said}; run inside a project, after `ddpipe check`") from error
    try:
        wanted = {s for t in targets_of(config, target) for s in repo.stage.collect(t)} if target else set(graph)
    except DvcException as error:
        names = [*config.params.reports, *config.rows, *(f"distill@{cell}" for cell in config.rows)]
        raise UserError(f"no stage, dataset or cell {target!r}{nearest(target, names)} ({error})") from error
    needed = wanted.union(*(networkx.descendants(graph, stage) for stage in wanted))
    found = programs.programs(config)
    code = {f"{programs.FOLDER}/{name}.json": hashlib.md5(as_json(v).encode()).hexdigest() for name, v in found.items()}
    steps: dict[Any, Step] = {}
    with repo:  # its databases are closed at the end
        for stage in reversed(list(networkx.topological_sort(graph.subgraph(needed)))):
            steps[stage] = judge(stage, [(before, steps[before]) for before in graph.successors(stage)], code)
    return list(steps.values())


def nearest(word: str, known: list[str]) -> str:
    """did_you_mean, silent where nothing is near: the grid has hundreds of names."""
    found = did_you_mean(word, known)
    return found if "did you mean" in found else ""


def judge(stage: Any, before: list[tuple[Any, Step]], code: dict[str, str]) -> Step:
    """What happens to one stage, given what happens to those `before` it.

    Nothing waits for `programs`: what it would write is known without running it, as MD5s `code` of its files.
    """
    name = stage.addressing
    before = [(upstream, step) for upstream, step in before if step.name != "programs"]
    waits = [step.name for _, step in before if step.state in (RUNS, AFTER) or step.state == CACHED and step.reasons]
    reasons = tuple(changes(stage, [upstream for upstream, _ in before], code))
    if waits:
        return Step(name, AFTER, (*reasons, f"after {waits[0]}" + (f" and {len(waits) - 1} more" if waits[1:] else "")))
    gone = [out for out in stage.outs if out.status()]
    if not reasons and not gone:
        return Step(name, UP_TO_DATE)
    restored = [step.name for _, step in before if step.state == CACHED]
    if not reasons and all(out.use_cache and not out.changed_cache() for out in gone):
        return Step(name, CACHED)
    if in_run_cache(stage, code):
        return Step(name, CACHED, reasons)
    if restored and any(reason.endswith((" modified", " missing")) for reason in reasons):
        return Step(name, AFTER, (*reasons, f"after {restored[0]} is fetched"))
    return Step(name, RUNS, reasons or tuple(f"{out} {LOST.get(out.status()[str(out)], 'modified')}" for out in gone))


def changes(stage: Any, upstream: list[Any], code: dict[str, str]) -> Iterator[str]:
    """What differs from the last recorded run of `stage`."""
    from dvc.dependency.param import ParamsDependency

    if not any(out.hash_info for out in stage.outs):
        yield "never ran"
        return
    if stage.cmd_changed:
        yield "its command changed"
    made = {out.fs_path: out for before in upstream for out in before.outs}
    for dep in stage.deps:
        status = dep.status()
        if isinstance(dep, ParamsDependency):
            states = status.get(str(dep), {})
            yield from (
                (f"{dep}:{key} {state}" for key, state in states.items())
                if isinstance(states, dict)
                else ([f"{dep} {states}"])
            )
        elif dep.def_path in code:
            if dep.hash_info.value != code[dep.def_path]:
                yield f"{dep} modified"
        elif status and dep.exists:
            yield f"{dep} modified"
        elif status and dep.fs_path in made:
            if dep.hash_info != made[dep.fs_path].hash_info:
                yield f"{dep} modified"
        elif status:
            yield f"{dep} missing"


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def in_run_cache(stage: Any, code: dict[str, str]) -> bool:
    """Whether DVC remembers a run with these very inputs and still holds its outputs."""
    from dvc.stage.cache import RunCacheNotFoundError

    if not all(dep.exists for dep in stage.deps):
        return False
    if any(md5(Path(dep.fs_path)) != code[dep.def_path] for dep in stage.deps if dep.def_path in code):
        return False  # DVC looks at the files that are here, and these will be others
    recorded = [out.hash_info for out in stage.outs]
    stage.save_deps()  # into the object in memory: what the inputs are now
    for out in stage.outs:
        out.clear()  # or the outputs of the last run, whatever its inputs were, would count as those of this one
    try:
        stage.repo.stage_cache.restore(stage, dry=True)
    except RunCacheNotFoundError:
        return False
    finally:
        for out, hash_info in zip(stage.outs, recorded, strict=True):
            out.hash_info = hash_info
    return True


def checkpoints(config: Config, step: Step) -> Path:
    """Where a stage keeps its unfinished work; both kinds of evaluation share a folder."""
    group, _, key = step.name.partition("@")
    measured = config.rows.get(key) if group == "evaluate" else config.evaluations.get(key)
    if measured is not None and group in ("evaluate", "further"):
        cell = key if isinstance(measured, Row) else measured.cell
        group, key = "evaluate", f"{cell}.{measured.network}.{measured.protocol}"
    return config.root / "data" / "checkpoints" / group / key


def resume_point(folder: Path) -> str:
    """What a killed run left behind in `folder`, from the names and headers of its checkpoints; "" for nothing."""
    from safetensors import SafetensorError, safe_open

    finished = [path for path in folder.glob("*.safetensors") if not path.stem.endswith(".partial")]
    found = [f"{len(finished)} finished"] if finished else []
    for path in sorted(folder.glob("*.partial.safetensors")):
        try:
            with safe_open(regular(path), framework="numpy") as file:
                iteration = int(file.get_tensor("iteration"))
            found.append(f"{path.name.removesuffix('.partial.safetensors')} at iteration {iteration}")
        except (SafetensorError, OSError):
            found.append(f"{path.name} is damaged and will be made afresh")
    return ", ".join(found)
