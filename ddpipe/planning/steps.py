"""What `dvc repro` would do for a target, told from DVC's own records: nothing is computed, nothing is written.

`dvc repro --dry` cannot tell: it fails in a workspace without data, and it does not look into caches.
"""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files.artifacts import as_json, read_json
from ddpipe.files.regular import regular
from ddpipe.pipeline import resolved
from ddpipe.pipeline.graph import opened
from ddpipe.pipeline.resolved import Resolved

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


def plan(config: Config, *targets: str) -> list[Step]:
    """Every stage that `targets` (none: all) need, in their order, those that others depend on first.

    DVC takes paths as relative to the folder of the process: it must be `config.root`.
    """
    will = {f"{resolved.FOLDER}/{name}.json": said for name, said in resolved.everything(config)}
    steps: dict[Any, Step] = {}
    with opened(config, targets) as graph:
        for stage in graph.order:
            steps[stage] = judge(stage, [(before, steps[before]) for before in graph.edges.successors(stage)], will)
    return [step for stage, step in steps.items() if stage.cmd]


def judge(stage: Any, before: list[tuple[Any, Step]], will: dict[str, Resolved]) -> Step:
    """What happens to one stage, given what happens to those `before` it.

    Nothing waits for `resolve`: what its files `will` say is known without running it.
    """
    name = stage.addressing
    if not stage.cmd:  # what `dvc add` keeps: nothing runs, and whether it differs those say that read it
        return Step(name, UP_TO_DATE)
    before = [(upstream, step) for upstream, step in before if step.name != "resolve"]
    waits = [step.name for _, step in before if step.state in (RUNS, AFTER) or step.state == CACHED and step.reasons]
    reasons = tuple(changes(stage, [upstream for upstream, _ in before], will))
    if waits:
        return Step(name, AFTER, (*reasons, f"after {waits[0]}" + (f" and {len(waits) - 1} more" if waits[1:] else "")))
    gone = [out for out in stage.outs if out.status()]
    if not reasons and not gone:
        return Step(name, UP_TO_DATE)
    restored = [step.name for _, step in before if step.state == CACHED]
    if not reasons and all(out.use_cache and not out.changed_cache() for out in gone):
        return Step(name, CACHED)
    if in_run_cache(stage, will):
        return Step(name, CACHED, reasons)
    if restored and any(reason.endswith((" modified", " missing")) for reason in reasons):
        return Step(name, AFTER, (*reasons, f"after {restored[0]} is fetched"))
    return Step(name, RUNS, reasons or tuple(f"{out} {LOST.get(out.status()[str(out)], 'modified')}" for out in gone))


def changes(stage: Any, upstream: list[Any], will: dict[str, Resolved]) -> Iterator[str]:
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
        elif dep.def_path in will:
            if dep.hash_info.value != md5(as_json(will[dep.def_path]).encode()):
                yield changed(dep, will[dep.def_path])
        elif status and dep.exists:
            yield f"{dep} modified"
        elif status and dep.fs_path in made:
            if dep.hash_info != made[dep.fs_path].hash_info:
                yield f"{dep} modified"
        elif status:
            yield f"{dep} missing"


def changed(dep: Any, now: Resolved) -> str:
    """The first number that differs from the last run, where the file of that run is still here."""
    path = Path(dep.fs_path)
    with contextlib.suppress(UserError):
        if path.exists() and md5(path.read_bytes()) == dep.hash_info.value:
            return resolved.difference(read_json(path), now)
    return f"{dep} modified"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def in_run_cache(stage: Any, will: dict[str, Resolved]) -> bool:
    """Whether DVC remembers a run with these very inputs and still holds its outputs."""
    from dvc.stage.cache import RunCacheNotFoundError
    from dvc_data.hashfile.hash_info import HashInfo
    from dvc_data.hashfile.meta import Meta

    if not all(dep.exists for dep in stage.deps):
        return False
    recorded = [out.hash_info for out in stage.outs]
    for dep in stage.deps:  # into the object in memory: what the inputs will be
        if dep.def_path in will:
            dep.hash_info = HashInfo("md5", md5(as_json(will[dep.def_path]).encode()))
            dep.meta = Meta()  # it names an MD5 too
        else:
            dep.save()
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
    if group == "evaluate" and key in config.rows or group == "further" and key in config.evaluations:
        group, key = "evaluate", config.evaluation(key).name
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
