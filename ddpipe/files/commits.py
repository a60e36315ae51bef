"""The commit at which a project stands, for the ledgers of what its outputs cost."""

import subprocess
from pathlib import Path

FILE = Path(".commit")  # says it where the project goes without its history, as in a pack
SCIENCE = ("ddpipe", "stages", "params.yaml", "dvc.yaml")


def at(root: Path) -> str | None:
    """The commit's name, with a "+" where code or numbers have changed since; None where no git knows one."""
    if (root / FILE).is_file():
        return (root / FILE).read_text().strip() or None
    name = asked(root, "rev-parse", "--verify", "HEAD")
    if not name or not asked(root, "ls-files", "params.yaml"):  # or a repository around it knows nothing of the project
        return None
    return name + ("+" if asked(root, "status", "--porcelain", "--", *SCIENCE) else "")


def asked(root: Path, *words: str) -> str:
    """What git answers; nothing where there is no git, no repository, or one that it refuses to read."""
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *words], capture_output=True, text=True, timeout=60
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
