"""Where the numbers are computed."""

import contextlib
import ctypes
import functools
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

import ddpipe
from ddpipe import settings
from ddpipe.errors import UserError

# Whether steps of training may be captured on a CUDA device; a setting of the process, as `choose` makes it.
graphs = True


def choose(run: settings.Run) -> torch.device:
    """The device of `run.device`, with torch set to `run.threads` threads, float32 without TF32, deterministic kernels.

    These are settings of the process: only commands call this.
    """
    global graphs
    if run.device == "cuda" and not torch.cuda.is_available():
        raise UserError("run.device: 'cuda', but torch sees no CUDA device; set it to 'auto' or 'cpu'")
    if run.compile and not any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++")):
        raise UserError("run.compile: torch.compile finds no C++ compiler; install g++ or set it to false")
    graphs = run.graphs
    torch.set_num_threads(run.threads)
    device = torch.device("cuda" if run.device != "cpu" and torch.cuda.is_available() else "cpu")
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        torch.use_deterministic_algorithms(True, warn_only=True)
        # else every new tensor is filled, a kernel each, in case somebody reads what nobody wrote
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    return device


@contextlib.contextmanager
def lent(run: settings.Run) -> Iterator[torch.device]:
    """`choose` for a while, in a program of somebody else, who gets the settings of the process back."""
    global graphs
    threads, captured = torch.get_num_threads(), graphs
    tf32 = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    strict = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    filled = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    try:
        yield choose(run)
    finally:
        graphs = captured
        torch.set_num_threads(threads)
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = tf32
        torch.use_deterministic_algorithms(strict[0], warn_only=strict[1])
        torch.utils.deterministic.fill_uninitialized_memory = filled  # type: ignore[attr-defined]


def keep_freed_memory() -> None:
    """Let the C library keep what tensors free for the next ones; where it is not glibc, nothing happens.

    Else every step takes its large tensors anew from the system, which fills their pages with zeros: a third of a
    training step on a CPU at width 128 and 100 images. The price is gaps between tensors of other sizes: about a tenth
    of the peak memory in training, more where sizes vary more. No number depends on it; a setting of the process.
    """
    if platform.libc_ver()[0] == "glibc":
        largest, (trim_threshold, mmap_threshold) = 2**31 - 1, (-1, -3)  # of malloc.h
        for option in (trim_threshold, mmap_threshold):
            ctypes.CDLL(None).mallopt(option, largest)


def describe(device: torch.device) -> str:
    """The device in words, as result files record it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU {platform.machine()}, {torch.get_num_threads()} threads"


def hardware(device: torch.device) -> str:
    """The model of the GPU, or of the CPU as far as the system tells it."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else processor()


@functools.cache
def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2] for line in lines if line.startswith("model name")]
    named = " ".join(models[0].split()) if models else platform.processor()
    return named or platform.machine() or "CPU"


def versions() -> dict[str, str]:
    return {"ddpipe": ddpipe.__version__, "torch": torch.__version__, "python": platform.python_version()}


def free_memory(device: torch.device) -> int | None:
    """Bytes of the device's own memory that this process can still take; None on a CPU."""
    if device.type != "cuda":
        return None
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)  # torch keeps what it freed
    return torch.cuda.mem_get_info(device)[0] + unused
