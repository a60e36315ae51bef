"""The forms in which distilled sets were published -> images and labels. A form is told by what the file holds.

| who | what torch.save or numpy.savez wrote |
| --- | --- |
| DC, DSA, DM, CAFE | a dict: `data`, a list with (images, labels) of each experiment; `accs_all_exps`, accuracies |
| MTT, TESLA, FTD | a tensor of images (`images_best.pt`), and in a file of its own one of labels (`labels_best.pt`) |
| IDC | a list of two: images in [0, 1] that hold factor x factor smaller ones, and labels |
| KIP, and anybody | an npz: `images` (channels last or first) and `labels`, numbers of classes or scores for each |
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ddpipe.errors import UserError, out_of_memory
from ddpipe.judging.reading import read

NO_NUMBERS = (RuntimeError, ValueError, OverflowError)  # what torch raises where it is to compute with something else
UNSIGNED = (torch.uint16, torch.uint32, torch.uint64)  # torch keeps them, but neither compares nor adds


@dataclass(frozen=True)
class Given:
    """One published set. `formed`: its images are in [0, 1] and hold smaller ones (IDC)."""

    images: Tensor  # (n, c, h, w) float32
    labels: Tensor  # (n,) int64, or (n, K) float32
    formed: bool = False


@dataclass(frozen=True)
class Publication:
    """What a file holds."""

    form: str
    sets: tuple[Given, ...]
    accuracies: dict[str, list[float]] = field(default_factory=dict)  # the authors' own by network, in percent


def open_(path: Path, labels: Path | None = None) -> Publication:
    """The sets in `path`.

    Args:
        labels: the file of the labels, where they lie in one of their own; left out, it is looked for beside `path`
            under MTT's names.

    Raises:
        UserError: it holds none of the forms, or something is missing.
    """
    content = read(path)
    if labels and not isinstance(content, Tensor):
        raise UserError(f"{path} holds labels too; leave --labels out")
    if isinstance(content, dict) and "data" in content:
        return _experiments(path, content)
    if isinstance(content, dict) and {"images", "labels"} <= content.keys():
        return Publication("arrays", (_given(path, content["images"], content["labels"]),))
    if isinstance(content, list | tuple) and len(content) == 2:
        return Publication("IDC", (_given(path, content[0], content[1], formed=True),))
    if isinstance(content, Tensor) and content.dim() == 4:
        beside = labels or path.with_name(path.name.replace("images", "labels"))
        if beside == path or not (labels or beside.exists()):
            raise UserError(f"{path} holds images alone; name the file of their labels with --labels")
        return Publication("tensors", (_given(path, content, read(beside)),))
    raise UserError(
        f"{path} is none of the published forms (a dict with data, a dict with images and labels, a list of images and "
        "labels, a tensor of images); save its images and labels as an npz"
    )


def _experiments(path: Path, content: dict[str, Any]) -> Publication:
    pairs = content["data"] if isinstance(content["data"], list | tuple) else ()
    sets = tuple(_given(path, *pair) for pair in pairs if isinstance(pair, list | tuple) and len(pair) == 2)
    if not sets:
        raise UserError(f"{path}: its data has no pair of images and labels; fetch the file again")
    said = content.get("accs_all_exps") or {}
    try:
        accuracies = {str(name): [100 * float(value) for value in values] for name, values in said.items()}
    except (AttributeError, TypeError, *NO_NUMBERS) as error:
        raise UserError(f"{path}: its accs_all_exps are no accuracies by network; fetch the file again") from error
    return Publication("experiments", sets, {name: values for name, values in accuracies.items() if values})


def _given(path: Path, images: Any, labels: Any, formed: bool = False) -> Given:
    try:
        return _checked(path, _plain(images), _plain(labels), formed)
    except (TypeError, *NO_NUMBERS) as error:
        if out_of_memory(error):
            raise
        raise UserError(
            f"{path}: its images or labels are no numbers of at most 64 bits in plain arrays (nor sparse or quantised)"
            "; save them as float32 and int64 in an npz"
        ) from error


def _plain(value: Any) -> Tensor:
    """The numbers of an array or a tensor as torch computes with them: in this machine's byte order, signed, dense.

    Raises:
        ValueError, TypeError, RuntimeError: it holds none, or ones that torch cannot hold.
    """
    if isinstance(value, Tensor):
        value = value.detach()
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ValueError("is no plain array")
        if value.dtype in UNSIGNED:
            value = value.numpy()
    if isinstance(value, np.ndarray):
        kind, size = value.dtype.kind, value.dtype.itemsize
        if kind == "u" and value.size and value.max() > np.iinfo(np.int64).max:
            raise ValueError("is beyond 64 bits with a sign")
        wide = np.int64 if kind == "u" and size > 1 else np.float64 if kind == "f" and size > 8 else None
        with np.errstate(over="ignore"):  # infinite then, which is told
            value = value.astype(wide or value.dtype.newbyteorder("="), copy=False)
    return torch.as_tensor(value)


def _checked(path: Path, images: Tensor, labels: Tensor, formed: bool) -> Given:
    if images.dim() == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.permute(0, 3, 1, 2)
    if images.dim() != 4 or images.shape[1] not in (1, 3) or images.shape[2] != images.shape[3]:
        raise UserError(
            f"{path}: images of shape {tuple(images.shape)} are no (n, c, h, h) with 1 or 3 channels; save them so"
        )
    if not len(images) or images.is_complex() or labels.is_complex():
        raise UserError(f"{path}: no images, or complex numbers in place of real ones; fetch the file again")
    if labels.dim() not in (1, 2) or len(labels) != len(images):
        raise UserError(f"{path}: {len(images)} images, but labels of shape {tuple(labels.shape)}; name the right file")
    if not bool(torch.isfinite(images.float()).all() and torch.isfinite(labels.float()).all()):
        raise UserError(f"{path}: a number in it is not finite; fetch the file again")
    whole = labels.dim() == 1
    if whole and bool((labels != labels.long()).any()):
        raise UserError(
            f"{path}: labels that are no whole numbers; give a row of scores an image, or numbers of classes"
        )
    return Given(images.float().contiguous(), labels.long() if whole else labels.float(), formed)
