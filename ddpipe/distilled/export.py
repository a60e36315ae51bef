"""A distilled set for programs that know nothing of ddpipe: all that training on it and testing take, and how."""

import io
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ddpipe.config import Config
from ddpipe.distilled import bundle
from ddpipe.distilled.card import front_matter, readme
from ddpipe.distilled.loaded import DistilledSet, load
from ddpipe.errors import UserError
from ddpipe.evaluation import rule
from ddpipe.files.artifacts import new_folder, read_json, write_bytes, write_json, write_text
from ddpipe.files.hints import shapes
from ddpipe.settings import Protocol, Row

FORMS = ("plain", "hf")


def export(config: Config, folder: Path, out: Path, number: int = 0, form: str = "plain") -> str:
    """Write set `number` of the distilled `folder`, whose cell is a row of the project, to `out`; a sentence about it.

    set.npz: images (V, c, h, w) float32 in the pixel space of the run, pixels (V, h, w, c) uint8, targets (V, K)
    float32, classes (K,); the preprocessing of test images (`scale`, `shift`, and `norm`, `centre`, `matrix` where
    there are any, as in datasets/preprocessing.py); `hint_<name>`, `contents` and `code_<name>` as the set has them.
    about.json: network and protocol of the row, resolved, the scale of the targets, with what was measured. train.py: a
    program without ddpipe that trains and tests by it. README.md: the same in words. pictures/<class>/<i>.png: the
    images as they look, i counting the whole set, under the class of the largest target.

    Form "hf" is a folder of Hugging Face `datasets` too: pictures/metadata.jsonl has the examples, a line each, with
    `pixel_values`, the exact images (c, h, w), as PNG has no floats; README.md is its card.

    Raises:
        UserError: when `out` exists, the set is missing or damaged, or the project has no such cell.
    """
    if form not in FORMS:
        raise UserError(f"--format {form}: must be one of {', '.join(FORMS)}")
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
    labels, names = chosen.targets.argmax(1).tolist(), folder_names(chosen.classes)
    files = [f"{names[label]}/{i}.png" for i, label in enumerate(labels)]
    with new_folder(out) as new:
        for image, file in zip(pixels, files, strict=True):
            path = new / "pictures" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image).save(path)
        head = ""
        if form == "hf":
            examples = metadata(chosen, about["classes"], labels, files)
            write_text(new / "pictures" / "metadata.jsonl", examples)
            head = front_matter(about, examples)
        stream = io.BytesIO()
        numbers: dict[str, Any] = {name: value.numpy() for name, value in arrays.items()}
        np.savez_compressed(stream, pixels=pixels, classes=np.array(about["classes"]), **numbers)
        write_bytes(new / "set.npz", stream.getvalue())
        write_json(new / "about.json", about)
        write_text(new / "train.py", bundle.program(bundle.kind_of(protocol)))
        words = rule.module_of(protocol).words(about["training"], "contents" in arrays)
        page = readme(about, row, sorted(arrays), words, form == "hf")
        write_text(new / "README.md", head + page)
    free = chosen.preprocessing.invert(chosen.images)
    return (
        f"{out}: {len(pixels)} images. README.md says how test images must be preprocessed, and train.py does it, "
        f"trains and tests without ddpipe. {out}/pictures is for looking: clamped to 0..1 and rounded to 8 bits, "
        f"while the values of the set reach from {free.min():.2f} to {free.max():.2f}"
    )


def metadata(chosen: DistilledSet, classes: list[str], labels: list[int], files: list[str]) -> str:
    """JSON, a line each example: its picture, class, targets, and values that are float32's own when read as such."""
    lines = []
    for i, (label, file) in enumerate(zip(labels, files, strict=True)):
        line: dict[str, Any] = {"file_name": file, "index": i, "label": label, "class": classes[label]}
        line |= {"target": chosen.targets[i].tolist(), "pixel_values": chosen.images[i].tolist()}
        if chosen.contents is not None:
            line["base"] = int(chosen.contents[i])
        lines.append(json.dumps(line, ensure_ascii=False))
    return "\n".join(lines) + "\n"


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
        "measured": measured(config, chosen.info["cell"], number),
    }


def training(protocol: Protocol, flip: bool, hints: Mapping[str, Tensor] | None = None) -> dict[str, Any]:
    """The protocol's rules, for a set with these hints, as numbers."""
    return {"kind": protocol.kind} | rule.module_of(protocol).exported(protocol, flip, hints or {})


def measured(config: Config, cell: str, number: int) -> dict[str, Any] | None:
    """The accuracies in percent of the row's evaluation: of networks trained on this set, and over all sets."""
    path = config.path(config.evaluation(cell))
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
