#!/usr/bin/env python3
"""run.py of a pack: runs its stages here, the first ones first, for as long as there is time, and packs what they made.

    python3 run.py --seconds 600 --out home

Plain Python >= 3.11 without any package of its own: torch and numpy must be here, the rest lies in wheels/ or is here
too. What is not finished keeps its checkpoint, goes home as well and is gone on with by the next pack, or by calling
this again in the same place. OUT holds home.json and home.00, home.01, ..., which `ddpipe unpack OUT` reads.
"""

import argparse
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

MIB = 2**20
GRACE = 10.0  # seconds that a stopped stage has to end by itself
PACKING = 0.03, 5.0  # of the time, and seconds at least, for what comes after the stages


def unpack(pack: Path, place: Path) -> dict:
    """The project of the pack at `place`, unless an earlier call put it there; its list of stages."""
    told = json.loads((pack / "pack.json").read_text())
    mark = place / ".pack"
    if not mark.exists() or mark.read_text() != told["name"]:
        with tarfile.open(pack / "project.tar.xz") as archive:
            if hasattr(tarfile, "data_filter"):
                archive.extractall(place, filter="data")
            else:  # Python before 3.11.4
                archive.extractall(place)
        mark.write_text(told["name"])
    return told


def environment(pack: Path, place: Path) -> dict[str, str]:
    """That of the stages, with the packages of wheels/ installed beside the project."""
    wheels = sorted(map(str, (pack / "wheels").glob("*.whl")))
    site = place / ".site"
    if wheels and not site.exists():
        options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check"]
        subprocess.run([sys.executable, "-m", "pip", "install", *options, "--target", str(site), *wheels], check=True)
    before = os.environ.get("PYTHONPATH")
    own = {"PYTHONPATH": os.pathsep.join([str(place), str(site), *([before] if before else [])])}
    return {key: value for key, value in os.environ.items() if key != "DVC_STAGE"} | own | {"PYTHONUNBUFFERED": "1"}


def run(stage: dict, place: Path, env: dict[str, str], seconds: float) -> int | None:
    """The exit code of a stage; None where it was stopped after `seconds`."""
    command = [sys.executable, "-m", stage["module"], stage["name"]]
    process = subprocess.Popen(command, cwd=place, env=env, start_new_session=True)
    try:
        return process.wait(timeout=max(seconds, 0))
    except subprocess.TimeoutExpired:
        pass
    for number in (signal.SIGTERM, signal.SIGKILL):
        os.killpg(process.pid, number)
        try:
            process.wait(timeout=GRACE)
            break
        except subprocess.TimeoutExpired:
            continue
    return None


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
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("home.*"):
        old.unlink()
    content, step = stream.getvalue(), int(part)
    for number in range(0, max(1, -(-len(content) // step))):
        (out / f"home.{number:02d}").write_bytes(content[number * step : (number + 1) * step])
    said = {**told, "states": {k: v for k, v in states.items() if k not in left}, "files": files}
    (out / "home.json").write_text(json.dumps(said, indent=1))
    return left


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, required=True, help="after which all is packed for the way home")
    parser.add_argument("--out", type=Path, default=Path("home"), help="folder for what goes home")
    parser.add_argument("--place", type=Path, default=None, help="where the project is unpacked; beside run.py")
    parser.add_argument("--most", type=float, default=60, help="MiB of files that go home, before they are compressed")
    parser.add_argument("--part", type=float, default=15, help="MiB of one file in OUT")
    given = parser.parse_args()
    began, pack = time.monotonic(), Path(__file__).resolve().parent
    place = (given.place or pack / "project").resolve()
    place.mkdir(parents=True, exist_ok=True)
    told = unpack(pack, place)
    env = environment(pack, place)
    end = began + given.seconds - max(PACKING[0] * given.seconds, PACKING[1])
    states = {stage["name"]: "not begun" for stage in told["stages"]}
    done = place / ".finished"  # by earlier calls in this place
    finished = set(done.read_text().split()) if done.exists() else set()
    for stage in told["stages"]:
        name, left = stage["name"], end - time.monotonic()
        if name in finished:
            states[name] = "finished"
            continue
        if any(states.get(need, "finished") != "finished" for need in stage["after"]):
            continue
        if left <= 0:
            break
        print(f"[{given.seconds - (end - time.monotonic()):6.0f} s] {name}", flush=True)
        code = run(stage, place, env, left)
        states[name] = {None: "stopped", 0: "finished"}.get(code, "failed")
        if code == 0:
            with done.open("a") as file:
                file.write(f"{name}\n")
    left_behind = pack_home(told, states, place, given.out, given.most * MIB, given.part * MIB)
    for state in ("finished", "stopped", "failed", "not begun"):
        names = [name for name, own in states.items() if own == state]
        print(f"{state}: {len(names)}{' (' + ', '.join(names) + ')' if names and state != 'finished' else ''}")
    if left_behind:
        print(f"left behind, more than --most {given.most:g} MiB: {', '.join(left_behind)}")
    print(f"take {given.out} home and run `ddpipe unpack {given.out}` there")
    sys.exit(1 if "failed" in states.values() else 0)


if __name__ == "__main__":
    main()
