"""`ddpipe run`: what `dvc repro` does, with several commands at once and few writes of dvc.lock.

The graph and its order, what has changed, the run-cache, outputs and their cache are DVC's own, called as `dvc repro`
calls them; dvc.lock ends with the same bytes. Two things differ: what an unfinished stage does not need goes on when
it fails, and a signal stops the commands, not the taking down of what has finished.
"""

import contextlib
import heapq
import os
import signal
import sys
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from dvc.dependency.param import ParamsDependency
from dvc.rwlock import rwlock
from dvc.stage import PipelineStage
from dvc.stage.cache import RunCacheNotFoundError
from dvc.stage.decorators import unlocked_repo
from dvc.stage.run import _enforce_cmd_list, _make_cmd, get_executable, prepare_kwargs

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.pipeline.batches import Batches
from ddpipe.pipeline.commands import Commands
from ddpipe.pipeline.graph import Graph, opened
from ddpipe.progress import say


class Paths:
    """DVC's notes (.dvc/tmp/rwlock) of the paths that the running stages read and write, so that no `dvc` touches them.

    A note holds no count of its readers, so that there is one a path, for as long as any stage of this run needs it.
    """

    def __init__(self, repo: Any):
        self.repo, self.cmd = repo, " ".join(sys.argv)  # the words by which DVC knows the notes of this process
        self.users: Counter[tuple[bool, str]] = Counter()
        self.notes: dict[tuple[bool, str], contextlib.ExitStack] = {}

    def take(self, stage: Any) -> contextlib.ExitStack:
        """Note what `stage` needs until the stack is closed."""
        with contextlib.ExitStack() as taken:
            for writes, items in ((False, stage.deps), (True, stage.outs)):
                for path in {item.fs_path for item in items}:
                    self.note(writes, path)
                    taken.callback(self.drop, writes, path)
            return taken.pop_all()

    def note(self, writes: bool, path: str) -> None:
        if not self.users[writes, path]:
            hardlink = self.repo.config["core"].get("hardlink_lock", False)
            paths = ([], [path]) if writes else ([path], [])
            self.notes[writes, path] = contextlib.ExitStack()
            note = rwlock(self.repo.tmp_dir, self.repo.fs, self.cmd, *paths, hardlink)
            self.notes[writes, path].enter_context(note)
        self.users[writes, path] += 1

    def drop(self, writes: bool, path: str) -> None:
        self.users[writes, path] -= 1
        if not self.users[writes, path]:
            self.notes.pop((writes, path)).close()


class Run:
    """One run over the stages of a graph, of which `jobs` commands run at once."""

    def __init__(self, graph: Graph, jobs: int):
        self.repo, self.graph, self.order, self.jobs = graph.repo, graph.edges, graph.order, jobs
        self.place = {stage: number for number, stage in enumerate(self.order)}
        self.missing = {stage: self.graph.out_degree(stage) for stage in self.order}
        self.ready = [number for number, stage in enumerate(self.order) if not self.missing[stage]]  # a heap
        self.stages = {stage.addressing: stage for stage in self.order}
        self.left: dict[Any, list[str]] = {}  # commands of a running stage that are still to come
        self.held: dict[Any, contextlib.ExitStack] = {}
        self.done: dict[Any, str] = {}  # how
        self.failed: dict[Any, str] = {}  # why
        self.paths, self.commands = Paths(self.repo), Commands()
        files = dict.fromkeys(stage.dvcfile._lockfile.path for stage in self.order if isinstance(stage, PipelineStage))
        names = [stage.name for stage in self.order if isinstance(stage, PipelineStage)]
        self.batches = {file: Batches(Path(file), names) for file in files}

    def execute(self) -> None:
        """Bring everything up to date that can be; what has finished is recorded however this ends."""
        with self.repo.scm_context:
            try:
                with self.commands.signals():
                    self.work()
            finally:
                self.record()

    def work(self) -> None:
        while True:
            if ended := self.commands.next(0):
                self.go_on(*ended)
            elif self.ready and len(self.commands.running) < self.jobs and self.commands.stopped is None:
                self.begin(self.order[heapq.heappop(self.ready)])
            elif self.commands.running:
                if ended := self.wait():
                    self.go_on(*ended)
            else:
                return
            if self.due() == 0:
                self.record()

    @unlocked_repo
    def wait(self) -> tuple[str, int] | None:
        """As `dvc repro` does, other DVC commands are let in meanwhile."""
        return self.commands.next(self.due())

    def due(self) -> float | None:
        return min((due for batches in self.batches.values() if (due := batches.due()) is not None), default=None)

    def record(self) -> None:
        for file, batches in self.batches.items():
            if batches.waiting:
                self.repo.scm_context.track_file(file)
            batches.write()

    def begin(self, stage: Any) -> None:
        """What `Stage.reproduce` does up to the command."""
        try:
            if gone := self.absent(stage):
                raise UserError(gone)
            if not isinstance(stage, PipelineStage) or stage.frozen or not stage.cmd:
                made = stage.reproduce()
                if made:
                    stage.dump(update_pipeline=False)
                self.finish(stage, "ran" if made else "unchanged")
            elif not stage.changed():
                self.finish(stage, "unchanged")
            else:
                stage.remove_outs(ignore_remove=False, force=False)
                if self.restored(stage):
                    say(f"Stage '{stage.addressing}' is cached - skipping run, checking out outputs")
                    self.save(stage, "restored")
                else:
                    say(f"Running stage '{stage.addressing}':")
                    self.left[stage] = list(_enforce_cmd_list(stage.cmd))
                    self.held[stage] = self.paths.take(stage)
                    self.start(stage)
        except Exception as error:  # as in `dvc repro --keep-going`: the trouble of one stage is not that of the others
            self.fail(stage, str(error))

    def absent(self, stage: Any) -> str:
        """What to do where something of the user's own that the stage reads is not there; "" where all is."""
        for dep in stage.deps if stage.cmd else ():
            if not isinstance(dep, ParamsDependency) and not dep.exists and not self.makes(dep.fs_path):
                return f"{dep} is not there; put it back, or mend the path"
        kept = [] if stage.cmd else [out for out in stage.outs if not out.exists and out.changed_cache()]
        return (
            f"{kept[0]} is neither here nor in the cache; put it back, or `dvc pull '{stage.relpath}'`" if kept else ""
        )

    def makes(self, path: str) -> bool:
        """Whether some stage writes it, or a folder around it."""
        outs = (out.fs_path for stage in self.repo.index.stages for out in stage.outs)
        return any(path == out or path.startswith(f"{out}/") for out in outs)

    def restored(self, stage: Any) -> bool:
        """Whether the outputs could be taken from a run with the same inputs."""
        try:
            self.repo.stage_cache.restore(stage)
        except RunCacheNotFoundError:
            stage.save_deps()
            return False
        return True

    def start(self, stage: Any) -> None:
        command = self.left[stage].pop(0)
        say(f"> {command}")
        how = prepare_kwargs(stage)
        own = os.path.dirname(sys.executable)  # whose `python` has ddpipe, where no environment was activated
        how["env"]["PATH"] = os.pathsep.join([own, *filter(None, [how["env"].get("PATH")])])
        if self.jobs > 1:
            how["env"]["TERM"] = "dumb"  # lines instead of bars, which would overwrite each other
        self.commands.start(stage.addressing, _make_cmd(get_executable(), command), **how)

    def go_on(self, name: str, code: int) -> None:
        """A command of the stage `name` has ended."""
        stage = self.stages[name]
        try:
            if code:
                self.fail(stage, f"exit code {code}" if code > 0 else f"killed by signal {-code}")
            elif self.left[stage]:
                self.start(stage)
            else:
                self.save(stage, "ran")
        except Exception as error:
            self.fail(stage, str(error))

    def save(self, stage: Any, how: str) -> None:
        """What `Stage.run` does when outputs are there."""
        lone = any(not out.use_cache for out in stage.outs if not (out.is_metric or out.is_plot))
        stage.save(run_cache=not lone)
        stage.commit()
        self.batches[stage.dvcfile._lockfile.path].add(stage)
        self.finish(stage, how)

    def finish(self, stage: Any, how: str) -> None:
        self.release(stage)
        self.done[stage] = how
        for after in self.graph.predecessors(stage):
            self.missing[after] -= 1
            if not self.missing[after]:
                heapq.heappush(self.ready, self.place[after])

    def fail(self, stage: Any, why: str) -> None:
        self.release(stage)
        self.failed[stage] = " ".join(why.split())
        if self.commands.stopped is None:
            say(f"Stage '{stage.addressing}' failed: {self.failed[stage]}")

    def release(self, stage: Any) -> None:
        self.left.pop(stage, None)
        if stage in self.held:
            self.held.pop(stage).close()


def run(config: Config, targets: Sequence[str], jobs: int = 1, upstream: bool = True) -> None:
    """Bring `targets` (none: everything) up to date.

    Raises:
        UserError: stages failed.
        KeyboardInterrupt, SystemExit: a signal came; what had finished is recorded.
    """
    with opened(config, targets, upstream, held=True) as graph:
        work = Run(graph, jobs)
        work.execute()
    how = Counter(work.done.values())
    say(f"{how['ran']} stages ran, {how['restored']} came from the cache, {how['unchanged']} were up to date")
    left = [stage for stage in work.order if stage not in work.done and stage not in work.failed]
    if work.commands.stopped is not None:
        say(f"stopped: {some([*work.failed, *left])}; what has finished is recorded")
        if work.commands.stopped == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(128 + work.commands.stopped)
    if work.failed:
        why = "; ".join(f"{stage.addressing} failed ({said})" for stage, said in work.failed.items())
        after = f"; not run because of that: {some(left)}" if left else ""
        raise UserError(f"{why}{after}; mend it and run the same command again, all else is recorded")


def some(stages: Collection[Any], most: int = 20) -> str:
    """Their names, the first `most` of them."""
    names = [stage.addressing for stage in stages]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if names[most:] else "")
