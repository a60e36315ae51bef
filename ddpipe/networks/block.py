"""What stands behind a convolution of the ConvNet, in one: instance normalisation, ReLU, 2x2 average pooling.

It knows its second derivative, which gradient matching and unrolled training live on. Per image and channel, over the
N = h w numbers of a map x, with mu their mean and r = (their variance + eps)^(-1/2),

    xhat = r (x - mu)        y = w xhat + b        output: pool(relu(y))

With g the gradient of y, which is the output's handed back through pooling and ReLU, and P the projection that takes
the mean and xhat out of a map,

    P(g) = r (g - mean g - xhat mean(g xhat))
    gradient of x: w P(g)        of w: sum of g xhat        of b: sum of g        (sums over images as well)

Let u, p and q be the gradients of these three. P is its own transpose and the Jacobian of xhat, and mean(g xhat) has
the derivative P(g) / N, so that with f = sum of g P(u) the gradients of the gradients are

    of g: w P(u) + p xhat + q        of w: f, over images as well
    of x: (p - w r mean(u xhat)) P(g) - w r mean(g xhat) P(u) - (w r f / N) xhat

Automatic differentiation finds the same in five times as many operations. Values and first derivatives are those of
torch's group normalisation with one channel a group, ReLU and pooling, to the bit. Derivatives stop at the second.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

pool_back = torch.ops.aten.avg_pool2d_backward.default
ramp_back_ = torch.ops.aten.threshold_backward.grad_input
norm_back = torch.ops.aten.native_group_norm_backward.default

SMALL = 2**16  # numbers of the first map: a CPU is through with fewer before Python has called for them

_least: ContextVar[int | None] = ContextVar("least", default=None)


@contextmanager
def twice(always: bool = False) -> Iterator[None]:
    """Who goes on to differentiate a gradient calls the network in here: its blocks are then written out as below.

    Elsewhere they are torch's layers, whose first derivative knows no Python; and here for small maps on a CPU, where
    fewer operations are no gain, unless `always`: that gradient has the bits of one that is not differentiated.
    """
    before = _least.set(0 if always else SMALL)
    try:
        yield
    finally:
        _least.reset(before)


def written_out(images: Tensor, width: int) -> bool:
    """Whether the blocks of a network with so many channels are.

    Not under torch.compile, which fuses by itself, nor under autocast, which chooses each layer's precision.
    """
    if torch.compiler.is_compiling() or (least := _least.get()) is None:
        return False
    n, _, height, breadth = images.shape
    large = images.device.type != "cpu" or n * width * height * breadth >= least
    return large and not torch.is_autocast_enabled(images.device.type)


def block(x: Tensor, w: Tensor, b: Tensor, eps: float) -> Tensor:
    """x (n, c, h, w), scale and shift w and b (c,) -> (n, c, h // 2, w // 2)."""
    return Block.apply(x.contiguous(), w, b, eps)[0]


def second_slopes(
    u: Tensor, p: Tensor | None, q: Tensor | None, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, r: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the gradients by g and x (n, c, h, w) and by w (c,).

    Args:
        u: the gradient of x's gradient, like x; p, q: of w's and b's, (c,), both or neither.
        g: the gradient of y, like x; mean, r: (n, c).
    """
    (n, c, *_), count = x.shape, x[0, 0].numel()
    share, apart = 1 / count, (1, n * c, count, n * c)  # every image's channel counts as a channel of its own
    xhat = torch.native_group_norm(x, None, None, n, c, count, c, eps)[0]
    wr = (w * r).view(n, c, 1, 1)
    projected, ux, _ = norm_back(u, x, mean, r, torch.ones_like(r), *apart, [True, True, False])  # P(u), sum of u xhat
    ux, w = ux.view(n, c, 1, 1), w.view(c, 1, 1)
    factor = wr * ux * -share if p is None else torch.addcmul(p.view(c, 1, 1), wr, ux, value=-share)
    by_x, gx, _ = norm_back(g, x, mean, r, factor, *apart, [True, True, False])  # factor P(g), sum of g xhat
    f = (g * projected).sum((2, 3), True)  # n c 1 1
    by_x.addcmul_(projected, wr * gx.view(n, c, 1, 1), value=-share).addcmul_(xhat, wr * f, value=-share)
    by_w = f.sum(0).view(c)
    if p is None or q is None:
        return projected * w, by_x, by_w
    return torch.addcmul(q.view(c, 1, 1), xhat, p.view(c, 1, 1)).addcmul_(projected, w), by_x, by_w


def fold(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """A vmapped axis becomes part of the channels: (n, c, ...) -> (n, size c, ...), (c,) -> (size c,)."""
    if dim is None:
        tensor, dim = tensor.expand(size, *tensor.shape), 0
    place = min(1, tensor.dim() - 2)
    return tensor.movedim(dim, place).flatten(place, place + 1).contiguous()


def together(function: Any, info: Any, in_dims: Any, *inputs: Any) -> tuple[Any, Any]:
    """Several blocks at once are one block of as many times the channels."""
    size = info.batch_size
    tensors = [fold(x, d, size) if isinstance(x, Tensor) else x for x, d in zip(inputs, in_dims, strict=True)]
    found = function.apply(*tensors)
    places = [min(1, x.dim() - 1) for x in found]
    return tuple(x.unflatten(d, (size, -1)) for x, d in zip(found, places, strict=True)), tuple(places)


def applied(function: type[Function]) -> Callable[..., Any]:
    """With a graph where one is kept. Else bare: bookkeeping costs as much time as the numbers of a small network."""
    return function.apply if torch.is_grad_enabled() else function.forward


class SecondSlopes(Function):
    """The gradients of a block's gradients by its output's and by x and w."""

    @staticmethod
    def forward(*inputs: Any) -> tuple[Tensor, Tensor, Tensor]:
        u, p, q, g, x, ramp, *numbers = inputs
        by_g, by_x, by_w = second_slopes(u, p, q, g, x, *numbers)
        ramp_back_(by_g, ramp, 0, grad_input=by_g)
        return F.avg_pool2d(by_g, 2), by_x, by_w

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise RuntimeError("a block of the ConvNet has two derivatives; call it outside of `twice` for a third")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return together(SecondSlopes, info, in_dims, *inputs)


class Slopes(Function):
    """A block's gradients by x, w and b from its output's; further that of y, which their own derivative needs."""

    @staticmethod
    def forward(*inputs: Any) -> Any:
        pooled, x, ramp, w, mean, r, _ = inputs
        g = pool_back(pooled, ramp, [2, 2], [2, 2], [0, 0], False, True, None)
        ramp_back_(g, ramp, 0, grad_input=g)
        n, c, *sides = x.shape
        return *norm_back(g, x, mean, r, w, n, c, sides[0] * sides[1], c, [True] * 3), g

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        _, x, ramp, w, mean, r, ctx.eps = inputs
        ctx.mark_non_differentiable(output[3])
        ctx.save_for_backward(output[3], x, ramp, w, mean, r)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, u: Tensor | None, p: Tensor | None, q: Tensor | None, _: None) -> Any:
        g, x, ramp, w, mean, r = ctx.saved_tensors
        u = torch.zeros_like(x) if u is None else u
        if (p is None) != (q is None):
            p, q = (torch.zeros_like(w) if v is None else v for v in (p, q))
        pooled, by_x, by_w = applied(SecondSlopes)(u, p, q, g, x, ramp, w, mean, r, ctx.eps)
        return pooled, by_x, None, by_w, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return together(Slopes, info, in_dims, *inputs)


class Block(Function):
    """The pooled output; further what the gradients need: relu(y), (n, c, h, w), and mean and r of x, (n, c)."""

    @staticmethod
    def forward(*inputs: Any) -> Any:
        x, w, b, eps = inputs
        n, c, *sides = x.shape
        y, mean, r = torch.native_group_norm(x, w, b, n, c, sides[0] * sides[1], c, eps)
        ramp = y.relu_()
        return F.avg_pool2d(ramp, 2), ramp, mean, r

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        x, w, _, ctx.eps = inputs
        _, ramp, mean, r = output
        ctx.mark_non_differentiable(ramp, mean, r)
        ctx.save_for_backward(x, ramp, w, mean, r)
        ctx.set_materialize_grads(False)

    @staticmethod
    def backward(ctx: Any, pooled: Tensor | None, *_: None) -> Any:
        if pooled is None:
            return None, None, None, None
        return *applied(Slopes)(pooled, *ctx.saved_tensors, ctx.eps)[:3], None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return together(Block, info, in_dims, *inputs)
