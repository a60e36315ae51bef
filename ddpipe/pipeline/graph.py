"""DVC's stages for the words of a user, in the order of `dvc repro`, with what dvc.lock says of them.

Of dvc.lock only the entries of these stages are parsed: DVC's own parsing takes 4 s where it holds 1,500.
"""

import contextlib
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.pipeline import record
from ddpipe.settings.reading import did_you_mean


@dataclass(frozen=True)
class Graph:
    """Stages of a repository in the order of `dvc repro`; edges lead from a stage to those that it needs."""

    repo: Any
    edges: Any
    order: list[Any]


def targets_of(config: Config, target: str) -> list[str]:
    """DVC's targets for `target`: a stage, a dataset (its report) or a cell (all its evaluations).

    Raises:
        UserError: it is empty, which DVC would take for all of dvc.yaml.
    """
    if not target.strip():
        raise UserError("a target is empty (a variable of the shell that is not set?); name a stage, dataset or cell")
    if target in config.params.reports:
        return [f"report@{target}"]
    if target in config.rows:
        further = [f"further@{key}" for key, entry in config.evaluations.items() if entry.cell == target]
        return [f"evaluate@{target}", *further, *([f"course@{target}"] if target in config.courses else [])]
    return [target]


@contextlib.contextmanager
def opened(config: Config, targets: Sequence[str] = (), upstream: bool = True, held: bool = False) -> Iterator[Graph]:
    """The stages of `targets` (none: all) and, with `upstream`, those that they need.

    DVC takes paths as relative to the folder of the process: it must be `config.root`.

    Args:
        held: DVC's lock of the repository is waited for and held, and what DVC warns of is shown.

    Raises:
        UserError: dvc.yaml or dvc.lock cannot be read, or a target is no stage, dataset or cell.
    """
    from dvc.dvcfile import ProjectFile
    from dvc.exceptions import DvcException
    from dvc.repo import Repo, lock_repo
    from dvc.repo.reproduce import get_active_graph, plan_repro
    from dvc.scm import SCMError

    if sentence := record.trouble(config.root, record.outline):
        raise UserError(sentence)
    logging.getLogger("dvc").setLevel(logging.WARNING if held else logging.ERROR)
    with contextlib.ExitStack() as open_:
        whole = ProjectFile.__dict__["lockfile_contents"]
        ProjectFile.lockfile_contents = {}  # stages are made without their entries
        try:
            repo = open_.enter_context(Repo(_wait_for_lock=True))  # its databases are closed at the end
            open_.enter_context(lock_repo(repo) if held else contextlib.nullcontext())
            edges = get_active_graph(repo.index.graph)
            wanted = [stage for target in targets for stage in found(config, target, repo)]
            if not targets:
                wanted = [stage for stage in repo.index.stages if stage.relpath == "dvc.yaml"]
        except DvcException as error:
            mend = "run inside a project, after `ddpipe check`"
            if isinstance(error, SCMError):  # as of a project that came without .git
                mend = "`git init` makes it one, `dvc config core.no_scm true` lets DVC do without"
            said = f"dvc.yaml: {' '.join(str(error).split())}; {mend}"
            raise UserError(record.trouble(config.root) or said) from error
        finally:
            ProjectFile.lockfile_contents = whole
        wanted = list(dict.fromkeys(wanted))
        order = plan_repro(edges, wanted) if upstream else wanted
        fill(config.root, order)
        yield Graph(repo, edges.subgraph(order), order)


def found(config: Config, target: str, repo: Any) -> list[Any]:
    """The stages that `target` names."""
    from dvc.exceptions import DvcException
    from dvc.repo.reproduce import collect_stages

    named = {stage.addressing: stage for stage in repo.index.stages}
    words = targets_of(config, target)
    try:  # DVC would read dvc.yaml and its files again
        return [stage for word in words for stage in ([named[word]] if word in named else collect_stages(repo, [word]))]
    except DvcException as error:
        names = [*config.params.reports, *config.rows, *(f"distill@{cell}" for cell in config.rows)]
        raise UserError(f"no stage, dataset or cell {target!r}{nearest(target, names)} ({error})") from error


def nearest(word: str, known: list[str]) -> str:
    """did_you_mean, silent where nothing is near: the grid has hundreds of names."""
    near = did_you_mean(word, known)
    return near if "did you mean" in near else ""


def fill(root: Path, stages: list[Any]) -> None:
    """Tell each stage what dvc.lock says of it."""
    from dvc.stage.loader import StageLoader

    by_file: dict[str, list[Any]] = {}
    for stage in stages:
        if getattr(stage, "name", None):
            by_file.setdefault(stage.dvcfile._lockfile.path, []).append(stage)
    for path, named in by_file.items():
        known = record.entries(Path(path).read_text(encoding="utf-8")) if os.path.exists(path) else {}
        text = "".join(known.get(stage.name, "") for stage in named)
        try:
            entries = YAML(typ="safe").load(text) or {}
        except (YAMLError, ValueError, RecursionError) as error:
            raise UserError(f"dvc.lock is damaged; {record.mend(root)}") from error
        for stage in named:
            if stage.name in known:
                if not record.readable(entry := entries[stage.name]):
                    raise UserError(f"dvc.lock is damaged in what it says of {stage.name}; {record.mend(root)}")
                stage.cmd_changed = entry["cmd"] != stage.cmd
                StageLoader.fill_from_lock(stage, entry)
