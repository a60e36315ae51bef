"""A guard that stands in for a device where none is: real numbers, computed by the CPU, on tensors that say they lie
elsewhere.

Torch's private-use device is told to be `guard:0`. A tensor there is a `Held`, whose `host` holds the numbers; every
operation on one comes through `Held.__torch_dispatch__`, which

- refuses what CUDA refuses: operands on both sides, generators of the CPU for tensors of the device;
- refuses what CUDA does silently and slowly: indices that lie on the CPU;
- counts what a device is asked for: operations (launches; views and empty tensors are none), copies between host and
  device, and waits, which are the copies and reads that hold the host up until the device is done.

A copy to the device from pinned memory, `non_blocking`, is a copy but no wait.
"""

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree
from torch.utils import backend_registration

NEEDED = "_setup_privateuseone_for_python_backend"  # of torch.utils.backend_registration, new in torch 2.10 or so
GUARD = "guard"
PACKAGE = str(Path(__file__).parents[2] / "ddpipe")
VIEWS = frozenset(  # and tensors without numbers
    """
    view _unsafe_view expand permute transpose t detach alias slice select split split_with_sizes unsqueeze unsqueeze_
    squeeze squeeze_ as_strided unbind _reshape_alias unfold diagonal lift_fresh narrow chunk view_as reshape movedim
    detach_ transpose_ t_ _conj real empty empty_like empty_strided new_empty new_empty_strided
    """.split()  # noqa: SIM905 (a table of words)
)
INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
READ_BACK = frozenset(  # the size of the result, or whether there is one, depends on numbers
    """
    nonzero _unique2 unique_dim unique_consecutive masked_select equal is_nonzero bincount _linalg_check_errors
    """.split()  # noqa: SIM905
)


class Refused(RuntimeError):
    """What a device refuses, or does silently and slowly."""


class Counts:
    """What the device was asked for: `operations` by name; `copies` and `waits` by kind and line of the package."""

    def __init__(self) -> None:
        self.operations: Counter[str] = Counter()
        self.copies: Counter[tuple[str, str]] = Counter()
        self.waits: Counter[tuple[str, str]] = Counter()

    def note(self, kind: str, waits: bool, copy: bool = True) -> None:
        place = (kind, where())
        if copy:
            self.copies[place] += 1
        if waits:
            self.waits[place] += 1

    def totals(self) -> tuple[int, int, int]:
        return self.operations.total(), self.copies.total(), self.waits.total()


COUNTS = [Counts()]  # the last one counts


@contextlib.contextmanager
def counted() -> Iterator[Counts]:
    """What is asked for meanwhile."""
    COUNTS.append(Counts())
    try:
        yield COUNTS[-1]
    finally:
        inner = COUNTS.pop()
        for name in ("operations", "copies", "waits"):
            getattr(COUNTS[-1], name).update(getattr(inner, name))


def where() -> str:
    """The two innermost lines of the package that are at work."""
    frame, found = sys._getframe(1), []
    while frame is not None and len(found) < 2:
        if frame.f_code.co_filename.startswith(PACKAGE):
            found.append(f"{frame.f_code.co_filename.removeprefix(PACKAGE)[1:]}:{frame.f_lineno}")
        frame = frame.f_back
    return " < ".join(found)


class Held(Tensor):
    """A tensor of the device; `host` is a CPU tensor of the same shape and strides with its numbers."""

    host: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, host: Tensor) -> "Held":
        made = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            host.shape,
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device=torch.device(GUARD, 0),
        )
        made.host = host
        return made

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Held({self.host!r})"

    def tolist(self) -> Any:
        return self.detach().cpu().tolist()

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return perform(func, args, kwargs or {})


def perform(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """`func` on the CPU, after what a device would say of it."""
    name = func.overloadpacket.__name__
    given = [x for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    counts = COUNTS[-1]
    leaves = False  # the result lies on the CPU
    device = kwargs.get("device")
    if name == "_to_copy":
        leaves = device is not None and torch.device(device).type == "cpu"
        if leaves:
            counts.note("to the host", waits=True)
    elif name == "copy_":
        leaves = not isinstance(args[0], Held)
        if leaves:
            counts.note("to the host", waits=True)
        elif not isinstance(args[1], Held):
            non_blocking = bool(args[2] if len(args) > 2 else kwargs.get("non_blocking"))
            queued = non_blocking and pinned(args[1])
            counts.note("to the device", waits=not queued)
    elif name == "_local_scalar_dense":
        leaves = True
        counts.note("read", waits=True)
    else:
        refuse(func, name, args, given, kwargs.get("generator"))
        if name in READ_BACK:
            counts.note(name, waits=True, copy=False)
    if not leaves and name not in VIEWS:
        counts.operations[name] += 1
    if device is not None and torch.device(device).type == GUARD:
        kwargs = kwargs | {"device": torch.device("cpu")}
    host_args, host_kwargs = pytree.tree_map_only(Held, lambda held: held.host, (args, kwargs))
    result = func(*host_args, **host_kwargs)
    if leaves:
        return args[0] if name == "copy_" else result
    if torch.Tag.inplace_view in func.tags:  # the wrapper's own shape follows
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)
    return written(func, args, kwargs, result)


def refuse(func: Any, name: str, args: Any, given: list[Tensor], generator: torch.Generator | None) -> None:
    """Raises where operands lie on both sides; a CPU tensor of one number may stand for a number."""
    if generator is not None and generator.device.type != GUARD:
        raise Refused(f"{func}: a generator of the CPU for a tensor of the device, at {where()}")
    if name in INDEXED:
        indices = [index for index in args[1] if index is not None]
        if not all(isinstance(index, Held) == isinstance(args[0], Held) for index in indices):
            raise Refused(f"{func}: indices on the other side, which CUDA would copy and wait for, at {where()}")
        if any(index.dtype in (torch.bool, torch.uint8) for index in indices):
            COUNTS[-1].note("mask as index", waits=True, copy=False)
    elsewhere = [tuple(x.shape) for x in given if not isinstance(x, Held) and x.dim()]
    if elsewhere:
        raise Refused(f"{func}: operands of shapes {elsewhere} lie on the CPU, others on the device, at {where()}")


def written(func: Any, args: Any, kwargs: dict[str, Any], result: Any) -> Any:
    """`result` as tensors of the device; what was written in place is the tensor that was given."""
    schema = func._schema
    into = [
        args[place] if place < len(args) else kwargs.get(argument.name)
        for place, argument in enumerate(schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
    ]
    if into and not schema.returns:
        return None
    if into and len(into) == len(schema.returns):
        return into[0] if len(into) == 1 else tuple(into)
    return pytree.tree_map_only(Tensor, lambda x: x if isinstance(x, Held) else Held(x), result)


PINNED: dict[int, StorageWeakRef] = {}


def pinned(tensor: Tensor) -> bool:
    reference = PINNED.get(tensor.untyped_storage()._cdata)
    return reference is not None and not reference.expired()


def pin(tensor: Tensor, device: Any = None) -> Tensor:
    """A copy that counts as pinned."""
    for key in [key for key, reference in PINNED.items() if reference.expired()]:
        del PINNED[key]
    copy = tensor.clone()
    PINNED[copy.untyped_storage()._cdata] = StorageWeakRef(copy.untyped_storage())
    return copy


LIBRARIES: list[torch.library.Library] = []


def set_up() -> torch.device:
    """The device, for the rest of this process, which no other tensor notices."""
    if not LIBRARIES:

        class Place(torch._C._acc.DeviceGuard):
            def type_(self) -> Any:
                return torch._C._autograd.DeviceType.PrivateUse1

        class Module(backend_registration._DummyBackendModule):
            def get_amp_supported_dtype(self) -> list[torch.dtype]:
                return [torch.bfloat16, torch.float16]

            def get_rng_state(self, device: Any = 0) -> Tensor:  # fork_rng asks, whatever it is called for
                return torch.empty(0, dtype=torch.uint8)

            def set_rng_state(self, state: Tensor, device: Any = 0) -> None:
                pass

        getattr(backend_registration, NEEDED)(GUARD, Module(), device_guard=Place())
        library = torch.library.Library("aten", "IMPL")
        library.impl("empty.memory_format", empty, "PrivateUse1")
        library.impl("empty_strided", empty_strided, "PrivateUse1")
        library.impl("_pin_memory", pin, "CPU")
        for names, dtype in ((LOWER, torch.bfloat16), (HIGHER, torch.float32)):
            for name in names:
                library.impl(name, autocast(name, dtype), "AutocastPrivateUse1")
        others = torch.library.Library("_", "IMPL")
        others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
        LIBRARIES.extend((library, others))
    return torch.device(GUARD, 0)


LOWER = ("conv2d", "conv_transpose2d.input", "linear", "matmul", "mm", "bmm", "addmm", "baddbmm")  # as on CUDA
HIGHER = ("group_norm", "layer_norm", "log_softmax.int", "softmax.int", "nll_loss", "mse_loss")


def autocast(name: str, dtype: torch.dtype) -> Any:
    """The operation `name` under autocast: its floating-point operands in `dtype`."""
    packet, _, overload = name.partition(".")
    operation = getattr(getattr(torch.ops.aten, packet), overload or "default")
    key = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

    def cast(*args: Any, **kwargs: Any) -> Any:
        with torch._C._ExcludeDispatchKeyGuard(key):
            args, kwargs = pytree.tree_map_only(
                Tensor, lambda x: x.to(dtype) if x.is_floating_point() else x, (args, kwargs)
            )
            return operation(*args, **kwargs)

    return cast


@contextlib.contextmanager
def at_work() -> Iterator[torch.device]:
    """The device, and what torch has to do otherwise for it as long as it is used."""
    device = set_up()
    lifted, overwritten = (
        torch._C._only_lift_cpu_tensors(),
        torch.__future__.get_overwrite_module_params_on_conversion(),
    )
    torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor makes its tensor on the CPU and copies it
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # else only the wrapper would be replaced
    try:
        yield device
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)


def empty(size: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, **more: Any) -> Tensor:
    return Held(torch.empty(size, dtype=dtype, memory_format=more.get("memory_format") or torch.contiguous_format))


def empty_strided(size: Any, stride: Any, *, dtype: Any = None, **more: Any) -> Tensor:
    return Held(torch.empty_strided(size, stride, dtype=dtype))
