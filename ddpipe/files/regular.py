"""Only regular files are read: opening a pipe waits for ever, and a device has no end."""

from pathlib import Path

from ddpipe.errors import UserError


def regular(path: Path) -> Path:
    """`path` itself; a link counts as what it leads to.

    Raises:
        UserError: something else than a file lies there.
        OSError: nothing does, or it is out of reach.
    """
    path.stat()
    if not path.is_file():
        raise UserError(f"{path} is no file but a folder, pipe, socket or device; remove it, or put the file back")
    return path


def inside(folder: Path, path: Path) -> Path:
    """A regular file that lies in `folder`, links followed: what is shown to others must not come from elsewhere."""
    if not regular(path).resolve().is_relative_to(folder.resolve()):
        raise UserError(f"{path} is a link that leads out of {folder}; remove it, and run its stage again")
    return path
