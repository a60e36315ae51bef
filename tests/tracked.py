"""The project's files but for its code, as git has them: committed or staged.

Users follow the README in this very folder: rows, numbers, results and reports that lie here are theirs, and may be
half-written. Tests judge what the repository ships; code is read, and run, as it lies here.
"""

import subprocess
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]


def folder() -> Path:
    """A copy that goes with this process; the project itself where it is no git repository, as from an archive."""
    if not (ROOT / ".git").exists():
        return ROOT
    place = tempfile.TemporaryDirectory(prefix="ddpipe-tracked-")
    kept.append(place)
    git = {"cwd": ROOT, "check": True, "capture_output": True}
    names = subprocess.run(["git", "ls-files", "-z", ":!*.py"], **git).stdout
    subprocess.run(["git", "checkout-index", "-z", "--stdin", f"--prefix={place.name}/"], input=names, **git)
    return Path(place.name)


kept: list["tempfile.TemporaryDirectory[str]"] = []  # removed when the process ends
TRACKED = folder()
