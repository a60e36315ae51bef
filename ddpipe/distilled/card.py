"""The page beside an exported set: what it is, how its accuracy is reached, as a card for the Hugging Face Hub too."""

import hashlib
import json
import math
from textwrap import fill
from typing import Any

from ddpipe.settings import Row

PLAIN = {"kind": "trained", "optimizer": "sgd", "criterion": "cross-entropy", "single": False, "cutmix": 0.0}
OPENED = """import json

import numpy as np
import torch
from train import {names}  # train.py of this folder

about = json.load(open("about.json", encoding="utf-8"))
arrays = {name: torch.from_numpy(array) for name, array in np.load("set.npz").items() if array.dtype.kind in "fiu"}
"""
LOOP = """images, targets, rules, net = arrays["images"], arrays["targets"], about["training"], network(about)
sgd = torch.optim.SGD(net.parameters(), 0.1, momentum=rules["momentum"], weight_decay=rules["weight_decay"])
for number in range(rules["passes"]):
    sgd.param_groups[0]["lr"] = rules["rates"].get(str(number), sgd.param_groups[0]["lr"])
    for rows in torch.randperm(len(images)).split(rules["batch"]):
        loss = torch.nn.functional.cross_entropy(net(augment(images[rows], rules["augment"])), targets[rows])
        sgd.zero_grad()
        loss.backward()
        sgd.step()
"""
WHOLE = """net = train(about, arrays, learn)  # `learn` in train.py has the steps
"""
TESTED = """test = np.load("TEST.npz")
answers = net.eval()(preprocess(torch.from_numpy(test["images"]), arrays)).argmax(1)
print(100 * (answers == torch.from_numpy(test["labels"])).float().mean())
"""
DATASETS = """
With Hugging Face `datasets`, in this folder:

```python
import os

import datasets
import torch

found = datasets.load_dataset(os.getcwd(), split="train").sort("index")  # this folder, or the name of a repository
named = found.cast_column("label", datasets.ClassLabel(names={classes}))
images, targets = (torch.tensor(found[name][:]) for name in ("pixel_values", "target"))
```

`pixel_values` are the images that the accuracy was measured with, to the last bit; `image` are the pictures, which are
8 bits of them.
"""
METADATA = """
- pictures/metadata.jsonl: an example a line: `index` in set.npz, `file_name` of its picture, `label` and `class`,
  `target`, `pixel_values` (the exact image, as PNG has no floats), and `base` where several show one base."""


def readme(about: dict[str, Any], row: Row, arrays: list[str], words: list[str], hugging: bool = False) -> str:
    """README.md; `words` are the rules of training, a line each; `hugging`: of a folder that `datasets` reads."""
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
    network, own = about["network"], {key: rules.get(key) for key in PLAIN} == PLAIN and "contents" not in arrays
    opened = OPENED.replace("{names}", "augment, network, preprocess" if own else "learn, preprocess, train")
    program = opened + (LOOP if own else WHOLE) + TESTED
    there = "kernel" in rules or (network["kind"], network.get("initialisation")) == ("convnet", "default")
    missing = "" if there else lacks
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

In a program of your own, in this folder:

```python
{program}```
{DATASETS.format(classes=json.dumps(about["classes"], ensure_ascii=False)) if hugging else ""}
## Files

- set.npz: {", ".join(f"`{name}`" for name in arrays)}, `classes`, and `pixels`, the images as bytes (h, w, c).
- about.json: all the numbers above; train.py: a program that goes by them.
- pictures/<class>/<number>.png: for looking. Clamped and rounded to 8 bits, they are not what the accuracy was
  measured with.{METADATA if hugging else ""}
"""


def front_matter(about: dict[str, Any], examples: str) -> str:
    """The head of a card of the Hugging Face Hub, which `datasets` goes by; a licence of the images nobody knows.

    Args:
        examples: metadata.jsonl. Its digest is in the name of the only configuration, as `datasets` takes a folder that
            it has seen for what it was, whatever lies there now, unless that name is another.
    """
    name = f"{about['cell']}-{about['set']}-{hashlib.sha256(examples.encode()).hexdigest()[:8]}"
    sizes = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M", math.inf: "n>1M"}
    size = next(word for most, word in sizes.items() if examples.count("\n") < most)
    return f"""---
pretty_name: {json.dumps(f"{about['cell']}, set {about['set']}")}
task_categories:
- image-classification
tags:
- dataset-distillation
- {json.dumps(about["method"])}
size_categories:
- {size}
configs:
- config_name: {name}
  data_files:
  - split: train
    path: pictures/**
---

"""
