"""What a machine without network and DVC needs to run stages: code, numbers, inputs, checkpoints, wheels.

A pack is a folder: run.py (node.py, as it lies here), pack.json, project.tar.xz, wheels/. The stages are those that
`ddpipe plan` says would run for what the user names, in his order: the first ones are run first. What they read and no
packed stage makes must lie here.
"""

import io
import secrets
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from ddpipe.config import Config
from ddpipe.errors import UserError
from ddpipe.files import commits
from ddpipe.files.advice import mend
from ddpipe.files.artifacts import TEMPORARY, as_json, digest, file_digest, new_folder
from ddpipe.pipeline import costs, resolved
from ddpipe.pipeline.graph import opened, targets_of
from ddpipe.planning.steps import AFTER, RUNS, checkpoints, plan
from ddpipe.settings.names import TRAINED

PLACES = ("ddpipe", "stages", "params.yaml", "dvc.yaml")  # of the project
HERE = ("resolve", "report", "page")  # groups of stages that are run at home
# What stages import beside torch and numpy, which every machine with a GPU has; DVC, pandas, matplotlib are for home.
BESIDE = {"stages.course": ("scikit-learn",)}  # what a stage needs more
IMPORTED = ("pydantic", "ruamel.yaml", "safetensors", "tqdm", "typer", "pillow")


@dataclass(frozen=True)
class Stage:
    """A stage that is run elsewhere.

    Attributes:
        module: of its command, stages.<name>.
        after: the packed stages that make what it reads.
        reads, writes: paths relative to the project; the ledger of its costs belongs to both.
        keeps: the folder of its unfinished work.
    """

    name: str
    module: str
    after: list[str]
    reads: list[str]
    writes: list[str]
    keeps: str


def stages(config: Config, targets: Sequence[str]) -> list[Stage]:
    """The stages that `targets` would run, in the order of `targets`, each behind those that it needs."""
    found: dict[str, Stage] = {}
    steps = {step.name: step for step in plan(config, *targets)}
    with opened(config, targets) as graph:
        for stage in graph.order:
            step = steps.get(stage.addressing)
            if step is None or step.group in HERE or step.state not in (RUNS, AFTER):
                continue
            if step.group == "prepare":  # it may have to download
                raise UserError(f"{step.name}: is made at home, where the network is; first `ddpipe run {step.name}`")
            before = [other for other in graph.edges.successors(stage) if other.addressing in found]
            made = {out.def_path for other in before for out in other.outs}
            reads = [dep.def_path for dep in stage.deps if dep.def_path not in made]
            found[step.name] = Stage(
                step.name,
                stage.cmd.split()[2],
                [other.addressing for other in before],
                [path for path in reads if not path.startswith(str(resolved.FOLDER))],
                writes(config, stage),
                str(checkpoints(config, step).relative_to(config.root)),
            )
    return ordered(config, targets, found)


def ordered(config: Config, targets: Sequence[str], found: dict[str, Stage]) -> list[Stage]:
    """DVC orders stages by what they need alone; of these orders, the one in which the first targets end first."""
    chosen: dict[str, Stage] = {}

    def visit(name: str) -> None:
        if name in found and name not in chosen:
            for need in found[name].after:
                visit(need)
            chosen[name] = found[name]

    for target in targets:
        for word in targets_of(config, target):
            visit(word)
    return list((chosen | found).values())  # behind them all what a dataset's report needs


def writes(config: Config, stage: Any) -> list[str]:
    """What one of DVC's stages writes, with the ledger of what it cost."""
    return [*(out.def_path for out in stage.outs), *(str(costs.place(name)) for name in ledgers(config, stage))]


def ledgers(config: Config, stage: Any) -> list[str]:
    """The ledger into which a stage writes what it cost, if it does."""
    group, _, key = stage.addressing.partition("@")
    if group in ("evaluate", "further"):
        return [resolved.of_evaluation(config, key)[0]]
    if group in TRAINED:
        return [f"{group}.{key}"]
    return [key] if group == "distill" else []


def pack(config: Config, targets: Sequence[str], out: Path, python: str = "", most: float = 0) -> str:
    """Write the pack `out`; what it is, in words.

    Args:
        python: version there, "3.12": wheels for it are downloaded. "": none are packed.
        most: MiB that the folder may take; 0: any.

    Raises:
        UserError: nothing would run, an input is not here, `out` exists, or the pack is larger than `most` MiB.
    """
    if out.exists():
        raise UserError(f"{out} exists; name another folder, or remove it")
    chosen = stages(config, targets)
    if not chosen:
        raise UserError(f"{' '.join(targets)}: nothing would run, it is up to date or in the cache; see `ddpipe plan`")
    for stage in chosen:
        for path in stage.reads:
            if not (config.root / path).exists():
                raise UserError(f"{path}: {stage.name} reads it and it is not here; {mend(config.root / path)}")
            if Path(path).is_absolute() or ".." in Path(path).parts:
                raise UserError(f"{path}: {stage.name} reads it outside the project; prepare it first")
    name = secrets.token_hex(8)
    with new_folder(out) as folder:
        shutil.copyfile(Path(__file__).with_name("node.py"), folder / "run.py")
        said = numbers(config, chosen)
        read = {path: contents(config.root / path) for stage in chosen for path in stage.reads}
        told = {"name": name, "stages": [asdict(stage) for stage in chosen], "resolved": said, "inputs": read}
        (folder / "pack.json").write_text(as_json(told))
        with tarfile.open(folder / "project.tar.xz", "w:xz") as archive:
            for file in sorted(files(config.root, chosen)):
                archive.add(file.resolve(), str(file.relative_to(config.root)), recursive=False)
            add(archive, str(commits.FILE), (commits.at(config.root) or "").encode())
            for key, numbers_of in said.items():
                add(archive, f"{resolved.FOLDER}/{key}.json", as_json(numbers_of).encode())
        if python:
            download(python, folder / "wheels", [name for stage in chosen for name in BESIDE.get(stage.module, ())])
        sizes = {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
        size = sum(sizes.values()) / 2**20
        if most and size > most:
            raise UserError(f"--most {most:g}: the pack takes {size:.1f} MiB; name fewer cells, or one dataset a pack")
    return (
        f"{out}: {len(chosen)} stages, {size:.1f} MiB\n"
        f"take it there, `python3 {out.name}/run.py --seconds N --out home`, bring home back, `ddpipe unpack home`"
    )


def files(root: Path, chosen: Iterable[Stage]) -> Iterator[Path]:
    """Code, numbers, inputs and unfinished work; no file twice."""
    paths = {*PLACES}
    for stage in chosen:
        paths |= {*stage.reads, stage.keeps, *(path for path in stage.writes if path.startswith(str(costs.FOLDER)))}
    yield from {file for path in paths for file in below(root / path)}


def below(top: Path) -> Iterator[Path]:
    """The file `top`, or those in that folder, that are worth a journey."""
    for file in top.rglob("*") if top.is_dir() else [top]:
        passing = file.name == "lock" or file.suffix == ".pyc" or TEMPORARY.fullmatch(file.name)
        if file.is_file() and not passing:
            yield file


def contents(path: Path) -> str:
    """The digest of a file, or of all that is in a folder: of a stage's input, on which what it made depends."""
    return digest({str(file.relative_to(path)): file_digest(file) for file in below(path)})


def numbers(config: Config, chosen: Iterable[Stage]) -> dict[str, Any]:
    """What the stage `resolve` would write for these stages: they refuse to run with other numbers."""
    wanted = {resolved_name(config, stage.name) for stage in chosen}
    return {name: said for name, said in resolved.everything(config) if name in wanted}


def resolved_name(config: Config, stage: str) -> str:
    """The path in data/resolved, without its suffix, of what `stage` depends on; of some there is none."""
    group, _, key = stage.partition("@")
    if group in ("evaluate", "further"):
        return f"evaluate/{resolved.of_evaluation(config, key)[0]}"
    return f"{group}/{key}"


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def required(names: Iterable[str] = IMPORTED) -> dict[str, str]:
    """`names` and all that they need, with the versions that are installed here."""
    from packaging.requirements import Requirement

    found: dict[str, str] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = metadata.version(name)
        needs = [Requirement(line) for line in metadata.requires(name) or ()]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def download(python: str, folder: Path, beside: Iterable[str] = ()) -> None:
    """Wheels of what stages import, for Linux on x86-64 and this version of Python, by pip as it is set up here."""
    platforms = ["manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, "--dest", str(folder)]
    command += [word for platform in (*platforms, "manylinux1_x86_64") for word in ("--platform", platform)]
    pins = [f"{name}=={version}" for name, version in sorted(required((*IMPORTED, *beside)).items())]
    done = subprocess.run([*command, *pins], capture_output=True, text=True)
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        raise UserError(f"--python {python}: pip found no wheels ({lines[-1][:200]}); leave it out where all is there")
