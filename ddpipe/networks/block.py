"""What stands behind a convolution of the ConvNet, in one: instance normalisation, ReLU, 2x2 average pooling.

It knows its second derivative, which gradient matching and unrolled training live on. Per image and channel, over the
N = h w numbers of a map x, with mu their mean and r = (their variance + eps)^(-1/2),

    xhat = r (x - mu)        y = w xhat + b        output: pool(relu(y))

With g the gradient of y, which is the output's handed back through pooling and ReLU, and P the projection that takes
the mean and xhat out of a map,

    P(g) = r (g - mean g - xhat mean(g xhat))
    gradient of x: w P(g)        of w: sum of g xhat        of b: sum of g        (sums over images as well)

Let u, p and q be the gradients of these three. P is its own transpose and the Jacobian of xhat, and mean(g xhat) has the
derivative P(g) / N, so that with f = sum of g P(u) the gradients of the gradients are

    of g: w P(u) + p xhat + q        of w: f, over images as well
    of x: (p - w r mean(u xhat)) P(g) - w r mean(g xhat) P(u) - (w r f / N) xhat

Automatic differentiation finds the same in five times as many operations. Values and first derivatives are those of
torch's group normalisation with one channel a group, ReLU and pooling, to the bit. Derivatives stop at the second.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import Function

aten = torch.ops.aten


def plain(x: Tensor, w: Tensor, b: Tensor, eps: float) -> Tensor:
    """The same by torch's own layers, which know derivatives of any order."""
    return F.avg_pool2d(F.relu(F.group_norm(x, len(w), w, b, eps)), 2)


def block(x: Tensor, w: Tensor, b: Tensor, eps: float) -> Tensor:
    """x (n, c, h, w), scale and shift w and b (c,) -> (n, c, h // 2, w // 2).

    torch.compile makes one kernel of the plain layers by itself, and autocast chooses their precision one by one.
    """
    if torch.compiler.is_compiling() or torch.is_autocast_enabled(x.device.type):
        return plain(x, w, b, eps)
    return Block.apply(x, w, b, eps)[0]


def spread(numbers: Tensor) -> Tensor:  # (..., c) -> (..., c, 1, 1)
    return numbers[..., None, None]


def apart(tensor: Tensor) -> Tensor:
    """(n, c, ...) -> (1, n c, ...): every image's channel as a channel of its own, so that no sum runs over images."""
    return tensor.reshape(1, -1, *tensor.shape[2:])


def slopes(g: Tensor, x: Tensor, w: Tensor | None, mean: Tensor, r: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of y the gradients by x (n, c, h, w), w (c,) and b (c,). w None stands for 1; mean, r: (n, c)."""
    n, c, *sides = x.shape
    return aten.native_group_norm_backward(g, x, mean, r, w, n, c, sides[0] * sides[1], c, [True] * 3)


def second_slopes(
    u: Tensor, p: Tensor | None, q: Tensor | None, g: Tensor, x: Tensor, w: Tensor, mean: Tensor, r: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients of the gradients by g and x (n, c, h, w) and by w (c,).

    Args:
        u: the gradient of x's gradient, like x; p, q: of w's and b's, (c,), both or neither.
        g: the gradient of y, like x; mean, r: (n, c).
    """
    (n, c, *sides), share = x.shape, 1 / x[0, 0].numel()
    xhat = torch.native_group_norm(x, None, None, n, c, sides[0] * sides[1], c, eps)[0]
    numbers = apart(mean), apart(r)
    projected, ux, _ = slopes(apart(u), apart(x), None, *numbers)  # P(u), sum of u xhat
    projected, ux, wr = projected.view_as(x), ux.view(n, c), w * r
    factor = wr * ux * -share if p is None else torch.addcmul(p, wr, ux, value=-share)
    by_x, gx, _ = slopes(apart(g), apart(x), factor.flatten(), *numbers)  # factor P(g), sum of g xhat
    f = (g * projected).sum((2, 3))  # n c
    by_x = by_x.view_as(x).addcmul_(projected, spread(wr * gx.view(n, c)), value=-share)
    by_x = by_x.addcmul_(xhat, spread(wr * f), value=-share)
    if p is None or q is None:
        return projected * spread(w), by_x, f.sum(0)
    return torch.addcmul(spread(q), xhat, spread(p)).addcmul_(projected, spread(w)), by_x, f.sum(0)


def fold(tensor: Tensor, dim: int | None, size: int) -> Tensor:
    """A vmapped axis of `size`, if any, becomes part of the channels: (n, c, ...) -> (n, size c, ...), (c,) -> (size c,)."""
    if dim is None:
        tensor, dim = tensor.expand(size, *tensor.shape), 0
    place = min(1, tensor.dim() - 2)
    return tensor.movedim(dim, place).flatten(place, place + 1)


def together(function: Any, info: Any, in_dims: Any, *inputs: Any) -> tuple[Any, Any]:
    """Several blocks at once are one block of as many times the channels."""
    size = info.batch_size
    tensors = [fold(x, d, size) if isinstance(x, Tensor) else x for x, d in zip(inputs, in_dims, strict=True)]
    found = function.apply(*tensors)
    places = [min(1, x.dim() - 1) for x in found]
    return tuple(x.unflatten(d, (size, -1)) for x, d in zip(found, places, strict=True)), tuple(places)


class SecondSlopes(Function):
    """The gradients of a block's gradients by its output's and by x and w."""

    @staticmethod
    def forward(
        u: Tensor, p: Tensor | None, q: Tensor | None, g: Tensor, x: Tensor, ramp: Tensor, *numbers: Any
    ) -> tuple[Tensor, Tensor, Tensor]:
        by_g, by_x, by_w = second_slopes(u, p, q, g, x, *numbers)
        return F.avg_pool2d(aten.threshold_backward(by_g, ramp, 0), 2), by_x, by_w

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is kept."""

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> Any:
        raise NotImplementedError("a block of the ConvNet has two derivatives; for a third use `plain` of block.py")

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return together(SecondSlopes, info, in_dims, *inputs)


class Slopes(Function):
    """A block's gradients by x, w and b from its output's; further the gradient of y, which its own derivative needs."""

    @staticmethod
    def forward(pooled: Tensor, x: Tensor, ramp: Tensor, w: Tensor, mean: Tensor, r: Tensor, eps: float) -> Any:
        g = aten.avg_pool2d_backward(pooled, ramp, [2, 2], [2, 2], [0, 0], False, True, None)
        g = aten.threshold_backward(g, ramp, 0)
        return *slopes(g, x, w, mean, r), g

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
        pooled, by_x, by_w = SecondSlopes.apply(u, p, q, g, x, ramp, w, mean, r, ctx.eps)
        return pooled, by_x, None, by_w, None, None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return together(Slopes, info, in_dims, *inputs)


class Block(Function):
    """The pooled output; further what the gradients need: relu(y), (n, c, h, w), and mean and r of x, (n, c)."""

    @staticmethod
    def forward(x: Tensor, w: Tensor, b: Tensor, eps: float) -> Any:
        (n, c, *sides), x = x.shape, x.contiguous()
        y, mean, r = torch.native_group_norm(x, w, b, n, c, sides[0] * sides[1], c, eps)
        ramp = F.relu(y)
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
        return *Slopes.apply(pooled, *ctx.saved_tensors, ctx.eps)[:3], None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        return together(Block, info, in_dims, *inputs)
