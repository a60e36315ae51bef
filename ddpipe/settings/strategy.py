"""What a setting `augment` may say: "none", DSA's operations joined by "_", "idc:" and the same operations composed as
IDC does it, "older:" and DC's older ones, or "frepo:" and FRePo's; for an objective's real batch "reflect:" and DD's.

Without torch, so that a wrong name is refused when the settings are read.
"""

import difflib

from ddpipe.errors import UserError

OLDER = "older:"
IDC = "idc:"
REFLECT = "reflect:"
FREPO = "frepo:"
SIAMESE_OPERATIONS = (
    "color",
    "crop",
    "cutout",
    "flip",
    "scale",
    "rotate",
)  # ddpipe/augmentation/siamese.py, composed.py
OTHERS = {  # prefix -> its operations, where they are not DSA's
    OLDER: ("crop", "scale", "rotate"),  # ddpipe/augmentation/older.py
    REFLECT: ("crop", "flip"),  # ddpipe/augmentation/reflected.py
    FREPO: ("flip", "color", "crop", "rotate", "translate", "cutout"),  # ddpipe/augmentation/milder.py
}


def operations(strategy: str) -> tuple[str, ...]:
    """The operations that `strategy` names, in its order, () for "none"; UserError for an unknown one."""
    if strategy == "none":
        return ()
    prefix = next((prefix for prefix in OTHERS if strategy.startswith(prefix)), IDC)
    known = OTHERS.get(prefix, SIAMESE_OPERATIONS)
    names = tuple(strategy.removeprefix(prefix).split("_"))
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            mend = f'did you mean "{near[0]}"?' if near else f"use {', '.join(known)}, joined by _, or none"
            raise UserError(f'augment "{strategy[:100]}" has the unknown operation "{name[:100]}": {mend}')
        if names.count(name) > 1:
            raise UserError(f'augment "{strategy}" names "{name}" twice: name it once')
    return names


def allowed(strategy: str, flip: bool) -> tuple[str, ...]:
    """The operations that `strategy` names, "flip" only where a mirrored image is of the same class."""
    names = operations(strategy)
    if flip or "flip" not in names:
        return names
    names = tuple(name for name in names if name != "flip")
    if not names:
        raise UserError(f'augment "{strategy}" is empty without flip, which this dataset forbids: use "none"')
    return names
