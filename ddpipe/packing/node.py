#!/usr/bin/env python3
"""run.py of a pack: runs its stages here, the first ones first, for as long as there is time, and packs what they made.

    python3 run.py --seconds 600 --out home

Plain Python >= 3.11 without any package of its own: torch and numpy must be here, the rest lies in wheels/ or is here
too. What is not finished keeps its checkpoint, goes home as well and is gone on with by the next pack, or by calling
this again in the same place. OUT holds home.json and home.00, home.01, ..., which `ddpipe unpack OUT` reads. A signal
to end (SIGTERM of a scheduler, Ctrl-C, a terminal that is closed) is as if the time were over: all is packed.
"""

import argparse
import contextlib
import hashlib
import io
import json
import lzma
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

MIB = 2**20
GRACE = 10.0  # seconds that a stopped stage has to end by itself
LOOK = 0.1  # seconds after which it is seen that the time is over
PACKING = 0.03, 5.0  # of the time, and seconds at least, for what comes after the stages
LEAST = 2**10  # bytes of a part
OURS = re.compile(r"home\.(json|[0-9]{2,})")  # what `ddpipe unpack` reads of OUT


class Refused(Exception):
    """A sentence about what the user gave."""


class Clock:
    """The time that is left: none any more once a signal asked to end."""

    def __init__(self, seconds: float):
        self.end = time.monotonic() + seconds
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if signal.getsignal(number) != signal.SIG_IGN:  # as under nohup
                signal.signal(number, self.stop)

    def stop(self, *_: object) -> None:
        self.end = -math.inf

    @property
    def left(self) -> float:
        return self.end - time.monotonic()


def unpack(pack: Path, place: Path) -> dict:
    """The project of the pack at `place`, unless an earlier call put it there; its list of stages.

    What another pack left there was made with other numbers: its code goes, and no stage of it counts as finished.
    """
    mark, archived = place / ".pack", pack / "project.tar.xz"
    try:
        told = json.loads((pack / "pack.json").read_text())
        if mark.exists() and mark.read_text() == told["name"]:
            return told
        for left in (".finished", ".begun"):
            (place / left).unlink(missing_ok=True)
        if mark.exists():
            mark.write_text("")  # of no pack, should this be killed
            for folder in ("ddpipe", "stages", ".site"):
                shutil.rmtree(place / folder, ignore_errors=True)
        with tarfile.open(archived) as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(place, filter="data")
            else:  # Python before 3.11.4
                archive.extractall(place)
        mark.write_text(told["name"])
    except (OSError, EOFError, ValueError, LookupError, TypeError, tarfile.TarError, lzma.LZMAError) as error:
        raise Refused(
            f"{pack} cannot be unpacked at {place} ({error}); bring the whole pack, or mend --place"
        ) from error
    return told


def environment(pack: Path, place: Path) -> dict[str, str]:
    """That of the stages, with the packages of wheels/ installed beside the project."""
    wheels = sorted(map(str, (pack / "wheels").glob("*.whl")))
    site, new = place / ".site", place / ".site.tmp"
    if wheels and not site.exists():
        shutil.rmtree(new, ignore_errors=True)  # of a call that was killed
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check"]
        command = [sys.executable, "-m", "pip", "install", *options, "--target", str(new), *wheels]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True)
        if done.returncode:
            here, lines = "{}.{}".format(*sys.version_info), done.stderr.strip().splitlines() or ["no reason given"]
            raise Refused(
                f"{pack / 'wheels'} cannot be installed for Python {here} ({lines[-1][:200]}); "
                f"pack with --python {here}, or without where all is here, or call run.py by the wheels' Python"
            )
        new.rename(site)
    before = os.environ.get("PYTHONPATH")
    own = {"PYTHONPATH": os.pathsep.join([str(place), str(site), *([before] if before else [])])}
    return {key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | own | {"PYTHONUNBUFFERED": "1"}


def run(stage: dict, place: Path, env: dict[str, str], clock: Clock) -> int | None:
    """The exit code of a stage; None where it was stopped, with all that it had started, for want of time."""
    command = [sys.executable, "-m", stage["module"], stage["name"]]
    process = subprocess.Popen(command, cwd=place, env=env, start_new_session=True)
    while clock.left > 0:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(timeout=min(clock.left, LOOK))
    os.killpg(process.pid, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=GRACE)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # also what outlives the stage
    process.wait()
    return None


def note(file: Path, name: str) -> None:
    with file.open("a") as stream:
        stream.write(f"{name}\n")


def below(place: Path, paths: list[str]) -> Iterator[Path]:
    """The files that `paths` are or hold, without locks and what writers had begun."""
    for path in paths:
        root = place / path
        found = sorted(root.rglob("*")) if root.is_dir() else [root]
        yield from (p for p in found if p.is_file() and p.name != "lock" and not p.name.endswith(".tmp"))


def pack_home(told: dict, states: dict[str, str], place: Path, out: Path, most: float, part: float) -> list[str]:
    """Write home.json and the archive; the stages of which something was left behind, for want of `most` bytes.

    Finished stages come first, in their order, then the checkpoints of the others: whole stages or nothing.
    """
    files: dict[str, str] = {}
    left, size, stream = [], 0, io.BytesIO()
    wanted = [(s, s["writes"]) for s in told["stages"] if states[s["name"]] == "finished"]
    wanted += [(s, [s["keeps"]]) for s in told["stages"] if states[s["name"]] in ("stopped", "failed")]
    with tarfile.open(fileobj=stream, mode="w:gz", compresslevel=6) as archive:
        for stage, paths in wanted:
            found = list(below(place, paths))
            grown = size + sum(path.stat().st_size for path in found)
            if grown > most:
                left.append(stage["name"])
                continue
            size = grown
            for path in found:
                name = str(path.relative_to(place))
                files[name] = hashlib.sha256(path.read_bytes()).hexdigest()
                archive.add(path, name, recursive=False)
    content, step = stream.getvalue(), int(part)
    said = {**told, "states": {k: v for k, v in states.items() if k not in left}, "files": files}
    new = {f"home.{n:02d}": content[n * step : (n + 1) * step] for n in range(max(1, -(-len(content) // step)))}
    new["home.json"] = json.dumps(said, indent=1).encode()
    for name, data in new.items():
        (out / f".{name}.tmp").write_bytes(data)
    for old in sorted(earlier(out), reverse=True):  # home.json first: the rest is nothing without it
        old.unlink()
    for name in new:
        (out / f".{name}.tmp").rename(out / name)
    return left


def earlier(out: Path) -> list[Path]:
    """What an earlier call wrote into `out`."""
    return [path for path in out.iterdir() if OURS.fullmatch(path.name)]


def opened(out: Path) -> None:
    """The folder `out`, made if need be: known to take what goes home before there is anything."""
    out.mkdir(parents=True, exist_ok=True)
    if folders := [path for path in earlier(out) if path.is_dir() and not path.is_symlink()]:
        raise Refused(f"{folders[0]} is a folder; name another --out")
    tried = out / ".home.tmp"
    tried.touch()
    tried.unlink()


def amount(word: str) -> float:
    """A number that is neither negative nor beyond all bounds; ValueError for any other word."""
    if not 0 <= (number := float(word)) < math.inf:
        raise ValueError
    return number


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=amount, required=True, help="after which all is packed for the way home")
    parser.add_argument("--out", type=Path, default=Path("home"), help="folder for what goes home")
    parser.add_argument("--place", type=Path, default=None, help="where the project is unpacked; beside run.py")
    parser.add_argument("--most", type=amount, default=60, help="MiB of files that go home, before they are compressed")
    parser.add_argument("--part", type=amount, default=15, help="MiB of one file in OUT")
    given, pack = parser.parse_args(), Path(__file__).resolve().parent
    clock, began = Clock(given.seconds - max(PACKING[0] * given.seconds, PACKING[1])), time.monotonic()
    place = (given.place or pack / "project").resolve()
    try:
        if given.part * MIB < LEAST:
            raise Refused(f"--part {given.part:g}: a file of less than {LEAST / MIB:.3f} MiB; name more")
        opened(given.out)
        place.mkdir(parents=True, exist_ok=True)
        told = unpack(pack, place)
        env = environment(pack, place)
    except Refused as error:
        parser.error(str(error))
    except OSError as error:
        parser.error(f"{error.filename} cannot be written ({error.strerror}); mend the folder, --out or --place")
    states = {stage["name"]: "not begun" for stage in told["stages"]}
    for state, file in (("stopped", place / ".begun"), ("finished", place / ".finished")):  # by earlier calls
        states |= dict.fromkeys(file.read_text().split() if file.exists() else (), state)
    for stage in told["stages"]:
        name = stage["name"]
        if states[name] == "finished":
            continue
        if clock.left <= 0 or any(states.get(need, "finished") != "finished" for need in stage["after"]):
            continue
        print(f"[{time.monotonic() - began:6.0f} s] {name}", flush=True)
        note(place / ".begun", name)
        code = run(stage, place, env, clock)
        states[name] = {None: "stopped", 0: "finished"}.get(code, "failed")
        if code == 0:
            note(place / ".finished", name)
    try:
        left_behind = pack_home(told, states, place, given.out, given.most * MIB, given.part * MIB)
    except OSError as error:
        parser.error(f"{given.out}: nothing was packed ({error}); call this again with another --out and --seconds 0")
    for state in ("finished", "stopped", "failed", "not begun"):
        names = [name for name, own in states.items() if own == state]
        print(f"{state}: {len(names)}{' (' + ', '.join(names) + ')' if names and state != 'finished' else ''}")
    if left_behind:
        print(f"left behind, more than --most {given.most:g} MiB: {', '.join(left_behind)}")
    print(f"take {given.out} home and run `ddpipe unpack {given.out}` there")
    sys.exit(1 if "failed" in states.values() else 0)


if __name__ == "__main__":
    main()
