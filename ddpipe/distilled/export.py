"""A distilled set for programs that know nothing of ddpipe: all that training on it and testing take, and how."""

import io
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ddpipe.config import Config
from ddpipe.distilled import bundle
from ddpipe.distilled.loaded import DistilledSet, load
from ddpipe.errors import UserError
from ddpipe.evaluation import rule
from ddpipe.files.artifacts import new_folder, read_json, write_bytes, write_json, write_text
from ddpipe.files.hints import shapes
from ddpipe.settings import Protocol, Row


def export(config: Config, folder: Path, out: Path, number: int = 0) -> str:
    """Write set `number` of the distilled `folder`, whose cell is a row of the project, to `out`; a sentence about it.

    set.npz: images (V, c, h, w) float32 in the pixel space of the run, pixels (V, h, w, c) uint8, targets (V, K)
    float32, classes (K,); the preprocessing of test images (`scale`, `shift`, and `norm`, `centre`, `matrix` where
    there are any, as in datasets/preprocessing.py); `hint_<name>`, `contents` and `code_<name>` as the set has them.
    about.json: network and protocol of the row, resolved, the scale of the targets, with what was measured. train.py: a
    program without ddpipe that trains and tests by it. README.md: the same in words. pictures/<class>/<i>.png: the
    images as they look, i counting the whole set, under the class of the largest target.

    Raises:
        UserError: when `out` exists, the set is missing or damaged, or the project has no such cell.
    """
    if out.exists() or out.is_symlink():
        raise UserError(f"{out} exists; name a new folder or remove it")
    chosen = load(folder, number)
    row = config.row(chosen.info["cell"])
    about = describe(config, row, chosen, number)
    protocol = config.protocol(row.protocol, row.dataset)
    if why := bundle.lacking(protocol):
        raise UserError(f"protocols.{row.protocol}.kind: {why}")
    pixels = (chosen.pixels() * 255).round().byte().permute(0, 2, 3, 1).numpy()  # V h w c
    arrays = {"images": chosen.images, "targets": chosen.targets, **chosen.preprocessing.tensors()}
    arrays |= {f"hint_{name}": value for name, value in chosen.hints.items()}
    arrays |= {f"code_{name}": value for name, value in chosen.codes.items()}
    if chosen.contents is not None:
        arrays["contents"] = chosen.contents
    names = folder_names(chosen.classes)
    with new_folder(out) as new:
        for i, (image, label) in enumerate(zip(pixels, chosen.targets.argmax(1).tolist(), strict=True)):
            (new / "pictures" / names[label]).mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
            picture.save(new / "pictures" / names[label] / f"{i}.png")
        stream = io.BytesIO()
        numbers: dict[str, Any] = {name: value.numpy() for name, value in arrays.items()}
        np.savez_compressed(stream, pixels=pixels, classes=np.array(about["classes"]), **numbers)
        write_bytes(new / "set.npz", stream.getvalue())
        write_json(new / "about.json", about)
        write_text(new / "train.py", bundle.program(bundle.kind_of(protocol)))
        words = rule.module_of(protocol).words(about["training"], "contents" in arrays)
        write_text(new / "README.md", readme(about, row, sorted(arrays), words))
    free = chosen.preprocessing.invert(chosen.images)
    return (
        f"{out}: {len(pixels)} images. README.md says how test images must be preprocessed, and train.py does it, "
        f"trains and tests without ddpipe. {out}/pictures is for looking: clamped to 0..1 and rounded to 8 bits, "
        f"while the values of the set reach from {free.min():.2f} to {free.max():.2f}"
    )


def describe(config: Config, row: Row, chosen: DistilledSet, number: int) -> dict[str, Any]:
    """What about.json says: everything but arrays that the row's evaluation of this set takes."""
    if row.data not in config.params.datasets:
        raise UserError(f"grid.{chosen.info['cell']}.data: {row.data!r} is not under datasets: of params.yaml; add it")
    dataset, protocol = config.params.datasets[row.data], config.protocol(row.protocol, row.dataset)
    if why := protocol.refusal(f"set {number}", shapes(chosen.hints), chosen.scale):
        raise UserError(f"grid.{chosen.info['cell']}.protocol: {row.protocol!r} {why}; name another protocol")
    return {
        "cell": chosen.info["cell"],
        "set": number,
        "method": row.method,
        "dataset": dataset.model_dump(mode="json"),
        "classes": [name.encode("utf-8", "replace").decode() for name in chosen.classes],
        "shape": list(chosen.images.shape[1:]),
        "network": config.network(row.network).model_dump(mode="json"),
        "training": training(protocol, dataset.flip, chosen.hints),
        "targets": chosen.scale,
        "measured": measured(config, row, chosen.info["cell"], number),
    }


def training(protocol: Protocol, flip: bool, hints: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """The protocol's rules, for a set with these hints, as numbers."""
    return {"kind": protocol.kind} | rule.module_of(protocol).exported(protocol, flip, hints or {})


def measured(config: Config, row: Row, cell: str, number: int) -> dict[str, Any] | None:
    """The accuracies in percent of the row's evaluation: of networks trained on this set, and over all sets."""
    path = config.results / row.dataset / f"{cell}.{row.network}.{row.protocol}.json"
    if not path.exists():
        return None
    try:
        result = read_json(path)
        own = result["accuracies"][number] if number < len(result["accuracies"]) else []
        return {"this_set": [float(value) for value in own], **{k: float(result[k]) for k in ("mean", "std", "n")}}
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} is damaged ({error!r}); delete it and run `dvc repro evaluate@{cell}`") from error


def folder_names(classes: tuple[str, ...]) -> list[str]:
    """Class names as names of folders: what a file system may refuse becomes _, and where two would be one folder, case
    aside, all begin with their number."""
    system = sys.getfilesystemencoding()
    known = (name.encode(system, "replace").decode(system) for name in classes)
    names = [re.sub(r"[^\w.+-]", "_", name).lstrip(".")[:60] or "_" for name in known]  # 60: names end at 255 bytes
    if max(Counter(name.casefold() for name in names).values()) > 1:
        return [f"{i}_{name}" for i, name in enumerate(names)]
    return names


def readme(about: dict[str, Any], row: Row, arrays: list[str], words: list[str]) -> str:
    """README.md; `words` are the rules of training, a line each."""
    rules, found = about["training"], about["measured"]
    channels, side, _ = about["shape"]
    steps = ["x = images * scale + shift, images being the values 0 to 255 of the files (no division by 255 before)"]
    if "norm" in arrays:
        steps += ["x = x - (mean of all values of the image); x = x / (L2 norm of the result, each image's own)"]
    if "matrix" in arrays:
        steps += ["x = (x flattened in the order c, h, w, minus centre) @ matrix, and back to (c, h, w)"]
    if found is None:
        accuracy = f"Not measured yet (`dvc repro evaluate@{about['cell']}`)."
    else:
        own = found["this_set"]
        accuracy = (
            f"Networks trained on all sets of the cell: {found['mean']:.2f} +- {found['std']:.2f} % (n = "
            f"{found['n']:.0f}); on this one: {', '.join(f'{value:.1f}' for value in own) or 'not measured'}."
        )
    lacks = (
        "\n\ntrain.py has the ConvNet with PyTorch's initialisation alone, not this network: put it into its function "
        "`network`. Another network gives other accuracies."
    )
    training = "\n".join(fill(line, 118, initial_indent="- ", subsequent_indent="  ") for line in words)
    network = about["network"]
    missing = "" if (network["kind"], network.get("initialisation")) == ("convnet", "default") else lacks
    return f"""# {about["cell"]}, set {about["set"]}

Images of {channels} x {side} x {side}, {len(about["classes"])} classes, distilled (or chosen) by `{about["method"]}`.
Accuracy on the test images under the protocol below: {accuracy}

    python train.py TEST.npz

trains {rules["networks"]} networks and prints theirs; it needs torch and numpy, not ddpipe. TEST.npz holds the raw test
images: `images` uint8 (n, {channels}, {side}, {side}), values 0 to 255, and `labels` (n,), counting the `classes` of
about.json from 0. Where ddpipe has prepared the data:

```python
import numpy as np
from safetensors.numpy import load_file

data = load_file("data/prepared/{row.data}/data.safetensors")
np.savez("TEST.npz", images=data["test_images"], labels=data["test_labels"])
```

## Preprocessing

`images` of set.npz are in the pixel space in which they were made: train on them as they are. Test images must be
brought there, by the numbers in set.npz (`preprocess` in train.py):

{chr(10).join(f"{i}. {step}" for i, step in enumerate(steps, 1))}

Channels come first, colours in the order red, green, blue. `dataset` of about.json says how ddpipe reads the files.

## Training (`training` of about.json)

{training}
- The network: {row.network}, `network` of about.json. The last weights count; test images are not augmented.{missing}

## Files

- set.npz: {", ".join(f"`{name}`" for name in arrays)}, `classes`, and `pixels`, the images as bytes (h, w, c).
- about.json: all the numbers above; train.py: a program that goes by them.
- pictures/<class>/<number>.png: for looking. Clamped and rounded to 8 bits, they are not what the accuracy was
  measured with.
"""
