"""What work cost: seconds of three kinds, memory, on which hardware, and how busy the machine was meanwhile.

Wall seconds of a machine that others use too say little about the work. Processor seconds are those of this process,
of all its threads and of the children it waited for, whatever else was running. Device seconds exist on a GPU alone:
wall seconds from one wait for the device to another, which are the work's own where nobody else used the device.
"""

import os
import resource
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import torch

from ddpipe.device import describe, hardware, versions
from ddpipe.pipeline.costs import joined

SUMMED = ("seconds", "processor_seconds", "device_seconds")
LOADS = (180.0, 600.0)  # seconds up to which the load over 1 and over 5 minutes is the one to ask for; then 15


class Meter:
    """Measures from its making on; `record` is what a ledger and a checkpoint keep of it."""

    def __init__(self, device: torch.device):
        self.device = device
        self.began, self.processors = self.seconds_now(), processor_seconds()
        self.looked, self.loaded = self.began, 0.0  # when the load was asked for, and its integral until then

    def seconds_now(self) -> float:
        """Of a clock, once the device has done all that it was asked for."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.monotonic()

    def seconds(self) -> float:
        return self.seconds_now() - self.began

    def peak_memory_mb(self) -> float:
        """Of the device's own memory; on a CPU of the whole process."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 2**10)

    def record(self) -> dict[str, Any]:
        """The cost so far. `load`, where the system tells one, is the mean number of processes that ran or waited."""
        seconds = self.seconds()
        spent = {"seconds": round(seconds, 3), "processor_seconds": round(processor_seconds() - self.processors, 3)}
        if self.device.type == "cuda":
            spent["device_seconds"] = spent["seconds"]
        if (now := load(self.began + seconds - self.looked)) is not None:
            self.loaded += now * (self.began + seconds - self.looked)
            self.looked = self.began + seconds
            spent["load"] = round(self.loaded / seconds if seconds else now, 2)
        return spent | {
            "peak_memory_mb": round(self.peak_memory_mb(), 1),
            "device": describe(self.device),
            "hardware": hardware(self.device),
            "threads": torch.get_num_threads(),
            "versions": versions(),
            "when": datetime.now(UTC).date().isoformat(),
        }


def processor_seconds() -> float:
    """Of this process and of the children that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def load(seconds: float) -> float | None:
    """The machine's mean load over about the last `seconds`; None where the system does not tell."""
    try:
        return os.getloadavg()[sum(seconds > most for most in LOADS)]
    except (AttributeError, OSError):
        return None


def total(each: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Costs of several pieces of work as one; the rest is as the last piece says.

    Processor and device seconds are added up where all pieces tell them and ran on the same hardware, the load's mean
    is taken where all tell it: what only some tell (older versions wrote wall seconds alone) is left out.
    """
    found = {key: value for key, value in each[-1].items() if key not in (*SUMMED, "load", "hardware")}
    alike = len({cost.get("hardware") for cost in each}) == 1
    for key in SUMMED:
        if all(key in cost for cost in each) and (alike or key == "seconds"):
            found[key] = round(sum(cost[key] for cost in each), 3)
    if all("load" in cost for cost in each):
        weights = [cost["seconds"] or 1e-3 for cost in each]
        loads = sum(cost["load"] * weight for cost, weight in zip(each, weights, strict=True))
        found["load"] = round(loads / sum(weights), 2)
    if all("hardware" in cost for cost in each):
        found["hardware"] = joined(cost["hardware"] for cost in each)
    if any("resumed_at" in cost for cost in each):
        found["resumed_at"] = [at for cost in each for at in cost.get("resumed_at", ())]
    found["peak_memory_mb"] = max(cost.get("peak_memory_mb", 0.0) for cost in each)
    return found | {"device": joined(cost["device"] for cost in each)}


def shared(cost: dict[str, Any], by: int) -> dict[str, Any]:
    """What each of the networks cost that were worked on at once."""
    return cost | {key: round(cost[key] / by, 3) for key in SUMMED if key in cost} | {"together": by}
